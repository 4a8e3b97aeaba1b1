"""The bundle format: what is written is read, and whatever else is refused with one sentence."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import random
import resource
import shutil
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onboard_samples import (
    BLIND,
    PLAIN,
    TINY,
    edit,
    make_bundle,
    make_satellite,
    make_talker,
    resign,
    rewrite,
    write_sample,
)
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_save

from kdmarl_sat.measure.onboard.attacks import mutated
from onboard import admission, budget, golden, processors, tensors
from onboard.bundle import Bundle, BundleError, SatelliteBundle, read_bundle, write_bundle
from onboard.executor import Executor
from onboard.golden_check import GoldenError
from onboard.network import Activation, Architecture, Design, Dtype
from onboard.spec import AgentSpec, Block

KEPT = Path(__file__).parent / "data"
FIRST = 48 + 4 * 3  # bytes of the scout's table before its first tensor, context.weight [4, 3]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("bundles") / "pristine")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def same(a: Bundle, b: Bundle) -> bool:
    def one(x: SatelliteBundle, y: SatelliteBundle) -> bool:
        return (
            (x.spec, x.network.design, x.budget, x.fallback) == (y.spec, y.network.design, y.budget, y.fallback)
            and x.bits_per_decision == y.bits_per_decision
            and set(x.network.tensors) == set(y.network.tensors)
            and all(np.array_equal(x.network.tensors[name], y.network.tensors[name]) for name in x.network.tensors)
            and x.golden.exact == y.golden.exact
            and all(
                np.array_equal(getattr(x.golden, name), getattr(y.golden, name))
                for name in ("obs", "mask", "logits", "action")
            )
        )

    return (
        a.scenario == b.scenario
        and a.provenance == b.provenance
        and len(a.satellites) == len(b.satellites)
        and all(map(one, a.satellites, b.satellites))
    )


def refusal(folder: Path, expect: list[AgentSpec] | None = None) -> str:
    """The sentence with which a bundle is refused."""
    with pytest.raises(BundleError) as caught:
        read_bundle(folder, expect)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message
    return message


# --- reading and writing ---


def test_what_is_written_is_read(pristine: Path) -> None:
    assert same(read_bundle(pristine), make_bundle())
    assert same(read_bundle(pristine, [BLIND, PLAIN, TINY]), make_bundle())  # in any order
    assert not read_bundle(pristine).satellites[0].network.tensors["slot.weight"].flags.writeable


def test_same_content_same_bytes(pristine: Path, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "again")
    assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in pristine.iterdir())
    for path in pristine.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_tensors_are_safetensors_both_ways() -> None:
    weights = {name: np.array(tensor) for name, tensor in make_satellite().network.tensors.items()}
    for name, tensor in safetensors_load(tensors.dump(weights)).items():
        np.testing.assert_array_equal(tensor, weights[name])
    for name, tensor in tensors.load(safetensors_save(weights, {"made": "by the library"})).items():
        np.testing.assert_array_equal(tensor, weights[name])


def test_spec_from_a_mission_spec() -> None:
    assert AgentSpec.from_dict(dataclasses.asdict(TINY)) == TINY
    assert AgentSpec.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY
    assert (TINY.obs_size, TINY.context_size, TINY.slot_size) == (9, 3, 3)
    assert TINY.actions == ("charge", "image_0", "image_1")


def fly(bundle: Bundle) -> None:
    """The golden decisions once more, through an executor."""
    executor = Executor(bundle, deadline_ms=60_000)
    for satellite in bundle.satellites:
        for obs, mask, action in zip(satellite.golden.obs, satellite.golden.mask, satellite.golden.action, strict=True):
            assert executor.decide(satellite.spec.name, obs, mask, 0.0) == action


def test_version_1_still_reads_and_flies() -> None:
    bundle = read_bundle(KEPT / "bundle_v1")
    scout, relay = bundle.satellites
    assert (scout.spec.name, scout.network.design) == ("scout", Design(4))
    assert (relay.spec.name, relay.network.design) == ("relay-1", Design(6))
    assert scout.spec.blocks[2] == Block("window", 2, "s", 300.0, slots=2) and relay.spec.actions[1] == "drift"
    assert (scout.budget.processor, scout.fallback) == (processors.find("GR712RC"), ("charge",))
    assert (scout.budget.deadline_ms, scout.budget.max_bytes, scout.budget.max_misses) == (250.0, 100000, 3)
    margins = budget.margins(admission.measure(scout), scout.budget)
    unlimited = [margin.quantity for margin in margins if margin.limit > 1e15]  # of what version 1 had no limit for
    assert unlimited == ["RAM", "most instructions on GR712RC", "most energy on GR712RC"]
    assert not scout.golden.exact
    assert (bundle.scenario, bundle.provenance["seed"]) == ("sample", 0)
    fly(bundle)


def test_version_1_is_written_as_version_5(tmp_path: Path) -> None:
    old = read_bundle(KEPT / "bundle_v1")
    satellite = old.satellites[0]
    recorded = golden.record(satellite.network, satellite.spec, satellite.golden.obs, satellite.golden.mask)
    write_bundle(tmp_path / "new", old.scenario, [dataclasses.replace(satellite, golden=recorded)], old.provenance)
    fly(read_bundle(tmp_path / "new"))


def test_version_2_still_reads_and_flies() -> None:
    folder = KEPT / "bundle_v2"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 30_000
    bundle = read_bundle(folder)
    assert [satellite.network.design for satellite in bundle.satellites] == [
        Design(4),
        Design(6),
        Design(5, Architecture.RECURRENT, Activation.TANH, Dtype.INT8),
    ]
    assert same(bundle, without_intents(without_sensing(make_bundle())))
    fly(bundle)


def without_intents(bundle: Bundle) -> Bundle:
    """As versions 1 and 2 had it: no bits sent, and none granted."""
    silent = [
        dataclasses.replace(each, bits_per_decision=0, budget=dataclasses.replace(each.budget, max_bits_per_decision=0))
        for each in bundle.satellites
    ]
    return dataclasses.replace(bundle, satellites=tuple(silent))


def without_sensing(bundle: Bundle) -> Bundle:
    """As versions before 4 had it: nothing computed for the network, and nothing granted for that."""
    older = []
    for each in bundle.satellites:
        blocks = tuple(dataclasses.replace(block, macs=0) for block in each.spec.blocks)
        granted = dataclasses.replace(each.budget, max_sensing_macs=0)
        older.append(dataclasses.replace(each, spec=dataclasses.replace(each.spec, blocks=blocks), budget=granted))
    return dataclasses.replace(bundle, satellites=tuple(older))


def test_version_3_still_reads_and_flies() -> None:
    folder = KEPT / "bundle_v3"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 30_000
    bundle = read_bundle(folder)
    assert [satellite.bits_per_decision for satellite in bundle.satellites] == [12, 0, 12]
    assert [satellite.budget.max_bits_per_decision for satellite in bundle.satellites] == [20, 20, 20]
    assert same(bundle, without_sensing(make_bundle()))
    fly(bundle)


def test_version_4_still_reads_and_flies() -> None:
    folder = KEPT / "bundle_v4"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 30_000
    bundle = read_bundle(folder)
    assert [satellite.spec.sensing_macs for satellite in bundle.satellites] == [10, 0, 0]
    assert [satellite.budget.max_sensing_macs for satellite in bundle.satellites] == [15, 15, 15]
    assert same(bundle, make_bundle())
    fly(bundle)


def test_version_5_still_reads_and_flies() -> None:
    folder = KEPT / "bundle_v5"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 30_000
    bundle = read_bundle(folder)
    assert [each.network.design.message_bits for each in bundle.satellites] == [0, 0, 0, 3]
    talker, plain = make_talker(), make_bundle()
    assert same(bundle, dataclasses.replace(plain, satellites=(*plain.satellites, talker)))
    assert talker.golden.message is not None
    assert np.array_equal(bundle.satellites[3].golden.message, talker.golden.message)
    fly(bundle)


def test_before_version_5_no_messages(tmp_path: Path) -> None:
    """Its key is refused in a manifest that says 4, and so is its lack in one that says 5."""
    four = Path(shutil.copytree(KEPT / "bundle_v4", tmp_path / "4"))
    edit(four, lambda manifest: manifest["satellites"][0]["network"].update(message_bits=0))
    assert "network=" in refusal(four) and "is not allowed: it must be an object with" in refusal(four)
    five = Path(shutil.copytree(KEPT / "bundle_v5", tmp_path / "5"))
    edit(five, lambda manifest: manifest["satellites"][0]["network"].pop("message_bits"))
    assert "'message_bits'" in refusal(five)


def test_before_version_4_nothing_was_computed(tmp_path: Path) -> None:
    """Its keys are refused in a manifest that says 3, and so is their lack in one that says 4."""
    three = Path(shutil.copytree(KEPT / "bundle_v3", tmp_path / "3"))
    edit(three, lambda manifest: manifest["satellites"][0]["spec"]["blocks"][0].update(macs=1))
    assert "block=" in refusal(three) and "is not allowed: it must be an object with" in refusal(three)
    four = Path(shutil.copytree(KEPT / "bundle_v4", tmp_path / "4"))
    edit(four, lambda manifest: manifest["satellites"][0]["budget"].pop("max_sensing_macs"))
    assert "'max_sensing_macs'" in refusal(four)


@pytest.mark.parametrize("macs", [-1, 1.5, True, None, "12"])
def test_impossible_macs(folder: Path, macs: object) -> None:
    edit(folder, lambda manifest: manifest["satellites"][0]["spec"]["blocks"][0].update(macs=macs))
    assert f"macs={macs!r} is not allowed: it must be a whole number" in refusal(folder)


def test_old_versions_have_no_bits(tmp_path: Path) -> None:
    """A key of version 3 in a manifest that says 1 or 2 is refused, and so is its lack in one that says 3."""
    for version in (1, 2):
        kept = Path(shutil.copytree(KEPT / f"bundle_v{version}", tmp_path / str(version)))
        assert [each.bits_per_decision for each in read_bundle(kept).satellites] == [0] * len(
            read_bundle(kept).satellites
        )
        edit(kept, lambda manifest: manifest["satellites"][0].update(bits_per_decision=12))
        assert "satellite=" in refusal(kept) and "is not allowed: it must be an object with" in refusal(kept)
    kept = Path(shutil.copytree(KEPT / "bundle_v3", tmp_path / "3"))
    edit(kept, lambda manifest: manifest["satellites"][0].pop("bits_per_decision"))
    assert "'bits_per_decision'" in refusal(kept)


@pytest.mark.parametrize("bits", [-1, 1.5, True, None, "12", 4097])
def test_impossible_bits(folder: Path, bits: object) -> None:
    edit(folder, lambda manifest: manifest["satellites"][0].update(bits_per_decision=bits))
    assert f"satellite 'scout' bits_per_decision={bits!r} is not allowed: it must be a whole number" in refusal(folder)


def test_never_overwrites(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(BundleError, match="already exists"):
        write_bundle(folder, "sample", make_bundle().satellites, {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    satellites = make_bundle().satellites
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # more than the first file, less than the others
    try:
        with pytest.raises(BundleError, match=r"could not be written: File too large"):
            write_bundle(tmp_path / "new", "sample", satellites, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"network": dataclasses.replace(make_satellite().network, design=Design(5))},
            "context.weight='float32 (4, 3)' is not allowed: it must be float32 (5, 3)",
        ),
        ({"network": make_satellite(BLIND, 6).network}, "context.weight='float32 (6, 5)'"),
        ({"fallback": ("sleep",)}, "fallback=('sleep',) is not allowed: it must be one or more of charge, image_0"),
        ({"fallback": ()}, "fallback"),
        ({"spec": dataclasses.replace(TINY, slots=2, blocks=TINY.blocks[:2])}, "slot.weight='float32 (4, 3)'"),
    ],
)
def test_an_invalid_bundle_is_not_written(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        write_bundle(tmp_path / "new", "sample", [dataclasses.replace(make_satellite(), **change)], {})
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_provenance_must_be_plain_json(tmp_path: Path) -> None:
    for provenance in ({"when": object()}, {"loss": float("nan")}):
        with pytest.raises(BundleError, match="plain JSON"):
            write_bundle(tmp_path / "new", "sample", make_bundle().satellites, provenance)


# --- refusals ---


def test_missing(folder: Path, tmp_path: Path) -> None:
    assert "is not a folder" in refusal(tmp_path / "nowhere")
    (folder / "scout.golden.npz").unlink()
    assert "scout.golden.npz is missing" in refusal(folder)
    (folder / "manifest.json").unlink()
    assert "manifest.json is missing" in refusal(folder)


@pytest.mark.requirement("EX-13")
@pytest.mark.parametrize("name", ["scout.kdwt", "relay-1.golden.npz", "probe.kdwt"])
def test_damage_names_the_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert f"{name} is damaged" in refusal(folder)
    (folder / name).write_bytes(content[:-3])
    assert f"{name} is damaged" in refusal(folder)
    (folder / name).write_bytes(content + b"more")
    assert f"{name} is damaged" in refusal(folder)


def test_damaged_manifest(folder: Path) -> None:
    manifest = folder / "manifest.json"
    content = manifest.read_bytes()
    manifest.write_bytes(content.replace(b'"hidden": 4', b'"hidden": 6'))
    assert "manifest.json is damaged: its SHA-256" in refusal(folder)
    manifest.write_bytes(content[:-20])
    assert "manifest.json is damaged: it is not valid JSON" in refusal(folder)
    manifest.write_bytes(b"[" * 100_000)
    assert "not valid JSON" in refusal(folder)
    manifest.write_bytes(b'{"format": NaN}')
    assert "not valid JSON" in refusal(folder)
    manifest.write_bytes(b'{"format": 1, "format": 1}')
    assert "a key is given twice" in refusal(folder)
    manifest.write_bytes(b"\xff\xfe")
    assert "not valid JSON" in refusal(folder)
    manifest.write_bytes(b"[]")
    assert "not the manifest of a bundle" in refusal(folder)


@pytest.mark.parametrize("version", [0, 6, "2", True, None, 10**400])
def test_other_version(folder: Path, version: object) -> None:
    edit(folder, lambda manifest: manifest.update(version=version))
    assert "cannot be read here; readable: 1, 2, 3" in refusal(folder)


def swapped(index: int, **change: Any) -> AgentSpec:
    blocks = list(TINY.blocks)
    blocks[index] = dataclasses.replace(blocks[index], **change)
    return dataclasses.replace(TINY, blocks=tuple(blocks))


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        (swapped(2, scale=60.0), "block 'window' has scale 300.0 where 60.0 is expected"),
        (swapped(0, size=4), "block 'platform' has size 3 where 4 is expected"),
        (swapped(1, name="angle"), "block 'priority' has name 'priority' where 'angle' is expected"),
        (
            dataclasses.replace(TINY, blocks=TINY.blocks[:2]),
            "blocks ['platform', 'priority', 'window'] where ['platform', 'priority'] is expected",
        ),
        (dataclasses.replace(TINY, hardware="slow"), "hardware 'wide' where 'slow' is expected"),
        (dataclasses.replace(TINY, fixed_actions=("rest",)), "fixed actions ['charge'] where ['rest'] is expected"),
    ],
)
def test_made_for_another_spec(pristine: Path, expected: AgentSpec, difference: str) -> None:
    assert f"satellite 'scout': {difference}" in refusal(pristine, [BLIND, PLAIN, expected])


def test_made_for_other_satellites(pristine: Path) -> None:
    said = "made for satellites scout, relay-1, probe, and the mission has"
    assert said in refusal(pristine, [TINY])
    assert said in refusal(pristine, [TINY, BLIND, PLAIN, dataclasses.replace(BLIND, name="relay-2")])


@pytest.mark.requirement("EX-13")
@pytest.mark.parametrize("name", ["../outside.kdwt", "/etc/passwd", "..", "", "a/b", ".hidden", "a\n", "a\0b", 7])
def test_paths_stay_in_the_folder(folder: Path, name: object) -> None:
    shutil.copy(folder / "scout.kdwt", folder.parent / "outside.kdwt")
    edit(folder, lambda manifest: manifest["satellites"][0]["weights"].update(file=name))
    assert "weights.file=" in refusal(folder)


def test_links_and_pipes_are_not_followed(folder: Path) -> None:
    weights = folder / "scout.kdwt"
    outside = weights.rename(folder.parent / "outside")
    weights.symlink_to(outside)
    assert "scout.kdwt is not a regular file" in refusal(folder)
    weights.unlink()
    os.mkfifo(weights)
    assert "scout.kdwt is not a regular file" in refusal(folder)


def put(at: int, content: bytes) -> Callable[[bytearray], None]:
    """A change of a table."""

    def change(table: bytearray) -> None:
        table[at : at + len(content)] = content

    return change


def word(number: int) -> bytes:
    return number.to_bytes(4, "little")


def forge(folder: Path, name: str, change: Callable[[bytearray], object]) -> None:
    """Change a table, and make its length, its CRC-32 and the bundle's checksums agree with that."""
    path = folder / f"{name}.kdwt"
    content = bytearray(path.read_bytes())
    change(content)
    if len(content) >= 16:
        content[8:16] = word(len(content)) + word(zlib.crc32(content[16:]))
    path.write_bytes(content)
    resign(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put(0, b"KDWX"), "it is not a weight table"),
        (lambda content: content.clear() or content.extend(b"KDWT"), "it is not a weight table"),
        (lambda content: content.__delitem__(slice(47, None)), "it is not a weight table"),
        (put(4, word(2)), "its table version 2 cannot be read here; readable: 1"),
        (put(16, word(2)), "its header describes another network than the manifest does"),
        (put(20, word(2)), "its header describes another network"),
        (put(24, word(2)), "its header describes another network"),
        (put(28, word(5)), "its header describes another network"),
        (put(32, word(2**32 - 1)), "its header describes another network"),
        (put(36, word(2)), "its header describes another network"),
        (put(40, word(2)), "its header describes another network"),
        (put(44, word(1)), "its header describes another network"),
        (put(48, b"\x02"), "its header describes another network"),
        (put(FIRST, b"\0\0\xc0\x7f"), "context.weight is not finite everywhere"),
        (put(FIRST, b"\0\0\x80\xff"), "context.weight is not finite everywhere"),
        (lambda content: content.__delitem__(slice(-4, None)), "it ends within score.bias"),
        (lambda content: content.__delitem__(slice(-1, None)), "it ends within score.bias"),
        (lambda content: content.__delitem__(slice(FIRST + 1, None)), "it ends within context.weight"),
        (lambda content: content.extend(b"1234"), "4 bytes at its end belong to no tensor"),
    ],
)
def test_malformed_weights(folder: Path, change: Callable[[bytearray], object], said: str) -> None:
    forge(folder, "scout", change)
    message = refusal(folder)
    assert "scout.kdwt is malformed" in message and said in message


