/* The onboard engine: one recurrent policy, loaded from a weight table, deciding in bounded time and memory.
 *
 * Freestanding C99: no heap, no libc, no libm. Compile with -std=c99 -ffp-contract=off and without fast-math, and every
 * target with IEEE 754 single precision gives the same bits. All memory is the caller's; sizes are fixed by the maxima
 * below, which a build may override with -D. Every function returns a KD_ERR_ below zero on error. A decision
 * works in static memory, so one decides at a time, whatever the number of models.
 *
 * The table's layout is in ../FORMAT.md. Shapes: O observation columns, A actions, H units.
 */
/* cppcheck-suppress-file misra-c2012-19.2 ; kd_word reads the bits of a float without a second copy */
#ifndef KD_ENGINE_H
#define KD_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#ifndef KD_MAX_UNITS
#define KD_MAX_UNITS 256 /* H */
#endif
#ifndef KD_MAX_OBS
#define KD_MAX_OBS 512 /* O */
#endif
#ifndef KD_MAX_SLOTS
#define KD_MAX_SLOTS 64
#endif
#ifndef KD_MAX_ACTIONS
#define KD_MAX_ACTIONS 128 /* A */
#endif
#ifndef KD_MAX_BLOCKS
#define KD_MAX_BLOCKS 64 /* feature blocks of an observation */
#endif

#if (KD_MAX_UNITS > 4096) || (KD_MAX_OBS > 8192) || (KD_MAX_SLOTS > 4096) || (KD_MAX_ACTIONS > 8192) || \
    (KD_MAX_BLOCKS > 4096)
#error "beyond these maxima sizes and int8 sums would overflow"
#endif

#define KD_MAX_MESSAGE 32u /* bits of a message: one word */
#define KD_BLOCK 8u /* outputs that are accumulated side by side */

#define KD_OK 0

/* What may be wrong; an action is 0 or above. */
enum {
    KD_ERR_ARGUMENT = -1,    /* a null pointer */
    KD_ERR_LENGTH = -2,      /* the table is shorter or longer than its header says */
    KD_ERR_MAGIC = -3,       /* not a weight table */
    KD_ERR_VERSION = -4,     /* of a version that this engine does not read */
    KD_ERR_CRC = -5,         /* the table is damaged */
    KD_ERR_SHAPE = -6,       /* dimensions that contradict each other or exceed the maxima */
    KD_ERR_MEMORY = -7,      /* the storage is too small or not aligned to 4 bytes */
    KD_ERR_WEIGHT = -8,      /* a weight is not finite, or padding not zero */
    KD_ERR_OBSERVATION = -9, /* an observation column is not finite */
    KD_ERR_MASK = -10,       /* no action is legal */
    KD_ERR_STATE = -11,      /* the hidden state is not finite or leaves [-1, 1] */
    KD_ERR_OUTPUT = -12,     /* a logit or the next hidden state is not finite, or the latter leaves [-1, 1] */
    KD_ERR_UPSET = -13,      /* the weights in memory, or the model's own fields, are not those that were loaded */
    KD_ERR_SIGNATURE = -14,  /* the table's signature is not the key's */
    KD_ERR_REPLAY = -15      /* the table was signed before the one that was accepted last */
};

enum { KD_FLOAT32 = 1, KD_INT8 = 2 };        /* types of weights */
enum { KD_OPPORTUNITY = 1, KD_RECURRENT = 2 }; /* architectures */
enum { KD_RELU = 1, KD_TANH = 2 };           /* activations */

/* A word of storage: a weight, or four int8 weights. */
typedef union {
    uint32_t bits;
    float value;
} kd_word;

/* A linear map in memory: outputs in blocks of KD_BLOCK, each block input-major, padded with zero outputs. */
typedef struct {
    uint32_t inputs;
    uint32_t outputs;
    uint32_t weights; /* offset into the storage, in words */
    uint32_t scales;  /* offset of one float per output, padded; KD_NONE: float32 */
    uint32_t biases;  /* offset of one float per output, padded with zeros */
} kd_linear;

