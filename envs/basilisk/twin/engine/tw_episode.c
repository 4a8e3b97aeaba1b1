/* The clock of an episode: decisions begin, all satellites fly until one must decide again, news spreads. */
#include <string.h>

#include "episode.h"
#include "tw_vector.h"

#define KNOWN(array, row) TW_SET(e->array, e->mission, row)

static int64_t clock_ns(const tw_episode *e) { return e->tick * e->fleet[0].tick_ns; }

static int over(const tw_episode *e) { return clock_ns(e) >= e->fleet[0].limit_ns; }

/* Call once the arrays are zero, and the satellites' states set. */
void tw_start(tw_episode *e)
{
    int32_t n;
    e->tick = 0;
    e->ended = 0;
    for (n = 0; n < e->mission->satellites; n++) e->alive[n] = e->asked[n] = 1;
}

static void task(tw_episode *e, int32_t n, int64_t action)
{
    const tw_mission *m = e->mission;
    const tw_satellite *s = &e->fleet[n];
    tw_state *x = &e->x[n];
    const double now_s = (double)clock_ns(e) * 1e-9;
    double until_s;
    e->decisions[n]++;
    if (action >= m->fixed) {
        const int32_t window = e->offered[n * TW_SLOTS + (int32_t)action - m->fixed];
        until_s = now_s + s->image_timeout_s;
        if (s->window_close[window] < until_s) until_s = s->window_close[window];
        tw_begin(s, x, s->window_target[window]);
    } else if (action == m->downlink) {
        until_s = now_s + s->downlink_s;
        tw_begin(s, x, TW_DOWNLINK);
    } else if (action == m->desat) {
        until_s = now_s + s->desat_s;
        tw_begin(s, x, TW_DESAT);
    } else {
        until_s = now_s + s->charge_s;
        e->charges[n]++;
        tw_begin(s, x, TW_CHARGE);
    }
    e->deadline_ns[n] = (int64_t)(until_s * 1e9 + 0.5);
    e->asked[n] = 0;
}

static int shows(const tw_episode *e, int32_t n, int32_t target)
{
    return !(e->fleet[n].needs_clear_view && e->clouded[target]);
}

/* A target's worth goes to whoever delivers it first, split between those who do in the same step. */
typedef struct {
    int32_t row[64], target[64], count;
} deliveries;

static void deliver(deliveries *d, int32_t n, int32_t target)
{
    if (d->count < 64) {
        d->row[d->count] = n;
        d->target[d->count++] = target;
    }
}

static double pay(tw_episode *e, const deliveries *d)
{
    double earned = 0;
    int32_t i, k;
    for (i = 0; i < d->count; i++) {
        int32_t together = 0;
        if (TW_TAKEN(e->delivered, d->target[i])) continue;
        for (k = 0; k < d->count; k++) together += d->target[k] == d->target[i];
        e->captured_by[d->row[i]] += e->priority[d->target[i]] / together;
        earned += e->priority[d->target[i]] / together;
    }
    for (i = 0; i < d->count; i++) TW_TAKE(e->delivered, d->target[i]);
    return earned;
}

/* An image has reached the storage of a satellite. */
static int stored(tw_episode *e, int32_t n, deliveries *d)
{
    tw_state *x = &e->x[n];
    const int32_t target = e->global[n * TW_LOCAL + x->running];
    e->images[n]++;
    if (e->fleet[n].earn_at_downlink && x->images < TW_BUFFER) x->buffer[x->images++] = (int16_t)x->running;
    if (!shows(e, n, target)) {
        TW_TAKE(KNOWN(saw_clouds, n), target);
        TW_TAKE(x->taken, x->running);
        e->spoiled++;
        return 1;
    }
    if (TW_TAKEN(e->anyone, target)) e->duplicates++;
    TW_TAKE(KNOWN(imaged, n), target);
    TW_TAKE(e->anyone, target);
    TW_TAKE(x->taken, x->running);
    if (!e->fleet[n].earn_at_downlink) deliver(d, n, target);
    return 1;
}

