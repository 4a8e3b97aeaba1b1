/* A tick of a satellite, and its actions from decision to decision. */
#include <string.h>

#include "twin.h"
#include "tw_vector.h"

static int64_t nanoseconds(double seconds) { return (int64_t)(seconds * 1e9 + 0.5); }

static void sun_direction(const tw_satellite *s, const tw_state *x, double sun_B[3])
{
    double line[3], BN[9], direction[3];
    int i;
    for (i = 0; i < 3; i++) {
        line[i] = s->sun_N[i] + s->sun_rate_N[i] * TW_NOW_S(s, x) - s->r_N[3 * x->tick + i];
    }
    mrp_to_dcm(x->sigma, BN);
    unit(line, direction);
    times(BN, direction, sun_B);
}

/* The elevation constraint, as groundLocation sees it: from the positions of one tick ago. */
static int accessible(const tw_satellite *s, const tw_state *x, int32_t target)
{
    const int32_t row = x->tick > 0 ? x->tick - 1 : 0;
    double place_N[3], line[3];
    int i;
    times_transposed(s->PN + 9 * row, s->target_P + 3 * target, place_N);
    for (i = 0; i < 3; i++) line[i] = s->r_N[3 * row + i] - place_N[i];
    return dot(line, place_N) > s->sin_min_elevation * sqrt(dot(line, line) * dot(place_N, place_N));
}

/* thrMomentumManagement, thrForceMapping and thrMomentumDumping: burns of at most a tick, with pauses of four ticks. */
static void dump_momentum(const tw_satellite *s, tw_state *x)
{
    int n, i;
    memset(x->thrust_next_s, 0, sizeof x->thrust_next_s);
    if (x->dump_phase == 0) {
        double least = 0;
        for (n = 0; n < TW_THRUSTERS; n++) {
            double burn = 0;
            for (i = 0; i < 3; i++) burn -= s->thruster_share[n][i] * s->wheel_inertia * x->wheels[i];
            x->impulse_left_s[n] = burn;
            least = burn < least ? burn : least;
        }
        for (n = 0; n < TW_THRUSTERS; n++) x->impulse_left_s[n] -= least;
        x->dump_phase = 1;
        x->dump_counter = 0;
        return;
    }
    if (x->dump_counter > 0) {
        x->dump_counter--;
        return;
    }
    for (n = 0; n < TW_THRUSTERS; n++) {
        const double left = x->impulse_left_s[n];
        x->thrust_next_s[n] = left < s->thruster_on_min ? 0 : left > s->tick_s ? s->tick_s : left;
        x->impulse_left_s[n] = left > s->tick_s ? left - s->tick_s : 0;
    }
    x->dump_counter = 4;
}

static void spend(const tw_satellite *s, tw_state *x, const double sun_B[3])
{
    double power = -s->base_W, cosine = dot(sun_B, s->panel_normal);
    int i;
    if (cosine > 0) {
        double line[3];
        const double au = 149597870693.0;
        for (i = 0; i < 3; i++) {
            line[i] = s->sun_N[i] + s->sun_rate_N[i] * TW_NOW_S(s, x) - s->r_N[3 * x->tick + i];
        }
        power += s->panel_W * cosine * s->light[x->tick] * au * au / dot(line, line);
    }
    if (x->running >= 0) power -= s->instrument_W;
    if (x->running == TW_DOWNLINK) power -= s->transmitter_W;
    for (i = 0; i < 3; i++) {
        const double mechanical = x->wheels[i] * x->torque[i];
        power -= s->wheels_idle_W / 3 + (mechanical > 0 ? 2 * mechanical : 0); /* half of it is lost, none regained */
    }
    x->battery_J += power * s->tick_s;
    x->battery_J = x->battery_J > s->capacity_J ? s->capacity_J : x->battery_J < 0 ? 0 : x->battery_J;
}

/* Whether the instrument fires, its constraints being met: at once, or when they have been for the target's dwell. */
static int fires(const tw_satellite *s, tw_state *x)
{
    const double dwell_ns = s->dwell[x->running] * 1e9;
    if (dwell_ns <= 0) return 1;
    if ((double)(x->held_ticks * s->tick_ns) < dwell_ns) {
        x->held_ticks++;
        return 0;
    }
    x->held_ticks = 0;
    return 1;
}

/* One tick. Gives 1 when an image reaches the storage in it. Without `powered` the battery keeps its charge: nothing
 * that decides when an image is taken depends on it. */
static inline int32_t tick(const tw_satellite *s, tw_state *x, int powered)
{
    double sun_B[3] = {0, 0, 0}, sigma[3], rate[3];
    int32_t stored = 0;
    int i;
    tw_rotate(s, x);
    x->tick++;
    for (i = 0; i < 3; i++) {
        double u = x->command[i];
        u = u > s->wheel_torque_max ? s->wheel_torque_max : u < -s->wheel_torque_max ? -s->wheel_torque_max : u;
        if (fabs(u) < s->wheel_torque_min) u = 0;
        if (fabs(x->wheels[i]) >= s->wheel_speed_max && x->wheels[i] * u >= 0) u = 0;
        x->torque[i] = u;
    }
    if (x->running == TW_DESAT || x->thrust_age == 0) {
        memcpy(x->thrust_s, x->thrust_next_s, sizeof x->thrust_s);
        x->thrust_age = 1;
    } else {
        x->thrust_age++;
    }
    if (powered) {
        sun_direction(s, x, sun_B);
        spend(s, x, sun_B);
    }
    if (x->shutter) {
        if (x->bits + s->image_bits <= s->capacity_bits) x->bits += s->image_bits, stored = 1;
        x->shutter = 0;
    }
    if (x->running == TW_DOWNLINK && s->in_pass[x->tick] && x->bits >= 1) {
        const double step = s->downlink_bits_per_s * s->tick_s;
        x->bits = (double)x->bits - step >= 0 ? x->bits - (int64_t)(step + 0.5) : 0;
        if (x->bits < 0) x->bits = 0;
    }
    tw_guide(s, x, sun_B, sigma, rate);
    if (x->running == TW_DESAT) dump_momentum(s, x);
    if (x->running >= 0 && !stored && sqrt(dot(sigma, sigma)) <= s->attitude_tolerance
        && sqrt(dot(rate, rate)) <= s->rate_tolerance && accessible(s, x, x->running)) {
        x->shutter = fires(s, x);
    } else {
        x->held_ticks = 0;
    }
    return stored;
}