#define KD_NONE 0xFFFFFFFFu
#define KD_MAX_LINEARS 8

/* A loaded policy. Its fields are the engine's; a program reads obs, actions, hidden and words only. */
typedef struct {
    kd_word *storage; /* the weights in memory, `words` long */
    uint32_t words;
    uint32_t architecture;
    uint32_t dtype;
    uint32_t activation;
    uint32_t obs;
    uint32_t hidden;
    uint32_t context;
    uint32_t slots;
    uint32_t slot_size;
    uint32_t fixed;
    uint32_t actions;
    uint32_t blocks;
    uint32_t messages; /* bits that are sent before a decision; the last block is what others sent. 0: none */
    uint16_t block_size[KD_MAX_BLOCKS];
    uint16_t block_slots[KD_MAX_BLOCKS]; /* 0: about the satellite itself */
    kd_linear linear[KD_MAX_LINEARS];
    uint32_t score; /* offset of the slot score's weights and, after them, its bias */
    uint32_t sum;      /* of all words of the storage, modulo 2^32: no single-bit flip leaves it unchanged */
    uint32_t crc;      /* CRC-32 of the storage */
    uint32_t check;    /* sum of the fields above that a step follows */
    uint32_t scrubbed; /* words of the storage that the running scrub has seen */
    uint32_t scrub;    /* its CRC so far */
} kd_model;

/* Words of storage that a table will need, or a KD_ERR_; checks the table's header and CRC-32. */
int32_t kd_required_words(const uint8_t *table, uint32_t length);

/* Size of a kd_model, for callers that cannot see this header. */
int32_t kd_model_bytes(void);

/* Check a table whole (a cFS table-validation callback is this function). */
int32_t kd_validate(const uint8_t *table, uint32_t length);

/* Check a table and copy its weights into the caller's storage, byte-swapped on a big-endian machine. A table that is
 * refused leaves model and storage as they were. */
int32_t kd_load(kd_model *model, const uint8_t *table, uint32_t length, kd_word *storage, uint32_t words);

/* One decision: obs [O], mask [A] of 0 and 1, hidden [H] -> logits [A], next [H]. `next` may be `hidden`.
 * Returns the legal action of the largest logit, the first of equals; on an error `next` is not to be used. */
int32_t kd_step(const kd_model *model, const float *obs, const uint8_t *mask, const float *hidden, float *next,
                float *logits);

/* The message that is sent before a decision, bit k of B in bit k: from obs [O], of which the last block, what is heard,
 * is not read, and hidden [H]. kd_check before, kd_verify after: no message from upset weights is returned.
 * KD_ERR_ARGUMENT where the network sends none. */
int32_t kd_send(const kd_model *model, const float *obs, const float *hidden, uint32_t *message);

/* Whether the model's own dimensions and offsets are still those loaded: a step would leave its memory by others. */
int32_t kd_check(const kd_model *model);

/* kd_check, and whether the weights in memory are still those loaded, by their sum: finds every single-bit flip. */
int32_t kd_verify(const kd_model *model);

/* Carry the CRC-32 of the weights on by at most `words`; KD_ERR_UPSET at the end of a pass that finds another. To be
 * called after kd_verify. */
int32_t kd_scrub(kd_model *model, uint32_t words);

/* kd_check, kd_step, kd_verify, kd_scrub by `words`: an answer computed from upset weights is never returned. */
int32_t kd_decide(kd_model *model, const float *obs, const uint8_t *mask, const float *hidden, float *next,
                  float *logits, uint32_t words);

/* The arguments of kd_decide in one place, for callers to whom each argument costs time. */
typedef struct {
    kd_model *model;
    const float *obs;
    const uint8_t *mask;
    const float *hidden;
    float *next;
    float *logits;
    uint32_t words;
} kd_request;

int32_t kd_serve(const kd_request *request);

#endif
