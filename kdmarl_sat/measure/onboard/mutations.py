"""Hostile bundles: a trained one with random damage, and with changes that its checksums were made to agree with.

They are read in a process of their own, so that one which crashes the reader or the engine is counted.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from envs.tether import leave_with_parent
from kdmarl_sat.measure.onboard.attacks import DAMAGED, FLEW, REFUSALS, SIGNED, UNCHANGED, attack
from kdmarl_sat.measure.onboard.record import Line, Part, Relation, Tell, within
from onboard.bundle import BundleError

AT_ONCE = 100  # bundles between two words to the user
CRASHED = "crashed"


def measure(bundles: Sequence[Path], count: int, tell: Tell) -> Part:
    """``count``: damaged bundles; a quarter as many again are signed anew. Dealt out over the bundles."""
    damaged = attacked(bundles, count, DAMAGED, within(tell, 0.0, 0.6))
    signed = attacked(bundles, -(-count // 4), SIGNED, within(tell, 0.6, 0.4))
    outcomes, signed_outcomes = damaged["outcomes"], signed["outcomes"]
    refused = outcomes.get(BundleError.__name__, 0)
    changed = sum(outcomes.values()) - outcomes.get(UNCHANGED, 0)
    held = sum(signed_outcomes.get(each.__name__, 0) for each in REFUSALS)
    held += signed_outcomes.get(FLEW, 0) + signed_outcomes.get(UNCHANGED, 0)
    return Part(
        (
            Line(
                "damaged bundles refused with one sentence",
                refused / max(1, changed),
                Relation.EXACTLY,
                1.0,
                "share",
                f"{refused:,} of {changed:,}, seeds 0 to {count - 1:,}",
            ),
            Line(
                "bundles changed and signed anew: refused with one sentence, or flown within their checks",
                held / sum(signed_outcomes.values()),
                Relation.EXACTLY,
                1.0,
                "share",
                ", ".join(f"{name}: {number:,}" for name, number in sorted(signed_outcomes.items())),
            ),
        ),
        {DAMAGED: damaged, SIGNED: signed},
    )


def attacked(bundles: Sequence[Path], count: int, kind: str, tell: Tell) -> dict[str, Any]:
    """How many bundles came to which end, and the first of those that came to a bad one.

    After a crash the rest of its hundred is not tried.
    """
    outcomes: Counter[str] = Counter()
    bad: list[str] = []
    spawning = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_mutations.") as folder:
        copies = [Path(shutil.copytree(bundle, Path(folder) / str(n))) for n, bundle in enumerate(bundles)]
        pool = ProcessPoolExecutor(1, spawning, leave_with_parent)
        try:
            for start in range(0, count, AT_ONCE):
                copy = copies[start // AT_ONCE % len(copies)]
                seeds = range(start, min(start + AT_ONCE, count))
                try:
                    found, reasons = pool.submit(attack, copy, kind, seeds).result()
                except BrokenProcessPool:
                    found, reasons = Counter({CRASHED: 1}), [f"{kind}, one of seeds {start} to {seeds[-1]}: {CRASHED}"]
                    pool.shutdown()
                    pool = ProcessPoolExecutor(1, spawning, leave_with_parent)
                    shutil.rmtree(copy)
                    shutil.copytree(bundles[copies.index(copy)], copy)
                outcomes += found
                bad += reasons
                tell((seeds[-1] + 1) / count, f"{seeds[-1] + 1:,} {kind}")
        finally:
            pool.shutdown()
    return {"outcomes": dict(outcomes), "bad": bad[:5]}
