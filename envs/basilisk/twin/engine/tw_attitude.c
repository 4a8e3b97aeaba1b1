/* How the satellite turns: rigid body and wheels, and BSK-RL's guidance and control of them.
 *
 * Sources: Basilisk 2.12, spacecraft and reactionWheelStateEffector (balanced wheels), thrusterDynamicEffector,
 * locationPointing, hillPoint, attTrackingError, mrpFeedback, mrpSteering, rateServoFullNonlinear, rwMotorTorque.
 */
#include <string.h>

#include "twin.h"
#include "tw_vector.h"

typedef struct {
    double sigma[3], omega[3], wheels[3];
} motion;

/* The motion's derivative: MRP kinematics, and Euler's equation of a body that carries three wheels. */
static void derivative(const tw_satellite *s, const motion *m, const double torque[3], const double external[3],
                       motion *d)
{
    const double *w = m->omega, *q = m->sigma;
    const double s2 = dot(q, q), sw = dot(q, w), Js = s->wheel_inertia;
    double c[3], momentum[3], gyroscopic[3];
    int i;
    cross(q, w, c);
    for (i = 0; i < 3; i++) {
        d->sigma[i] = 0.25 * ((1 - s2) * w[i] + 2 * c[i] + 2 * q[i] * sw);
        momentum[i] = s->inertia[i] * w[i] + Js * m->wheels[i];
    }
    cross(w, momentum, gyroscopic);
    for (i = 0; i < 3; i++) {
        d->omega[i] = (external[i] - gyroscopic[i] - torque[i]) / (s->inertia[i] - Js);
        d->wheels[i] = torque[i] / Js - d->omega[i];
    }
}

static void moved(const motion *from, const motion *rate, double by, motion *out)
{
    int i;
    for (i = 0; i < 3; i++) {
        out->sigma[i] = from->sigma[i] + by * rate->sigma[i];
        out->omega[i] = from->omega[i] + by * rate->omega[i];
        out->wheels[i] = from->wheels[i] + by * rate->wheels[i];
    }
}

/* The torque of disturbance and thrusters at a stage of the integrator, `after_s` from the tick's start. A burn counts
 * from when the flight software commanded it, a tick before the thrusters take it over: of a burn of one tick nothing
 * is left but the first stage, and that only where Basilisk's seconds, rounded, leave it. Hence the same sums here. */
static void external_torque(const tw_satellite *s, const tw_state *x, double after_s, double out[3])
{
    int i, n;
    for (i = 0; i < 3; i++) out[i] = s->disturbance[i];
    for (n = 0; n < TW_THRUSTERS; n++) {
        if (x->thrust_s[n] > 0) {
            const double start_s = (double)((x->tick - x->thrust_age) * s->tick_ns) * 1e-9;
            const double now_s = (double)(x->tick * s->tick_ns) * 1e-9 + after_s;
            if (x->thrust_s[n] + start_s - now_s >= 0) {
                for (i = 0; i < 3; i++) out[i] += s->thruster_torque[n][i];
            }
        }
    }
}

/* One tick of the classical Runge-Kutta method of fourth order, as Basilisk's default integrator. */
void tw_rotate(const tw_satellite *s, tw_state *x)
{
    motion y, at, k1, k2, k3, k4;
    double external[3];
    const double h = s->tick_s;
    double s2;
    int i;
    memcpy(y.sigma, x->sigma, sizeof y.sigma);
    memcpy(y.omega, x->omega, sizeof y.omega);
    memcpy(y.wheels, x->wheels, sizeof y.wheels);
    external_torque(s, x, 0, external);
    derivative(s, &y, x->torque, external, &k1);
    moved(&y, &k1, h / 2, &at);
    external_torque(s, x, h / 2, external);
    derivative(s, &at, x->torque, external, &k2);
    moved(&y, &k2, h / 2, &at);
    derivative(s, &at, x->torque, external, &k3);
    moved(&y, &k3, h, &at);
    external_torque(s, x, h, external);
    derivative(s, &at, x->torque, external, &k4);
    for (i = 0; i < 3; i++) {
        x->sigma[i] = y.sigma[i] + h / 6 * (k1.sigma[i] + 2 * k2.sigma[i] + 2 * k3.sigma[i] + k4.sigma[i]);
        x->omega[i] = y.omega[i] + h / 6 * (k1.omega[i] + 2 * k2.omega[i] + 2 * k3.omega[i] + k4.omega[i]);
        x->wheels[i] = y.wheels[i] + h / 6 * (k1.wheels[i] + 2 * k2.wheels[i] + 2 * k3.wheels[i] + k4.wheels[i]);
    }
    s2 = dot(x->sigma, x->sigma);
    if (s2 > 1) for (i = 0; i < 3; i++) x->sigma[i] /= -s2; /* the shadow set */
}