def test_malformed_int8_weights(folder: Path) -> None:
    """The probe's encoder [5, 7]: five scales, then 35 weights and a byte of padding."""
    first = 48 + 4
    forge(folder, "probe", put(first, b"\0\0\x80\x7f"))
    assert "encoder.scale is not finite everywhere" in refusal(folder)
    forge(folder, "probe", put(first, word(0)))
    read_bundle(folder)
    forge(folder, "probe", put(first + 20 + 35, b"\1"))
    assert "the padding after encoder.weight is not zero" in refusal(folder)


@pytest.mark.parametrize(
    ("at", "said"),
    [(8, "bytes and its header says"), (12, "it is damaged: its CRC-32"), (FIRST, "it is damaged: its CRC-32")],
)
def test_a_table_protects_itself(folder: Path, at: int, said: str) -> None:
    """Though the checksums of the bundle agree."""
    path = folder / "scout.kdwt"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    resign(folder)
    assert said in refusal(folder)


def test_a_table_of_another_satellite(folder: Path) -> None:
    shutil.copy(folder / "relay-1.kdwt", folder / "scout.kdwt")
    resign(folder)
    assert "its header describes another network than the manifest does" in refusal(folder)


# --- tensors of version 1 ---


Header = dict[str, Any]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT / "bundle_v1", tmp_path / "old"))


