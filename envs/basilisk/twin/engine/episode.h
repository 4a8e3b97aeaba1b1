/* Whole episodes of a constellation on the twin: decisions in, observations, reward and accounts out, as
 * envs/basilisk/{episode,features,knowledge,images}.py have them in Basilisk. Mirrored by ../episode_layout.py. */
#ifndef TWIN_EPISODE_H
#define TWIN_EPISODE_H

#include "twin.h"

#define TW_BLOCKS 32

/* The feature blocks, by the numbers that ../episode_layout.py gives them. */
enum {
    TW_BATTERY, TW_GYRO, TW_HARDWARE, TW_SUN, TW_ECLIPSE, TW_URGENT, TW_PRIORITY, TW_WINDOW, TW_ANGLE, TW_RATE,
    TW_CLAIMED, TW_STORED, TW_STATION, TW_WHEELS, TW_CUE, TW_INSTRUMENT, TW_CLOUD, TW_FORETOLD,
    TW_DUE, TW_INTENT
};
enum { TW_SILENT, TW_FREE, TW_IN_SIGHT }; /* who hears of whose images and intents */

#define TW_WORDS_OF(m) (((size_t)(m)->targets + 63) / 64)
#define TW_SET(array, m, row) ((array) + (size_t)(row) * TW_WORDS_OF(m))

/* What all episodes of a mission share. */
typedef struct {
    int32_t satellites, targets;   /* N, M (the latter: of the world) */
    int32_t fixed, slots;          /* actions: fixed ones (charge, downlink, desat as there are), then slots */
    int32_t downlink, desat;       /* their action numbers; -1: there is none */
    int32_t blocks, obs_size, state_size;
    int32_t block[TW_BLOCKS];
    double scale[TW_BLOCKS];
    int32_t communication, intent_bits; /* of a broadcast with each decision; 0: none */
    int32_t state_storage, state_station, state_wheels; /* what the critic sees besides */
    double death_penalty, urgent_above, near_s, far_s, time_scale, pass_scale, intent_loss;
    double due_most_s;             /* what "due" says of what is due later, or never */
    const double *hardware;        /* [N][4] */
    const uint8_t *needs_light, *scout, *shuffled; /* [N] */
} tw_mission;

/* One episode. Arrays are the caller's. Sets of the mission's targets are bits in W = (M + 63) / 64 words. */
typedef struct {
    const tw_mission *mission;
    tw_satellite *fleet;           /* [N] */
    const int32_t *global;         /* [N][TW_LOCAL] local -> mission's target */
    const int32_t *local;          /* [N][M] mission's target -> local, -1: out of reach */
    const double *target_P;        /* [M][3] */
    const double *priority;        /* [M] */
    const double *cloud_chance;    /* [M] */
    const uint8_t *clouded;        /* [M] */
    const double *due;             /* [M] s */
    const double *last_close;      /* [N][M] s; -inf: never */
    const double *all_open, *all_close; /* [A] windows of all satellites, sorted by closing time */
    const int32_t *all_target, *all_row; /* [A] */
    int32_t all_windows, ended;    /* ended: 1 time limit, 2 all lost */
    tw_state *x;                   /* [N] */
    int64_t *deadline_ns;          /* [N] */
    uint8_t *alive, *asked;        /* [N] */
    uint64_t *imaged, *saw_clouds, *cued; /* [N][W] as far as each knows */
    uint64_t *left_out;            /* [N][W] what each no longer looks for */
    uint64_t *before;              /* [3][N][W] scratch */
    uint64_t *anyone, *delivered;  /* [W] imaged; earned */
    int32_t *offered;              /* [N][K] windows */
    int32_t *offers;               /* [N] how many */
    int32_t *images, *decisions, *charges; /* [N] counts */
    double *captured_by;           /* [N] */
    int32_t *intent;               /* [N][N] receiver, sender: the target last heard of, -1: none */
    double *intent_s;              /* [N][N] when that was sent; -inf: never */
    int64_t *sent_bits;            /* [N] */
    int32_t duplicates, spoiled, deaths, tick;
    double captured;
    uint64_t random;               /* of the order of slots */
    uint64_t losses;               /* of intents */
} tw_episode;

void tw_start(tw_episode *e);
void tw_decide(tw_episode *e, const int64_t *actions, float *reward, float *duration_s);
void tw_observe(tw_episode *e, float *obs, uint8_t *mask, float *state, float *health);
void tw_judge(const tw_episode *e, float *state);
void tw_step_all(tw_episode *const *episodes, int32_t count, const int64_t *actions, float *obs, uint8_t *mask,
                 uint8_t *active, uint8_t *alive, float *reward, float *duration_s, uint8_t *ended, float *state,
                 float *health);

#endif
