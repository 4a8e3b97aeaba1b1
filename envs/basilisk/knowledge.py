"""The true state of the targets and each satellite's knowledge of it, as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.simulation import Constellation

KINDS = ("imaged", "clouded", "cued")  # sets of targets in ``images.ImageData``


class Knowledge:
    """Of M targets: what is so, [M], and what each of N satellites knows, [N, M]."""

    def __init__(self, constellation: Constellation) -> None:
        """Call after ``Constellation.reset``."""
        self._constellation = constellation
        self._index = {id(target): index for index, target in enumerate(constellation.targets)}
        satellites, targets = len(constellation.satellites), len(constellation.targets)
        self.all_imaged = np.zeros(targets, dtype=np.bool_)  # by anyone
        self._all_count = 0
        self._known = {kind: np.zeros((satellites, targets), dtype=np.bool_) for kind in KINDS}
        self._counts = {kind: [0] * satellites for kind in KINDS}

    def index_of(self, target: object) -> int:
        return self._index[id(target)]

    @property
    def imaged(self) -> NDArray[np.bool_]:
        """[N, M] as far as each one knows."""
        return self._known["imaged"]

    @property
    def clouded(self) -> NDArray[np.bool_]:
        """[N, M] somebody whom it heard of took an image that showed clouds."""
        return self._known["clouded"]

    @property
    def cued(self) -> NDArray[np.bool_]:
        """[N, M] a scout flagged it."""
        return self._known["cued"]

    def learn(self) -> None:
        """Take over what is news."""
        everything = self._constellation.rewarder.data.imaged
        if len(everything) != self._all_count:
            self.all_imaged[[self._index[id(target)] for target in everything]] = True
            self._all_count = len(everything)
        for row, satellite in enumerate(self._constellation.satellites):
            for kind in KINDS:
                told = getattr(satellite.data_store.data, kind)
                if len(told) != self._counts[kind][row]:  # sets only grow
                    if kind == "imaged" and len(told) == self._all_count:
                        self.imaged[row] = self.all_imaged
                    else:
                        self._known[kind][row, [self._index[id(target)] for target in told]] = True
                    self._counts[kind][row] = len(told)
