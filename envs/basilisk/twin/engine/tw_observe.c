/* What satellites observe when they are asked, in the blocks of envs/basilisk/features.py. */
#include <math.h>
#include <string.h>

#include "episode.h"
#include "tw_vector.h"

#define EARTH_RATE 7.2921151467e-5 /* rad/s */
#define AT(array, row, column) ((array)[(size_t)(row) * (size_t)e->mission->targets + (size_t)(column)])

/* A satellite in the planet's frame, and what lies ahead of it. */
typedef struct {
    double now_s, r_P[3], v_P[3], boresight_P[3], omega_P[3];
    double to_dark_s, to_light_s, pass_in_s, pass_out_s, fastest;
} view;

static double next_after(const double *times, int32_t count, double now, double otherwise)
{
    int32_t n;
    for (n = 0; n < count; n++) if (times[n] > now) return times[n];
    return otherwise;
}

static void look(const tw_satellite *s, const tw_state *x, view *v)
{
    const double *PN = s->PN + 9 * x->tick, *r = s->r_N + 3 * x->tick;
    double spin[3], rotating[3], relative[3], BN[9], line[3], omega_N[3];
    int32_t n;
    int i;
    v->now_s = TW_NOW_S(s, x);
    for (i = 0; i < 3; i++) spin[i] = EARTH_RATE * PN[6 + i];
    cross(spin, r, rotating);
    for (i = 0; i < 3; i++) relative[i] = s->v_N[3 * x->tick + i] - rotating[i];
    times(PN, r, v->r_P);
    times(PN, relative, v->v_P);
    mrp_to_dcm(x->sigma, BN);
    times_transposed(BN, s->boresight, line);
    times(PN, line, v->boresight_P);
    times_transposed(BN, x->omega, omega_N);
    for (i = 0; i < 3; i++) omega_N[i] -= spin[i];
    times(PN, omega_N, v->omega_P);
    v->to_dark_s = next_after(s->eclipse_in, s->eclipses_in, v->now_s, v->now_s + s->lookahead_s) - v->now_s;
    v->to_light_s = next_after(s->eclipse_out, s->eclipses_out, v->now_s, v->now_s + s->lookahead_s) - v->now_s;
    v->pass_in_s = v->pass_out_s = s->lookahead_s;
    for (n = 0; n < s->passes; n++) {
        if (s->pass_out[n] > v->now_s) {
            v->pass_in_s = s->pass_in[n] > v->now_s ? s->pass_in[n] - v->now_s : 0;
            v->pass_out_s = s->pass_out[n] - v->now_s;
            break;
        }
    }
    v->fastest = tw_fastest(x);
}

static double after_eclipse(const tw_satellite *s, const tw_state *x, const view *v)
{
    const double dark_s = v->to_light_s - (v->to_dark_s <= v->to_light_s ? v->to_dark_s : 0);
    return (x->battery_J - s->base_W * dark_s) / s->capacity_J;
}

/* Everybody's target (the mission's number), -1 for none. */
static int32_t pursued(const tw_episode *e, int32_t n)
{
    const int32_t running = e->x[n].running;
    return e->alive[n] && !e->asked[n] && running >= 0 ? e->global[n * TW_LOCAL + running] : -1;
}

/* Slots come in the order of closing times; whoever cannot sense those gets no order (xorshift64*). */
static void shuffle(tw_episode *e, int32_t *windows, int32_t count)
{
    int32_t n;
    for (n = count - 1; n > 0; n--) {
        int32_t k, kept;
        e->random ^= e->random >> 12;
        e->random ^= e->random << 25;
        e->random ^= e->random >> 27;
        k = (int32_t)(((e->random * (uint64_t)2685821657736338717) >> 33) % (uint64_t)(n + 1));
        kept = windows[n];
        windows[n] = windows[k];
        windows[k] = kept;
    }
}

