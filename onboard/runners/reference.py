"""numpy, on any machine. It cannot be interrupted: an answer that comes late is noticed only when it comes."""

from __future__ import annotations

import zlib

import numpy as np

from onboard import reference
from onboard.network import Network
from onboard.runners import NOT_FINITE, SILENT, UPSET, failure
from onboard.spec import AgentSpec, BoolArray, FloatArray


class ReferenceRunner:
    def __init__(self, network: Network, spec: AgentSpec) -> None:
        self._golden, self._spec = network, spec
        self.reload()

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        answer = reference.step(self._network, self._spec, obs, mask, hidden)
        if self._checksum() != self._expected:
            raise failure(UPSET)
        return answer

    def send(self, obs: FloatArray, hidden: FloatArray) -> int:
        if not self._network.design.message_bits:
            raise failure(SILENT)
        try:
            message = reference.send(self._network, self._spec, obs, hidden)
        except ValueError as error:
            raise failure(UPSET) if self._checksum() != self._expected else failure(NOT_FINITE) from error
        if self._checksum() != self._expected:
            raise failure(UPSET)
        return message

    def reload(self) -> None:
        self._network = reference.prepared(self._golden)
        self._expected = self._checksum()

    def flip(self, bit: int) -> None:
        tensors = list(self._network.tensors.values())
        byte = bit // 8 % sum(tensor.nbytes for tensor in tensors)
        for tensor in tensors:
            if byte < tensor.nbytes:
                tensor.reshape(-1).view(np.uint8)[byte] ^= 1 << bit % 8
                return
            byte -= tensor.nbytes

    def close(self) -> None: ...

    def _checksum(self) -> int:
        crc = 0
        for tensor in self._network.tensors.values():
            crc = zlib.crc32(tensor.data, crc)
        return crc
