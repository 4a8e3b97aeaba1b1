/* Linear maps: nearly all of a decision's time. Eight outputs are summed side by side, each in the order of the inputs,
 * so that a scalar processor keeps the sums in registers and a vector processor computes the same bits at once. Sums
 * have names because compilers keep arrays in memory; build this file with -O2 -ftree-slp-vectorize, since gcc's loop
 * vectoriser would transpose the weights instead. */
/* cppcheck-suppress-file misra-c2012-19.2 ; kd_word reads the bits of a float without a second copy */
#include "kd_linear.h"
#include "kd_math.h"

#define INPUTS ((KD_MAX_OBS > KD_MAX_UNITS) ? KD_MAX_OBS : KD_MAX_UNITS)
#define QUANTA 2047.0f /* largest magnitude of a quantised input: 128 * 2047 * 8192 inputs fit in an int32 */

/* Inputs that are all smaller are 0, so that no scaled sum is a denormal number: it is 0 or at least
 * 1e-12 * 1e-13 / QUANTA (kd_math.h). */
#define SMALLEST_INPUT 1e-13f

static int16_t quantised[INPUTS];

static void apply_float(const kd_linear *map, const kd_word *storage, const float *x, float *y)
{
    const kd_word *w = &storage[map->weights];
    const kd_word *b = &storage[map->biases];
    const float *const end = &x[map->inputs];
    uint32_t row;
    for (row = 0u; row < map->outputs; row += KD_BLOCK) {
        const float *input;
        float s0 = b[row].value;
        float s1 = b[row + 1u].value;
        float s2 = b[row + 2u].value;
        float s3 = b[row + 3u].value;
        float s4 = b[row + 4u].value;
        float s5 = b[row + 5u].value;
        float s6 = b[row + 6u].value;
        float s7 = b[row + 7u].value;
        /* cppcheck-suppress misra-c2012-14.1 ; the counter is a pointer, to floats */
        for (input = x; input < end; input++) {
            s0 += w[0].value * *input;
            s1 += w[1].value * *input;
            s2 += w[2].value * *input;
            s3 += w[3].value * *input;
            s4 += w[4].value * *input;
            s5 += w[5].value * *input;
            s6 += w[6].value * *input;
            s7 += w[7].value * *input;
            /* cppcheck-suppress misra-c2012-18.4 ; an index would cost an addition for each of the eight loads */
            w += KD_BLOCK;
        }
        y[row] = s0;
        y[row + 1u] = s1;
        y[row + 2u] = s2;
        y[row + 3u] = s3;
        y[row + 4u] = s4;
        y[row + 5u] = s5;
        y[row + 6u] = s6;
        y[row + 7u] = s7;
    }
}

/* Round inputs to +-QUANTA steps of their largest magnitude; returns the step. Magnitudes are compared by their bits,
 * which have the same order, and NaN above all: it makes the step NaN, which spoils the answer visibly. */
static float quantise(const float *x, uint32_t count)
{
    kd_word largest = {0u};
    float inverse;
    uint32_t i;
    for (i = 0u; i < count; i++) {
        kd_word magnitude;
        magnitude.value = x[i];
        magnitude.bits &= 0x7FFFFFFFu;
        largest.bits = (magnitude.bits > largest.bits) ? magnitude.bits : largest.bits;
    }
    if (largest.value < SMALLEST_INPUT) {
        largest.value = 0.0f;
    }
    inverse = (largest.value > 0.0f) ? (QUANTA / largest.value) : 0.0f;
    for (i = 0u; i < count; i++) {
        /* An infinite input makes NaN here, which must not be converted; the step spoils the answer then too. */
        const float scaled = ((x[i] * inverse) < QUANTA) ? (x[i] * inverse) : QUANTA;
        quantised[i] = (int16_t)(int32_t)((scaled < 0.0f) ? (scaled - 0.5f) : (scaled + 0.5f));
    }
    return largest.value / QUANTA;
}

/* Products and sums are exact; each sum is scaled once. */
static void apply_int8(const kd_linear *map, const kd_word *storage, const float *x, float *y)
{
    const int8_t *w = (const int8_t *)&storage[map->weights];
    const kd_word *scale = &storage[map->scales];
    const kd_word *b = &storage[map->biases];
    const float step = quantise(x, map->inputs);
    const int16_t *const end = &quantised[map->inputs];
    uint32_t row;
    for (row = 0u; row < map->outputs; row += KD_BLOCK) {
        const int16_t *input;
        int32_t s0 = 0;
        int32_t s1 = 0;
        int32_t s2 = 0;
        int32_t s3 = 0;
        int32_t s4 = 0;
        int32_t s5 = 0;
        int32_t s6 = 0;
        int32_t s7 = 0;
        float t0;
        float t1;
        float t2;
        float t3;
        float t4;
        float t5;
        float t6;
        float t7;
        for (input = quantised; input < end; input++) {
            const int32_t x_i = *input; /* widened here, once: gcc vectorises the products only then */
            s0 += w[0] * x_i;
            s1 += w[1] * x_i;
            s2 += w[2] * x_i;
            s3 += w[3] * x_i;
            s4 += w[4] * x_i;
            s5 += w[5] * x_i;
            s6 += w[6] * x_i;
            s7 += w[7] * x_i;
            /* cppcheck-suppress misra-c2012-18.4 ; an index would cost an addition for each of the eight loads */
            w += KD_BLOCK;
        }
        /* All loads come before the first store, which might change what they load as far as a compiler knows. */
        t0 = (float)s0 * (scale[row].value * step) + b[row].value;
        t1 = (float)s1 * (scale[row + 1u].value * step) + b[row + 1u].value;
        t2 = (float)s2 * (scale[row + 2u].value * step) + b[row + 2u].value;
        t3 = (float)s3 * (scale[row + 3u].value * step) + b[row + 3u].value;
        t4 = (float)s4 * (scale[row + 4u].value * step) + b[row + 4u].value;
        t5 = (float)s5 * (scale[row + 5u].value * step) + b[row + 5u].value;
        t6 = (float)s6 * (scale[row + 6u].value * step) + b[row + 6u].value;
        t7 = (float)s7 * (scale[row + 7u].value * step) + b[row + 7u].value;
        y[row] = t0;
        y[row + 1u] = t1;
        y[row + 2u] = t2;
        y[row + 3u] = t3;
        y[row + 4u] = t4;
        y[row + 5u] = t5;
        y[row + 6u] = t6;
        y[row + 7u] = t7;
    }
}

void kd_linear_apply(const kd_model *m, uint32_t which, const float *x, float *y)
{
    const kd_linear *const map = &m->linear[which];
    if (m->dtype == (uint32_t)KD_INT8) {
        apply_int8(map, m->storage, x, y);
    } else {
        apply_float(map, m->storage, x, y);
    }
}
