/* Weight tables: what is checked before one is used, and what is checked while it is. */
/* cppcheck-suppress-file misra-c2012-15.5 ; a function returns as soon as it refuses an input */
/* cppcheck-suppress-file misra-c2012-19.2 ; kd_word reads the bits of a float without a second copy */
/* cppcheck-suppress-file misra-c2012-8.7 ; kd_engine.h is called by whoever links the engine */
#include "kd_engine.h"
#include "kd_crc.h"
#include "kd_math.h"

#define MAGIC 0x5457444Bu /* "KDWT" */
#define VERSION 1u
#define HEADER_BYTES 48u
#define CHECKED_FROM 16u /* the CRC-32 is of everything after itself */

/* Below these magnitudes a weight is nothing, and with them no product or sum of a decision is a denormal number:
 * flight FPUs trap on those, or take hundreds of cycles (kd_math.h has the other half of the argument). */
#define SMALLEST_WEIGHT 1e-12f

enum { LINEARS_OPPORTUNITY = 7, LINEARS_RECURRENT = 4 }; /* and one more where messages are sent */

/* Where in the table the next tensor is, and where in the storage it goes. */
typedef struct {
    const uint8_t *table;
    uint32_t length;
    uint32_t at;
    kd_word *storage; /* null: only count */
    uint32_t limit;   /* words of it */
    uint32_t words;
} cursor;

static uint32_t read16(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | ((uint32_t)bytes[1] << 8);
}

static uint32_t read32(const uint8_t *bytes)
{
    return read16(bytes) | (read16(&bytes[2]) << 16);
}

static uint32_t padded(uint32_t outputs)
{
    return (outputs + (KD_BLOCK - 1u)) / KD_BLOCK * KD_BLOCK;
}

static int is_intact(const uint8_t *table, uint32_t length)
{
    return read32(&table[12]) == kd_crc32(0u, &table[CHECKED_FROM], length - CHECKED_FROM);
}

static int has_room(const cursor *c, uint32_t room)
{
    /* uncovered: it is false only where another task changes the table after it was measured */
    return (c->storage == NULL) || (room <= (c->limit - c->words));
}

/* The next `count` floats to the storage, then zeros up to `room`. */
static int32_t take_floats(cursor *c, uint32_t count, uint32_t room)
{
    uint32_t i;
    if (count > ((c->length - c->at) / 4u)) {
        return KD_ERR_LENGTH;
    }
    if (!has_room(c, room)) { /* uncovered: as has_room says */
        return KD_ERR_MEMORY; /* uncovered: as has_room says */
    }
    for (i = 0u; i < count; i++) {
        kd_word word;
        word.bits = read32(&c->table[c->at + (4u * i)]);
        if (!kd_is_finite(word.value)) {
            return KD_ERR_WEIGHT;
        }
        if ((word.value < SMALLEST_WEIGHT) && (word.value > -SMALLEST_WEIGHT)) {
            word.bits = 0u;
        }
        if (c->storage != NULL) {
            c->storage[c->words + i] = word;
        }
    }
    for (; (c->storage != NULL) && (i < room); i++) {
        c->storage[c->words + i].bits = 0u;
    }
    c->at += 4u * count;
    c->words += room;
    return KD_OK;
}

/* A matrix [outputs, inputs] of float32 to blocks of outputs, input-major within a block. */
static int32_t take_float_matrix(cursor *c, uint32_t outputs, uint32_t inputs)
{
    const uint32_t count = outputs * inputs;
    const uint32_t room = padded(outputs) * inputs;
    uint32_t i;
    uint32_t row;
    if (count > ((c->length - c->at) / 4u)) {
        return KD_ERR_LENGTH;
    }
    if (!has_room(c, room)) { /* uncovered: as has_room says */
        return KD_ERR_MEMORY; /* uncovered: as has_room says */
    }
    for (i = 0u; (c->storage != NULL) && (i < room); i++) {
        c->storage[c->words + i].bits = 0u;
    }
    for (row = 0u; row < outputs; row++) {
        const uint32_t block = c->words + ((row / KD_BLOCK) * KD_BLOCK * inputs) + (row % KD_BLOCK);
        for (i = 0u; i < inputs; i++) {
            kd_word word;
            word.bits = read32(&c->table[c->at + (4u * ((row * inputs) + i))]);
            if (!kd_is_finite(word.value)) {
                return KD_ERR_WEIGHT;
            }
            if ((word.value < SMALLEST_WEIGHT) && (word.value > -SMALLEST_WEIGHT)) {
                word.bits = 0u;
            }
            if (c->storage != NULL) {
                c->storage[block + (KD_BLOCK * i)] = word;
            }
        }
    }
    c->at += 4u * count;
    c->words += room;
    return KD_OK;
}

