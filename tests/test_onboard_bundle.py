"""The bundle format: what is written is read, and whatever else is refused with one sentence."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onboard_samples import (
    BLIND,
    TINY,
    edit,
    make_bundle,
    make_satellite,
    resign,
    rewrite,
    write_sample,
)
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_save

from onboard import tensors
from onboard.bundle import Bundle, BundleError, SatelliteBundle, read_bundle, write_bundle
from onboard.executor import Executor, GoldenError
from onboard.spec import AgentSpec, Block

KEPT = Path(__file__).parent / "data" / "bundle_v1"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("bundles") / "pristine")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def same(a: Bundle, b: Bundle) -> bool:
    def one(x: SatelliteBundle, y: SatelliteBundle) -> bool:
        return (
            (x.spec, x.hidden, x.budget, x.fallback) == (y.spec, y.hidden, y.budget, y.fallback)
            and set(x.weights) == set(y.weights)
            and all(np.array_equal(x.weights[name], y.weights[name]) for name in x.weights)
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
    assert same(read_bundle(pristine, [BLIND, TINY]), make_bundle())  # in any order
    assert not read_bundle(pristine).satellites[0].weights["slot.weight"].flags.writeable


def test_same_content_same_bytes(pristine: Path, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "again")
    assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in pristine.iterdir())
    for path in pristine.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_weights_are_safetensors_both_ways() -> None:
    weights = dict(make_satellite().weights)
    for name, tensor in safetensors_load(tensors.dump(weights)).items():
        np.testing.assert_array_equal(tensor, weights[name])
    for name, tensor in tensors.load(safetensors_save(weights, {"made": "by the library"})).items():
        np.testing.assert_array_equal(tensor, weights[name])


def test_spec_from_a_mission_spec() -> None:
    assert AgentSpec.from_dict(dataclasses.asdict(TINY)) == TINY
    assert AgentSpec.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY
    assert (TINY.obs_size, TINY.context_size, TINY.slot_size) == (9, 3, 3)
    assert TINY.actions == ("charge", "image_0", "image_1")


def test_version_1_still_reads_and_flies() -> None:
    assert sum(path.stat().st_size for path in KEPT.iterdir()) < 30_000
    bundle = read_bundle(KEPT)
    scout, relay = bundle.satellites
    assert (scout.spec.name, scout.hidden, relay.spec.name, relay.hidden) == ("scout", 4, "relay-1", 6)
    assert scout.spec.blocks[2] == Block("window", 2, "s", 300.0, slots=2) and relay.spec.actions[1] == "drift"
    assert (scout.budget.processor, scout.budget.deadline_ms, scout.fallback) == ("GR712RC", 250.0, ("charge",))
    assert (bundle.scenario, bundle.provenance["seed"]) == ("sample", 0)
    executor = Executor(bundle, deadline_ms=60_000)
    for satellite in bundle.satellites:
        for obs, mask, action in zip(satellite.golden.obs, satellite.golden.mask, satellite.golden.action, strict=True):
            assert executor.decide(satellite.spec.name, obs, mask, 0.0) == action


def test_never_overwrites(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(BundleError, match="already exists"):
        write_bundle(folder, "sample", make_bundle().satellites, {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    satellites = make_bundle().satellites
    resource.setrlimit(resource.RLIMIT_FSIZE, (1600, hard))  # more than the first file, less than the others
    try:
        with pytest.raises(BundleError, match=r"could not be written: File too large"):
            write_bundle(tmp_path / "new", "sample", satellites, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden": 5}, "context.bias.shape=(4,) is not allowed: it must be (5,)"),
        ({"fallback": ("sleep",)}, "fallback=('sleep',) is not allowed: it must be one or more of charge, image_0"),
        ({"fallback": ()}, "fallback"),
        ({"spec": dataclasses.replace(TINY, slots=2, blocks=TINY.blocks[:2])}, "slot.weight.shape"),
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


@pytest.mark.parametrize("name", ["scout.safetensors", "relay-1.golden.npz"])
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


@pytest.mark.parametrize("version", [0, 2, "1", True, None, 10**400])
def test_other_version(folder: Path, version: object) -> None:
    edit(folder, lambda manifest: manifest.update(version=version))
    assert "cannot be read here; readable: 1" in refusal(folder)


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
    assert f"satellite 'scout': {difference}" in refusal(pristine, [BLIND, expected])


def test_made_for_other_satellites(pristine: Path) -> None:
    said = "made for satellites scout, relay-1, and the mission has"
    assert said in refusal(pristine, [TINY])
    assert said in refusal(pristine, [TINY, BLIND, dataclasses.replace(BLIND, name="relay-2")])


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "..", "", "a/b", ".hidden", "a\n", "a\0b", 7]
)
def test_paths_stay_in_the_folder(folder: Path, name: object) -> None:
    shutil.copy(folder / "scout.safetensors", folder.parent / "outside.safetensors")
    edit(folder, lambda manifest: manifest["satellites"][0]["weights"].update(file=name))
    assert "weights.file=" in refusal(folder)


def test_links_and_pipes_are_not_followed(folder: Path) -> None:
    weights = folder / "scout.safetensors"
    outside = weights.rename(folder.parent / "outside")
    weights.symlink_to(outside)
    assert "scout.safetensors is not a regular file" in refusal(folder)
    weights.unlink()
    os.mkfifo(weights)
    assert "scout.safetensors is not a regular file" in refusal(folder)


Header = dict[str, Any]


def rebuild(folder: Path, change: Callable[[Header, bytearray], object]) -> None:
    """Change the header and the buffer of the scout's weights, and sign the bundle again."""
    path = folder / "scout.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, buffer = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    change(header, buffer)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + buffer)
    resign(folder)


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
        (lambda h, b: h["query.bias"].update(shape=[2, 2]), "query.bias.shape=(2, 2) is not allowed: it must be (4,)"),
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
def test_malformed_weights(folder: Path, change: Callable[[Header, bytearray], object], said: str) -> None:
    rebuild(folder, change)
    message = refusal(folder)
    assert "scout.safetensors is malformed" in message and said in message


