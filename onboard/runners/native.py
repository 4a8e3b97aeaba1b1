"""The C engine in this process, by ctypes. Fast, and neither interruptible nor kept from this process's memory."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from onboard import build, table
from onboard.authentic import Seal
from onboard.network import Network
from onboard.runners import BuildError, RunnerError, failure
from onboard.spec import AgentSpec, BoolArray, FloatArray

SCRUB_WORDS = 8  # of the weights, whose CRC-32 is carried on with each decision


class _Request(ctypes.Structure):
    """A kd_request (engine/kd_engine.h)."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("model", "obs", "mask", "hidden", "next", "logits")),
        ("words", ctypes.c_uint32),
    )


class _Seal(ctypes.Structure):
    """A kd_seal (engine/kd_seal.h)."""

    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("key", "name", "tag")),
        *((name, ctypes.c_uint32) for name in ("key_length", "name_length")),
        ("sequence", ctypes.c_uint64),
    )


class NativeRunner:
    def __init__(self, network: Network, spec: AgentSpec, seal: Seal | None = None) -> None:
        """``seal``: what the engine checks the table by before it loads it.

        Raises BuildError: no compiler, or a network beyond the engine's maxima or not the one that was signed.
        """
        self._engine = _engine()
        self._table = table.dump(network, spec)
        words = self._engine.kd_required_words(self._table, len(self._table))
        if words < 0:
            raise BuildError(f"satellite {spec.name!r}: the C engine refuses its weights: {failure(words)}")
        self._model = np.zeros(self._engine.kd_model_bytes(), np.uint8)
        self._storage = np.zeros(words, np.uint32)
        self._obs = np.zeros(spec.obs_size, np.float32)
        self._mask = np.zeros(len(spec.actions), np.bool_)
        self._hidden = np.zeros(network.design.hidden, np.float32)
        self._next = np.zeros(network.design.hidden, np.float32)
        self._logits = np.zeros(len(spec.actions), np.float32)
        # Finding an array's address takes longer than a decision, so the arrays stay where they are.
        arrays = (self._model, self._obs, self._mask, self._hidden, self._next, self._logits)
        self._request = _Request(*(array.ctypes.data for array in arrays), SCRUB_WORDS)
        self._serve, self._argument = self._engine.kd_serve, ctypes.byref(self._request)
        self._seal, self._newest = None, ctypes.c_uint64(0)
        if seal is not None:
            name = seal.name.encode()
            self._seal = _Seal(seal.key, name, seal.tag, len(seal.key), len(name), seal.sequence)
        try:
            self.reload()
        except RunnerError as error:
            raise BuildError(f"satellite {spec.name!r}: the C engine refuses its weights: {error}") from error

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        self._obs[...] = obs  # faster than [:]
        self._mask[...] = mask
        self._hidden[...] = hidden
        status = self._serve(self._argument)
        if status < 0:
            raise failure(status)
        return self._logits.copy(), self._next.copy()

    def send(self, obs: FloatArray, hidden: FloatArray) -> int:
        self._obs[...] = obs
        self._hidden[...] = hidden
        request, message = self._request, ctypes.c_uint32(0)
        status = self._engine.kd_send(request.model, request.obs, request.hidden, ctypes.byref(message))
        if status < 0:
            raise failure(status)
        return message.value

    def reload(self) -> None:
        arguments = (
            self._model.ctypes.data, self._table, len(self._table), self._storage.ctypes.data, len(self._storage)
        )  # fmt: skip
        if self._seal is None:
            status = self._engine.kd_load(*arguments)
        else:
            status = self._engine.kd_load_sealed(*arguments, ctypes.byref(self._seal), ctypes.byref(self._newest))
        if status < 0:
            raise failure(status)

    def flip(self, bit: int) -> None:
        self._storage[bit // 32 % len(self._storage)] ^= np.uint32(1 << bit % 32)

    def close(self) -> None: ...


@cache
def _engine() -> ctypes.PyDLL:
    """The library. It is called with Python's lock held: a decision takes less time than releasing it."""
    path = build.shared_library()
    try:
        library = ctypes.PyDLL(str(path))
    except OSError as error:  # as from a folder whose files may not be executed
        raise BuildError(f"the C engine cannot be loaded: {error}") from error
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    for name, arguments in {
        "kd_required_words": [ctypes.c_char_p, number],
        "kd_load": [pointer, ctypes.c_char_p, number, pointer, number],
        "kd_load_sealed": [pointer, ctypes.c_char_p, number, pointer, number, pointer, pointer],
        "kd_serve": None,  # it is given a byref, which needs no conversion
        "kd_send": [pointer, pointer, pointer, pointer],
        "kd_model_bytes": [],
    }.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, ctypes.c_int32
    return library
