from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.checkpoint import CheckpointError, digest, load, save

STATE: dict[str, Any] = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3).T, "empty": torch.zeros(3, 0)},  # one not contiguous
    "optimiser": {"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "groups": [{"betas": (0.9, 0.999), "lr": 1e-3}]},
    "array": np.array([1, 2, 3]),
    "flags": torch.tensor([True, False]),
    "double": torch.tensor(0.1, dtype=torch.float64),
    "updates": 7,
    "name": "run",
    "nothing": None,
    "third": 1 / 3,
}


def test_a_nested_state_comes_back_as_it_was(tmp_path: Path) -> None:
    save(tmp_path / "new" / "state.ckpt", STATE, "d1")
    found = load(tmp_path / "new" / "state.ckpt", "d1")
    assert torch.equal(found["weights"]["a"], STATE["weights"]["a"]) and found["weights"]["empty"].shape == (3, 0)
    assert found["optimiser"]["state"][0]["step"] == 3 and found["optimiser"]["state"][1] == {}
    assert found["optimiser"]["groups"] == [{"betas": (0.9, 0.999), "lr": 1e-3}]
    assert found["array"].tolist() == [1, 2, 3] and found["flags"].tolist() == [True, False]
    assert found["double"].dtype == torch.float64 and found["double"].item() == 0.1
    assert (found["updates"], found["name"], found["nothing"], found["third"]) == (7, "run", None, 1 / 3)
    assert os.listdir(tmp_path / "new") == ["state.ckpt"]


def test_the_same_state_is_the_same_bytes(tmp_path: Path) -> None:
    save(tmp_path / "one", STATE, "d1")
    save(tmp_path / "two", load(tmp_path / "one", "d1"), "d1")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "c", STATE, digest({"lr": 0.1}))
    with pytest.raises(CheckpointError, match=r"was made with configuration .* delete it or go back"):
        load(tmp_path / "c", digest({"lr": 0.2}))


def test_the_digest_knows_values_and_not_their_order() -> None:
    assert digest({"a": 1, "b": [2, None]}) == digest({"b": [2, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


@pytest.mark.parametrize("damage", ["cut", "flip_tensor", "flip_header", "empty"])
def test_damage_is_one_clear_sentence(tmp_path: Path, damage: str) -> None:
    save(tmp_path / "c", STATE, "d1")
    content = bytearray((tmp_path / "c").read_bytes())
    if damage == "cut":
        content = content[:-5]
    elif damage == "flip_tensor":
        content[-1] ^= 1
    elif damage == "flip_header":
        content[8] ^= 1
    else:
        content = bytearray()
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load(tmp_path / "c", "d1")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint .*absent does not exist"):
        load(tmp_path / "absent", "d1")


def test_a_full_disk_leaves_the_last_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "c", STATE, "d1")
    before = (tmp_path / "c").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="could not be written: No space left on device"):
        save(tmp_path / "c", STATE | {"updates": 8}, "d1")
    assert (tmp_path / "c").read_bytes() == before and os.listdir(tmp_path) == ["c"]


def test_what_is_neither_tensor_nor_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot hold set at /a"):
        save(tmp_path / "c", {"a": {1, 2}}, "d1")
