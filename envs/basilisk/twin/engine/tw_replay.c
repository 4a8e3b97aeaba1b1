/* Single decisions and given sequences of them: what they earn, and when they end. */
#include <string.h>

#include "twin.h"
#include "tw_vector.h"

/* Take one decision. Gives the worth that it earns: of the image, or of what is downlinked by it. */
double tw_act(const tw_satellite *s, tw_state *x, int32_t action, double close_s, const double *worth, tw_step *done)
{
    double earned = 0;
    done->action = action;
    done->begun = x->tick;
    done->captured = -1;
    if (action >= 0) {
        done->captured = tw_image(s, x, action, close_s);
        if (done->captured >= 0) {
            TW_TAKE(x->taken, action);
            if (!s->earn_at_downlink) earned = worth[action] > 0 ? worth[action] : 0;
        }
    } else {
        int16_t aboard[TW_BUFFER];
        int32_t gone, n;
        memcpy(aboard, x->buffer, sizeof aboard);
        gone = tw_wait(s, x, action);
        for (n = 0; n < gone; n++) earned += worth[aboard[n]] > 0 ? worth[aboard[n]] : 0;
    }
    done->ended = x->tick;
    return earned;
}

/* What images on board are still worth: something only if a pass lies ahead, and a little less than delivered. */
double tw_promise(const tw_satellite *s, const tw_state *x, const double *worth)
{
    const double now = TW_NOW_S(s, x), end = (double)s->limit_ns * 1e-9;
    double promised = 0, room_s = 0;
    int32_t n;
    if (!s->earn_at_downlink || x->images == 0) return 0;
    for (n = 0; n < s->passes; n++) {
        const double from = s->pass_in[n] > now ? s->pass_in[n] : now, to = s->pass_out[n] < end ? s->pass_out[n] : end;
        if (to > from) room_s += to - from;
    }
    for (n = 0; n < x->images; n++) {
        const double leaves_s = (n + 1) * (double)s->image_bits / s->downlink_bits_per_s;
        if (leaves_s > room_s) break;
        promised += 0.95 * (worth[x->buffer[n]] > 0 ? worth[x->buffer[n]] : 0);
    }
    return promised;
}

/* Fly given actions: one that is not on offer is left out, one that the guard forbids is put off. Gives the number of
 * decisions in `plan` (of room for 2 count + 64). */
int32_t tw_replay(const tw_satellite *s, const tw_state *root, const double *worth, const int32_t *others,
                  const int32_t *actions, int32_t count, tw_step *plan, double *value)
{
    tw_state x = *root;
    int32_t n = 0, made = 0;
    *value = 0;
    while (n < count && made < 2 * count + 64 && x.tick * s->tick_ns < s->limit_ns && !tw_lost(s, &x)) {
        const int32_t ordered = tw_guard(s, &x);
        int32_t action = actions[n], windows[TW_SLOTS], offered, i;
        double close_s = 0;
        if (ordered != TW_NONE) {
            if (action == ordered) n++;
            *value += tw_act(s, &x, ordered, 0, worth, &plan[made++]);
            continue;
        }
        n++;
        if (action >= 0) {
            offered = tw_offer(s, &x, others, windows, s->slots);
            for (i = 0; i < offered && s->window_target[windows[i]] != action; i++) {}
            if (i == offered) continue;
            close_s = s->window_close[windows[i]];
        }
        *value += tw_act(s, &x, action, close_s, worth, &plan[made++]);
    }
    *value += tw_promise(s, &x, worth);
    return made;
}

/* For each of some windows: what would come of an image of its target now. */
void tw_foretell(const tw_satellite *s, const tw_state *x, const int32_t *windows, int32_t count, tw_step *found)
{
    int32_t n;
    for (n = 0; n < count; n++) {
        tw_state copy = *x;
        const int32_t target = s->window_target[windows[n]];
        found[n].action = target;
        found[n].begun = x->tick;
        found[n].captured = tw_foresee(s, &copy, target, s->window_close[windows[n]]);
        found[n].ended = copy.tick;
    }
}
