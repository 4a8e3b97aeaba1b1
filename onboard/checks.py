"""Checks of observations and answers in flight."""

from __future__ import annotations

import numpy as np

from onboard.bundle import SatelliteBundle
from onboard.flightlog import Kind
from onboard.spec import BoolArray, FloatArray


def input_fault(obs: FloatArray, mask: BoolArray) -> tuple[Kind, str] | None:
    """Why an observation [O] with its legal actions [A] is not shown to the network; None: it is."""
    if not mask.any():
        return Kind.EMPTY_MASK, f"none of {len(mask)} actions is legal"
    return observation_fault(obs)


def observation_fault(obs: FloatArray) -> tuple[Kind, str] | None:
    """Why columns [O] are not shown to the network; None: they are."""
    bad = np.flatnonzero(~np.isfinite(obs))
    if len(bad):
        return Kind.BAD_OBSERVATION, f"{len(bad)} of {len(obs)} columns are not finite, column {bad[0]} first"
    return None


def output_fault(
    logits: FloatArray, hidden: FloatArray, satellite: SatelliteBundle, elapsed_ms: float, deadline_ms: float
) -> tuple[Kind, str] | None:
    """Why an answer, logits [A] and hidden state [H], is discarded; None: it counts."""
    if elapsed_ms > deadline_ms:
        return Kind.LATE, f"answered after {elapsed_ms:.3f} ms, deadline {deadline_ms:g} ms: answer discarded"
    if logits.shape != (len(satellite.spec.actions),) or hidden.shape != (satellite.network.design.hidden,):
        return Kind.BAD_OUTPUT, f"logits of shape {logits.shape} and hidden of shape {hidden.shape}"
    if not (np.isfinite(logits).all() and np.isfinite(hidden).all()):
        return Kind.BAD_OUTPUT, "logits or hidden state not finite"
    if np.abs(hidden).max() > 1:  # a GRU cannot do that
        return Kind.BAD_OUTPUT, f"|h| is {np.abs(hidden).max():g}, at most 1 is possible"
    return None
