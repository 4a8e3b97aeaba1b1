"""``kdmarl-sat export bundle=FOLDER satellite=NAME [c=FOLDER] [onnx=FILE [batch=N]]``: for other programs.

c=FOLDER    student.c and student.h: engine, weights and golden decisions for a bare-metal project, bit for bit.
onnx=FILE   an ONNX graph, checked in onnxruntime against the reference.
batch=N     its inputs and outputs have a first dimension, of N decisions at a time; batch=any: of any number.
Nothing is overwritten.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from envs.files import write_whole
from onboard import export_c
from onboard.bundle import MANIFEST, SatelliteBundle, read_bundle
from scenarios.folders import check_file, check_folder
from scenarios.messages import unknown_key
from scenarios.ranges import ConfigError, check

MOST_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Order:
    """What to export, and where to."""

    bundle: str
    satellite: str
    c: str = ""
    onnx: str = ""
    batch: str = ""

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Order:
        """From KEY=VALUE.

        Raises:
            ConfigError: a key is missing, unknown or given twice, or nothing is asked for.
        """
        known = [field.name for field in fields(cls)]
        given: dict[str, str] = {}
        for argument in arguments:
            key, _, value = argument.partition("=")
            if key not in known:
                raise ConfigError(unknown_key(key, known))
            if not value or key in given:
                raise ConfigError(f"{argument!r} is not understood: {key} must be given once, as {key}=VALUE")
            given[key] = value
        for key in ("bundle", "satellite"):
            if key not in given:
                raise ConfigError(f"{key} is not set: it must be given, as {key}=VALUE")
        if not given.keys() & {"c", "onnx"}:
            raise ConfigError("neither c nor onnx is set: at least one of c=FOLDER and onnx=FILE must be given")
        if "batch" in given:
            check("batch", given["batch"], "onnx" in given, "left out without onnx=FILE")
            sized = given["batch"] == "any" or given["batch"] in map(str, range(1, MOST_BATCH + 1))
            check("batch", given["batch"], sized, f"any, or a whole number between 1 and {MOST_BATCH}")
        return cls(**given)


def export(order: Order) -> list[Path]:
    """Write what is asked for; the files written. What is refused is refused before any of them is.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    by_name = {each.spec.name: each for each in read_bundle(order.bundle).satellites}
    if order.satellite not in by_name:
        raise ConfigError(f"satellite={order.satellite!r} is not in the bundle: it must be one of {', '.join(by_name)}")
    satellite = by_name[order.satellite]
    if order.c:
        check_folder(f"c={order.c}", Path(order.c))
        export_c.places(order.c)
    graph = _graph(Path(order.onnx), satellite, order.batch) if order.onnx else None
    written: list[Path] = []
    if order.c:
        manifest = hashlib.sha256((Path(order.bundle) / MANIFEST).read_bytes()).hexdigest()
        origin = f"bundle {Path(order.bundle).resolve().name}, SHA-256 of its manifest {manifest}"
        written += export_c.write(order.c, satellite, origin)
    if graph is not None:
        Path(order.onnx).parent.mkdir(parents=True, exist_ok=True)
        written.append(write_whole(Path(order.onnx), graph, new=True))
    return written


def _graph(path: Path, satellite: SatelliteBundle, batch: str) -> bytes:
    """The content of the ONNX file, which is not written yet."""
    if os.path.lexists(path):
        raise ConfigError(f"onnx={path} already exists and is not overwritten")
    check_file("onnx", path)
    try:
        from training.missions.export_onnx import ANY, export_onnx  # here, because it needs packages that are optional
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"onnx={path} needs the package {error.name}, which is not installed: "
            '`pip install -c constraints.txt -e ".[onnx]"` installs it'
        ) from error
    return export_onnx(satellite, ANY if batch == "any" else int(batch) if batch else None)