static void context(const tw_episode *e, int32_t n, const view *v, int32_t block, double *out)
{
    const tw_satellite *s = &e->fleet[n];
    const tw_state *x = &e->x[n];
    switch (block) {
    case TW_BATTERY: out[0] = x->battery_J / s->capacity_J; out[1] = after_eclipse(s, x, v); break;
    case TW_GYRO: out[0] = sqrt(dot(x->omega, x->omega)); break;
    case TW_HARDWARE: memcpy(out, e->mission->hardware + 4 * n, 4 * sizeof *out); break;
    case TW_SUN: out[0] = v->to_dark_s <= v->to_light_s; break;
    case TW_ECLIPSE: out[0] = v->to_dark_s; out[1] = v->to_light_s; break;
    case TW_STORED: out[0] = (double)x->bits / s->storage_bits; break;
    case TW_STATION: out[0] = v->pass_in_s; out[1] = v->pass_out_s; break;
    case TW_WHEELS: out[0] = v->fastest / s->wheel_speed_fails; break;
    default: out[0] = e->mission->needs_light[n]; out[1] = s->needs_clear_view; break; /* TW_INSTRUMENT */
    }
}

static void opportunity(const tw_episode *e, int32_t n, const view *v, int32_t block, int32_t window,
                        const tw_step *foretold, double *out)
{
    const tw_satellite *s = &e->fleet[n];
    const int32_t target = e->global[n * TW_LOCAL + s->window_target[window]];
    double line[3], needed[3], distance;
    int32_t other;
    int i;
    for (i = 0; i < 3; i++) line[i] = e->target_P[3 * target + i] - v->r_P[i];
    distance = sqrt(dot(line, line));
    switch (block) {
    case TW_URGENT: out[0] = e->priority[target] >= e->mission->urgent_above; break;
    case TW_PRIORITY: out[0] = e->priority[target]; break;
    case TW_WINDOW: out[0] = s->window_open[window] - v->now_s; out[1] = s->window_close[window] - v->now_s; break;
    case TW_ANGLE: {
        const double cosine = dot(line, v->boresight_P) / distance;
        out[0] = acos(cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);
        break;
    }
    case TW_RATE:
        cross(v->v_P, line, needed);
        for (i = 0; i < 3; i++) needed[i] = v->omega_P[i] - needed[i] / (distance * distance);
        out[0] = sqrt(dot(needed, needed));
        break;
    case TW_CLAIMED: {
        const int32_t N = e->mission->satellites;
        int32_t claims = 0, reach = 0;
        for (other = 0; other < N; other++) {
            if (other == n) continue;
            claims += pursued(e, other) == target;
            reach += e->alive[other] && AT(e->last_close, other, target) > v->now_s;
        }
        out[0] = claims;
        out[1] = (double)reach / (N > 1 ? N - 1 : 1);
        break;
    }
    case TW_INTENT: {
        const int32_t *heard = e->intent + (size_t)n * (size_t)e->mission->satellites;
        const double *sent_s = e->intent_s + (size_t)n * (size_t)e->mission->satellites;
        int32_t intents = 0;
        for (other = 0; other < e->mission->satellites; other++) {
            intents += heard[other] == target && v->now_s - sent_s[other] < s->image_timeout_s;
        }
        out[0] = intents;
        break;
    }
    case TW_CUE: out[0] = (double)TW_TAKEN(TW_SET(e->cued, e->mission, n), target); break;
    case TW_DUE:
        out[0] = e->due[target] - v->now_s < e->mission->due_most_s ? e->due[target] - v->now_s : e->mission->due_most_s;
        break;
    case TW_FORETOLD:
        out[0] = foretold->captured >= 0;
        out[1] = (foretold->ended - foretold->begun) * s->tick_s / 60;
        break;
    default: out[0] = TW_TAKEN(TW_SET(e->saw_clouds, e->mission, n), target) ? 1 : e->cloud_chance[target]; break; /* TW_CLOUD */
    }
}

