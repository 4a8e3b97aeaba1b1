"""Recordings and their replay, and shadow mode: held against decisions worked out one by one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from onboard_samples import BLIND, PROVENANCE, TINY, make_inputs, make_satellite

from onboard.bundle import Bundle
from onboard.executor import Executor, ExecutorError
from onboard.flightlog import Kind
from onboard.guard import Health, Limits
from onboard.recording import Recorder, RecordingError, read
from onboard.replay import PATIENCE_MS, replay


def make_bundle() -> Bundle:
    return Bundle("sample", (make_satellite(TINY, 4, 31), make_satellite(BLIND, 6, 32)), PROVENANCE)


LIMITS = {name: Limits(0.2, 0.8, 0.9) for name in ("scout", "relay-1")}


def flown(bundle: Bundle, folder: Path, guarded: bool = True) -> tuple[Path, list[int]]:
    """A flight of both satellites with a faulty sensor, bad health, a reset and a resumption on the way."""
    limits = LIMITS if guarded else None
    recorder = Recorder()
    executor = Executor(bundle, PATIENCE_MS, limits=limits, recorder=recorder)
    rng, actions = np.random.default_rng(5), []
    for step in range(40):
        for spec in (TINY, BLIND):
            obs, mask = (each[step] for each in make_inputs(spec, 40, 3))
            if step == 7:
                obs = obs.copy()
                obs[0] = np.nan
            health = Health(0.5, float(rng.uniform(0.1, 1.0)), 0.1, float("nan") if step == 9 else 0.0)
            actions.append(executor.decide(spec.name, obs, mask, float(step), health if step != 11 else None))
        if step == 20:
            executor.reset(20.5)
        if step == 30:
            executor.resume("scout", 30.5)
    folder.mkdir(exist_ok=True)
    path = folder / "flight.jsonl"
    path.write_text(recorder.text(limits))
    return path, actions


@pytest.mark.requirement("EX-18")
@pytest.mark.parametrize("guarded", [True, False])
def test_the_same_bundle_decides_the_same(tmp_path: Path, guarded: bool) -> None:
    bundle = make_bundle()
    path, actions = flown(bundle, tmp_path, guarded)
    recording = read(path)
    assert recording.questions == 80
    assert [entry.action for entry in recording.entries if hasattr(entry, "action")] == actions
    assert replay(recording, bundle) is None


@pytest.mark.requirement("EX-18")
def test_the_first_difference_is_shown(tmp_path: Path) -> None:
    """Another network of the same sizes: the first decision in which it differs is where its own flight does."""
    bundle = make_bundle()
    path, actions = flown(bundle, tmp_path)
    other = dataclasses.replace(bundle, satellites=(make_satellite(TINY, seed=35), bundle.satellites[1]))
    _, theirs = flown(other, tmp_path / "other", True)
    expected = next(index for index, pair in enumerate(zip(actions, theirs, strict=True)) if len(set(pair)) == 2)
    difference = replay(read(path), other)
    assert difference is not None
    assert (difference.index, difference.asked.action, difference.action) == (
        expected,
        actions[expected],
        theirs[expected],
    )
    assert difference.asked.satellite == ("scout", "relay-1")[expected % 2]
    assert difference.said and difference.said[0].startswith("decision: ")


def test_networks_flown_by_other_satellites_are_found_again(tmp_path: Path) -> None:
    """Two satellites fly the scout's network, one the relay's, under names that the bundle does not know."""
    bundle, networks = make_bundle(), {"a": "scout", "b": "scout", "c": "relay-1"}
    own = {each.spec.name: each for each in bundle.satellites}
    there = [
        dataclasses.replace(own[whose], spec=dataclasses.replace(own[whose].spec, name=name))
        for name, whose in networks.items()
    ]
    recorder = Recorder()
    executor = Executor(dataclasses.replace(bundle, satellites=tuple(there)), PATIENCE_MS, recorder=recorder)
    for step in range(20):
        for seed, each in enumerate(there):
            obs, mask = (values[step] for values in make_inputs(each.spec, 20, seed))
            executor.decide(each.spec.name, obs, mask, float(step))
    (tmp_path / "flight.jsonl").write_text(recorder.text(None, networks))
    recording = read(tmp_path / "flight.jsonl")
    assert recording.questions == 60 and replay(recording, bundle) is None
    with pytest.raises(RecordingError, match="of networks of scout: the bundle has none of them"):
        replay(recording, Bundle("toy", (own["relay-1"],), PROVENANCE))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: "", "flight.jsonl is empty: it must be a recording of a flight"),
        (lambda text: text[: text.index("\n") + 1], "is cut off"),
        (lambda text: "".join(text.splitlines(True)[:20]), "is cut off: its last line must be the end mark"),
        (lambda text: "".join(text.splitlines(True)[:20] + text.splitlines(True)[-1:]), "is cut off"),
        (
            lambda text: text.replace('"version": 3', '"version": 4', 1),
            "version 4: it must be kdmarl_sat.flight_record version 1, 2 or 3",
        ),
        (lambda text: text.replace('"mask": "', '"mask": "x', 1), "is damaged .*holds more than 0 and 1"),
        (lambda text: text.replace('"obs": "', '"obs": "!', 1), "is damaged"),
        (lambda text: text[:-30], "is cut off"),
        (lambda text: text.splitlines()[0].replace('"version": 3', '"version": 1'), "holds no decision"),
        (lambda text: text.replace('"version": 3', '"version": 1', 1), "is damaged"),  # which has no end mark
    ],
)
def test_a_damaged_recording_is_one_sentence(tmp_path: Path, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    path, _ = flown(make_bundle(), tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(RecordingError, match=said):
        read(path)


@pytest.mark.parametrize("version", [1, 2])
def test_a_recording_without_an_end_mark_is_of_an_older_version(tmp_path: Path, version: int) -> None:
    path, _ = flown(make_bundle(), tmp_path)
    lines = path.read_text().replace('"version": 3', f'"version": {version}', 1).splitlines()
    assert lines[-1] == '{"end": 83}'
    path.write_text("\n".join(lines[:-1]))
    assert read(path).questions == 80 and replay(read(path), make_bundle()) is None


def test_a_recording_without_a_decision(tmp_path: Path) -> None:
    (tmp_path / "flight.jsonl").write_text(Recorder().text(None))
    with pytest.raises(RecordingError, match=r"flight.jsonl holds no decision: there is nothing to decide again"):
        read(tmp_path / "flight.jsonl")


def test_a_recording_of_other_satellites(tmp_path: Path) -> None:
    path, _ = flown(make_bundle(), tmp_path)
    alone = Bundle("toy", (make_satellite(dataclasses.replace(TINY, name="lone")),), PROVENANCE)
    with pytest.raises(RecordingError, match="no limits of lone"):
        replay(read(path), alone)


@pytest.mark.requirement("EX-19")
def test_a_shadow_decides_as_it_would_and_says_whether_it_agrees() -> None:
    bundle = make_bundle()
    alone, shadow = Executor(bundle, PATIENCE_MS), Executor(bundle, PATIENCE_MS)
    agreed = []
    for step in range(30):
        obs, mask = (each[step] for each in make_inputs(TINY, 30, 3))
        action, other = alone.decide("scout", obs, mask, float(step)), int(np.flatnonzero(mask)[0])
        agreed.append(shadow.shadow("scout", obs, mask, float(step), other))
        assert agreed[-1] == (action == other)
    counts = shadow.log.counts()
    assert (counts[Kind.AGREED], counts[Kind.DIFFERED]) == (sum(agreed), 30 - sum(agreed)) and 0 < sum(agreed) < 30
    with pytest.raises(ExecutorError, match="flown=3 is not allowed: it must be an action from 0 to 2"):
        shadow.shadow("scout", obs, mask, 31.0, 3)