def rebuild(old: Path, change: Callable[[Header, bytearray], object]) -> None:
    """Change the header and the buffer of the scout's weights, and sign the bundle again."""
    path = old / "scout.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, buffer = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    change(header, buffer)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + buffer)
    resign(old)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h, b: h["query.bias"].update(dtype="F16"), "'query.bias' dtype='F16'"),
        (lambda h, b: h.update(twin=h["query.bias"]), "overlap"),
        (lambda h, b: h["query.bias"].update(data_offsets=[0, 10**9]), "'query.bias' data_offsets=1000000000"),
        (lambda h, b: h["query.bias"].update(data_offsets=[-16, 0]), "'query.bias' data_offsets=-16"),
        (lambda h, b: h["query.bias"].update(data_offsets=[0]), "'query.bias' data_offsets"),
        (lambda h, b: h["query.bias"].update(shape=[2**31, 2**31, 2**31, 2**31]), "'query.bias' data_offsets"),
        (lambda h, b: h["query.bias"].update(shape=[True, 4]), "'query.bias' shape=True"),
        (lambda h, b: h["query.bias"].update(shape=[2, 2]), "query.bias='float32 (2, 2)' is not allowed"),
        (lambda h, b: h["query.bias"].update(more=1), "tensor 'query.bias'"),
        (lambda h, b: h.update(extra={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}), "tensors=['extra']"),
        (lambda h, b: h.update(qu=h.pop("query.bias")), "tensors=['qu', 'query.bias']"),
        (lambda h, b: h.pop("slot.weight"), "48 bytes at its end belong to no tensor"),
        (lambda h, b: h.pop("context.weight"), "gap"),
        (lambda h, b: b.extend(b"1234"), "4 bytes at its end belong to no tensor"),
        (lambda h, b: b.__setitem__(slice(-4, None), b"\0\0\xc0\x7f"), "slot.weight is not finite"),
        (lambda h, b: b.__setitem__(slice(-4, None), b"\0\0\x80\x7f"), "slot.weight is not finite"),
    ],
)
def test_malformed_weights_of_version_1(old: Path, change: Callable[[Header, bytearray], object], said: str) -> None:
    rebuild(old, change)
    message = refusal(old)
    assert "scout.safetensors is malformed" in message and said in message


