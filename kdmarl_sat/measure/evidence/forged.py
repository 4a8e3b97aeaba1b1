"""Bundles that somebody without the operator's key made, or that are older than the newest accepted: all are refused.

Each is drawn from a seed, read, and given to an executor with the native runner, whose engine checks the tables' tags.
The key, the bundle that it signed and the ledger are made anew for each measurement.
"""

from __future__ import annotations

import itertools
import json
import random
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdmarl_sat.measure.evidence.analysis import EvidenceError
from kdmarl_sat.measure.onboard.attacks import mutated
from onboard.authentic import (
    KEY_BYTES,
    SIGNATURE,
    AuthenticityError,
    Signature,
    Trust,
    fingerprint,
    manifest_tag,
    new_key,
    read_key,
    table_tag,
)
from onboard.budget import BudgetError
from onboard.bundle import MANIFEST, BundleError, read_bundle
from onboard.executor import Executor
from onboard.golden_check import GoldenError
from onboard.runners import BuildError, choose

REFUSALS = (BundleError, BudgetError, GoldenError, AuthenticityError, BuildError)
PATIENCE_MS = 60000.0  # a busy machine refuses nothing
NEWEST = 1000  # sequence number of the bundle that is flown


def measure(source: Path, count: int) -> dict[str, Any]:
    """How many of each kind were refused.

    Args:
        source: a bundle's folder, which is copied.

    Raises EvidenceError: one was read, or the operator's own was not.
    """
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_forged.") as name:
        folder = Path(shutil.copytree(source, Path(name) / "bundle"))
        trust = Trust(Path(name) / "operator.key", Path(name) / "ledger.json")
        new_key(trust.key_file)
        key = read_key(trust.key_file)
        (folder / SIGNATURE).write_bytes(signed(folder, key, NEWEST))
        trust.accept(NEWEST)
        _own(folder, trust)
        before = {path: path.read_bytes() for path in sorted(folder.iterdir())}
        refused: Counter[str] = Counter()
        for seed in itertools.count():
            if refused.total() == count:
                break
            kind = list(FORGERIES)[seed % len(FORGERIES)]
            if not FORGERIES[kind](folder, key, random.Random(seed)):
                continue
            try:
                _fly(folder, trust)
            except REFUSALS:
                refused[kind] += 1
            else:
                raise EvidenceError(f"a bundle was read that must not be: {kind}, seed {seed}")
            finally:
                for path, content in before.items():
                    if not path.exists() or path.read_bytes() != content:
                        path.write_bytes(content)
        _own(folder, trust)
    return {"tried": count, "refused": dict(refused)}


def _own(folder: Path, trust: Trust) -> None:
    """The operator's own bundle is still read: the others are refused for what was done to them."""
    try:
        _fly(folder, trust)
    except REFUSALS as error:
        raise EvidenceError(f"the operator's own bundle is refused: {error}") from error


def _fly(folder: Path, trust: Trust) -> None:
    """Admit it, and let it reproduce its golden decisions."""
    bundle = read_bundle(folder, trust=trust)
    Executor(bundle, PATIENCE_MS, make_runner=lambda each, ms: choose.make("native", each, ms), trust=trust).close()


def signed(folder: Path, key: bytes, sequence: int, told: str | None = None) -> bytes:
    """signature.json of a bundle as the holder of a key makes it; ``told``: the key's name in it, if another."""
    manifest = (folder / MANIFEST).read_bytes()
    tables = {}
    for satellite in json.loads(manifest)["satellites"]:
        name, content = satellite["spec"]["name"], (folder / satellite["weights"]["file"]).read_bytes()
        tables[name] = table_tag(key, sequence, name, content)
    made = Signature(sequence, told or fingerprint(key), manifest_tag(key, sequence, manifest), tables)
    return json.dumps(made.to_dict()).encode()


# Each makes its change, and says whether there is one.


def _damaged(folder: Path, key: bytes, chance: random.Random) -> bool:
    path = chance.choice(sorted(folder.iterdir()))
    content = mutated(path.read_bytes(), chance)
    if _means(path, content) == _means(path, path.read_bytes()):
        return False
    path.write_bytes(content)
    return True


def _means(path: Path, content: bytes) -> Any:
    """A space more in a signature is no other signature; in a manifest, which is signed by its bytes, it is."""
    if path.name != SIGNATURE:
        return content
    try:
        return Signature.from_bytes(content)
    except ValueError:
        return content


def _manifest(folder: Path, key: bytes, chance: random.Random) -> bool:
    """More is granted to a satellite than the operator did."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    satellite = chance.choice(manifest["satellites"])
    satellite["budget"]["max_latency_ms"] *= 1 + chance.random()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return True


def _other_key(folder: Path, key: bytes, chance: random.Random) -> bool:
    (folder / SIGNATURE).write_bytes(signed(folder, chance.randbytes(KEY_BYTES), NEWEST + chance.randrange(10)))
    return True


def _posing(folder: Path, key: bytes, chance: random.Random) -> bool:
    """Another key's tags under the operator's name."""
    forged = signed(folder, chance.randbytes(KEY_BYTES), NEWEST + chance.randrange(10), told=fingerprint(key))
    (folder / SIGNATURE).write_bytes(forged)
    return True


def _unsigned(folder: Path, key: bytes, chance: random.Random) -> bool:
    (folder / SIGNATURE).unlink()
    return True


def _replayed(folder: Path, key: bytes, chance: random.Random) -> bool:
    """Signed by the operator, before."""
    (folder / SIGNATURE).write_bytes(signed(folder, key, chance.randrange(1, NEWEST)))
    return True


def _renumbered(folder: Path, key: bytes, chance: random.Random) -> bool:
    """An older one of the operator's with a newer number written over it."""
    old = json.loads(signed(folder, key, chance.randrange(1, NEWEST)))
    (folder / SIGNATURE).write_text(json.dumps({**old, "sequence": NEWEST + chance.randrange(10)}))
    return True


def _swapped(folder: Path, key: bytes, chance: random.Random) -> bool:
    """Tags of tables exchanged between satellites, or made up."""
    entry = json.loads((folder / SIGNATURE).read_bytes())
    tags = entry["hmac"]["tables"]
    names = sorted(tags)
    one = chance.choice(names)
    tags[one] = chance.choice([tags[name] for name in names if tags[name] != tags[one]] or [secrets.token_hex(32)])
    (folder / SIGNATURE).write_text(json.dumps(entry))
    return True


FORGERIES: dict[str, Callable[[Path, bytes, random.Random], bool]] = {
    "damaged": _damaged,
    "manifest changed": _manifest,
    "signed by another key": _other_key,
    "another key in the operator's name": _posing,
    "unsigned": _unsigned,
    "replayed": _replayed,
    "replayed with a newer number": _renumbered,
    "a table's tag of another": _swapped,
}
