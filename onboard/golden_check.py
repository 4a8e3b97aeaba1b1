"""Whether a runner reproduces a bundle's golden vectors here; a bundle that is not reproduced does not fly."""

from __future__ import annotations

import numpy as np

from onboard import reference
from onboard.bundle import SatelliteBundle
from onboard.runners import DeadlineError, Runner, RunnerError
from onboard.spec import FloatArray

GOLDEN_TOLERANCE = 1e-5  # of a logit that is not recorded to the bit; relative where its magnitude is above 1

STARTS = 3  # attempts at the golden decisions, each of them within the deadline


class GoldenError(ValueError):
    """This machine does not reproduce a bundle's golden vectors, so it must not fly it."""


def proved(satellite: SatelliteBundle, runner: Runner) -> float:
    """``check_golden``, repeated from the start if a deadline was missed because this machine was busy."""
    for _ in range(STARTS - 1):
        try:
            return check_golden(satellite, runner)
        except DeadlineError:
            runner.reload()
    return check_golden(satellite, runner)


def check_golden(satellite: SatelliteBundle, runner: Runner) -> float:
    """Fly the golden decisions; the largest difference of a logit, relative where its magnitude is above 1.

    Raises GoldenError: a message is not the one recorded; the logits are not those recorded to the bit; or, where they
    were not recorded so, a logit differs by more than GOLDEN_TOLERANCE, or an action is chosen whose recorded logit
    does: of actions that tie within the tolerance, float arithmetic elsewhere may take another.
    Raises DeadlineError: an answer came too late.
    """
    tolerance = 0.0 if satellite.golden.exact else GOLDEN_TOLERANCE
    vectors, largest = satellite.golden, 0.0
    hidden: FloatArray = np.zeros(satellite.network.design.hidden, np.float32)
    for t, (obs, mask, expected, action) in enumerate(
        zip(vectors.obs, vectors.mask, vectors.logits, vectors.action, strict=True)
    ):
        try:
            told = None if vectors.message is None else runner.send(obs, hidden)
            logits, hidden = runner.step(obs, mask, hidden)
        except DeadlineError:
            raise
        except RunnerError as failure:
            raise GoldenError(
                f"satellite {satellite.spec.name!r} must not fly on this machine: golden decision {t}: {failure}"
            ) from failure
        if vectors.message is not None and told != vectors.message[t]:
            raise GoldenError(
                f"satellite {satellite.spec.name!r} must not fly on this machine: golden decision {t} sends message "
                f"{told} where {vectors.message[t]} was recorded"
            )
        error = float(np.max(_off(logits, expected)))
        chosen = reference.choose(logits, mask)
        gap = float(_off(expected[chosen], expected[action]))
        if not error <= tolerance or gap > tolerance:  # NaN is not within any tolerance
            raise GoldenError(
                f"satellite {satellite.spec.name!r} must not fly on this machine: golden decision {t} gives action "
                f"{chosen} where {action} was recorded, its logits off by {error:.3g}, allowed {tolerance:g}"
            )
        largest = max(largest, error)
    return largest


def _off(value: FloatArray, expected: FloatArray) -> FloatArray:
    """Differences, relative where the expected magnitude is above 1."""
    off: FloatArray = np.abs(value - expected) / np.maximum(1, np.abs(expected))
    return off