/* MRP feedback (controlLawType 0, no integral term): torque on the wheels from tracking errors, reference rate and
 * reference acceleration, all in B. */
static void feed_back(const tw_satellite *s, tw_state *x, const double sigma[3], const double rate[3],
                      const double reference[3], const double acceleration[3])
{
    double momentum[3], a[3], b[3];
    int i;
    for (i = 0; i < 3; i++) momentum[i] = s->inertia[i] * x->omega[i];
    cross(reference, momentum, a);
    cross(x->omega, reference, b);
    for (i = 0; i < 3; i++) {
        x->command[i] = s->gain_attitude * sigma[i] + s->gain_rate * rate[i] - a[i]
                        + s->inertia[i] * (b[i] - acceleration[i]);
    }
}

/* MRP steering: the rate that each attitude error commands is bounded by a smooth function, and a servo on that rate,
 * with an integral term and its knowledge of the wheels, gives the torque (Schaub & Junkins, 8.5). */
static void steer(const tw_satellite *s, tw_state *x, const double sigma[3], const double rate[3],
                  const double reference[3], const double acceleration[3])
{
    const double half_pi = 1.57079632679489661923, s2 = dot(sigma, sigma);
    const double tick_s = x->tick > 1 ? s->tick_s : 0; /* the servo's first steps have no time */
    double commanded[3], slope[3], c[3], desired[3], momentum[3], a[3], b[3], along;
    int i;
    for (i = 0; i < 3; i++) {
        const double q = sigma[i];
        const double reach = half_pi / s->rate_most * (s->gain_attitude * q + s->gain_cubic * q * q * q);
        commanded[i] = -(atan(reach) / half_pi * s->rate_most);
        slope[i] = (3 * s->gain_cubic * q * q + s->gain_attitude) / (reach * reach + 1);
    }
    cross(sigma, commanded, c);
    along = dot(sigma, commanded);
    for (i = 0; i < 3; i++) {
        desired[i] = commanded[i] + reference[i];
        momentum[i] = s->inertia[i] * x->omega[i] + s->wheel_inertia * (x->omega[i] + x->wheels[i]);
    }
    cross(desired, momentum, a);
    cross(x->omega, reference, b);
    for (i = 0; i < 3; i++) {
        const double error = rate[i] - commanded[i], most = s->integral_most;
        const double change = 0.25 * ((1 - s2) * commanded[i] + 2 * c[i] + 2 * sigma[i] * along); /* of the MRP */
        const double total = x->integral[i] + error * tick_s;
        x->integral[i] = total > most ? most : total < -most ? -most : total;
        x->command[i] = s->gain_rate * error + s->gain_integral * x->integral[i] - a[i]
                        - s->inertia[i] * (acceleration[i] - b[i] - slope[i] * change);
    }
}

static void control(const tw_satellite *s, tw_state *x, const double sigma[3], const double rate[3],
                    const double reference[3], const double acceleration[3])
{
    if (s->rate_most > 0) {
        steer(s, x, sigma, rate, reference, acceleration);
    } else {
        feed_back(s, x, sigma, rate, reference, acceleration);
    }
}

/* locationPointing: turn a body axis to a direction by the shortest way. Its rate error is the difference of two
 * attitude errors: there is none in the first tick of a task. */
