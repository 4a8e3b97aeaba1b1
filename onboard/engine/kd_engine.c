/* One decision of a loaded policy. The equations are in ../FORMAT.md; linear maps are in the order of its tables. */
/* cppcheck-suppress-file misra-c2012-15.5 ; a function returns as soon as it refuses an input */
/* cppcheck-suppress-file misra-c2012-19.2 ; kd_word reads the bits of a float without a second copy */
/* cppcheck-suppress-file misra-c2012-8.7 ; kd_engine.h is called by whoever links the engine */
/* cppcheck-suppress-file misra-c2012-8.9 ; the working memory stands in one place, so that all of it is seen at once */
#include "kd_engine.h"
#include "kd_linear.h"
#include "kd_math.h"

#define UNITS ((((uint32_t)KD_MAX_UNITS + KD_BLOCK - 1u) / KD_BLOCK) * KD_BLOCK)
#define ACTIONS ((((uint32_t)KD_MAX_ACTIONS + KD_BLOCK - 1u) / KD_BLOCK) * KD_BLOCK)

enum { CONTEXT, SLOT, FROM_INPUT, FROM_HIDDEN, QUERY, KEY, FIXED };      /* of KD_OPPORTUNITY */
enum { ENCODER, RECURRENT_FROM_INPUT, RECURRENT_FROM_HIDDEN, HEAD, SENDER }; /* of KD_RECURRENT */

/* The working memory of the one decision that is under way. */
static float context_in[KD_MAX_OBS];
static float slot_in[KD_MAX_OBS]; /* [K, F] */
static float unit_a[UNITS];
static float unit_b[UNITS];
static float unit_c[UNITS];
static float entity[(uint32_t)KD_MAX_SLOTS + 1u][UNITS];
static float gate_input[3u * UNITS];
static float gate_hidden[3u * UNITS];
static float output[ACTIONS];

static float relu(float x)
{
    return (x < KD_TINY) ? 0.0f : x; /* NaN stays NaN */
}

/* torch's GRU cell, gates in the order r, z, n: next from x and hidden, which may be the same memory. */
static void gru(const kd_model *m, uint32_t from_input, const float *x, const float *hidden, float *next)
{
    const uint32_t h = m->hidden;
    uint32_t j;
    kd_linear_apply(m, from_input, x, gate_input);
    kd_linear_apply(m, from_input + 1u, hidden, gate_hidden);
    for (j = 0u; j < h; j++) {
        gate_input[j] = kd_sigmoid(gate_input[j] + gate_hidden[j]);
    }
    for (j = h; j < (2u * h); j++) {
        gate_input[j] = kd_sigmoid(gate_input[j] + gate_hidden[j]);
    }
    for (j = 0u; j < h; j++) {
        const float r = gate_input[j];
        const float z = gate_input[h + j];
        const float n = kd_tanh(kd_flush(gate_input[(2u * h) + j] + (r * kd_flush(gate_hidden[(2u * h) + j]))));
        next[j] = kd_flush(((1.0f - z) * n) + (z * hidden[j]));
    }
}

/* Sort the columns of an observation into those about the satellite and those of each slot. */
static void split(const kd_model *m, const float *obs)
{
    uint32_t column = 0u;
    uint32_t context = 0u;
    uint32_t feature = 0u;
    uint32_t block;
    for (block = 0u; block < m->blocks; block++) {
        const uint32_t size = m->block_size[block];
        uint32_t i;
        if (m->block_slots[block] == 0u) {
            for (i = 0u; i < size; i++) {
                context_in[context] = kd_flush(obs[column]);
                context++;
                column++;
            }
        } else {
            uint32_t slot;
            for (slot = 0u; slot < m->slots; slot++) {
                for (i = 0u; i < size; i++) {
                    slot_in[(slot * m->slot_size) + feature + i] = kd_flush(obs[column]);
                    column++;
                }
            }
            feature += size;
        }
    }
}

/* The score of a slot, from score weights and s = relu(key + query); sums side by side, then in pairs. */
static float score_of(const kd_model *m, const float *key, const float *query)
{
    const kd_word *w = &m->storage[m->score];
    const uint32_t room = (m->hidden + KD_BLOCK - 1u) / KD_BLOCK * KD_BLOCK;
    float sum[KD_BLOCK] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    uint32_t i;
    uint32_t k;
    for (i = 0u; i < room; i += KD_BLOCK) {
        for (k = 0u; k < KD_BLOCK; k++) {
            sum[k] += w[i + k].value * relu(key[i + k] + query[i + k]);
        }
    }
    return (((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]))) + w[room].value;
}

