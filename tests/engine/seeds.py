"""``python -m tests.engine.seeds FOLDER``: small weight tables of every kind, for the fuzzer and the sanitizers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from onboard import table
from onboard.network import Activation, Architecture, Design, Dtype, count_storage_words
from tests.onboard_samples import BLIND, PLAIN, TINY, draw_network

DESIGNS = {
    "tiny": (TINY, Design(4)),
    "tiny8": (TINY, Design(9, dtype=Dtype.INT8)),
    "blind": (BLIND, Design(3)),
    "blind8": (BLIND, Design(1, dtype=Dtype.INT8)),
    "plain": (PLAIN, Design(5, Architecture.RECURRENT)),
    "plain8": (PLAIN, Design(8, Architecture.RECURRENT, Activation.TANH, Dtype.INT8)),
    "slots": (TINY, Design(2, Architecture.RECURRENT, Activation.TANH)),
}


def write_seeds(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.kdwt" for name in DESIGNS]
    for path, (spec, design) in zip(paths, DESIGNS.values(), strict=True):
        path.write_bytes(table.dump(draw_network(spec, design, seed=1), spec))
    return paths


def cases() -> Iterator[tuple[str, bytes, int, int]]:
    """Of every seed: name, the table's dimensions from byte 16 to the first tensor, its length, words of storage."""
    for name, (spec, design) in DESIGNS.items():
        data = table.dump(draw_network(spec, design, seed=1), spec)
        yield name, data[16 : 48 + 4 * len(spec.blocks)], len(data), count_storage_words(spec, design)


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
