/* A fast twin of one imaging satellite as BSK-RL simulates it in Basilisk 2.12: what decides when an image is taken,
 * and what that costs. Basilisk stays the truth; tests/test_twin.py flies the same actions in both.
 *
 * The twin advances in ticks of the mission's simulation step. Within a tick it follows the order of Basilisk's tasks:
 * world (eclipse, access: from the satellite's position one tick ago), dynamics (integrate, then take over the commands
 * of the last tick), power, storage, flight software (guidance, control, instrument trigger). The orbit and the Earth's
 * rotation are tables, one row per tick. Frames: N inertial, P planet-fixed, B body. SI units; attitudes are modified
 * Rodrigues parameters (MRP).
 *
 * C99 and libm. Structures are mirrored by envs/basilisk/twin/layout.py; tw_sizes() guards the mirror.
 */
#ifndef TWIN_H
#define TWIN_H

#include <stdint.h>

#define TW_LOCAL 4096              /* targets that one satellite can reach in an episode */
#define TW_WORDS (TW_LOCAL / 64)
#define TW_BUFFER 64               /* images on board whose order matters: missions that earn at the downlink */
#define TW_SLOTS 64                /* targets on offer at once */
#define TW_THRUSTERS 8

enum { TW_NONE = -1, TW_CHARGE = -2, TW_DOWNLINK = -3, TW_DESAT = -4 }; /* what runs; 0 and above: local target */

/* One satellite in one episode. Pointers are to tables that outlive it. */
typedef struct {
    double tick_s;                 /* the simulation's step */
    int64_t tick_ns;
    int64_t limit_ns;              /* end of the episode */
    int32_t ticks;                 /* rows of the tables by tick */
    int32_t targets;               /* L, that this satellite can reach */
    int32_t windows;               /* W, sorted by closing time */
    int32_t slots;                 /* K */
    /* attitude */
    double inertia[3];             /* kg m^2, principal */
    double wheel_inertia;          /* kg m^2 */
    double wheel_torque_max;       /* N m */
    double wheel_torque_min;       /* N m: below, a wheel does nothing */
    double wheel_speed_max;        /* rad/s: a wheel accelerates no further */
    double wheel_speed_fails;      /* rad/s: the satellite is lost */
    double radius_fails;           /* m: at or below, too */
    double disturbance[3];         /* N m, body */
    double gain_attitude;          /* K of the MRP feedback; K1 of the MRP steering */
    double gain_rate;              /* P */
    double rate_most;              /* rad/s that steering commands about an axis; 0: feedback */
    double gain_cubic;             /* K3, as the next two of steering alone */
    double gain_integral;          /* Ki of the servo */
    double integral_most;          /* rad, of each component */
    double thruster_torque[TW_THRUSTERS][3]; /* N m, body, of each at full thrust */
    double thruster_share[TW_THRUSTERS][3];  /* s of thrust per N m s of momentum: minimum-norm map */
    double thruster_on_min;        /* s */
    /* imaging */
    double boresight[3];           /* body */
    double attitude_tolerance;     /* MRP norm */
    double rate_tolerance;         /* rad/s */
    double sin_min_elevation;
    /* power */
    double panel_normal[3];        /* body */
    double panel_W;                /* full Sun at normal incidence at 1 au */
    double base_W, wheels_idle_W, instrument_W, transmitter_W;
    double capacity_J;
    double sun_N[3], sun_rate_N[3]; /* m, m/s: the Sun at the start, and how it moves */
    /* data */
    int64_t image_bits, capacity_bits;
    double full_bits;              /* above: no further image is begun */
    double downlink_bits_per_s;
    int32_t earn_at_downlink;
    /* actions */
    int32_t can_downlink, can_desat;
    double image_timeout_s, charge_s, downlink_s, desat_s;
    double longest_window_s;
    int32_t rate_at_once;          /* guidance knows its rate error from a task's first tick (BSK-RL: from the second) */
    int32_t needs_clear_view;
    /* guard, and the energy forecast that it rests on */
    int32_t guarded;
    double reserve_min, wheels_max, storage_max, release; /* fractions */
    double forecast_panel_W, forecast_turn_s, lookahead_s;
    double storage_bits;           /* what "full" means to the guard */
    int32_t eclipses_in, eclipses_out, passes;
    /* tables */
    const double *r_N;             /* [ticks][3] */
    const double *v_N;             /* [ticks][3] */
    const double *PN;              /* [ticks][9] N -> P */
    const double *light;           /* [ticks] share of the Sun that is seen */
    const uint8_t *in_pass;        /* [ticks] a ground station is in view */
    const double *target_P;        /* [L][3] */
    const double *priority;        /* [L] */
    const double *dwell;           /* [L] s for which the attitude must be held */
    const int32_t *window_target;  /* [W] local */
    const double *window_open;     /* [W] s */
    const double *window_close;    /* [W] s */
    const double *window_from;     /* [W] s before which it is not on offer */
    const double *eclipse_in;      /* s */
    const double *eclipse_out;     /* s */
    const double *pass_in;         /* s */
    const double *pass_out;        /* s */
} tw_satellite;