static void opportunity(const kd_model *m, const float *obs, const uint8_t *mask, const float *hidden, float *next,
                        float *logits)
{
    const uint32_t h = m->hidden;
    const uint32_t padded = (h + KD_BLOCK - 1u) / KD_BLOCK * KD_BLOCK;
    float *const u = unit_a;
    float *const pooled = unit_b;
    float *const each = unit_c;
    uint32_t legal = 0u;
    uint32_t slot;
    uint32_t j;
    split(m, obs);
    kd_linear_apply(m, CONTEXT, context_in, u);
    for (j = 0u; j < h; j++) {
        pooled[j] = 0.0f;
    }
    for (slot = 0u; slot < m->slots; slot++) {
        /* NOLINTNEXTLINE(bugprone-implicit-widening-of-multiplication-result) ; it is below KD_MAX_OBS */
        kd_linear_apply(m, SLOT, &slot_in[slot * m->slot_size], each);
        for (j = 0u; j < h; j++) {
            each[j] = relu(u[j] + each[j]);
        }
        if (mask[m->fixed + slot] != 0u) {
            legal++;
            for (j = 0u; j < h; j++) {
                pooled[j] += each[j];
            }
        }
        kd_linear_apply(m, KEY, each, entity[slot + 1u]);
        for (j = h; j < padded; j++) {
            entity[slot + 1u][j] = 0.0f; /* 0 times infinity would make it NaN */
        }
    }
    for (j = 0u; j < h; j++) {
        u[j] = relu(u[j]); /* the satellite itself, as an entity without a slot */
    }
    kd_linear_apply(m, KEY, u, entity[0]);
    if (legal > 0u) {
        const float share = 1.0f / (float)legal;
        for (j = 0u; j < h; j++) {
            pooled[j] = u[j] + (pooled[j] * share);
        }
    } else {
        for (j = 0u; j < h; j++) {
            pooled[j] = u[j];
        }
    }
    gru(m, FROM_INPUT, pooled, hidden, next);
    kd_linear_apply(m, QUERY, next, pooled);
    for (j = 0u; j < h; j++) {
        each[j] = relu(entity[0][j] + pooled[j]);
    }
    kd_linear_apply(m, FIXED, each, output);
    for (j = 0u; j < m->fixed; j++) {
        logits[j] = output[j];
    }
    for (slot = 0u; slot < m->slots; slot++) {
        logits[m->fixed + slot] = score_of(m, entity[slot + 1u], pooled);
    }
}

static void recurrent(const kd_model *m, const float *obs, const float *hidden, float *next, float *logits)
{
    uint32_t j;
    for (j = 0u; j < m->obs; j++) {
        context_in[j] = kd_flush(obs[j]);
    }
    kd_linear_apply(m, ENCODER, context_in, unit_a);
    for (j = 0u; j < m->hidden; j++) {
        unit_a[j] = (m->activation == (uint32_t)KD_TANH) ? kd_flush(kd_tanh(kd_flush(unit_a[j]))) : relu(unit_a[j]);
    }
    gru(m, RECURRENT_FROM_INPUT, unit_a, hidden, next);
    kd_linear_apply(m, HEAD, next, output);
    for (j = 0u; j < m->actions; j++) {
        logits[j] = output[j];
    }
}

static int is_state(const float *hidden, uint32_t count)
{
    uint32_t j;
    int good = 1;
    for (j = 0u; j < count; j++) {
        /* cppcheck-suppress [misra-c2012-10.3, bitwiseOnBoolean] ; both are 0 or 1, and && would be a branch */
        good &= (hidden[j] >= -1.0f) & (hidden[j] <= 1.0f); /* false for NaN */
    }
    return good;
}

static int are_finite(const float *values, uint32_t count)
{
    uint32_t j;
    int good = 1;
    for (j = 0u; j < count; j++) {
        good &= kd_is_finite(values[j]);
    }
    return good;
}

