"""The C engine, built on first use and loaded once."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from envs.basilisk.twin import layout
from envs.basilisk.twin.episode_layout import EPISODE, MISSION
from onboard.build import FAST, STRICT, build
from onboard.runners import BuildError

ENGINE = Path(__file__).with_name("engine")
SOURCES = {
    f"tw_{name}.c": FAST
    for name in ("attitude", "fly", "energy", "replay", "search", "episode", "observe", "bound", "sizes")
}

_P, _I, _D = ctypes.c_void_p, ctypes.c_int32, ctypes.c_double
_SIGNATURES = {
    "tw_begin": ([_P, _P, _I], None),
    "tw_tick": ([_P, _P], _I),
    "tw_image": ([_P, _P, _I, _D], _I),
    "tw_wait": ([_P, _P, _I], _I),
    "tw_prime": ([_P, _P], None),
    "tw_lowest_ahead": ([_P, _P], _D),
    "tw_guard": ([_P, _P], _I),
    "tw_offer": ([_P, _P, _P, _P, _I], _I),
    "tw_search": ([_P, _P, _P, _P, _P, _P, _I, _P], _I),
    "tw_replay": ([_P, _P, _P, _P, _P, _I, _P, _P], _I),
    "tw_foretell": ([_P, _P, _P, _I, _P], None),
    "tw_start": ([_P], None),
    "tw_bound_edges": ([_P, _P, _P, _P, ctypes.c_int64], ctypes.c_int64),
    "tw_bound_path": ([_P] * 8, _D),
    "tw_step_all": ([_P, _I, *([_P] * 10)], None),
}


@cache
def library() -> ctypes.CDLL:
    """
    Raises:
        onboard.runners.BuildError: there is no C compiler, or it fails; one sentence.
    """
    path = build("libtwin.so", SOURCES, (*STRICT, "-march=native", "-fPIC"), ("-shared", "-lm"), folder=ENGINE)
    loaded = ctypes.CDLL(str(path))
    for name, (arguments, result) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, result
    sizes = (ctypes.c_int32 * 7)()
    loaded.tw_sizes(sizes)
    records = (layout.SATELLITE, layout.STATE, layout.EFFORT, layout.STEP, MISSION, EPISODE, layout.CAPTURES)
    if tuple(sizes) != tuple(record.itemsize for record in records):
        raise BuildError(f"libtwin.so has structures of {tuple(sizes)} bytes, not those of layout.py")
    return loaded


def fault() -> str | None:
    """Why there is no twin on this machine; None where there is one."""
    try:
        library()
    except BuildError as error:
        return str(error)
    return None
