/* check MUTATIONS TABLE...: the engine under a sanitizer, for each of some valid tables:
 * truncated at every byte, mutated MUTATIONS times, flown, with every bit of its model flipped, and watched for
 * denormal numbers. Aborts at the first thing that is wrong.
 */
#include "fuzz_table.h"

#include "kd_engine.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

enum { LONGEST = 1 << 20, DECISIONS = 300 };

static uint64_t state = 1u;

/* Knuth's linear congruential generator, its high bits. */
static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static float draw_float(void)
{
    static const float scale[8] = {0.0f, 1e-17f, 1e-14f, 1e-9f, 1e-3f, 1.0f, 1.0f, 30.0f};
    return ((float)draw(2000001u) * 1e-6f - 1.0f) * scale[draw(8u)];
}

static uint8_t *copied(const uint8_t *bytes, uint32_t count)
{
    uint8_t *copy = malloc((count > 0u) ? count : 1u);
    fuzz_require(copy != NULL);
    (void)memcpy(copy, bytes, count);
    return copy;
}

static void truncate(const uint8_t *table, uint32_t length)
{
    uint32_t shorter;
    for (shorter = 0u; shorter < length; shorter++) {
        uint8_t *part = copied(table, shorter);
        fuzz_require(kd_validate(part, shorter) < 0);
        (void)LLVMFuzzerTestOneInput(part, shorter); /* its length and CRC-32 made to agree */
        free(part);
    }
}

static void mutate(const uint8_t *table, uint32_t length)
{
    uint8_t *longer = malloc(length + 64u);
    uint32_t changes = 1u + draw(4u);
    uint32_t now = length;
    fuzz_require(longer != NULL);
    (void)memcpy(longer, table, length);
    (void)memset(&longer[length], 0, 64u);
    while (changes > 0u) {
        const uint32_t at = (draw(2u) == 0u) ? (16u + draw(48u)) : draw(length); /* half of them in the header */
        switch (draw(4u)) {
        case 0u:
            longer[at] ^= (uint8_t)(1u << draw(8u));
            break;
        case 1u:
            longer[at] = (uint8_t)draw(256u);
            break;
        case 2u:
            longer[at & ~3u] = (uint8_t)draw(40u); /* a small number in a field of the header */
            break;
        default:
            now = length + draw(64u) - draw(32u);
            break;
        }
        changes--;
    }
    longer[now - 1u] &= (uint8_t)~1u;
    (void)LLVMFuzzerTestOneInput(longer, now);
    free(longer);
}

/* Denormal numbers, as operands or results, leave a mark in the processor. */
static void forget_denormals(void)
{
#ifdef __SSE__
    _mm_setcsr(_mm_getcsr() & ~0x3Fu);
#endif
}

static void require_no_denormals(void)
{
#ifdef __SSE__
    fuzz_require((_mm_getcsr() & 0x12u) == 0u); /* denormal operand, underflow */
#endif
}

static void fly(kd_model *model, uint8_t *mask, float *obs, float *hidden, float *logits)
{
    int t;
    for (t = 0; t < DECISIONS; t++) {
        uint32_t j;
        int32_t action;
        for (j = 0u; j < model->obs; j++) {
            obs[j] = draw_float();
        }
        for (j = 0u; j < model->actions; j++) {
            mask[j] = (uint8_t)draw(2u);
        }
        mask[draw(model->actions)] = 1u;
        forget_denormals();
        action = kd_decide(model, obs, mask, hidden, hidden, logits, 16u);
        require_no_denormals();
        fuzz_require((action >= 0) && (mask[action] != 0u));
    }
}

/* A model of which a bit is not what it was answers rightly or not at all. */
static void upset(kd_model *model, const uint8_t *mask, const float *obs, const float *hidden, float *logits)
{
    float *next = malloc(model->hidden * sizeof *next);
    float *right = malloc(model->actions * sizeof *right);
    kd_model *changed = malloc(sizeof *changed);
    const int32_t action = kd_step(model, obs, mask, hidden, next, logits);
    uint32_t bit;
    fuzz_require((next != NULL) && (right != NULL) && (changed != NULL));
    (void)memcpy(right, logits, model->actions * sizeof *right);
    for (bit = 0u; bit < 8u * (uint32_t)sizeof *model; bit++) {
        int32_t status;
        (void)memcpy(changed, model, sizeof *changed);
        ((uint8_t *)changed)[bit / 8u] ^= (uint8_t)(1u << (bit % 8u));
        status = kd_decide(changed, obs, mask, hidden, next, logits, 1u);
        fuzz_require((status == KD_ERR_UPSET) ||
                     ((status == action) && (memcmp(right, logits, model->actions * sizeof *right) == 0)));
        status = kd_verify(changed);
        fuzz_require((status == KD_ERR_UPSET) || (status == KD_OK));
    }
    free(next);
    free(right);
    free(changed);
}

static void load_and_fly(const uint8_t *table, uint32_t length)
{
    static kd_model model;
    const uint32_t words = (uint32_t)kd_required_words(table, length);
    kd_word *storage = malloc(words * sizeof *storage);
    uint8_t *mask;
    float *obs;
    float *hidden;
    float *logits;
    fuzz_require((storage != NULL) && (kd_load(&model, table, length, storage, words) == KD_OK));
    mask = calloc(model.actions, 1u);
    obs = calloc(model.obs, sizeof *obs);
    hidden = calloc(model.hidden, sizeof *hidden);
    logits = calloc(model.actions, sizeof *logits);
    fuzz_require((mask != NULL) && (obs != NULL) && (hidden != NULL) && (logits != NULL));
    fly(&model, mask, obs, hidden, logits);
    upset(&model, mask, obs, hidden, logits);
    free(storage);
    free(mask);
    free(obs);
    free(hidden);
    free(logits);
}

static uint32_t read_table(const char *path, uint8_t *bytes)
{
    FILE *file = fopen(path, "rb");
    size_t length;
    fuzz_require(file != NULL);
    length = fread(bytes, 1u, (size_t)LONGEST, file);
    fuzz_require((fclose(file) == 0) && (length < (size_t)LONGEST));
    return (uint32_t)length;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[LONGEST];
    int i;
    for (i = 2; i < argc; i++) {
        const uint32_t length = read_table(argv[i], bytes);
        uint8_t *table = copied(bytes, length);
        long count;
        load_and_fly(table, length);
        truncate(table, length);
        for (count = atol(argv[1]); count > 0; count--) {
            mutate(table, length);
        }
        free(table);
    }
    (void)printf("%d tables\n", argc - 2);
    return 0;
}
