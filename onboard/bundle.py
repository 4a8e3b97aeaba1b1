"""The bundle: the students of a whole constellation in one folder, with all that is needed to fly or refuse them.

FORMAT.md describes it. Reading never runs code, and what is read is what was hashed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onboard import fields, golden, table, tensors
from onboard.authentic import SIGNATURE, AuthenticityError, Seal, Trust, read_key
from onboard.budget import MOST_BITS, Budget
from onboard.golden import Golden
from onboard.network import TORCH_NAMES, Design, Network
from onboard.spec import LARGEST, AgentSpec, FloatArray

FORMAT = "kdmarl_sat bundle"
VERSION = 5
READABLE = (1, 2, 3, 4, 5)
MANIFEST, CHECKSUM = "manifest.json", "manifest.sha256"
LARGEST_FILE = 64 * 2**20  # bytes

Fetch = Callable[[str, int], bytes]  # (file name, longest length in bytes) -> content


class BundleError(ValueError):
    """A bundle that cannot be written, read or used for this mission; the message is one sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class SatelliteBundle:
    """One satellite's network. Invalid content is refused when it is written or read."""

    spec: AgentSpec
    network: Network
    golden: Golden
    budget: Budget
    fallback: tuple[str, ...]  # actions to take instead of a missing answer, in order of preference
    bits_per_decision: int = 0  # that it broadcasts with each decision: its intent, or its network's message
    seal: Seal | None = None  # what the C engine checks its table by, where a key is configured


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    scenario: str
    satellites: tuple[SatelliteBundle, ...]
    provenance: Mapping[str, Any]  # config digest, seed, commit, versions, when: plain JSON
    sequence: int | None = None  # of its signature, which was checked; None: no key was configured