@pytest.mark.parametrize("length", [0, 3, 2**64 - 1, 1753 - 8])
def test_header_length_cannot_leave_the_file(old: Path, length: int) -> None:
    path = old / "scout.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    resign(old)
    assert "scout.safetensors is malformed" in refusal(old)


def npz(**arrays: Any) -> bytes:
    golden = make_satellite().golden
    stream = io.BytesIO()
    named = {name: getattr(golden, name) for name in ("obs", "mask", "logits", "action")}
    np.savez(stream, allow_pickle=True, **{**named, **arrays})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no zip", "not a readable npz"),
        (npz(extra=np.zeros(1)), "members"),
        (npz(obs=np.zeros(1, [("k" * 12000, "f4")])), "large"),  # numpy's message has two lines
        (npz(obs=np.zeros((12, 9))), "obs.npy must hold <f4"),
        (npz(obs=np.zeros((12, 8), np.float32)), "golden obs shape=(12, 8)"),
        (npz(mask=np.ones((11, 3), np.bool_)), "golden mask shape=(11, 3)"),
        (npz(action=np.zeros((), np.int64)), "golden"),
        (npz(action=np.full(12, 3)), "not legal"),
        (npz(action=np.full(12, -1)), "not legal"),
        (npz(mask=np.zeros((12, 3), np.bool_)), "not legal"),
        (npz(mask=np.full((12, 3), 2, np.uint8).view(np.bool_)), "neither 0 nor 1"),
        (npz(logits=np.full((12, 3), np.nan, np.float32)), "golden logits is not finite"),
    ],
)
def test_malformed_golden_vectors(folder: Path, content: bytes, said: str) -> None:
    (folder / "scout.golden.npz").write_bytes(content)
    resign(folder)
    message = refusal(folder)
    assert "scout.golden.npz is malformed" in message and said in message