/* A matrix [outputs, inputs] of int8, laid out as the float one; in the table it is padded to whole words. */
static int32_t take_int8_matrix(cursor *c, uint32_t outputs, uint32_t inputs)
{
    const uint32_t count = (((outputs * inputs) + 3u) / 4u) * 4u;
    const uint32_t room = padded(outputs) * inputs / 4u;
    uint32_t i;
    if (count > (c->length - c->at)) {
        return KD_ERR_LENGTH;
    }
    if (!has_room(c, room)) { /* uncovered: as has_room says */
        return KD_ERR_MEMORY; /* uncovered: as has_room says */
    }
    for (i = outputs * inputs; i < count; i++) {
        if (c->table[c->at + i] != 0u) {
            return KD_ERR_WEIGHT;
        }
    }
    if (c->storage != NULL) {
        uint8_t *const bytes = (uint8_t *)&c->storage[c->words];
        uint32_t row;
        for (i = 0u; i < room; i++) {
            c->storage[c->words + i].bits = 0u;
        }
        for (row = 0u; row < outputs; row++) {
            const uint32_t block = ((row / KD_BLOCK) * KD_BLOCK * inputs) + (row % KD_BLOCK);
            for (i = 0u; i < inputs; i++) {
                bytes[block + (KD_BLOCK * i)] = c->table[c->at + (row * inputs) + i];
            }
        }
    }
    c->at += count;
    c->words += room;
    return KD_OK;
}

/* The next linear map of the table: [scales], weights, [biases]. Without biases the storage has zeros. */
static int32_t take_linear(cursor *c, kd_linear *linear, uint32_t dtype, uint32_t outputs, uint32_t inputs,
                           int has_bias)
{
    int32_t status = KD_OK;
    linear->inputs = inputs;
    linear->outputs = outputs;
    linear->scales = KD_NONE;
    if (dtype == (uint32_t)KD_INT8) {
        linear->scales = c->words;
        status = take_floats(c, outputs, padded(outputs));
        linear->weights = c->words;
        if (status == KD_OK) {
            status = take_int8_matrix(c, outputs, inputs);
        }
    } else {
        linear->weights = c->words;
        status = take_float_matrix(c, outputs, inputs);
    }
    linear->biases = c->words;
    if (status == KD_OK) {
        status = take_floats(c, has_bias ? outputs : 0u, padded(outputs));
    }
    return status;
}

/* The tensors of a model whose dimensions are known; also says how many words they take. */
static int32_t take_tensors(cursor *c, kd_model *m)
{
    const uint32_t h = m->hidden;
    int32_t status;
    uint32_t i;
    if (m->architecture == (uint32_t)KD_OPPORTUNITY) {
        const uint32_t shape[LINEARS_OPPORTUNITY][3] = {
            {h, m->context, 1u}, {h, m->slot_size, 0u}, {3u * h, h, 1u}, {3u * h, h, 1u},
            {h, h, 1u},          {h, h, 0u},            {m->fixed, h, 1u},
        };
        for (i = 0u; i < (uint32_t)LINEARS_OPPORTUNITY; i++) {
            status = take_linear(c, &m->linear[i], m->dtype, shape[i][0], shape[i][1], shape[i][2] != 0u);
            if (status != KD_OK) {
                return status;
            }
        }
        m->score = c->words;
        status = take_floats(c, h, padded(h));
        return (status == KD_OK) ? take_floats(c, 1u, 1u) : status;
    }
    {
        const uint32_t shape[LINEARS_RECURRENT][2] = {{h, m->obs}, {3u * h, h}, {3u * h, h}, {m->actions, h}};
        for (i = 0u; i < (uint32_t)LINEARS_RECURRENT; i++) {
            status = take_linear(c, &m->linear[i], m->dtype, shape[i][0], shape[i][1], 1);
            if (status != KD_OK) {
                return status;
            }
        }
    }
    if (m->messages > 0u) {
        return take_linear(c, &m->linear[LINEARS_RECURRENT], m->dtype, m->messages, 2u * h, 1);
    }
    return KD_OK;
}

/* Whether a network of these dimensions can send messages: a small one as it is trained. A message is computed in the
 * memory of the gates, which have three times as many outputs as there are units. */
static int may_send(const kd_model *m)
{
    return (m->architecture == (uint32_t)KD_RECURRENT) && (m->dtype == (uint32_t)KD_FLOAT32) &&
           (m->activation == (uint32_t)KD_RELU) && (m->messages <= KD_MAX_MESSAGE) &&
           (m->messages <= (3u * padded(m->hidden))) && (m->blocks > 1u);
}