def write_bundle(
    folder: str | Path, scenario: str, satellites: Sequence[SatelliteBundle], provenance: Mapping[str, Any]
) -> None:
    """Write a bundle as a new folder, whole or not at all.

    Raises BundleError: the folder exists or cannot be written, or the content is not a valid bundle.
    """
    target = Path(folder)
    if os.path.lexists(target):
        raise BundleError(f"bundle {target} already exists and bundles are never overwritten")
    files = _encode(scenario, satellites, provenance)
    _decode(lambda name, _: files[name], str(target), None)  # never write what the reader would refuse
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        partial.rename(target)
    except OSError as error:
        raise BundleError(f"bundle {target} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone if it was renamed


def read_bundle(folder: str | Path, expect: Sequence[AgentSpec] | None = None, trust: Trust | None = None) -> Bundle:
    """Read a bundle and check all of it; with ``expect``, also that it was made for exactly these satellites, and with
    ``trust``, before all else, that its key signed it and none newer was accepted.

    Raises BundleError: a file is missing or damaged, the format version is not readable, the bundle is for other
    satellites, anything in it is malformed, or ``trust`` refuses it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BundleError(f"bundle {root} is not a folder")

    def fetch(name: str, longest: int) -> bytes:
        try:
            status = os.lstat(root / name)
            if not stat.S_ISREG(status.st_mode):  # neither a link out of the folder nor a pipe that never ends
                raise ValueError(f"{name} is not a regular file")
            if status.st_size > longest:
                raise ValueError(f"{name} is damaged: {status.st_size} bytes, at most {longest} expected")
            return (root / name).read_bytes()
        except FileNotFoundError as error:
            raise ValueError(f"{name} is missing") from error
        except OSError as error:
            raise ValueError(f"{name} could not be read: {error.strerror or error}") from error

    return _decode(fetch, str(root), expect) if trust is None else _authentic(fetch, root, expect, trust)


def _authentic(fetch: Fetch, root: Path, expect: Sequence[AgentSpec] | None, trust: Trust) -> Bundle:
    try:
        key = read_key(trust.key_file)  # first: without it nothing can be said of the bundle
    except AuthenticityError as error:
        raise BundleError(str(error)) from error
    try:
        manifest = fetch(MANIFEST, LARGEST_FILE)
        signed = trust.check(manifest, fetch(SIGNATURE, LARGEST_FILE) if os.path.lexists(root / SIGNATURE) else None)
    except ValueError as error:
        raise BundleError(f"bundle {root}: {error}") from error
    # The very bytes that were checked are decoded, whatever happens to the file meanwhile.
    bundle = _decode(lambda name, most: manifest if name == MANIFEST else fetch(name, most), str(root), expect)
    if set(signed.tables) != {each.spec.name for each in bundle.satellites}:
        raise BundleError(f"bundle {root}: {SIGNATURE} has tags of {', '.join(signed.tables)}, not of its satellites")
    sealed = (
        dataclasses.replace(each, seal=Seal(key, each.spec.name, signed.sequence, signed.tables[each.spec.name]))
        for each in bundle.satellites
    )
    return dataclasses.replace(bundle, satellites=tuple(sealed), sequence=signed.sequence)


def _encode(scenario: str, satellites: Sequence[SatelliteBundle], provenance: Mapping[str, Any]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    entries = []
    for satellite in satellites:
        name = satellite.spec.name
        contents = {
            "weights": (f"{name}.kdwt", _table(satellite)),
            "golden": (f"{name}.golden.npz", golden.dump(satellite.golden)),
        }
        files.update(contents.values())
        entries.append(
            {
                "spec": satellite.spec.to_dict(),
                "network": satellite.network.design.to_dict(),
                "budget": satellite.budget.to_dict(),
                "fallback": satellite.fallback,
                "bits_per_decision": satellite.bits_per_decision,
                **{
                    role: {"file": file, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                    for role, (file, content) in contents.items()
                },
            }
        )
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "scenario": scenario,
        "provenance": provenance,
        "satellites": entries,
    }
    try:
        files[MANIFEST] = (json.dumps(manifest, indent=1, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise BundleError(f"a bundle's manifest must be plain JSON: {error}") from error
    files[CHECKSUM] = _checksum(files[MANIFEST])
    return files


def _table(satellite: SatelliteBundle) -> bytes:
    try:
        return table.dump(satellite.network, satellite.spec)
    except ValueError as error:
        raise BundleError(f"satellite {satellite.spec.name!r} has weights that cannot be written: {error}") from error


def _checksum(manifest: bytes) -> bytes:
    """One line, as sha256sum writes and checks it."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _decode(fetch: Fetch, shown: str, expect: Sequence[AgentSpec] | None) -> Bundle:
    try:
        manifest = _manifest(fetch)
        listed = fields.sequence("satellites", manifest["satellites"], LARGEST)
        entries = [_Entry.from_dict(value, manifest["version"]) for value in listed]
        names = [entry.spec.name for entry in entries]
        if not names or len(set(names)) < len(names):
            fields.refuse("satellites", names, "at least one name, all distinct")
        if expect is not None:
            _check_expected([entry.spec for entry in entries], expect)
        if not isinstance(manifest["provenance"], dict):
            fields.refuse("provenance", manifest["provenance"], "an object")
        return Bundle(
            scenario=fields.text("scenario", manifest["scenario"]),
            satellites=tuple(entry.load(fetch) for entry in entries),
            provenance=manifest["provenance"],
        )
    except ValueError as error:
        said = " ".join(str(error).split())  # one line, whatever numpy says, and whatever it quotes of a file
        said = said if len(said) <= 400 else f"{said[:200]} ... {said[-195:]}"
        raise BundleError(f"bundle {shown}: {said}") from error


def _manifest(fetch: Fetch) -> dict[str, Any]:
    content = fetch(MANIFEST, LARGEST_FILE)
    try:
        manifest = fields.parse_json(content)
    except ValueError as error:
        raise ValueError(f"{MANIFEST} is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{MANIFEST} is not the manifest of a bundle: it must be an object with format={FORMAT!r}")
    # The version goes first: another one may be laid out and checked otherwise.
    version = manifest.get("version")
    if type(version) is not int or version not in READABLE:
        readable = ", ".join(map(str, READABLE))
        raise ValueError(f"format version {version!r:.20} cannot be read here; readable: {readable}")
    if fetch(CHECKSUM, 1000) != _checksum(content):
        raise ValueError(f"{MANIFEST} is damaged: its SHA-256 is not the one in {CHECKSUM}")
    return fields.mapping(MANIFEST, manifest, ("format", "version", "scenario", "provenance", "satellites"))


def _check_expected(found: Sequence[AgentSpec], expect: Sequence[AgentSpec]) -> None:
    by_name = {spec.name: spec for spec in found}
    wanted = [spec.name for spec in expect]
    if sorted(by_name) != sorted(wanted):
        raise ValueError(f"it was made for satellites {', '.join(by_name)}, and the mission has {', '.join(wanted)}")
    for spec in expect:
        difference = by_name[spec.name].difference(spec)
        if difference is not None:
            raise ValueError(f"it was made for another agent spec: satellite {spec.name!r}: {difference}")


_BUDGETS = {  # by the bundle's version
    1: Budget.from_dict_1,
    2: Budget.from_dict_2,
    3: Budget.from_dict_3,
    4: Budget.from_dict,
    5: Budget.from_dict,
}


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    length: int
    sha256: str

    @classmethod
    def from_dict(cls, where: str, value: object) -> _File:
        entry = fields.mapping(where, value, ("file", "bytes", "sha256"))
        return cls(
            name=fields.text(f"{where}.file", entry["file"], fields.FILE_NAME),
            length=fields.integer(f"{where}.bytes", entry["bytes"], 1, LARGEST_FILE),
            sha256=fields.text(f"{where}.sha256", entry["sha256"]),
        )

    def load(self, fetch: Fetch) -> bytes:
        content = fetch(self.name, self.length)
        if len(content) != self.length:
            raise ValueError(f"{self.name} is damaged: {len(content)} bytes, {self.length} expected")
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueError(f"{self.name} is damaged: its SHA-256 is not the one in {MANIFEST}")
        return content


@dataclass(frozen=True, slots=True)
class _Entry:
    """A satellite as the manifest lists it."""

    version: int
    spec: AgentSpec
    design: Design
    budget: Budget
    fallback: tuple[str, ...]
    bits_per_decision: int
    weights: _File
    golden: _File

    @classmethod
    def from_dict(cls, value: object, version: int) -> _Entry:
        design = "hidden" if version == 1 else "network"
        sent = ("bits_per_decision",) if version > 2 else ()
        entry = fields.mapping("satellite", value, ("spec", design, "budget", "fallback", *sent, "weights", "golden"))
        spec = AgentSpec.from_dict(entry["spec"], computed=version > 3)
        where = f"satellite {spec.name!r}"
        listed = fields.sequence(f"{where} fallback", entry["fallback"], len(spec.actions))
        fallback = tuple(fields.text(f"{where} fallback", name) for name in listed)
        if not fallback or not set(fallback) <= set(spec.actions):
            fields.refuse(f"{where} fallback", fallback, f"one or more of {', '.join(spec.actions)}")
        bits = fields.integer(f"{where} bits_per_decision", entry.get("bits_per_decision", 0), 0, MOST_BITS)
        old = Design(entry["hidden"]) if version == 1 else None
        network = old or Design.from_dict(entry["network"], messages=version > 4)
        if network.message_bits not in (0, bits):
            allowed = f"the network's message_bits, {network.message_bits}"
            fields.refuse(f"{where} bits_per_decision", bits, allowed)
        return cls(
            version=version,
            spec=spec,
            design=network,
            budget=_BUDGETS[version](entry["budget"]),
            fallback=fallback,
            bits_per_decision=bits,
            weights=_File.from_dict(f"{where} weights", entry["weights"]),
            golden=_File.from_dict(f"{where} golden", entry["golden"]),
        )

    def load(self, fetch: Fetch) -> SatelliteBundle:
        weights, vectors = self.weights.load(fetch), self.golden.load(fetch)
        try:
            if self.version == 1:
                network = _network_1(tensors.load(weights), self.spec, self.design)
            else:
                network = table.load(weights, self.spec, self.design)
        except ValueError as error:
            raise ValueError(f"{self.weights.name} is malformed: {error}") from error
        try:
            sends = self.design.message_bits > 0
            recorded = golden.load(vectors, self.spec, exact=self.version > 1, sends=sends)
        except ValueError as error:
            raise ValueError(f"{self.golden.name} is malformed: {error}") from error
        return SatelliteBundle(self.spec, network, recorded, self.budget, self.fallback, self.bits_per_decision)


def _network_1(stored: Mapping[str, FloatArray], spec: AgentSpec, design: Design) -> Network:
    named = {TORCH_NAMES.get(name, name): tensor for name, tensor in stored.items()}
    if named.get("score.weight", np.zeros(0)).shape == (1, design.hidden):
        named["score.weight"] = named["score.weight"][0]
    network = Network(design, named)
    network.check(spec)
    return network
