"""Stages are made once, found again, made anew when something they depend on changes, and never half there."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from envs.files import write_json
from training import artifact
from training.artifact import ArtifactError, make

SOURCES = ("training/artifact.py",)


class Crash(Exception):
    pass


def counting(calls: list[Path]) -> Any:
    def work(folder: Path, key: str) -> dict[str, int]:
        calls.append(folder)
        (folder / "result").write_text(key)
        return {"calls": len(calls)}

    return work


def test_made_once_and_found_again(tmp_path: Path) -> None:
    calls: list[Path] = []
    first = make(tmp_path, "stage", {"a": 1}, SOURCES, counting(calls), print)
    second = make(tmp_path, "stage", {"a": 1}, SOURCES, counting(calls), print)
    assert len(calls) == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.path == second.path and second.info() == {"calls": 1}
    assert (first.path / "result").read_text() == first.digest == second.digest


def test_made_anew_when_config_kind_or_code_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    digests = {make(tmp_path, "stage", {"a": 1}, SOURCES, counting(calls), print).digest}
    digests.add(make(tmp_path, "stage", {"a": 2}, SOURCES, counting(calls), print).digest)
    digests.add(make(tmp_path, "other", {"a": 1}, SOURCES, counting(calls), print).digest)
    digests.add(make(tmp_path, "stage", {"a": 1}, ("training/checkpoint.py",), counting(calls), print).digest)
    assert len(calls) == len(digests) == 4


def test_code_digest_follows_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "ROOT", tmp_path)
    artifact.code_digest.cache_clear()
    (tmp_path / "package").mkdir()
    module = tmp_path / "package/module.py"
    module.write_text("x = 1\n")
    before = artifact.code_digest(("package",))
    artifact.code_digest.cache_clear()
    assert artifact.code_digest(("package",)) == before
    module.write_text("x = 2\n")
    artifact.code_digest.cache_clear()
    assert artifact.code_digest(("package",)) != before
    artifact.code_digest.cache_clear()


def test_a_stage_that_crashed_is_not_taken_for_done(tmp_path: Path) -> None:
    def crash(folder: Path, key: str) -> dict[str, int]:
        (folder / "checkpoint").write_text("so far")
        raise Crash

    with pytest.raises(Crash):
        make(tmp_path, "stage", {}, SOURCES, crash, print)
    calls: list[Path] = []
    again = make(tmp_path, "stage", {}, SOURCES, counting(calls), print)
    assert len(calls) == 1
    assert (again.path / "checkpoint").read_text() == "so far"  # it goes on from there


def hold(folder: str, begun: Any, end: Any) -> None:
    def work(path: Path, key: str) -> dict[str, int]:
        begun.set()
        end.wait(30)
        return {}

    make(Path(folder), "stage", {}, SOURCES, work, print)


def test_an_artifact_that_another_process_makes_is_waited_for(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    begun, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(str(tmp_path), begun, end))
    process.start()
    said, calls = [], []  # type: list[str], list[Path]

    def say(text: str) -> None:
        said.append(text)
        end.set()  # only now may the other one finish

    try:
        assert begun.wait(30)
        made = make(tmp_path, "stage", {}, SOURCES, counting(calls), say)
    finally:
        end.set()
        process.join()
    assert len(said) == 1 and "waiting for another process that is making" in said[0]
    assert not calls and made.info() == {}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="could not be written: Not a directory"):
        make(tmp_path / "file", "stage", {}, SOURCES, counting([]), print)


def test_json_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2]})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_what_a_killed_process_had_begun_to_write_is_swept_away(tmp_path: Path) -> None:
    def killed(folder: Path, key: str) -> dict[str, int]:
        partial = folder / ".bundle.0a1b2c3d.partial"
        partial.mkdir()
        (partial / "sat_0.kdwt").write_bytes(b"half")
        (folder / ".result.0a1b2c3d.tmp").write_bytes(b"half")
        (folder / "checkpoint.safetensors").write_bytes(b"whole")
        raise Crash

    def goes_on(folder: Path, key: str) -> dict[str, int]:
        assert (folder / "checkpoint.safetensors").read_bytes() == b"whole"
        return {}

    with pytest.raises(Crash):
        make(tmp_path, "stage", {"a": 1}, SOURCES, killed, print)
    made = make(tmp_path, "stage", {"a": 1}, SOURCES, goes_on, print)
    assert sorted(path.name for path in made.path.iterdir()) == ["done.json", "lock"]
