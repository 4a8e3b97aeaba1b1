/* Beam search over one satellite's decisions: which sequence earns most, given what others take.
 *
 * Partial plans are sorted into buckets by the time they have reached. In each bucket the best are kept and extended by
 * every decision that the mission offers; the rest are dropped. Since a plan that has spent its battery may look best
 * until it must charge, energy left has a price, and several prices share the bucket's width.
 */
#include <stdlib.h>
#include <string.h>

#include "twin.h"
#include "tw_vector.h"

#define ATTEMPTS_THAT_FAIL 4       /* of a decision: they earn nothing but turn the satellite, and are worth keeping */
#define ALIKE_J 1800.0             /* plans of equal images and batteries that differ by less are one */
#define NEED_W 35.0                /* more energy than this over the time left has no price */
#define DESATURATE_FROM 0.3        /* of the speed at which a wheel fails */

typedef struct {
    int32_t parent;                /* step before; -1: none */
    tw_step step;
} link;

typedef struct {
    tw_state x;
    double value, promise;         /* earned, and on board */
    int32_t last;                  /* link; -1: none */
} partial;

typedef struct {
    double score;
    int32_t index;
} ranked;

typedef struct {
    int32_t *items, count, room;
} bucket;

typedef struct {
    const tw_satellite *s;
    const double *worth;
    const int32_t *others;
    const tw_effort *effort;
    int32_t start, buckets;
    bucket *by_time;
    partial *pool;                 /* partial plans that wait in a bucket */
    int32_t used, room, *free_list, freed, free_room;
    link *links;
    int32_t linked, link_room;
    double best;
    int32_t best_last;
    int failed;                    /* out of memory */
} search;

static int grow(void **items, int32_t *room, size_t size, int32_t wanted)
{
    if (wanted > *room) {
        const int32_t larger = *room > 0 ? 2 * *room : 256;
        void *moved = realloc(*items, (size_t)larger * size);
        if (moved == 0) return 0;
        *items = moved;
        *room = larger;
    }
    return 1;
}

static int descending(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->index - y->index;
}

static double margin_Wh(const search *f, const partial *p)
{
    const double need = (f->effort->until - p->x.tick) * f->s->tick_s * NEED_W / 3600;
    const double margin = (tw_lowest_ahead(f->s, &p->x) - f->s->reserve_min) * f->s->capacity_J / 3600;
    return margin < need ? margin : need;
}

static int alike(const partial *a, const partial *b)
{
    return a->x.running == b->x.running && fabs(a->x.battery_J - b->x.battery_J) < ALIKE_J
           && a->x.images == b->x.images && memcmp(a->x.taken, b->x.taken, sizeof a->x.taken) == 0;
}

/* Put a partial plan where its time belongs, behind the bucket that is being worked on. */
static void put(search *f, const partial *p, int32_t after)
{
    int32_t place, index;
    bucket *b;
    if (f->failed) return;
    if (f->freed > 0) {
        index = f->free_list[--f->freed];
    } else {
        if (!grow((void **)&f->pool, &f->room, sizeof *f->pool, f->used + 1)) { f->failed = 1; return; }
        index = f->used++;
    }
    f->pool[index] = *p;
    place = (p->x.tick - f->start) / f->effort->bucket;
    if (place <= after) place = after + 1;
    if (place >= f->buckets) place = f->buckets - 1;
    b = &f->by_time[place];
    if (!grow((void **)&b->items, &b->room, sizeof *b->items, b->count + 1)) { f->failed = 1; return; }
    b->items[b->count++] = index;
}

static void extend(search *f, const partial *from, int32_t action, double close_s, int32_t bucket_index, int32_t *fails)
{
    partial p = *from;
    tw_step step;
    const double earned = tw_act(f->s, &p.x, action, close_s, f->worth, &step);
    if (action >= 0 && step.captured < 0 && ++*fails > ATTEMPTS_THAT_FAIL) return;
    if (tw_lost(f->s, &p.x) || step.ended == step.begun) return;
    p.value += earned;
    p.promise = tw_promise(f->s, &p.x, f->worth);
    if (!grow((void **)&f->links, &f->link_room, sizeof *f->links, f->linked + 1)) { f->failed = 1; return; }
    f->links[f->linked].parent = from->last;
    f->links[f->linked].step = step;
    p.last = f->linked++;
    put(f, &p, bucket_index);
}

/* All decisions of a partial plan. */
static void branch(search *f, const partial *from, int32_t bucket_index)
{
    const tw_satellite *s = f->s;
    partial p = *from;
    const int32_t ordered = tw_guard(s, &p.x);
    int32_t windows[TW_SLOTS], offered, n, fails = 0;
    if (ordered != TW_NONE) {
        extend(f, &p, ordered, 0, bucket_index, &fails);
        return;
    }
    offered = tw_offer(s, &p.x, f->others, windows, s->slots);
    for (n = offered - 1; n >= 0; n--) { /* the latest closing first: of failing attempts those are kept */
        const int32_t target = s->window_target[windows[n]];
        if (f->worth[target] <= 0 && n != offered - 1 && n != offered / 2) continue;
        extend(f, &p, target, s->window_close[windows[n]], bucket_index, &fails);
    }
    if (s->can_downlink && p.x.bits > 0) {
        int32_t soon = p.x.tick + (int32_t)(s->downlink_s / s->tick_s), tick, near = 0;
        if (soon >= s->ticks) soon = s->ticks - 1;
        for (tick = p.x.tick; tick <= soon && !near; tick++) near = s->in_pass[tick];
        if (near) extend(f, &p, TW_DOWNLINK, 0, bucket_index, &fails);
    }
    if (s->can_desat && tw_fastest(&p.x) > DESATURATE_FROM * s->wheel_speed_fails) {
        extend(f, &p, TW_DESAT, 0, bucket_index, &fails);
    }
    extend(f, &p, TW_CHARGE, 0, bucket_index, &fails);
}

