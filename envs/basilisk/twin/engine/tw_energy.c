/* The battery ahead, the guard, and the targets on offer: as envs/basilisk/energy.py, onboard/guard.py and
 * envs/basilisk/features.py have them. */
#include "twin.h"
#include "tw_vector.h"

enum { RESERVE = 1, WHEELS = 2, STORAGE = 4 };

static double next_after(const double *times, int32_t count, double now, double otherwise)
{
    int32_t low = 0, high = count;
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (times[middle] > now) high = middle; else low = middle + 1;
    }
    return low < count ? times[low] : otherwise;
}

/* The lowest battery fraction ahead after one more task of `task_s` at `power_W` beyond idling, a turn to the Sun, and
 * charging until the coming eclipse is over. */
static double lowest_after(const tw_satellite *s, const tw_state *x, double power_W, double task_s)
{
    const double now = TW_NOW_S(s, x), idle = s->base_W + s->wheels_idle_W;
    const double begins = next_after(s->eclipse_in, s->eclipses_in, now, now + s->lookahead_s) - now;
    const double ends = next_after(s->eclipse_out, s->eclipses_out, now, now + s->lookahead_s) - now;
    const int sunlit = begins <= ends;
    const double after = x->battery_J - (idle + power_W) * task_s;
    const double turned = after - idle * s->forecast_turn_s;
    double lit = begins - task_s - s->forecast_turn_s, dark = ends - (sunlit ? begins : task_s), filled, end;
    lit = lit > 0 ? lit : 0;
    dark = dark > 0 ? dark : 0;
    filled = turned + (s->forecast_panel_W - idle) * lit;
    filled = filled < s->capacity_J ? filled : s->capacity_J;
    end = (sunlit ? filled : after) - idle * dark;
    return (turned < end ? turned : end) / s->capacity_J;
}

double tw_lowest_ahead(const tw_satellite *s, const tw_state *x)
{
    double lowest = lowest_after(s, x, s->instrument_W, s->image_timeout_s);
    if (s->can_downlink) {
        const double other = lowest_after(s, x, s->transmitter_W, s->downlink_s);
        lowest = other < lowest ? other : lowest;
    }
    return lowest;
}

static int32_t hold(int32_t held, int32_t limit, double beyond, double release)
{
    if (beyond > 0) return held | limit;
    return beyond <= -release ? held & ~limit : held;
}

/* Updates the limits that are held. Gives the action that the guard orders, or TW_NONE. */
int32_t tw_guard(const tw_satellite *s, tw_state *x)
{
    const double ahead = tw_lowest_ahead(s, x), now = x->battery_J / s->capacity_J;
    if (!s->guarded) return TW_NONE;
    x->held = hold(x->held, RESERVE, s->reserve_min - (ahead < now ? ahead : now), s->release);
    x->held = hold(x->held, WHEELS, tw_fastest(x) / s->wheel_speed_fails - s->wheels_max, s->release);
    x->held = hold(x->held, STORAGE, (double)x->bits / s->storage_bits - s->storage_max, s->release);
    if (x->held & WHEELS) return s->can_desat ? TW_DESAT : TW_CHARGE;
    if (x->held & RESERVE) return TW_CHARGE;
    if (x->held & STORAGE) return s->can_downlink ? TW_DOWNLINK : TW_CHARGE;
    return TW_NONE;
}

/* The windows on offer, one for each target, soonest closing first, at most `limit`. `others` [L]: tick from which
 * somebody else has the target; may be null. Nothing is on offer to a full buffer. */
int32_t tw_offer(const tw_satellite *s, const tw_state *x, const int32_t *others, int32_t *windows, int32_t limit)
{
    const double now = TW_NOW_S(s, x);
    int32_t low = 0, high = s->windows, found = 0, i;
    if ((double)x->bits > s->full_bits) return 0;
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (s->window_close[middle] < now + 1e-12) low = middle + 1; else high = middle;
    }
    for (i = low; i < s->windows && found < limit; i++) {
        const int32_t target = s->window_target[i];
        int32_t n;
        if (s->window_close[i] > now + s->image_timeout_s + s->longest_window_s) break;
        if (s->window_open[i] >= now + s->image_timeout_s || TW_TAKEN(x->taken, target)) continue;
        if (s->window_from[i] > now) continue;
        if (s->dwell[target] > 0 && now + s->dwell[target] > s->window_close[i]) continue;
        if (others != 0 && others[target] <= x->tick) continue;
        for (n = 0; n < found && s->window_target[windows[n]] != target; n++) {}
        if (n == found) windows[found++] = i;
    }
    return found;
}
