"""``python -m tests.engine.seeds FOLDER``: small weight tables of every kind, for the fuzzer and the sanitizers."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from onboard import build, table
from onboard.network import Activation, Architecture, Design, Dtype, count_storage_words
from tests.onboard_samples import BLIND, PLAIN, TALK, TALKER, TINY, draw_network

DESIGNS = {
    "tiny": (TINY, Design(4)),
    "tiny8": (TINY, Design(9, dtype=Dtype.INT8)),
    "blind": (BLIND, Design(3)),
    "blind8": (BLIND, Design(1, dtype=Dtype.INT8)),
    "plain": (PLAIN, Design(5, Architecture.RECURRENT)),
    "plain8": (PLAIN, Design(8, Architecture.RECURRENT, Activation.TANH, Dtype.INT8)),
    "slots": (TINY, Design(2, Architecture.RECURRENT, Activation.TANH)),
    "talker": (TALKER, TALK),
}


def write_seeds(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.kdwt" for name in DESIGNS]
    for path, (spec, design) in zip(paths, DESIGNS.values(), strict=True):
        path.write_bytes(table.dump(draw_network(spec, design, seed=1), spec))
    return paths


def cases() -> Iterator[tuple[str, bytes, int, int, str]]:
    """Of every seed: name; the table's dimensions from byte 16 to the first tensor, its length, words of storage; and
    the fields of the model, from ``words`` to ``score``, as C."""
    for name, (spec, design) in DESIGNS.items():
        data = table.dump(draw_network(spec, design, seed=1), spec)
        words = count_storage_words(spec, design)
        yield name, data[16 : 48 + 4 * len(spec.blocks)], len(data), words, _model(data, words)


def _model(data: bytes, words: int) -> str:
    """As the engine itself fills it in."""
    engine = ctypes.CDLL(str(build.shared_library()))
    memory = ctypes.create_string_buffer(engine.kd_model_bytes())
    storage = (ctypes.c_uint32 * words)()
    if engine.kd_load(memory, data, len(data), storage, words) != 0:
        raise ValueError("the engine refuses a seed")
    at = ctypes.sizeof(ctypes.c_void_p)
    scalars = struct.unpack_from("=13I", memory, at)
    sizes = struct.unpack_from("=64H", memory, at + 52)
    slots = struct.unpack_from("=64H", memory, at + 52 + 128)
    maps = struct.unpack_from("=41I", memory, at + 52 + 256)
    linears = ", ".join(f"{{{_list(maps[5 * n : 5 * n + 5])}}}" for n in range(8))
    blocks = scalars[11]
    return f"{_list(scalars)}, {{{_list(sizes[:blocks])}}}, {{{_list(slots[:blocks])}}}, {{{linears}}}, {maps[40]}u"


def _list(values: Sequence[int]) -> str:
    return ", ".join(f"{value}u" for value in values)


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
