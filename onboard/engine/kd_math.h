/* The non-linearities, in single precision and the same bits everywhere: no libm, no branches that depend on a value.
 *
 * Denormal numbers. Inputs of a product are 0 or at least KD_TINY (activations) and 1e-12 (weights) in magnitude, so
 * a product is 0 or at least 1e-28, its last bit worth at least 2^-117. Every partial sum is a multiple of that, so no
 * sum is a denormal number either (below 2^-126), whatever cancels; but it may be as small, so it is flushed before it
 * is multiplied again.
 */
/* cppcheck-suppress-file misra-c2012-19.2 ; kd_word reads the bits of a float without a second copy */
#ifndef KD_MATH_H
#define KD_MATH_H

#include "kd_engine.h"

#include <float.h>

/* cppcheck-suppress misra-c2012-20.9 ; <float.h> defines it, which the analyser does not read */
#if (FLT_EVAL_METHOD != 0) || defined(__FAST_MATH__)
#error "single precision must be computed in single precision, operation by operation"
#endif

#define KD_TINY 1e-16f

static inline float kd_flush(float x)
{
    return ((x < KD_TINY) && (x > -KD_TINY)) ? 0.0f : x;
}

static inline int kd_is_finite(float x)
{
    kd_word word;
    word.value = x;
    return (word.bits & 0x7F800000u) != 0x7F800000u;
}

/* NaN stays NaN here and in all that follows, so that it reaches the checks of the answer. */
static inline float kd_clamp(float x, float bound)
{
    return (x > bound) ? bound : ((x < -bound) ? -bound : x);
}

/* e^x for |x| <= 60, within 1.1e-7 of its value: Cody-Waite reduction and the polynomial of Cephes' expf. */
static inline float kd_exp(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    kd_word moved;
    kd_word power;
    float n;
    float r;
    float p;
    moved.value = (x * 1.44269504088896341f) + shift;
    n = moved.value - shift;
    r = (x - (n * 0.693359375f)) - (n * -2.12194440e-4f);
    p = 1.9875691500e-4f;
    p = (p * r) + 1.3981999507e-3f;
    p = (p * r) + 8.3334519073e-3f;
    p = (p * r) + 4.1665795894e-2f;
    p = (p * r) + 1.6666665459e-1f;
    p = (p * r) + 5.0000001201e-1f;
    p = ((p * (r * r)) + r) + 1.0f;
    /* The low bits of `moved` are n; the bits of 2^n are (n + 127) << 23. */
    power.bits = ((moved.bits - 0x4B400000u) + 127u) << 23;
    return p * power.value;
}

static inline float kd_sigmoid(float x)
{
    return 1.0f / (1.0f + kd_exp(-kd_clamp(kd_flush(x), 30.0f)));
}

/* Near 0 the polynomial of Cephes' tanhf, which keeps the relative precision that 1 - 2 / (e^2x + 1) loses; x is 0 or at
 * least KD_TINY in magnitude. */
static inline float kd_tanh(float x)
{
    const float bounded = kd_clamp(x, 15.0f);
    const float magnitude = (bounded < 0.0f) ? -bounded : bounded;
    const float far = 1.0f - (2.0f / (kd_exp(2.0f * magnitude) + 1.0f));
    const float z = kd_flush(kd_clamp(x, 0.625f) * kd_clamp(x, 0.625f));
    float p = -5.70498872745e-3f;
    p = (p * z) + 2.06390887954e-2f;
    p = (p * z) + -5.37397155531e-2f;
    p = (p * z) + 1.33314422036e-1f;
    p = (p * z) + -3.33332819422e-1f;
    p = ((p * z) * bounded) + bounded;
    return (magnitude < 0.625f) ? p : ((bounded < 0.0f) ? -far : far);
}

#endif
