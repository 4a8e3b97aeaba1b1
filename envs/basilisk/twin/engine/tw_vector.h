/* Three-vectors and attitudes, as Basilisk's linearAlgebra.c and rigidBodyKinematics.c compute them. */
#ifndef TW_VECTOR_H
#define TW_VECTOR_H

#include <math.h>

static inline double dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static inline void cross(const double a[3], const double b[3], double out[3])
{
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

static inline void unit(const double a[3], double out[3])
{
    const double scale = 1.0 / sqrt(dot(a, a));
    out[0] = a[0] * scale;
    out[1] = a[1] * scale;
    out[2] = a[2] * scale;
}

/* out = M a, M row-major. */
static inline void times(const double M[9], const double a[3], double out[3])
{
    int i;
    for (i = 0; i < 3; i++) out[i] = M[3 * i] * a[0] + M[3 * i + 1] * a[1] + M[3 * i + 2] * a[2];
}

/* out = M^T a. */
static inline void times_transposed(const double M[9], const double a[3], double out[3])
{
    int i;
    for (i = 0; i < 3; i++) out[i] = M[i] * a[0] + M[3 + i] * a[1] + M[6 + i] * a[2];
}

/* The direction cosine matrix BN of an MRP (Schaub & Junkins, Analytical Mechanics of Space Systems, 3.147). */
static inline void mrp_to_dcm(const double q[3], double C[9])
{
    const double q2 = dot(q, q), S = 1 - q2, d = 1 / ((1 + q2) * (1 + q2));
    C[0] = (4 * (2 * q[0] * q[0] - q2) + S * S) * d;
    C[1] = (8 * q[0] * q[1] + 4 * q[2] * S) * d;
    C[2] = (8 * q[0] * q[2] - 4 * q[1] * S) * d;
    C[3] = (8 * q[1] * q[0] - 4 * q[2] * S) * d;
    C[4] = (4 * (2 * q[1] * q[1] - q2) + S * S) * d;
    C[5] = (8 * q[1] * q[2] + 4 * q[0] * S) * d;
    C[6] = (8 * q[2] * q[0] + 4 * q[1] * S) * d;
    C[7] = (8 * q[2] * q[1] - 4 * q[0] * S) * d;
    C[8] = (4 * (2 * q[2] * q[2] - q2) + S * S) * d;
}

/* The MRP of the relative attitude of q against p, |result| <= 1 (Schaub & Junkins, 3.153). */
static inline void mrp_subtract(const double q[3], const double p[3], double out[3])
{
    const double q2 = dot(q, q), p2 = dot(p, p), d = 1 + p2 * q2 + 2 * dot(p, q);
    double c[3], n2;
    int i;
    cross(q, p, c);
    for (i = 0; i < 3; i++) out[i] = ((1 - p2) * q[i] - (1 - q2) * p[i] + 2 * c[i]) / d;
    n2 = dot(out, out);
    if (n2 > 1) for (i = 0; i < 3; i++) out[i] /= -n2;
}

/* The MRP of a direction cosine matrix, |result| <= 1, by the quaternion (Sheppard's method). */
static inline void dcm_to_mrp(const double C[9], double q[3])
{
    const double trace = C[0] + C[4] + C[8];
    double b[4], largest;
    int i, best = 0;
    b[0] = (1 + trace) / 4;
    b[1] = (1 + 2 * C[0] - trace) / 4;
    b[2] = (1 + 2 * C[4] - trace) / 4;
    b[3] = (1 + 2 * C[8] - trace) / 4;
    for (i = 1; i < 4; i++) if (b[i] > b[best]) best = i;
    largest = sqrt(b[best]);
    switch (best) {
    case 0: b[1] = (C[5] - C[7]) / 4; b[2] = (C[6] - C[2]) / 4; b[3] = (C[1] - C[3]) / 4; break;
    case 1: b[0] = (C[5] - C[7]) / 4; b[2] = (C[1] + C[3]) / 4; b[3] = (C[6] + C[2]) / 4; break;
    case 2: b[0] = (C[6] - C[2]) / 4; b[1] = (C[1] + C[3]) / 4; b[3] = (C[5] + C[7]) / 4; break;
    default: b[0] = (C[1] - C[3]) / 4; b[1] = (C[6] + C[2]) / 4; b[2] = (C[5] + C[7]) / 4; break;
    }
    for (i = 0; i < 4; i++) b[i] = i == best ? largest : b[i] / largest;
    if (b[0] < 0) for (i = 0; i < 4; i++) b[i] = -b[i];
    for (i = 0; i < 3; i++) q[i] = b[i + 1] / (1 + b[0]);
}

#endif
