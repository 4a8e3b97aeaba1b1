/* Whatever a weight table holds, the engine refuses it or flies it, and touches no memory but what it was given.
 *
 * libFuzzer's entry point (`make fuzz`), and that of check.c. The input is a table. Its length and CRC-32 are made to
 * agree, so that what comes after those checks is reached; an odd last byte leaves them as they are.
 */
#include "fuzz_table.h"

#include "kd_crc.h"
#include "kd_engine.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DECISIONS = 3 };

static void put32(uint8_t *bytes, uint32_t word)
{
    uint32_t i;
    for (i = 0u; i < 4u; i++) {
        bytes[i] = (uint8_t)((word >> (8u * i)) & 0xFFu);
    }
}

void fuzz_require(int condition)
{
    if (!condition) {
        abort();
    }
}

/* Every buffer is as long as it must be and no longer, so that a sanitizer sees the first byte beyond. */
static void *copied(const void *bytes, size_t count)
{
    void *copy = malloc((count > 0u) ? count : 1u);
    fuzz_require(copy != NULL);
    if (count > 0u) {
        (void)memcpy(copy, bytes, count);
    }
    return copy;
}

/* Floats of any bits, taken from the table itself. */
static float *drawn(const uint8_t *data, size_t size, uint32_t count, uint32_t *at)
{
    float *values = malloc((count > 0u) ? (count * sizeof *values) : 1u);
    uint32_t i;
    fuzz_require(values != NULL);
    for (i = 0u; i < count; i++) {
        kd_word word;
        word.bits = 0u;
        while (*at + 4u > size) {
            *at -= (uint32_t)size - 3u;
        }
        (void)memcpy(&word.bits, &data[*at], 4u);
        *at += 4u;
        if ((word.bits & 0x40u) != 0u) { /* else most would be refused */
            word.value = (float)(int32_t)(word.bits >> 8) * 1e-6f;
        }
        values[i] = word.value;
    }
    return values;
}

/* What is heard is not read: its bits may be any. */
static void send(const kd_model *model, const float *obs, const float *hidden)
{
    uint32_t message = 0u;
    const int32_t status = kd_send(model, obs, hidden, &message);
    if (model->messages == 0u) {
        fuzz_require(status == KD_ERR_ARGUMENT);
    } else {
        fuzz_require((status == KD_ERR_OBSERVATION) || (status == KD_ERR_OUTPUT) || (status == KD_OK));
        fuzz_require((model->messages == 32u) || ((message >> model->messages) == 0u));
    }
}

static void fly(kd_model *model, const uint8_t *data, size_t size)
{
    float *hidden = calloc(model->hidden, sizeof *hidden);
    float *logits = calloc(model->actions, sizeof *logits);
    uint8_t *mask = calloc(model->actions, 1u);
    uint32_t at = 16u;
    int t;
    fuzz_require((hidden != NULL) && (logits != NULL) && (mask != NULL));
    for (t = 0; t < DECISIONS; t++) {
        float *obs = drawn(data, size, model->obs, &at);
        uint32_t j;
        int32_t action;
        for (j = 0u; j < model->actions; j++) {
            mask[j] = (uint8_t)(((uint32_t)data[(at + j) % size] >> (t + 1)) & 1u);
        }
        send(model, obs, hidden);
        action = kd_decide(model, obs, mask, hidden, hidden, logits, 7u);
        fuzz_require((action == KD_ERR_OBSERVATION) || (action == KD_ERR_MASK) || (action == KD_ERR_OUTPUT) ||
                     ((action >= 0) && (action < (int32_t)model->actions) && (mask[action] != 0u)));
        for (j = 0u; (action >= 0) && (j < model->hidden); j++) {
            fuzz_require((hidden[j] >= -1.0f) && (hidden[j] <= 1.0f));
        }
        if (action == KD_ERR_OUTPUT) { /* `next` is not to be used */
            (void)memset(hidden, 0, model->hidden * sizeof *hidden);
        }
        free(obs);
    }
    free(hidden);
    free(logits);
    free(mask);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kd_model model;
    uint8_t *table = copied(data, size);
    int32_t words;
    if ((size >= 16u) && ((data[size - 1u] & 1u) == 0u)) {
        (void)memcpy(table, "KDWT\1\0\0\0", 8u);
        put32(&table[8], (uint32_t)size);
        put32(&table[12], kd_crc32(0u, &table[16], (uint32_t)size - 16u));
    }
    words = kd_required_words(table, (uint32_t)size);
    fuzz_require((words < 0) == (kd_validate(table, (uint32_t)size) < 0));
    if (words < 0) {
        kd_word none;
        fuzz_require(kd_load(&model, table, (uint32_t)size, &none, 0u) == words);
    } else {
        kd_word *storage = malloc((uint32_t)words * sizeof *storage);
        fuzz_require(storage != NULL);
        fuzz_require(kd_load(&model, table, (uint32_t)size, storage, (uint32_t)words - 1u) == KD_ERR_MEMORY);
        fuzz_require(kd_load(&model, table, (uint32_t)size, storage, (uint32_t)words) == KD_OK);
        fly(&model, table, size);
        free(storage);
    }
    free(table);
    return 0;
}
