"""Attacks on a bundle's folder, each drawn from a seed, and their outcomes.

They run in a process of their own (mutations.py), so this module imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import random
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onboard.budget import BudgetError
from onboard.bundle import CHECKSUM, MANIFEST, BundleError, read_bundle
from onboard.executor import Executor
from onboard.golden_check import GoldenError
from onboard.runners import BuildError, choose

DAMAGED, SIGNED = "damaged", "signed anew"
REFUSALS = (BundleError, BudgetError, GoldenError, BuildError)
UNCHANGED, READ, FLEW, ILLEGAL = "unchanged", "read", "flew", "illegal action"
_STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 4096, 10**30, 1e308, 0.5, "", "charge", "a/b", "\ud800", [], [[]], {},
)  # fmt: skip


def attack(folder: Path, kind: str, seeds: Sequence[int]) -> tuple[Counter[str], list[str]]:
    """Attack a bundle once for each seed: the number of each outcome, and the bad outcomes; the bundle is restored."""
    warnings.simplefilter("ignore")  # numpy's header reader warns of old formats
    outcomes: Counter[str] = Counter()
    bad = []
    before = {path: path.read_bytes() for path in sorted(folder.iterdir())}
    for seed in seeds:
        chance = random.Random(f"{kind} {seed}")
        try:
            outcome = _ATTACKS[kind](folder, before, chance)
        except Exception as error:
            outcome = f"raised {type(error).__name__}"
        finally:
            for path, content in before.items():
                if not path.exists() or path.read_bytes() != content:
                    path.write_bytes(content)
        if outcome in (READ, ILLEGAL) or outcome.startswith("raised"):
            bad.append(f"{kind}, seed {seed}: {outcome}")
        outcomes[outcome] += 1
    return outcomes, bad


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with one random bit flip, overwrite, deletion, insertion, duplication or truncation."""
    data = bytearray(content)
    start = chance.randrange(len(data))
    stop = min(len(data), start + chance.choice((1, 2, 8, 64, 1000)))
    match chance.randrange(6):
        case 0:
            data[start] ^= 1 << chance.randrange(8)
        case 1:
            data[start:stop] = chance.randbytes(stop - start)
        case 2:
            del data[start:stop]
        case 3:
            data[start:start] = chance.randbytes(stop - start)
        case 4:
            data[start:start] = data[start:stop]
        case 5:
            del data[start:]
    return bytes(data)


def _damaged(folder: Path, before: dict[Path, bytes], chance: random.Random) -> str:
    """One file changed, the checksums as they were: it must be refused."""
    path = chance.choice(list(before))
    content = mutated(before[path], chance)
    if content == before[path]:
        return UNCHANGED
    path.write_bytes(content)
    try:
        read_bundle(folder)
    except BundleError:
        return BundleError.__name__
    return READ


def _signed_anew(folder: Path, before: dict[Path, bytes], chance: random.Random) -> str:
    """A file, or one value of the manifest, changed by somebody who can sign: refused, or flown within its checks."""
    manifest = json.loads(before[folder / MANIFEST])
    if chance.random() < 0.5:
        _replace_one(manifest, chance)
    else:
        satellite = chance.choice(manifest["satellites"])
        entry = satellite[chance.choice(("weights", "golden"))]
        path = folder / entry["file"]
        content = mutated(before[path], chance) or b"0"
        if path.suffix == ".kdwt" and len(content) >= 16 and chance.random() < 0.9:
            length, crc = (value.to_bytes(4, "little") for value in (len(content), zlib.crc32(content[16:])))
            content = content[:8] + length + crc + content[16:]
        path.write_bytes(content)
        entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    text = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / CHECKSUM).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")
    try:
        return _flown(folder)
    except REFUSALS as error:
        return type(error).__name__


def _replace_one(manifest: Any, chance: random.Random) -> None:
    """Any one value of the manifest by another kind of value."""
    node = manifest
    while True:
        key = chance.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], dict | list) or not node[key] or chance.random() < 0.1:
            break
        node = node[key]
    node[key] = chance.choice(_STRANGE)


def _flown(folder: Path) -> str:
    """Raises one of REFUSALS."""
    bundle = read_bundle(folder)
    executor = Executor(bundle, make_runner=lambda each, deadline_ms: choose.make(choose.BEST, each, deadline_ms))
    try:
        for each in bundle.satellites:
            for time_s, (obs, mask) in enumerate(zip(each.golden.obs[:4], each.golden.mask[:4], strict=True)):
                if not mask[executor.decide(each.spec.name, obs, mask, float(time_s))]:
                    return ILLEGAL
    finally:
        executor.close()
    return FLEW


_ATTACKS = {DAMAGED: _damaged, SIGNED: _signed_anew}
