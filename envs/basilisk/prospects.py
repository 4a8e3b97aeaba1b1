"""When each satellite of an episode can capture which target at all: what ``envs.basilisk.bound`` is made from.

Each fact below is a rule of the simulation, so a bound from it is proven. Ticks count simulation steps.

- **Ticks of a capture.** The instrument fires at a tick at which the target is in access, as seen one tick earlier, and
  not after the tick at which the action ends, which is the first one at or after the window's closing. The image
  reaches the storage one tick later, which is still within the time limit.
- **Two ticks between captures.** The image of a capture at tick k is stored at k + 1, which is the next decision. The
  instrument looks again at k + 2 at the earliest.
- **Guard.** In a guarded flight no image begins while the battery or the guard's forecast is below the reserve. The
  forecast rises with the battery, so there is a least battery for each tick. The battery is never above what it would
  be if the panel faced the Sun at all times and the satellite did nothing at all. A capture needs a decision before it,
  by at most the timeout, at which that suffices.
- **Buffer.** From ``first`` to ``last`` no more images are stored than the buffer holds, and as many more as the
  transmitter can send in that time, in view of a ground station.
- **Downlink.** Where images earn at the downlink, those captured from ``first`` on that earn have left the buffer by
  the end of the episode, so there are no more of them than the transmitter can send from then on.
- **Clouds.** An image of a clouded target earns nothing on an instrument that needs a clear view.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.bound import Bound, Prospect, Quota, Turns, upper_bound
from envs.basilisk.episode import Episode
from envs.basilisk.satellites import Imager
from envs.basilisk.twin.tables import Tables, tables
from scenarios.mission import ScenarioConfig

LEAST_TICKS = 2
NEAREST_SUN = 1.036  # sunlight at perihelion over that at 1 au
BATTERY_MARGIN = 0.005  # of the capacity: for what Basilisk's battery and ours differ by
STEP_MARGIN_TICKS = 1  # a pass may be a tick longer at each end


def episode_bound(
    config: ScenarioConfig, episode: Episode, turns: list[Turns] | None = None, iterations: int = 500
) -> Bound:
    """Bound what any policy can capture in an episode, under the mission's guard; call after ``Episode.reset``.

    Args:
        config: the episode's mission. A reward rule of the user's is not known here: targets earn their priority.
        episode: stands at its beginning.
        turns: one table for each satellite; with it, the bound holds only as far as the tables do.
        iterations: see ``upper_bound``.
    """
    found = prospects(config, episode, turns)
    ticks = episode.constellation.limit_ns // episode.constellation.tick_ns
    return upper_bound(episode.features.priority, found, ticks, iterations)


def prospects(config: ScenarioConfig, episode: Episode, turns: list[Turns] | None = None) -> list[Prospect]:
    """Of each satellite, at the beginning of an episode."""
    constellation = episode.constellation
    fleet = tables(config, constellation)
    extra_s = config.faults.late_s if config.faults.late_decisions > 0 else 0.0
    found = []
    for row, (satellite, of) in enumerate(zip(constellation.satellites, fleet, strict=True)):
        shown = np.array([satellite.data_store.shows(constellation.targets[index]) for index in of.target], np.bool_)
        turn = turns[row] if turns is not None else None
        found.append(_prospect(of, satellite, shown, extra_s, turn))
    return found


def _prospect(of: Tables, satellite: Imager, shown: NDArray[np.bool_], extra_s: float, turns: Turns | None) -> Prospect:
    """Of one satellite. shown [L]: of its targets, those that it can see; extra_s: by which a decision may be late."""
    record, arrays = of.record, of.arrays
    step_s = float(record["tick_s"])
    ticks = math.ceil(int(record["limit_ns"]) / int(record["tick_ns"]))
    open_at = np.zeros((ticks, len(of.target)), np.bool_)
    opens = np.floor(arrays["window_open"] / step_s).astype(int) + 1
    closes = np.ceil(arrays["window_close"] / step_s - 1e-9).astype(int)
    for local, first, last in zip(arrays["window_target"].tolist(), opens.tolist(), closes.tolist(), strict=True):
        open_at[first : last + 1, local] = shown[local]
    timeout_ticks = math.ceil((float(record["image_timeout_s"]) + extra_s) / step_s) + 1
    open_at &= _may_capture(of, satellite.bus().battery_J, ticks, timeout_ticks)[:, None]
    tick, local = np.nonzero(open_at)
    attitude = np.asarray(arrays["PN"], np.float64).reshape(-1, 3, 3)[np.maximum(tick - 1, 0)]
    line = np.einsum("nji,nj->ni", attitude, arrays["target_P"][local]) - arrays["r_N"][tick]
    direction = line / np.linalg.norm(line, axis=-1, keepdims=True)
    quotas = _quotas(of, ticks)
    return Prospect(of.target[local], tick.astype(np.int32), direction, LEAST_TICKS, quotas, turns)


def _may_capture(of: Tables, battery_J: float, ticks: int, timeout_ticks: int) -> NDArray[np.bool_]:
    """The ticks [T] at which the guard can have let an image action run."""
    record = of.record
    if not record["guarded"]:
        return np.ones(ticks, np.bool_)
    step_s, capacity_J = float(record["tick_s"]), float(record["capacity_J"])
    idle_W = float(record["base_W"] + record["wheels_idle_W"])
    light = np.asarray(of.arrays["light"], np.float64)[: ticks + 1]
    brightest = np.maximum(light, np.maximum(np.append(light[1:], light[-1]), np.append(light[0], light[:-1])))
    gain_J = (float(record["panel_W"]) * NEAREST_SUN * brightest - idle_W) * step_s
    highest_J = np.full(ticks, battery_J)
    for tick in range(1, ticks):
        highest_J[tick] = min(capacity_J, highest_J[tick - 1] + gain_J[tick])
    allowed = highest_J + BATTERY_MARGIN * capacity_J >= _least_battery_J(of, ticks)
    before = np.concatenate([[0], np.cumsum(allowed)])  # allowed ticks before each
    now = np.arange(ticks)
    return np.asarray(before[now] > before[np.maximum(0, now - timeout_ticks)])


def _least_battery_J(of: Tables, ticks: int) -> NDArray[np.float64]:
    """The lowest charge [T] at which the guard lets an image begin: ``energy.Energy.lowest_ahead``, turned round."""
    record = of.record
    now_s = np.arange(ticks, dtype=np.float64) * float(record["tick_s"])
    ahead_s = float(record["lookahead_s"])
    begins_s, ends_s = (_until(of.arrays[name], now_s, ahead_s) for name in ("eclipse_in", "eclipse_out"))
    sunlit, capacity_J = begins_s <= ends_s, float(record["capacity_J"])
    idle_W = float(record["base_W"] + record["wheels_idle_W"])
    tasks = [(float(record["instrument_W"]), float(record["image_timeout_s"]))]
    if record["can_downlink"]:
        tasks.append((float(record["transmitter_W"]), float(record["downlink_s"])))

    def forecast_J(battery_J: NDArray[np.float64]) -> NDArray[np.float64]:
        lowest = battery_J
        for power_W, task_s in tasks:
            after = battery_J - (idle_W + power_W) * task_s
            turned = after - idle_W * float(record["forecast_turn_s"])
            lit_s = np.maximum(0.0, begins_s - task_s - float(record["forecast_turn_s"]))
            filled = np.minimum(capacity_J, turned + (float(record["forecast_panel_W"]) - idle_W) * lit_s)
            dark_s = np.maximum(0.0, ends_s - np.where(sunlit, begins_s, task_s))
            end = np.where(sunlit, filled, after) - idle_W * dark_s
            lowest = np.minimum(lowest, np.minimum(turned, end))
        return lowest

    low, high = np.zeros(ticks), np.full(ticks, 2.0 * capacity_J)  # high: not even a full battery suffices
    for _ in range(40):
        middle = (low + high) / 2
        enough = forecast_J(middle) >= float(record["reserve_min"]) * capacity_J
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return low


def _until(times_s: NDArray[np.generic], now_s: NDArray[np.floating], otherwise_s: float) -> NDArray[np.float64]:
    """From each instant [T] to the next of some sorted times."""
    index = np.searchsorted(times_s, now_s, side="right")
    following = np.append(np.asarray(times_s, np.float64), np.inf)[index]
    return np.asarray(np.where(np.isfinite(following), following - now_s, otherwise_s), np.float64)


def _quotas(of: Tables, ticks: int) -> tuple[Quota, ...]:
    """What buffer and downlink allow, of intervals that begin or end with passes."""
    record = of.record
    image_bits = float(record["image_bits"])
    in_pass = np.asarray(of.arrays["in_pass"], np.bool_)[:ticks] & bool(record["can_downlink"])
    for _ in range(STEP_MARGIN_TICKS):
        in_pass = in_pass | np.append(in_pass[1:], False) | np.append(False, in_pass[:-1])
    sent = np.concatenate([[0.0], np.cumsum(in_pass)]) * (float(record["downlink_bits_per_s"] * record["tick_s"]) + 1.0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], in_pass, [False]]).astype(int)))
    starts, ends = [0, *edges[1::2].tolist()], [*edges[0::2].tolist(), ticks]
    holds = math.floor(float(record["capacity_bits"]) / image_bits)

    def images(first: int, last: int) -> int:
        return int((sent[last] - sent[first]) / image_bits + 0.01)  # 0.01: ROUNDING, and to spare

    quotas = []
    for first in starts:
        for last in (end for end in ends if end > first):
            quotas.append(Quota(first, last - 1, holds + images(first, last) + 1))
    if record["earn_at_downlink"]:
        within = [first for first in {0, *range(0, ticks, max(1, ticks // 100))} if first < ticks]
        quotas += [Quota(first, ticks - 1, images(first, ticks)) for first in sorted(within)]
    longest = ticks // LEAST_TICKS + 1
    return tuple(quota for quota in quotas if quota.most < min(longest, quota.last - quota.first + 1))