int32_t tw_tick(const tw_satellite *s, tw_state *x) { return tick(s, x, 1); }

/* The speed of the fastest wheel, rad/s. */
double tw_fastest(const tw_state *x)
{
    double fastest = 0;
    int i;
    for (i = 0; i < 3; i++) fastest = fabs(x->wheels[i]) > fastest ? fabs(x->wheels[i]) : fastest;
    return fastest;
}

/* Whether a limit is crossed at this tick, so that the satellite is lost. */
int32_t tw_lost(const tw_satellite *s, const tw_state *x)
{
    const double *r = s->r_N + 3 * x->tick;
    return x->battery_J <= 0 || tw_fastest(x) >= s->wheel_speed_fails || dot(r, r) <= s->radius_fails * s->radius_fails;
}

/* Give guidance its memory of the last tick, as if what runs had run already. */
void tw_prime(const tw_satellite *s, tw_state *x)
{
    double command[3], integral[3], sun_B[3], sigma[3], rate[3];
    if (x->running == TW_NONE || x->running == TW_DOWNLINK) return;
    memcpy(command, x->command, sizeof command);
    memcpy(integral, x->integral, sizeof integral);
    sun_direction(s, x, sun_B);
    x->fresh = 1;
    tw_guide(s, x, sun_B, sigma, rate);
    x->fresh = 0;
    memcpy(x->command, command, sizeof command);
    memcpy(x->integral, integral, sizeof integral);
}

/* Begin an action; one that goes on is not begun anew, but for a desaturation. */
void tw_begin(const tw_satellite *s, tw_state *x, int32_t action)
{
    if (x->running == action && action != TW_DESAT) return;
    x->running = action;
    x->fresh = 1;
    x->shutter = 0;
    x->held_ticks = 0;
    memset(x->sigma_before, 0, sizeof x->sigma_before);
    if (s->rate_at_once) tw_prime(s, x);
    x->dump_phase = 0;
    x->dump_counter = 0;
}

static int64_t now_ns(const tw_satellite *s, const tw_state *x) { return x->tick * s->tick_ns; }

static double now_s(const tw_satellite *s, const tw_state *x) { return (double)now_ns(s, x) * 1e-9; }

static int64_t deadline(const tw_satellite *s, double deadline_s)
{
    const int64_t ns = nanoseconds(deadline_s);
    return ns < s->limit_ns ? ns : s->limit_ns;
}

/* Track a target until it is captured, its window closes, the timeout passes, the satellite is lost or the episode ends.
 * Gives the tick at which the image is in the storage, or -1. */
static inline int32_t image(const tw_satellite *s, tw_state *x, int32_t target, double close_s, int powered)
{
    const double timeout_s = now_s(s, x) + s->image_timeout_s;
    const int64_t until_ns = deadline(s, close_s < timeout_s ? close_s : timeout_s);
    tw_begin(s, x, target);
    while (now_ns(s, x) < s->limit_ns) {
        if (tick(s, x, powered)) {
            if (s->earn_at_downlink && x->images < TW_BUFFER) x->buffer[x->images++] = (int16_t)target;
            return x->tick;
        }
        if ((!x->shutter && now_ns(s, x) >= until_ns) || (powered && tw_lost(s, x))) break;
    }
    return -1;
}

int32_t tw_image(const tw_satellite *s, tw_state *x, int32_t target, double close_s)
{
    return image(s, x, target, close_s, 1);
}

/* What a satellite foretells of an image: attitude and instrument, not the battery. */
int32_t tw_foresee(const tw_satellite *s, tw_state *x, int32_t target, double close_s)
{
    return image(s, x, target, close_s, 0);
}

/* Charge, downlink or desaturate for as long as that lasts, or until the satellite is lost. Gives the number of images
 * that have wholly left the buffer: what is left has moved to its front. */
int32_t tw_wait(const tw_satellite *s, tw_state *x, int32_t action)
{
    const double lasts_s = action == TW_DOWNLINK ? s->downlink_s : action == TW_DESAT ? s->desat_s : s->charge_s;
    const int64_t until_ns = deadline(s, now_s(s, x) + lasts_s);
    int32_t gone = 0, left, n;
    tw_begin(s, x, action);
    while (now_ns(s, x) < until_ns) {
        tw_tick(s, x);
        if (tw_lost(s, x)) break;
    }
    if (action != TW_DOWNLINK || !s->earn_at_downlink) return 0;
    left = (int32_t)ceil((double)x->bits / (double)s->image_bits - 1e-3);
    gone = x->images - left;
    if (gone <= 0) return 0;
    for (n = 0; n < left; n++) x->buffer[n] = x->buffer[n + gone];
    x->images = left;
    return gone;
}
