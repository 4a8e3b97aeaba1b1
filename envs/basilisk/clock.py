"""Time in whole nanoseconds, as Basilisk counts it. Seconds are rounded differently by a sum and by a product, so
whatever is compared with a limit is compared in nanoseconds."""

from __future__ import annotations

NEVER_NS = 2**62


def nanoseconds(time_s: float) -> int:
    """Rounded to the nearest; ``NEVER_NS`` for what is infinite, or beyond 146 years."""
    return NEVER_NS if time_s * 1e9 >= NEVER_NS else int(time_s * 1e9 + 0.5)


def limit_ns(duration_s: float, step_s: float) -> int:
    """When an episode ends: at the first tick at or after its duration."""
    tick_ns = nanoseconds(step_s)
    return -(-nanoseconds(duration_s) // tick_ns) * tick_ns