def test_npz_of_numpy_itself_is_read(folder: Path) -> None:
    (folder / "scout.golden.npz").write_bytes(npz())
    resign(folder)
    assert same(read_bundle(folder), make_bundle())


class Exploit:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.requirement("EX-13")
def test_hostile_pickles_are_not_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    hostile = npz(obs=np.array([Exploit(trace)], dtype=object))
    with np.load(io.BytesIO(hostile), allow_pickle=True) as archive:
        archive["obs"]
    assert trace.is_dir()  # the exploit works on a careless reader
    trace.rmdir()
    for name in ("scout.golden.npz", "scout.kdwt"):
        for content in (hostile, pickle.dumps(Exploit(trace))):
            before = (folder / name).read_bytes()
            (folder / name).write_bytes(content)
            resign(folder)
            assert f"{name} is malformed" in refusal(folder)
            (folder / name).write_bytes(before)
    assert not trace.exists()


def test_an_npz_that_unpacks_to_more_than_itself_is_refused(folder: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, obs=np.zeros((12, 9)), mask=np.zeros(1), logits=np.zeros(1), action=np.zeros(1))
    (folder / "scout.golden.npz").write_bytes(stream.getvalue())
    resign(folder)
    assert "must be stored, not compressed" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["satellites"].clear(), "satellites=[]"),
        (lambda m: m["satellites"].append(m["satellites"][0]), "all distinct"),
        (lambda m: m.update(more=1), "manifest.json="),
        (lambda m: m["satellites"][0].update(fallback=[["charge"]]), "fallback"),
        (lambda m: m["satellites"][0].update(hidden=4), "satellite="),  # as version 1 had it
        (lambda m: m["satellites"][0]["network"].update(hidden=10**9), "network.hidden=1000000000"),
        (lambda m: m["satellites"][0]["network"].update(hidden=True), "network.hidden=True"),
        (lambda m: m["satellites"][0]["network"].update(architecture="mlp"), "network.architecture='mlp'"),
        (lambda m: m["satellites"][0]["network"].update(activation="tanh"), "network.activation='tanh'"),
        (lambda m: m["satellites"][0]["network"].update(dtype=8), "network.dtype=8"),
        (lambda m: m["satellites"][0]["network"].pop("dtype"), "network="),
        (lambda m: m["satellites"][0]["spec"].update(slots=10**9), "slots=1000000000"),
        (lambda m: m["satellites"][0]["spec"].update(fixed_actions=["image_0"]), "fixed_actions"),
        (lambda m: m["satellites"][0]["spec"].update(name="../x"), "name='../x'"),
        (lambda m: m["satellites"][0]["spec"]["blocks"][0].update(scale=0), "scale=0"),
        (lambda m: m["satellites"][0]["spec"]["blocks"][0].update(scale=10**400), "scale="),
        (lambda m: m["satellites"][0]["spec"]["blocks"][1].update(slots=1), "slots=1"),
        (lambda m: m["satellites"][0]["budget"].update(processor="GR712RC"), "processor='GR712RC'"),
        (lambda m: m["satellites"][0]["budget"]["processor"].update(clock_mhz=0), "processor 'round' clock_mhz=0"),
        (lambda m: m["satellites"][0]["budget"]["processor"].pop("clock_mhz"), "processor="),
        (lambda m: m["satellites"][0]["budget"]["processor"].update(counted_as="z80"), "counted_as='z80'"),
        (lambda m: m["satellites"][0]["budget"].update(max_misses=0), "budget.max_misses=0"),
        (lambda m: m["satellites"][0]["budget"].update(max_ram_bytes=1.5), "budget.max_ram_bytes=1.5"),
        (lambda m: m["satellites"][0]["budget"].update(deadline_ms=-1), "budget.deadline_ms=-1"),
        (lambda m: m["satellites"][0]["weights"].update(bytes=10**12), "weights.bytes"),
        (lambda m: m.update(provenance=[]), "provenance=[]"),
        (lambda m: m.update(scenario="a\nb"), "scenario="),
    ],
)
def test_malformed_manifest(folder: Path, change: Callable[[Any], None], said: str) -> None:
    edit(folder, change)
    assert said in refusal(folder)