int32_t kd_step(const kd_model *model, const float *obs, const uint8_t *mask, const float *hidden, float *next,
                float *logits)
{
    int32_t best = -1;
    uint32_t j;
    if ((model == NULL) || (model->storage == NULL) || (obs == NULL) || (mask == NULL) || (hidden == NULL) ||
        (next == NULL) || (logits == NULL)) {
        return KD_ERR_ARGUMENT;
    }
    if (!are_finite(obs, model->obs)) {
        return KD_ERR_OBSERVATION;
    }
    if (!is_state(hidden, model->hidden)) {
        return KD_ERR_STATE;
    }
    for (j = 0u; (j < model->actions) && (best < 0); j++) {
        best = (mask[j] != 0u) ? (int32_t)j : -1;
    }
    if (best < 0) {
        return KD_ERR_MASK;
    }
    if (model->architecture == (uint32_t)KD_OPPORTUNITY) {
        opportunity(model, obs, mask, hidden, next, logits);
    } else {
        recurrent(model, obs, hidden, next, logits);
    }
    if (!is_state(next, model->hidden) || !are_finite(logits, model->actions)) {
        return KD_ERR_OUTPUT;
    }
    for (j = (uint32_t)best + 1u; j < model->actions; j++) {
        if ((mask[j] != 0u) && (logits[j] > logits[best])) {
            best = (int32_t)j;
        }
    }
    return best;
}

/* Before anything is heard: the last block counts as 0. The gates' memory is free until the decision. */
static int32_t compose(const kd_model *m, const float *obs, const float *hidden, uint32_t *message)
{
    const uint32_t own = m->obs - m->block_size[m->blocks - 1u];
    uint32_t bits = 0u;
    uint32_t j;
    if (!are_finite(obs, own)) {
        return KD_ERR_OBSERVATION;
    }
    if (!is_state(hidden, m->hidden)) {
        return KD_ERR_STATE;
    }
    for (j = 0u; j < own; j++) {
        context_in[j] = kd_flush(obs[j]);
    }
    for (j = own; j < m->obs; j++) {
        context_in[j] = 0.0f;
    }
    kd_linear_apply(m, ENCODER, context_in, unit_a);
    for (j = 0u; j < m->hidden; j++) {
        gate_input[j] = relu(unit_a[j]);
        gate_input[m->hidden + j] = hidden[j];
    }
    kd_linear_apply(m, SENDER, gate_input, gate_hidden);
    if (!are_finite(gate_hidden, m->messages)) {
        return KD_ERR_OUTPUT;
    }
    for (j = 0u; j < m->messages; j++) {
        bits |= ((gate_hidden[j] >= 0.0f) ? 1u : 0u) << j;
    }
    *message = bits;
    return KD_OK;
}

int32_t kd_send(const kd_model *model, const float *obs, const float *hidden, uint32_t *message)
{
    int32_t status = kd_check(model);
    int32_t upset;
    uint32_t composed = 0u;
    if (status != KD_OK) {
        return status;
    }
    if ((model->messages == 0u) || (obs == NULL) || (hidden == NULL) || (message == NULL)) {
        return KD_ERR_ARGUMENT;
    }
    status = compose(model, obs, hidden, &composed);
    upset = kd_verify(model); /* upset weights may be why it failed, so they are named first */
    if (upset != KD_OK) {
        status = upset;
    }
    if (status == KD_OK) {
        *message = composed; /* nothing that upset weights made is given out */
    }
    return status;
}

int32_t kd_decide(kd_model *model, const float *obs, const uint8_t *mask, const float *hidden, float *next,
                  float *logits, uint32_t words)
{
    int32_t status;
    int32_t action;
    if ((model == NULL) || (model->storage == NULL)) {
        return KD_ERR_ARGUMENT;
    }
    status = kd_check(model);
    if (status != KD_OK) {
        return status;
    }
    action = kd_step(model, obs, mask, hidden, next, logits);
    /* Upset weights may be why a step failed, so they are looked for, and named, first. */
    status = kd_verify(model);
    if (status == KD_OK) {
        status = kd_scrub(model, words);
    }
    return (status == KD_OK) ? action : status;
}

int32_t kd_serve(const kd_request *request)
{
    if (request == NULL) {
        return KD_ERR_ARGUMENT;
    }
    return kd_decide(request->model, request->obs, request->mask, request->hidden, request->next, request->logits,
                     request->words);
}
