"""Files that appear whole or not at all, also on a full disk."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest

from envs.files import read_arrays, write_arrays, write_json, write_whole


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """A limit on the file size fails a write half way, as a full disk does."""
    path = write_whole(tmp_path / "x", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError):
            write_whole(path, b"n" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_json_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = write_json(tmp_path / "x.json", {"a": [1, 2]})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": [1, 2]}


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back_and_pickles_do_not_go_in(tmp_path: Path, compressed: bool) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False])}
    path = write_arrays(tmp_path / "x.npz", arrays, compressed)
    back = read_arrays(path)
    assert set(back) == {"a", "b"}
    assert all((back[name] == arrays[name]).all() and back[name].dtype == arrays[name].dtype for name in arrays)
    with pytest.raises(ValueError):
        write_arrays(path, {"a": np.array([object()])}, compressed)
    assert set(read_arrays(path)) == {"a", "b"}


def test_a_new_file_replaces_none(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "a", b"first", new=True).read_bytes() == b"first"
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a", b"second", new=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"first"