static void point(const tw_satellite *s, tw_state *x, const double axis[3], const double direction_B[3],
                  double sigma[3], double rate[3])
{
    static const double none[3] = {0, 0, 0};
    double cosine = dot(axis, direction_B), angle, along, reference[3];
    int i;
    cosine = cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
    angle = acos(cosine);
    memset(sigma, 0, 3 * sizeof *sigma);
    if (angle >= 1e-12) {
        const double quarter = -tan(angle / 4);
        double eigen[3], length;
        cross(axis, direction_B, eigen);
        length = sqrt(dot(eigen, eigen));
        if (length > 0) for (i = 0; i < 3; i++) sigma[i] = quarter * eigen[i] / length;
    }
    memset(rate, 0, 3 * sizeof *rate);
    if (x->fresh < 1) {
        /* omega = 4 B(sigma)^-1 sigma_dot (Schaub & Junkins, 3.164) */
        double change[3], c[3];
        const double s2 = dot(sigma, sigma), scale = 4 / ((1 + s2) * (1 + s2));
        double sd;
        for (i = 0; i < 3; i++) change[i] = (sigma[i] - x->sigma_before[i]) / s->tick_s;
        sd = dot(sigma, change);
        cross(sigma, change, c);
        for (i = 0; i < 3; i++) rate[i] = scale * ((1 - s2) * change[i] - 2 * c[i] + 2 * sigma[i] * sd);
    } else {
        x->fresh--;
    }
    memcpy(x->sigma_before, sigma, sizeof x->sigma_before);
    along = dot(x->omega, direction_B);
    for (i = 0; i < 3; i++) {
        rate[i] += along * direction_B[i]; /* damps the turn about the line of sight */
        reference[i] = x->omega[i] - rate[i];
    }
    control(s, x, sigma, rate, reference, none);
}

/* hillPoint and attTrackingError: the body's x axis away from the Earth, z along the orbit's normal. */
static void point_to_hill(const tw_satellite *s, tw_state *x, double sigma[3], double rate[3])
{
    const double *r = s->r_N + 3 * x->tick, *v = s->v_N + 3 * x->tick;
    double RN[9], h[3], BN[9], sigma_RN[3], rate_N[3], acceleration_N[3], reference[3], acceleration[3];
    const double radius = sqrt(dot(r, r));
    double turning, slowing;
    int i;
    unit(r, RN);
    cross(r, v, h);
    unit(h, RN + 6);
    cross(RN + 6, RN, RN + 3);
    dcm_to_mrp(RN, sigma_RN);
    mrp_subtract(x->sigma, sigma_RN, sigma);
    turning = sqrt(dot(h, h)) / (radius * radius);
    slowing = -2 * dot(v, RN) / radius * turning;
    for (i = 0; i < 3; i++) {
        rate_N[i] = turning * RN[6 + i];
        acceleration_N[i] = slowing * RN[6 + i];
    }
    mrp_to_dcm(x->sigma, BN);
    times(BN, rate_N, reference);
    times(BN, acceleration_N, acceleration);
    for (i = 0; i < 3; i++) rate[i] = x->omega[i] - reference[i];
    control(s, x, sigma, rate, reference, acceleration);
}

/* The flight software's guidance and control at the end of a tick: sets the wheels' next command.
 * sun_B: unit vector to the Sun. Gives the tracking errors. */
void tw_guide(const tw_satellite *s, tw_state *x, const double sun_B[3], double sigma[3], double rate[3])
{
    if (x->running >= 0) {
        double BN[9], place_N[3], line_N[3], line_B[3], direction[3];
        int i;
        /* groundLocation runs before the ephemeris: it knows the Earth's attitude of one tick ago */
        times_transposed(s->PN + 9 * (x->tick > 0 ? x->tick - 1 : 0), s->target_P + 3 * x->running, place_N);
        for (i = 0; i < 3; i++) line_N[i] = place_N[i] - s->r_N[3 * x->tick + i];
        mrp_to_dcm(x->sigma, BN);
        times(BN, line_N, line_B);
        unit(line_B, direction);
        point(s, x, s->boresight, direction, sigma, rate);
    } else if (x->running == TW_DOWNLINK) {
        point_to_hill(s, x, sigma, rate);
    } else if (x->running != TW_NONE) {
        point(s, x, s->panel_normal, sun_B, sigma, rate);
    } else {
        memset(sigma, 0, 3 * sizeof *sigma);
        memset(rate, 0, 3 * sizeof *rate);
    }
}