# --- mutations ---

sample = cache(make_bundle)


def damage(folder: Path, chance: random.Random) -> bool:
    """One file of a bundle changed at random, the checksums as they were; whether that is refused, else harmless."""
    path = chance.choice(sorted(folder.iterdir()))
    content = path.read_bytes()
    path.write_bytes(mutated(content, chance))
    try:
        assert same(read_bundle(folder), sample())
        return False
    except BundleError:
        return True
    finally:
        path.write_bytes(content)


def forgery(folder: Path, chance: random.Random) -> bool:
    """As above, but with checksums that agree; whether the bundle is refused, or does not reproduce its vectors."""
    path = chance.choice([path for path in sorted(folder.iterdir()) if path.suffix in (".kdwt", ".npz")])
    before = {each: each.read_bytes() for each in (path, folder / "manifest.json", folder / "manifest.sha256")}
    content = mutated(before[path], chance) or b"0"
    if path.suffix == ".kdwt" and len(content) >= 16 and chance.random() < 0.9:
        content = content[:8] + word(len(content)) + word(zlib.crc32(content[16:])) + content[16:]
    path.write_bytes(content)
    resign(folder)
    try:
        Executor(read_bundle(folder))
        return False  # a bit too low to matter
    except (BundleError, GoldenError):
        return True
    finally:
        for each, kept in before.items():
            each.write_bytes(kept)


