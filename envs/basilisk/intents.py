"""Intents over the crosslink: which target each satellite pursues, as far as the others have heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.api import BoolArray
from scenarios.communication import CommunicationConfig

_STREAM = 4  # of an episode's draws: losses move nothing else


class Intents:
    """The intents of one episode of N satellites.

    With each decision a satellite broadcasts its target, or that it pursues none. A receiver keeps the last intent that
    it heard of each sender. It forgets it when it hears the sender's next one, and when the intent is ``stale_s`` old:
    no action on a target lasts longer, so the sender has decided again and was not heard. Nobody passes intents on.
    """

    def __init__(self, config: CommunicationConfig, satellites: int, stale_s: float, seed: int) -> None:
        """
        Args:
            config: bits of a broadcast, and the share of broadcasts that each receiver loses.
            satellites: N.
            stale_s: after which an intent is forgotten: the timeout of an image.
            seed: the episode's.
        """
        self._bits, self._loss, self._stale_s = config.bits_per_decision, config.intent_loss, stale_s
        self._rng = np.random.default_rng([seed, _STREAM])
        self._target = np.full((satellites, satellites), -1)  # [receiver, sender] index of a target, -1: none
        self._sent_s = np.full((satellites, satellites), -np.inf)  # [receiver, sender] when that was
        self.sent_bits = np.zeros(satellites, dtype=np.int64)  # [N] a broadcast counts once, whoever hears it

    def broadcast(self, sender: int, target: int, time_s: float, in_reach: BoolArray) -> None:
        """A satellite sends the index of its target, -1 for none; those ``in_reach`` [N] hear it, but for losses."""
        self.sent_bits[sender] += self._bits
        # One draw per satellite and broadcast, in reach or not: with more losses, what was lost before is lost too.
        kept = self._rng.random(len(in_reach)) >= self._loss
        hears = in_reach & kept
        self._target[hears, sender] = target
        self._sent_s[hears, sender] = time_s

    def heard(self, receiver: int, time_s: float) -> NDArray[np.int64]:
        """[N] target that each of the others pursues, as far as ``receiver`` has heard; -1: none, or not known."""
        return np.where(time_s - self._sent_s[receiver] < self._stale_s, self._target[receiver], -1)