static int32_t columns_of(int32_t block)
{
    switch (block) {
    case TW_BATTERY: case TW_ECLIPSE: case TW_WINDOW: case TW_CLAIMED: case TW_STATION: case TW_INSTRUMENT:
    case TW_FORETOLD: return 2;
    case TW_HARDWARE: return 4;
    default: return 1;
    }
}

static int per_slot(int32_t block)
{
    return (block >= TW_URGENT && block <= TW_CLAIMED) || block == TW_CUE || block == TW_CLOUD || block >= TW_FORETOLD;
}

static void observe_one(tw_episode *e, int32_t n, float *obs, uint8_t *mask, float *health)
{
    const tw_mission *m = e->mission;
    const tw_satellite *s = &e->fleet[n];
    tw_state *x = &e->x[n];
    tw_state room = *x;
    tw_step foretold[TW_SLOTS];
    view v;
    double values[4], full = (double)x->bits;
    int32_t b, k, c, column = 0;
    look(s, x, &v);
    room.bits = 0; /* a full buffer hides no target, it only forbids the image */
    e->offers[n] = tw_offer(s, &room, 0, e->offered + n * TW_SLOTS, m->slots);
    if (m->shuffled[n]) shuffle(e, e->offered + n * TW_SLOTS, e->offers[n]);
    for (k = 0; k < m->fixed; k++) mask[k] = 1;
    for (k = 0; k < e->offers[n] && full <= s->full_bits; k++) mask[m->fixed + k] = 1;
    for (b = 0; b < m->blocks; b++) {
        if (m->block[b] == TW_FORETOLD) tw_foretell(s, x, e->offered + n * TW_SLOTS, e->offers[n], foretold);
    }
    for (b = 0; b < m->blocks; b++) {
        const int32_t block = m->block[b], size = columns_of(block), slots = per_slot(block) ? m->slots : 1;
        for (k = 0; k < (per_slot(block) ? e->offers[n] : 1); k++) {
            if (per_slot(block)) opportunity(e, n, &v, block, e->offered[n * TW_SLOTS + k], &foretold[k], values);
            else context(e, n, &v, block, values);
            for (c = 0; c < size; c++) obs[column + k * size + c] = (float)(values[c] / m->scale[b]);
        }
        column += size * slots;
    }
    health[0] = (float)(x->battery_J / s->capacity_J);
    health[1] = (float)tw_lowest_ahead(s, x);
    health[2] = (float)(v.fastest / s->wheel_speed_fails);
    health[3] = (float)((double)x->bits / s->storage_bits);
}