STRANGE: list[Any] = [None, True, -1, 0, 1, 4096, 10**30, 1e308, 0.5, "", "charge", "a/b", "\ud800", [], [[]], {}]


def strange_manifest(folder: Path, chance: random.Random) -> bool:
    """Any one value of the manifest replaced by another kind of value, with a checksum that agrees; whether refused."""
    content = (folder / "manifest.json").read_bytes()
    manifest = json.loads(content)
    node: Any = manifest
    while True:
        key = chance.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], dict | list) or not node[key] or chance.random() < 0.1:
            break
        node = node[key]
    node[key] = chance.choice(STRANGE)
    rewrite(folder, manifest)
    try:
        read_bundle(folder)
        return False
    except BundleError:
        return True
    finally:
        (folder / "manifest.json").write_bytes(content)
        (folder / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")


@pytest.mark.requirement("EX-13")
@pytest.mark.parametrize(("attack", "least"), [(damage, 0.9), (forgery, 0.6), (strange_manifest, 0.5)])
@pytest.mark.parametrize("count", [250, pytest.param(3400, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_mutated_bundles_are_refused_cleanly(
    folder: Path, attack: Callable[[Path, random.Random], bool], least: float, count: int
) -> None:
    """Whatever is changed, the reader raises nothing but its own error; the slow ones are 10,200 bundles."""
    chance = random.Random(count)
    assert sum(attack(folder, chance) for _ in range(count)) > least * count
    assert same(read_bundle(folder), make_bundle())