@pytest.mark.parametrize("length", [0, 3, 2**64 - 1, 1753 - 8])
def test_header_length_cannot_leave_the_file(folder: Path, length: int) -> None:
    path = folder / "scout.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    resign(folder)
    assert "scout.safetensors is malformed" in refusal(folder)


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


def test_hostile_pickles_are_not_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    hostile = npz(obs=np.array([Exploit(trace)], dtype=object))
    with np.load(io.BytesIO(hostile), allow_pickle=True) as archive:
        archive["obs"]
    assert trace.is_dir()  # the exploit works on a careless reader
    trace.rmdir()
    for name in ("scout.golden.npz", "scout.safetensors"):
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
        (lambda m: m["satellites"][0].update(hidden=10**9), "hidden=1000000000"),
        (lambda m: m["satellites"][0].update(hidden=True), "hidden=True"),
        (lambda m: m["satellites"][0]["spec"].update(slots=10**9), "slots=1000000000"),
        (lambda m: m["satellites"][0]["spec"].update(fixed_actions=["image_0"]), "fixed_actions"),
        (lambda m: m["satellites"][0]["spec"].update(name="../x"), "name='../x'"),
        (lambda m: m["satellites"][0]["spec"]["blocks"][0].update(scale=0), "scale=0"),
        (lambda m: m["satellites"][0]["spec"]["blocks"][0].update(scale=10**400), "scale="),
        (lambda m: m["satellites"][0]["spec"]["blocks"][1].update(slots=1), "slots=1"),
        (lambda m: m["satellites"][0]["budget"].update(processor="Z80"), "processor='Z80'"),
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


def mutated(content: bytes, chance: random.Random) -> bytes:
    """One random bit flip, overwrite, cut, insertion or duplication."""
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


def test_random_damage_is_refused_or_harmless(folder: Path) -> None:
    original, chance, refused = read_bundle(folder), random.Random(0), 0
    for _ in range(300):
        path = chance.choice(sorted(folder.iterdir()))
        content = path.read_bytes()
        path.write_bytes(mutated(content, chance))
        try:
            assert same(read_bundle(folder), original)
        except BundleError:
            refused += 1
        path.write_bytes(content)
    assert refused > 280


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_random_forgeries_never_crash_the_reader(folder: Path, suffix: str) -> None:
    """As above, but with checksums that agree: the bundle is refused, flies, or does not reproduce its vectors."""
    chance, outcomes = random.Random(1), {"refused": 0, "flown": 0}
    for _ in range(300):
        path = chance.choice(sorted(folder.glob(f"*.{suffix}")))
        content = path.read_bytes()
        path.write_bytes(mutated(content, chance) or b"0")
        resign(folder)
        try:
            Executor(read_bundle(folder))
            outcomes["flown"] += 1  # a bit too low to matter
        except (BundleError, GoldenError):
            outcomes["refused"] += 1
        path.write_bytes(content)
    assert outcomes["refused"] > 200


def test_random_manifests_never_crash_the_reader(folder: Path) -> None:
    """Any one value of the manifest replaced by another kind of value, with a checksum that agrees."""
    content = (folder / "manifest.json").read_bytes()
    strange: list[Any] = [None, True, -1, 0, 1, 4096, 10**30, 1e308, 0.5, "", "charge", "a/b", "\ud800", [], [[]], {}]
    chance, refused = random.Random(2), 0
    for _ in range(300):
        manifest = json.loads(content)
        node: Any = manifest
        while True:
            key = chance.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            if not isinstance(node[key], dict | list) or not node[key] or chance.random() < 0.1:
                break
            node = node[key]
        node[key] = chance.choice(strange)
        rewrite(folder, manifest)
        try:
            read_bundle(folder)
        except BundleError:
            refused += 1
    assert refused > 150