/* The best of a bucket into `chosen` (of room for the width); gives how many. */
static int32_t choose(const search *f, const bucket *b, ranked *order, double *margins, char *gone, int32_t *chosen)
{
    int32_t taken = 0, z, i, share = f->effort->width / f->effort->prices;
    share = share > 0 ? share : 1;
    for (i = 0; i < b->count; i++) margins[i] = margin_Wh(f, &f->pool[b->items[i]]);
    memset(gone, 0, (size_t)b->count);
    for (z = 0; z < f->effort->prices; z++) {
        int32_t got = 0;
        for (i = 0; i < b->count; i++) {
            const partial *p = &f->pool[b->items[i]];
            order[i].index = i;
            order[i].score = p->value + p->promise + f->effort->price[z] * margins[i] - 1e-4 * TW_NOW_S(f->s, &p->x);
        }
        qsort(order, (size_t)b->count, sizeof *order, descending);
        for (i = 0; i < b->count && got < share && taken < f->effort->width; i++) {
            const int32_t index = b->items[order[i].index];
            int32_t a;
            if (gone[order[i].index]) continue;
            gone[order[i].index] = 1;
            for (a = 0; a < taken && !alike(&f->pool[chosen[a]], &f->pool[index]); a++) {}
            if (a < taken) continue;
            chosen[taken++] = index;
            got++;
        }
    }
    return taken;
}

static void work(search *f, int32_t index)
{
    bucket *b = &f->by_time[index];
    const size_t count = (size_t)b->count;
    ranked *order = malloc(count * sizeof *order);
    double *margins = malloc(count * sizeof *margins);
    char *gone = malloc(count);
    int32_t *chosen = malloc((size_t)f->effort->width * sizeof *chosen), taken, n;
    if (order == 0 || margins == 0 || gone == 0 || chosen == 0) {
        f->failed = 1;
    } else {
        taken = choose(f, b, order, margins, gone, chosen);
        for (n = 0; n < taken; n++) {
            const partial p = f->pool[chosen[n]];
            if (p.value + p.promise > f->best + 1e-9) {
                f->best = p.value + p.promise;
                f->best_last = p.last;
            }
            if (p.x.tick < f->effort->until) branch(f, &p, index);
        }
        for (n = 0; n < b->count && !f->failed; n++) {
            if (!grow((void **)&f->free_list, &f->free_room, sizeof *f->free_list, f->freed + 1)) f->failed = 1;
            else f->free_list[f->freed++] = b->items[n];
        }
    }
    free(order);
    free(margins);
    free(gone);
    free(chosen);
    b->count = 0;
}

/* Plan from `root` on. `worth` [L]: what each target earns (0 and below: it is not pursued); `others` [L]: tick from
 * which somebody else has it, so that it is no longer on offer (null: that is never known).
 * Gives the number of decisions in `plan`, at most `capacity`; -1: out of memory. `value`: what they earn. */
int32_t tw_search(const tw_satellite *s, const tw_state *root, const double *worth, const int32_t *others,
                  const tw_effort *effort, tw_step *plan, int32_t capacity, double *value)
{
    search f;
    partial first;
    int32_t n, length = 0;
    memset(&f, 0, sizeof f);
    f.s = s;
    f.worth = worth;
    f.others = others;
    f.effort = effort;
    f.start = root->tick;
    f.buckets = (effort->until > root->tick ? (effort->until - root->tick) / effort->bucket : 0) + 3;
    f.by_time = calloc((size_t)f.buckets, sizeof *f.by_time);
    f.best = -1;
    f.best_last = -1;
    if (f.by_time == 0) return -1;
    first.x = *root;
    first.value = 0;
    first.promise = tw_promise(s, root, worth);
    first.last = -1;
    put(&f, &first, -1);
    for (n = 0; n < f.buckets && !f.failed; n++) if (f.by_time[n].count > 0) work(&f, n);
    for (n = f.best_last; n >= 0; n = f.links[n].parent) length++;
    length = length < capacity ? length : capacity;
    *value = f.best > 0 ? f.best : 0;
    {
        int32_t place = 0, at = f.best_last, depth = 0;
        for (n = f.best_last; n >= 0; n = f.links[n].parent) depth++;
        for (place = depth - 1; place >= 0; place--, at = f.links[at].parent) {
            if (place < length) plan[place] = f.links[at].step;
        }
    }
    for (n = 0; n < f.buckets; n++) free(f.by_time[n].items);
    free(f.by_time);
    free(f.pool);
    free(f.free_list);
    free(f.links);
    return f.failed ? -1 : length;
}