static void unload(tw_episode *e, int32_t n, deliveries *d)
{
    const tw_satellite *s = &e->fleet[n];
    tw_state *x = &e->x[n];
    const int32_t left = (int32_t)ceil((double)x->bits / (double)s->image_bits - 1e-3), gone = x->images - left;
    int32_t k;
    if (!s->earn_at_downlink || gone <= 0) return;
    for (k = 0; k < gone; k++) {
        const int32_t target = e->global[n * TW_LOCAL + x->buffer[k]];
        if (shows(e, n, target)) deliver(d, n, target);
    }
    for (k = 0; k < left; k++) x->buffer[k] = x->buffer[k + gone];
    x->images = left;
}

/* What scouts have seen since `from_s`: the urgent targets whose windows have opened. */
static int scouted(tw_episode *e, double from_s, double to_s)
{
    int found = 0;
    int32_t n, k;
    for (n = 0; n < e->mission->satellites; n++) {
        const tw_satellite *s = &e->fleet[n];
        if (!e->mission->scout[n] || !e->alive[n]) continue;
        for (k = 0; k < s->windows; k++) {
            const int32_t target = e->global[n * TW_LOCAL + s->window_target[k]];
            if (s->window_open[k] <= to_s && s->window_open[k] > from_s && e->priority[target] >= e->mission->urgent_above
                && shows(e, n, target)) {
                TW_TAKE(KNOWN(cued, n), target);
                found = 1;
            }
        }
    }
    return found;
}

/* Whether the Earth is out of the way between two satellites: spacecraftLocation's test on a flattened Earth. */
static int in_sight(const tw_episode *e, int32_t a, int32_t b, int32_t tick)
{
    const double radius = 6378136.6, flattened = 1 / 0.98;
    const double *PN = e->fleet[a].PN + 9 * tick;
    double p[3], q[3], line[3], nearest[3], along;
    int i;
    times(PN, e->fleet[a].r_N + 3 * tick, p);
    times(PN, e->fleet[b].r_N + 3 * tick, q);
    p[2] *= flattened;
    q[2] *= flattened;
    for (i = 0; i < 3; i++) line[i] = q[i] - p[i];
    along = -dot(p, line) / dot(line, line);
    along = along > 1 ? 1 : along < 0 ? 0 : along;
    for (i = 0; i < 3; i++) nearest[i] = p[i] + along * line[i];
    return dot(nearest, nearest) > radius * radius;
}

/* From 0 to below 1 (xorshift64*). */
static double drawn(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * (uint64_t)2685821657736338717) >> 11) / 9007199254740992.0;
}

/* A satellite that has been tasked broadcasts the number of its target, or that it has none (../../intents.py). */
static void tell(tw_episode *e, int32_t n)
{
    const tw_mission *m = e->mission;
    const int32_t running = e->x[n].running;
    int32_t other;
    if (m->intent_bits == 0) return;
    e->sent_bits[n] += m->intent_bits;
    for (other = 0; other < m->satellites; other++) {
        const size_t at = (size_t)other * (size_t)m->satellites + (size_t)n;
        const int lost = drawn(&e->losses) < m->intent_loss;
        if (lost || other == n || !e->alive[other]) continue;
        if (m->communication == TW_IN_SIGHT && !in_sight(e, n, other, e->tick)) continue;
        e->intent[at] = running >= 0 ? e->global[n * TW_LOCAL + running] : -1;
        e->intent_s[at] = (double)clock_ns(e) * 1e-9;
    }
}

/* Every living satellite hears what those that it has seen since the tick `from` knew. */
static void spread(tw_episode *e, int32_t from)
{
    const tw_mission *m = e->mission;
    const size_t words = TW_WORDS_OF(m), all = (size_t)m->satellites * words;
    uint64_t *known[3];
    int32_t a, b;
    size_t w;
    int k;
    known[0] = e->imaged;
    known[1] = e->saw_clouds;
    known[2] = e->cued;
    for (k = 0; k < 3; k++) memcpy(e->before + (size_t)k * all, known[k], all * sizeof *e->before);
    for (a = 0; a < m->satellites; a++) {
        for (b = 0; b < m->satellites; b++) {
            if (a == b || !e->alive[a] || !e->alive[b]) continue;
            if (m->communication == TW_IN_SIGHT && !in_sight(e, a, b, e->tick) && !in_sight(e, a, b, from + 1)) continue;
            for (k = 0; k < 3; k++) {
                const uint64_t *theirs = e->before + (size_t)k * all + (size_t)b * words;
                for (w = 0; w < words; w++) known[k][(size_t)a * words + w] |= theirs[w];
            }
        }
    }
}

