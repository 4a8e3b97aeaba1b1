/* The most that one satellite can earn along a path of captures under given prices: the dynamic programme of
 * envs/basilisk/bound.py, which says what it proves. */
#include <stdlib.h>
#include <string.h>

#include "twin.h"

/* Fewest ticks that a turn with this cosine takes. */
static int32_t turn_ticks(const tw_captures *c, double cosine)
{
    int32_t low = 0, high = c->turns;
    while (low < high) { /* the first entry of a larger angle: the one before it is a lower bound */
        const int32_t middle = (low + high) / 2;
        if (c->turn_cosine[middle] < cosine) high = middle; else low = middle + 1;
    }
    return low > 0 && c->turn_ticks[low - 1] > c->least ? c->turn_ticks[low - 1] : c->least;
}

/* For each capture and each other target that was captured less than `horizon` ticks before it: the last tick at which
 * that one can have been. Writes them to target[] and latest[], those of capture n from start[n] on. Gives their number;
 * -1: more than `capacity`; -2: no memory. */
int64_t tw_bound_edges(const tw_captures *c, int64_t *start, int32_t *target, int32_t *latest, int64_t capacity)
{
    const int64_t cells = (int64_t)c->targets * c->ticks;
    int32_t *at = malloc(sizeof *at * (size_t)(cells + 1)); /* [targets][ticks] the capture, or -1 */
    int64_t used = 0, i;
    int32_t n, j;
    if (at == 0) return -2;
    for (i = 0; i < cells; i++) at[i] = -1;
    for (n = 0; n < c->count; n++) at[(int64_t)c->target[n] * c->ticks + c->tick[n]] = n;
    for (n = 0; n < c->count; n++) {
        const double *here = c->direction + 3 * (int64_t)n;
        const int32_t now = c->tick[n], oldest = now - c->horizon > -1 ? now - c->horizon : -1;
        start[n] = used;
        for (j = 0; j < c->targets; j++) {
            const int32_t *row = at + (int64_t)j * c->ticks;
            int32_t t = now - c->least;
            if (j == c->target[n]) continue;
            for (; t > oldest; t--) {
                const double *there;
                if (row[t] < 0) continue;
                there = c->direction + 3 * (int64_t)row[t];
                if (now - t >= turn_ticks(c, here[0] * there[0] + here[1] * there[1] + here[2] * there[2])) break;
            }
            if (t <= oldest) continue;
            if (used == capacity) {
                free(at);
                return -1;
            }
            target[used] = j;
            latest[used++] = t;
        }
    }
    start[c->count] = used;
    free(at);
    return used;
}

/* The best path: each capture earns its target's prize less the toll of its tick. `visits` [targets] gets how often the
 * path captures each target, `passed` [ticks] how many captures it has at each tick. Gives its worth, which is never
 * below 0; -1: no memory. */
double tw_bound_path(const tw_captures *c, const int64_t *start, const int32_t *target, const int32_t *latest,
                     const double *prize, const double *toll, int32_t *visits, int32_t *passed)
{
    const int32_t T = c->ticks;
    const int edges = start[c->count] > 0; /* else every earlier capture is far enough from the next */
    const size_t cells = edges ? (size_t)c->targets * (size_t)T : 1;
    int32_t *of = malloc(sizeof *of * cells); /* [targets][ticks] the best capture of a target up to a tick, or -1 */
    int32_t *any = malloc(sizeof *any * ((size_t)T + 1)); /* [ticks] of all targets */
    int32_t *from = malloc(sizeof *from * ((size_t)c->count + 1));
    double *worth = malloc(sizeof *worth * ((size_t)c->count + 1)), best = of && any && from && worth ? 0 : -1;
    int32_t n = 0, last = -1, t, i;
    for (t = 0; best >= 0 && t < T; t++) {
        const int32_t first = n, far = t - c->horizon;
        any[t] = t > 0 ? any[t - 1] : -1;
        for (i = 0; edges && i < c->targets; i++) of[(int64_t)i * T + t] = t > 0 ? of[(int64_t)i * T + t - 1] : -1;
        for (; n < c->count && c->tick[n] == t; n++) {
            int32_t before = -1; /* a sequence may begin with any capture */
            double most = 0;
            int64_t k;
            if (far >= 0 && any[far] >= 0 && worth[any[far]] > 0) before = any[far], most = worth[before];
            for (k = start[n]; k < start[n + 1]; k++) {
                const int32_t m = of[(int64_t)target[k] * T + latest[k]];
                if (m >= 0 && worth[m] > most) most = worth[m], before = m;
            }
            worth[n] = most + prize[c->target[n]] - toll[t];
            from[n] = before;
            if (worth[n] > best) best = worth[n], last = n;
        }
        for (i = first; i < n; i++) {
            if (edges) {
                int32_t *slot = of + (int64_t)c->target[i] * T + t;
                if (*slot < 0 || worth[i] > worth[*slot]) *slot = i;
            }
            if (any[t] < 0 || worth[i] > worth[any[t]]) any[t] = i;
        }
    }
    memset(visits, 0, sizeof *visits * (size_t)c->targets);
    memset(passed, 0, sizeof *passed * (size_t)T);
    for (; last >= 0; last = from[last]) visits[c->target[last]]++, passed[c->tick[last]]++;
    free(of);
    free(any);
    free(from);
    free(worth);
    return best;
}