/* A satellite at the end of a tick. */
typedef struct {
    double sigma[3], omega[3];     /* MRP BN; rad/s in B */
    double wheels[3];              /* rad/s */
    double torque[3];              /* N m on the wheels until the next tick */
    double command[3];             /* N m, taken over in the next tick */
    double sigma_before[3];        /* guidance error of the last tick, to differentiate */
    double integral[3];            /* rad, of the rate error that a steering's servo sees */
    double thrust_s[TW_THRUSTERS]; /* burn of the coming tick */
    double thrust_next_s[TW_THRUSTERS];
    double impulse_left_s[TW_THRUSTERS];
    double battery_J;
    int64_t bits;                  /* on board */
    int32_t tick;
    int32_t running;               /* TW_CHARGE ... or a local target */
    int32_t fresh;                 /* guidance has no rate yet */
    int32_t thrust_age;            /* ticks since the burn was commanded */
    int32_t dump_counter, dump_phase;
    int32_t shutter;               /* 1: the image is taken, and on its way to the storage */
    int32_t held;                  /* limits that the guard holds: 1 reserve, 2 wheels, 4 storage */
    int32_t images;                /* in the buffer */
    int32_t held_ticks;            /* for which the instrument's constraints have been met, where they must be held */
    int16_t buffer[TW_BUFFER];     /* local targets on board, oldest first; where order matters */
    uint64_t taken[TW_WORDS];      /* local targets that need no image */
} tw_state;

/* tw_fly.c */
void tw_begin(const tw_satellite *s, tw_state *x, int32_t action);
int32_t tw_tick(const tw_satellite *s, tw_state *x);
double tw_fastest(const tw_state *x);
int32_t tw_lost(const tw_satellite *s, const tw_state *x);
int32_t tw_image(const tw_satellite *s, tw_state *x, int32_t target, double close_s);
int32_t tw_foresee(const tw_satellite *s, tw_state *x, int32_t target, double close_s);
int32_t tw_wait(const tw_satellite *s, tw_state *x, int32_t action);
void tw_prime(const tw_satellite *s, tw_state *x);

/* tw_energy.c */
double tw_lowest_ahead(const tw_satellite *s, const tw_state *x);
int32_t tw_guard(const tw_satellite *s, tw_state *x);
int32_t tw_offer(const tw_satellite *s, const tw_state *x, const int32_t *others, int32_t *windows, int32_t limit);

/* tw_search.c, tw_replay.c */
#define TW_PRICES 8

/* What a search may spend. */
typedef struct {
    int32_t until;                 /* tick: decisions before it are planned */
    int32_t width;                 /* plans that are kept alike far */
    int32_t bucket;                /* ticks within which plans count as alike far */
    int32_t prices;                /* used of price */
    double price[TW_PRICES];       /* worth of a Wh left, each for a share of the width */
} tw_effort;

/* A decision of a plan. */
typedef struct {
    int32_t action;                /* TW_CHARGE ... or a local target */
    int32_t begun;                 /* tick */
    int32_t captured;              /* tick at which the image is in the storage; -1: none */
    int32_t ended;                 /* tick of the next decision */
} tw_step;

int32_t tw_search(const tw_satellite *s, const tw_state *root, const double *worth, const int32_t *others,
                  const tw_effort *effort, tw_step *plan, int32_t capacity, double *value);
int32_t tw_replay(const tw_satellite *s, const tw_state *root, const double *worth, const int32_t *others,
                  const int32_t *actions, int32_t count, tw_step *plan, double *value);
void tw_foretell(const tw_satellite *s, const tw_state *x, const int32_t *windows, int32_t count, tw_step *found);
double tw_act(const tw_satellite *s, tw_state *x, int32_t action, double close_s, const double *worth, tw_step *done);
double tw_promise(const tw_satellite *s, const tw_state *x, const double *worth);

/* tw_bound.c */

/* What one satellite can capture, at which tick; sorted by tick. See envs/basilisk/bound.py. */
typedef struct {
    int32_t count, targets, ticks, turns;
    int32_t least;                 /* fewest ticks between two captures */
    int32_t horizon;               /* ticks after which no turn matters any more */
    const int32_t *target;         /* [count] */
    const int32_t *tick;           /* [count] */
    const double *direction;       /* [count][3] unit vectors */
    const double *turn_cosine;     /* [turns] of rising angles, the first one 0 */
    const int32_t *turn_ticks;     /* [turns] fewest ticks for a turn of at least that angle */
} tw_captures;

int64_t tw_bound_edges(const tw_captures *c, int64_t *start, int32_t *target, int32_t *latest, int64_t capacity);
double tw_bound_path(const tw_captures *c, const int64_t *start, const int32_t *target, const int32_t *latest,
                     const double *prize, const double *toll, int32_t *visits, int32_t *passed);

/* tw_attitude.c */
void tw_rotate(const tw_satellite *s, tw_state *x);
void tw_guide(const tw_satellite *s, tw_state *x, const double sun_B[3], double sigma[3], double rate[3]);

#define TW_NOW_S(s, x) ((double)((x)->tick * (s)->tick_ns) * 1e-9) /* rounded as Basilisk's seconds */
#define TW_TAKEN(mask, j) ((mask)[(j) >> 6] >> ((j) & 63) & 1u)
#define TW_TAKE(mask, j) ((mask)[(j) >> 6] |= (uint64_t)1 << ((j) & 63))

#endif