/* Each satellite leaves out what it has come to know to be imaged, or clouded where that matters to it. */
static void learn(tw_episode *e)
{
    const size_t words = TW_WORDS_OF(e->mission);
    int32_t n;
    size_t w;
    for (n = 0; n < e->mission->satellites; n++) {
        const uint64_t *imaged = KNOWN(imaged, n), *clouds = KNOWN(saw_clouds, n);
        for (w = 0; w < words; w++) {
            uint64_t out = imaged[w] | (e->fleet[n].needs_clear_view ? clouds[w] : 0);
            out &= ~KNOWN(left_out, n)[w];
            KNOWN(left_out, n)[w] |= out;
            while (out != 0) {
                int bit = 0;
                int32_t local;
                while (!(out >> bit & 1)) bit++;
                out &= out - 1;
                local = e->local[(size_t)n * (size_t)e->mission->targets + 64 * w + (size_t)bit];
                if (local >= 0) TW_TAKE(e->x[n].taken, local);
            }
        }
    }
}

static int32_t lose(tw_episode *e)
{
    int32_t n, lost = 0;
    for (n = 0; n < e->mission->satellites; n++) {
        if (!e->alive[n]) continue;
        if (tw_lost(&e->fleet[n], &e->x[n])) {
            e->alive[n] = 0;
            e->asked[n] = 0;
            lost++;
        }
    }
    e->deaths += lost;
    return lost;
}

/* Task the satellites that were asked and fly to the next decision. */
void tw_decide(tw_episode *e, const int64_t *actions, float *reward, float *duration_s)
{
    const tw_mission *m = e->mission;
    const int32_t begun = e->tick;
    const int relayed = m->communication == TW_IN_SIGHT;
    const double from_s = begun == 0 ? -1 : (double)clock_ns(e) * 1e-9;
    deliveries d;
    int news = 0, done = 0;
    double earned;
    int32_t n, lost;
    d.count = 0;
    for (n = 0; n < m->satellites; n++) {
        if (!e->asked[n] || !e->alive[n]) continue;
        task(e, n, actions[n]);
        tell(e, n);
    }
    while (!done && !over(e)) {
        for (n = 0; n < m->satellites; n++) {
            if (!e->alive[n]) {
                e->x[n].tick++; /* it flies on, silent */
                continue;
            }
            if (tw_tick(&e->fleet[n], &e->x[n])) {
                news |= stored(e, n, &d);
                e->asked[n] = 1;
                done = 1;
            }
        }
        e->tick++;
        for (n = 0; n < m->satellites; n++) done |= e->alive[n] && tw_lost(&e->fleet[n], &e->x[n]);
        for (n = 0; n < m->satellites; n++) {
            if (e->alive[n] && !e->asked[n] && !e->x[n].shutter && clock_ns(e) >= e->deadline_ns[n]) {
                e->asked[n] = 1;
                done = 1;
            }
        }
    }
    for (n = 0; n < m->satellites; n++) {
        if (e->alive[n] && over(e) && !e->x[n].shutter) e->asked[n] = 1;
        if (e->alive[n] && e->x[n].running == TW_DOWNLINK) unload(e, n, &d);
    }
    lost = lose(e);
    earned = pay(e, &d);
    e->captured += earned;
    news |= scouted(e, from_s, (double)clock_ns(e) * 1e-9);
    if (m->communication != TW_SILENT && (news || relayed)) spread(e, begun);
    learn(e);
    *reward = (float)(earned - m->death_penalty * lost);
    *duration_s = (float)((double)((int64_t)(e->tick - begun) * e->fleet[0].tick_ns) * 1e-9);
    e->ended = over(e) ? 1 : 0;
    for (n = 0; n < m->satellites && !e->alive[n]; n++) {}
    if (n == m->satellites) e->ended = 2;
}
