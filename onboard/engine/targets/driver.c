/* The engine behind a byte channel, the same on every emulated processor and in the worker process (../worker.c).
 *
 * Little-endian: request = u32 opcode, u32 length, payload; answer = i32 status, u32 length, payload.
 *   LOAD    a weight table                                      -> status of kd_load
 *   DECIDE  u32 words to scrub, obs f32[O], mask u8[A], hidden f32[H]
 *                                  -> action or error; without an error also logits f32[A], next hidden f32[H]
 *   SEND    obs f32[O], hidden f32[H]                           -> status of kd_send; without an error also u32 message
 *   VERIFY  nothing                                             -> status of kd_verify
 *   QUIT    nothing                                             -> no answer
 *   STEP    as DECIDE; kd_step alone, so that its instructions can be counted
 *   FLIP    u32 bit, counted modulo the number of them          -> 0; inverts a bit of the weights in memory
 * STEP and FLIP are for tests on the ground: a build has them if KD_DRIVER_TESTS is defined.
 */
#include "../kd_engine.h"
#include "port.h"

#ifndef KD_DRIVER_TABLE_BYTES
#define KD_DRIVER_TABLE_BYTES 1835008u /* with as much storage again, within the 4 MiB of the smallest machine */
#endif
#ifndef KD_DRIVER_STORAGE_WORDS
#define KD_DRIVER_STORAGE_WORDS (KD_DRIVER_TABLE_BYTES / 4u)
#endif

enum { LOAD = 1, DECIDE = 2, VERIFY = 3, QUIT = 4, STEP = 5, FLIP = 6, SEND = 7 };

#define HEADER_BYTES 8u

static uint8_t request[KD_DRIVER_TABLE_BYTES];
static uint8_t answer[HEADER_BYTES + 4u * (KD_MAX_ACTIONS + KD_MAX_UNITS)];
static kd_word storage[KD_DRIVER_STORAGE_WORDS];
static kd_model model;
static float obs[KD_MAX_OBS];
static float hidden[KD_MAX_UNITS];
static float logits[KD_MAX_ACTIONS];

static uint32_t get(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | ((uint32_t)bytes[1] << 8) | ((uint32_t)bytes[2] << 16) | ((uint32_t)bytes[3] << 24);
}

static void put(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)(word & 0xFFu);
    bytes[1] = (uint8_t)((word >> 8) & 0xFFu);
    bytes[2] = (uint8_t)((word >> 16) & 0xFFu);
    bytes[3] = (uint8_t)(word >> 24);
}

static void get_floats(const uint8_t *bytes, float *values, uint32_t count)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        kd_word word;
        word.bits = get(&bytes[4u * i]);
        values[i] = word.value;
    }
}

static void put_floats(uint8_t *bytes, const float *values, uint32_t count)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        kd_word word;
        word.value = values[i];
        put(&bytes[4u * i], word.bits);
    }
}

static int32_t load(uint32_t length)
{
    const int32_t status = kd_load(&model, request, length, storage, KD_DRIVER_STORAGE_WORDS);
    if (status != KD_OK) {
        model.storage = 0; /* whoever sent the table did not mean the old policy to go on */
    }
    return status;
}

/* The answer's payload goes to `results`, its length to `length`. */
static int32_t decide(uint32_t opcode, uint32_t given, uint8_t *results, uint32_t *length)
{
    const uint8_t *const mask = &request[4u + 4u * model.obs];
    int32_t action;
    if (given != 4u + 4u * model.obs + model.actions + 4u * model.hidden) {
        return KD_ERR_LENGTH;
    }
    get_floats(&request[4], obs, model.obs);
    get_floats(&mask[model.actions], hidden, model.hidden);
    if (opcode == (uint32_t)DECIDE) {
        action = kd_decide(&model, obs, mask, hidden, hidden, logits, get(request));
    } else {
        action = kd_step(&model, obs, mask, hidden, hidden, logits);
    }
    if (action >= 0) {
        put_floats(results, logits, model.actions);
        put_floats(&results[4u * model.actions], hidden, model.hidden);
        *length = 4u * (model.actions + model.hidden);
    }
    return action;
}

static int32_t send(uint32_t given, uint8_t *results, uint32_t *length)
{
    uint32_t message = 0u;
    int32_t status;
    if (given != 4u * (model.obs + model.hidden)) {
        return KD_ERR_LENGTH;
    }
    get_floats(request, obs, model.obs);
    get_floats(&request[4u * model.obs], hidden, model.hidden);
    status = kd_send(&model, obs, hidden, &message);
    if (status == KD_OK) {
        put(results, message);
        *length = 4u;
    }
    return status;
}

#ifdef KD_DRIVER_TESTS
static int32_t test(uint32_t opcode, uint32_t given, uint8_t *results, uint32_t *length)
{
    if (opcode == (uint32_t)STEP) {
        return decide(opcode, given, results, length);
    }
    if ((opcode == (uint32_t)FLIP) && (given == 4u)) {
        const uint32_t bit = get(request);
        uint32_t word = bit / 32u;
        while (word >= model.words) { /* not every processor divides */
            word -= model.words;
        }
        storage[word].bits ^= (uint32_t)1u << (bit % 32u);
        return KD_OK;
    }
    return KD_ERR_ARGUMENT;
}
#endif

/* A request that has been received whole: its status. */
static int32_t answer_to(uint32_t opcode, uint32_t given, uint8_t *results, uint32_t *length)
{
    if (given > sizeof request) {
        return KD_ERR_LENGTH;
    }
    if (opcode == (uint32_t)LOAD) {
        return load(given);
    }
    if (model.storage == 0) {
        return KD_ERR_ARGUMENT;
    }
    if (opcode == (uint32_t)DECIDE) {
        return decide(opcode, given, results, length);
    }
    if (opcode == (uint32_t)SEND) {
        return send(given, results, length);
    }
    if (opcode == (uint32_t)VERIFY) {
        return kd_verify(&model);
    }
#ifdef KD_DRIVER_TESTS
    return test(opcode, given, results, length);
#else
    return KD_ERR_ARGUMENT;
#endif
}

/* A payload that does not fit is read to its end, so that the next request is found. */
static int receive(uint32_t length)
{
    uint32_t left = length;
    int ended = 0;
    while ((left > sizeof request) && (ended == 0)) {
        ended = port_read(request, (uint32_t)sizeof request);
        left -= (uint32_t)sizeof request;
    }
    return (ended == 0) ? port_read(request, left) : ended;
}

const void *served(void)
{
    return &model;
}

void serve(void)
{
    uint8_t header[HEADER_BYTES];
    while (port_read(header, HEADER_BYTES) == 0) {
        const uint32_t opcode = get(header);
        const uint32_t given = get(&header[4]);
        uint32_t length = 0u;
        int32_t status;
        if ((receive(given) != 0) || (opcode == (uint32_t)QUIT)) {
            return;
        }
        status = answer_to(opcode, given, &answer[HEADER_BYTES], &length);
        put(answer, (uint32_t)status);
        put(&answer[4], length);
        if (port_write(answer, HEADER_BYTES + length) != 0) {
            return;
        }
    }
}
