"""What computes a decision: one interface, so that the executor need not know how."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from onboard import network
from onboard.bundle import SatelliteBundle
from onboard.spec import BoolArray, FloatArray


class Runner(Protocol):
    """One satellite's network. It keeps no state of its own: the executor decides which hidden state is carried on."""

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        """obs [O], mask [A], hidden [H], none of them changed, to logits [A] and the next hidden [H]."""


class ReferenceRunner:
    """numpy. It cannot be interrupted: an answer that comes late is noticed only when it comes."""

    def __init__(self, satellite: SatelliteBundle) -> None:
        self._weights = satellite.weights
        self._spec = satellite.spec

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        with np.errstate(over="ignore", invalid="ignore"):  # the executor looks at what comes out
            return network.step(self._weights, self._spec, obs, mask, hidden)