/* The critic's view of every satellite [N][S]. */
void tw_judge(const tw_episode *e, float *state)
{
    const tw_mission *m = e->mission;
    const double now_s = (double)(e->tick * e->fleet[0].tick_ns) * 1e-9;
    int32_t n, k, first = 0, last = e->all_windows;
    memset(state, 0, (size_t)m->satellites * (size_t)m->state_size * sizeof *state);
    while (first < last) {
        const int32_t middle = (first + last) / 2;
        if (e->all_close[middle] > now_s) last = middle; else first = middle + 1;
    }
    for (k = first; k < e->all_windows; k++) {
        const int32_t row = e->all_row[k], target = e->all_target[k];
        float *at = state + row * m->state_size;
        if (TW_TAKEN(e->anyone, target) || (e->fleet[row].needs_clear_view && e->clouded[target])) continue;
        if (e->all_open[k] < now_s + m->near_s) at[10] += (float)(e->priority[target] / 5);
        if (e->all_open[k] < now_s + m->far_s) at[11] += (float)(e->priority[target] / 20);
    }
    for (n = 0; n < m->satellites; n++) {
        const tw_satellite *s = &e->fleet[n];
        const tw_state *x = &e->x[n];
        const int busy = e->alive[n] && !e->asked[n];
        const int32_t target = pursued(e, n);
        float *at = state + n * m->state_size;
        const double left_s = (double)e->deadline_ns[n] * 1e-9 - now_s;
        int32_t column = 16;
        view v;
        look(s, x, &v);
        at[0] = e->alive[n];
        at[1] = (float)(x->battery_J / s->capacity_J);
        at[2] = (float)after_eclipse(s, x, &v);
        for (k = 0; k < 4; k++) at[3 + k] = (float)m->hardware[4 * n + k];
        at[7] = v.to_dark_s <= v.to_light_s;
        at[8] = (float)(v.to_dark_s / s->lookahead_s);
        at[9] = (float)(v.to_light_s / s->lookahead_s);
        at[12] = busy && left_s > 0 ? (float)(left_s / m->time_scale) : 0;
        at[13] = (float)busy;
        if (target >= 0) {
            double line[3], cosine;
            for (k = 0; k < 3; k++) line[k] = e->target_P[3 * target + k] - v.r_P[k];
            cosine = dot(line, v.boresight_P) / sqrt(dot(line, line));
            at[14] = (float)e->priority[target];
            at[15] = (float)acos(cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);
        }
        if (m->state_storage) {
            double promised = 0;
            for (k = 0; k < x->images; k++) {
                const int32_t aboard = e->global[n * TW_LOCAL + x->buffer[k]];
                int32_t j;
                for (j = 0; j < k && e->global[n * TW_LOCAL + x->buffer[j]] != aboard; j++) {}
                if (j == k && !TW_TAKEN(e->delivered, aboard) && !(s->needs_clear_view && e->clouded[aboard])) {
                    promised += e->priority[aboard];
                }
            }
            at[column++] = (float)((double)x->bits / s->storage_bits);
            at[column++] = (float)(promised / 5);
        }
        if (m->state_station) {
            at[column++] = (float)(v.pass_in_s / m->pass_scale);
            at[column++] = (float)(v.pass_out_s / m->pass_scale);
        }
        if (m->state_wheels) at[column++] = (float)(v.fastest / s->wheel_speed_fails);
    }
}

/* Observations [N][O] and masks [N][A] of those who are asked (charging is legal to all), the critic's view, and what
 * the buses tell their guards [N][4]. */
void tw_observe(tw_episode *e, float *obs, uint8_t *mask, float *state, float *health)
{
    const tw_mission *m = e->mission;
    const int32_t actions = m->fixed + m->slots;
    int32_t n;
    memset(obs, 0, (size_t)m->satellites * (size_t)m->obs_size * sizeof *obs);
    memset(mask, 0, (size_t)m->satellites * (size_t)actions);
    memset(health, 0, (size_t)m->satellites * 4 * sizeof *health);
    for (n = 0; n < m->satellites; n++) {
        mask[n * actions] = 1;
        if (e->asked[n] && e->alive[n] && !e->ended) {
            observe_one(e, n, obs + n * m->obs_size, mask + n * actions, health + 4 * n);
        }
    }
    tw_judge(e, state);
}

/* Step `count` episodes; one that has ended stands still, unpaid. Without actions, only observe. */
void tw_step_all(tw_episode *const *episodes, int32_t count, const int64_t *actions, float *obs, uint8_t *mask,
                 uint8_t *active, uint8_t *alive, float *reward, float *duration_s, uint8_t *ended, float *state,
                 float *health)
{
    int32_t i, n;
    for (i = 0; i < count; i++) {
        tw_episode *e = episodes[i];
        const tw_mission *m = e->mission;
        const int32_t N = m->satellites, A = m->fixed + m->slots;
        reward[i] = duration_s[i] = 0;
        if (actions != 0 && e->ended == 0) tw_decide(e, actions + i * N, reward + i, duration_s + i);
        tw_observe(e, obs + (size_t)i * (size_t)(N * m->obs_size), mask + (size_t)i * (size_t)(N * A),
                   state + (size_t)i * (size_t)(N * m->state_size), health + (size_t)i * (size_t)(4 * N));
        for (n = 0; n < N; n++) {
            active[i * N + n] = (uint8_t)(e->asked[n] && e->alive[n] && e->ended == 0);
            alive[i * N + n] = e->alive[n];
        }
        ended[i] = (uint8_t)e->ended;
    }
}