/* The header's dimensions, each within its maximum before it is multiplied. */
static int32_t take_dimensions(kd_model *m, const uint8_t *table, uint32_t length)
{
    uint32_t i;
    m->architecture = read32(&table[16]);
    m->dtype = read32(&table[20]);
    m->activation = read32(&table[24]);
    m->hidden = read32(&table[28]);
    m->slots = read32(&table[32]);
    m->fixed = read32(&table[36]);
    m->blocks = read32(&table[40]);
    m->messages = read32(&table[44]);
    m->obs = 0u;
    m->context = 0u;
    m->slot_size = 0u;
    if (((m->architecture != (uint32_t)KD_OPPORTUNITY) && (m->architecture != (uint32_t)KD_RECURRENT)) ||
        ((m->dtype != (uint32_t)KD_FLOAT32) && (m->dtype != (uint32_t)KD_INT8)) ||
        ((m->activation != (uint32_t)KD_RELU) && (m->activation != (uint32_t)KD_TANH)) ||
        (m->hidden == 0u) || (m->hidden > (uint32_t)KD_MAX_UNITS) || (m->slots > (uint32_t)KD_MAX_SLOTS) ||
        (m->fixed > (uint32_t)KD_MAX_ACTIONS) || (m->blocks == 0u) || (m->blocks > (uint32_t)KD_MAX_BLOCKS) ||
        ((m->messages > 0u) && !may_send(m))) {
        return KD_ERR_SHAPE;
    }
    m->actions = m->fixed + m->slots;
    if ((m->actions == 0u) || (m->actions > (uint32_t)KD_MAX_ACTIONS)) {
        return KD_ERR_SHAPE;
    }
    /* The opportunity network is defined with relu, and needs an action of its own. */
    if ((m->architecture == (uint32_t)KD_OPPORTUNITY) &&
        ((m->activation != (uint32_t)KD_RELU) || (m->fixed == 0u))) {
        return KD_ERR_SHAPE;
    }
    if ((4u * m->blocks) > (length - HEADER_BYTES)) {
        return KD_ERR_LENGTH;
    }
    for (i = 0u; i < m->blocks; i++) {
        const uint32_t size = read16(&table[HEADER_BYTES + (4u * i)]);
        const uint32_t slots = read16(&table[HEADER_BYTES + (4u * i) + 2u]);
        if ((size == 0u) || (size > (uint32_t)KD_MAX_OBS) || ((slots != 0u) && (slots != m->slots))) {
            return KD_ERR_SHAPE;
        }
        m->block_size[i] = (uint16_t)size;
        m->block_slots[i] = (uint16_t)slots;
        m->obs += size * ((slots == 0u) ? 1u : slots);
        if (m->obs > (uint32_t)KD_MAX_OBS) {
            return KD_ERR_SHAPE;
        }
        if (slots == 0u) {
            m->context += size;
        } else {
            m->slot_size += size;
        }
    }
    /* What is heard is not repeated for slots. */
    return ((m->messages > 0u) && (m->block_slots[m->blocks - 1u] != 0u)) ? KD_ERR_SHAPE : KD_OK;
}

/* Every check of a table, and what it says of the model: all but its storage and sums. */
static int32_t examine(kd_model *m, const uint8_t *table, uint32_t length)
{
    cursor c;
    int32_t status;
    if (table == NULL) {
        return KD_ERR_ARGUMENT;
    }
    if (length < HEADER_BYTES) {
        return KD_ERR_LENGTH;
    }
    if (read32(&table[0]) != MAGIC) {
        return KD_ERR_MAGIC;
    }
    if (read32(&table[4]) != VERSION) {
        return KD_ERR_VERSION;
    }
    if (read32(&table[8]) != length) {
        return KD_ERR_LENGTH;
    }
    if (!is_intact(table, length)) {
        return KD_ERR_CRC;
    }
    status = take_dimensions(m, table, length);
    if (status != KD_OK) {
        return status;
    }
    c.table = table;
    c.length = length;
    c.at = HEADER_BYTES + (4u * m->blocks);
    c.storage = NULL;
    c.limit = 0u;
    c.words = 0u;
    status = take_tensors(&c, m);
    if (status != KD_OK) {
        return status;
    }
    m->words = c.words;
    return (c.at == length) ? KD_OK : KD_ERR_LENGTH;
}

int32_t kd_required_words(const uint8_t *table, uint32_t length)
{
    static kd_model probe;
    const int32_t status = examine(&probe, table, length);
    return (status == KD_OK) ? (int32_t)probe.words : status;
}

int32_t kd_model_bytes(void)
{
    return (int32_t)sizeof(kd_model);
}

int32_t kd_validate(const uint8_t *table, uint32_t length)
{
    const int32_t words = kd_required_words(table, length);
    return (words < 0) ? words : KD_OK;
}

static uint32_t sum_of_weights(const kd_model *m)
{
    const kd_word *const w = m->storage;
    uint32_t sum = 0u;
    uint32_t i;
    for (i = 0u; (m->words - i) >= 4u; i += 4u) {
        sum += (w[i].bits + w[i + 1u].bits) + (w[i + 2u].bits + w[i + 3u].bits);
    }
    for (; i < m->words; i++) {
        sum += w[i].bits;
    }
    return sum;
}

static uint32_t sum_of_fields(const kd_model *m)
{
    /* cppcheck-suppress misra-c2012-11.4 ; the address itself is summed, and never made a pointer again */
    const uint64_t storage = (uint64_t)(uintptr_t)m->storage;
    uint32_t sum = (uint32_t)(storage & 0xFFFFFFFFu) + (uint32_t)(storage >> 32) + m->words + m->architecture +
                   m->dtype + m->activation + m->obs + m->hidden + m->context + m->slots + m->slot_size + m->fixed +
                   m->actions + m->blocks + m->messages + m->score;
    uint32_t i;
    for (i = 0u; (i < m->blocks) && (i < (uint32_t)KD_MAX_BLOCKS); i++) {
        sum += (uint32_t)m->block_size[i] + (uint32_t)m->block_slots[i];
    }
    for (i = 0u; i < (uint32_t)KD_MAX_LINEARS; i++) {
        const kd_linear *const map = &m->linear[i];
        sum += map->inputs + map->outputs + map->weights + map->scales + map->biases;
    }
    return sum;
}

/* An architecture need not have all of them, and sum_of_fields takes all. */
static void forget_maps(kd_model *m)
{
    uint32_t i;
    for (i = 0u; i < (uint32_t)KD_MAX_LINEARS; i++) {
        m->linear[i].inputs = 0u;
        m->linear[i].outputs = 0u;
        m->linear[i].weights = 0u;
        m->linear[i].scales = 0u;
        m->linear[i].biases = 0u;
    }
    m->score = 0u;
}

int32_t kd_load(kd_model *model, const uint8_t *table, uint32_t length, kd_word *storage, uint32_t words)
{
    cursor c;
    int32_t needed;
    int32_t status;
    if ((model == NULL) || (storage == NULL)) {
        return KD_ERR_ARGUMENT;
    }
    needed = kd_required_words(table, length);
    if (needed < 0) {
        return needed;
    }
    /* cppcheck-suppress misra-c2012-11.4 ; the alignment of a pointer is in the low bits of its address */
    if (((uint32_t)needed > words) || (((uintptr_t)storage & 3u) != 0u)) {
        return KD_ERR_MEMORY;
    }
    /* Nothing fails from here on, unless the table is changed meanwhile: then no model is left. */
    model->storage = NULL;
    forget_maps(model);
    status = take_dimensions(model, table, length);
    c.table = table;
    c.length = length;
    c.at = HEADER_BYTES + (4u * model->blocks);
    c.storage = storage;
    c.limit = words;
    c.words = 0u;
    if (status == KD_OK) { /* uncovered: false only where another task changes the header after it was measured */
        status = take_tensors(&c, model);
    }
    if ((status == KD_OK) && !is_intact(table, length)) {
        status = KD_ERR_CRC;
    }
    if (status != KD_OK) {
        return status;
    }
    model->storage = storage;
    model->words = c.words;
    model->sum = sum_of_weights(model);
    model->crc = kd_crc32(0u, (const uint8_t *)storage, 4u * model->words);
    model->check = sum_of_fields(model);
    model->scrubbed = 0u;
    model->scrub = 0u;
    return KD_OK;
}

int32_t kd_check(const kd_model *model)
{
    if ((model == NULL) || (model->storage == NULL)) {
        return KD_ERR_ARGUMENT;
    }
    return (sum_of_fields(model) == model->check) ? KD_OK : KD_ERR_UPSET;
}

int32_t kd_verify(const kd_model *model)
{
    const int32_t status = kd_check(model);
    if (status != KD_OK) {
        return status;
    }
    return (sum_of_weights(model) == model->sum) ? KD_OK : KD_ERR_UPSET;
}

int32_t kd_scrub(kd_model *model, uint32_t words)
{
    uint32_t left;
    uint32_t count;
    uint32_t found;
    if ((model == NULL) || (model->storage == NULL)) {
        return KD_ERR_ARGUMENT;
    }
    if (model->scrubbed >= model->words) { /* itself upset */
        model->scrubbed = 0u;
        model->scrub = 0u;
        return KD_ERR_UPSET;
    }
    left = model->words - model->scrubbed;
    count = (words < left) ? words : left;
    model->scrub = kd_crc32(model->scrub, (const uint8_t *)&model->storage[model->scrubbed], 4u * count);
    model->scrubbed += count;
    if (model->scrubbed < model->words) {
        return KD_OK;
    }
    found = model->scrub;
    model->scrubbed = 0u;
    model->scrub = 0u;
    return (found == model->crc) ? KD_OK : KD_ERR_UPSET;
}
