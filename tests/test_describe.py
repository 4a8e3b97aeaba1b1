"""The description of a bundle says what the bundle holds, counted here on its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from onboard_samples import write_sample

from kdmarl_sat.bundles import doors
from kdmarl_sat.bundles.describe import describe
from onboard.bundle import BundleError, read_bundle

SHIPPED = Path(__file__).parents[1] / "results/bundles/imaging_constellation-lh_a"


def test_a_shipped_bundle_by_hand() -> None:
    text = describe(SHIPPED)
    manifest = (SHIPPED / "manifest.json").read_bytes()
    assert f"| SHA-256 of the manifest | `{hashlib.sha256(manifest).hexdigest()}` |" in text
    for entry in json.loads(manifest)["satellites"]:
        spec = entry["spec"]
        part = text[text.index(f"## {spec['name']} (") :].partition("\n## ")[0]
        observed = sum(block["size"] * max(1, block["slots"]) for block in spec["blocks"])
        actions = len(spec["fixed_actions"]) + spec["slots"]
        assert f"H (hidden units) = {entry['network']['hidden']}, O (observation) = {observed}, " in part
        assert f"A (actions) = {actions}." in part
        for block in spec["blocks"]:
            assert f"| {block['name']} | {block['size']} | {block['slots']} | {block['unit']} | " in part
        table = (SHIPPED / entry["weights"]["file"]).read_bytes()
        assert f"Weight table: SHA-256 `{hashlib.sha256(table).hexdigest()}`" in part
    tensors = read_bundle(SHIPPED).satellites[0].network.tensors
    for name, tensor in tensors.items():
        assert f"| {name} | {' × '.join(map(str, np.shape(tensor)))} |" in text
    assert text.count("| 0 (to the bit) |") >= 4  # the reference, and the engine where it can be built


def test_both_kinds_of_networks_are_described(tmp_path: Path) -> None:
    text = describe(write_sample(tmp_path / "bundle"))
    assert "opportunity, float32, relu; H" in text and "recurrent, int8, tanh; H" in text
    assert "w_s . s_j + b_s of slot j" in text and "f the activation" in text


def test_the_folder_of_the_page_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, page = write_sample(tmp_path / "bundle"), tmp_path / "new" / "below" / "page.md"
    doors.describe([f"bundle={bundle}", f"out={page}"])
    assert page.read_text() == describe(bundle) and capsys.readouterr().out == f"{page}\n"


def test_a_damaged_bundle_is_not_described(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "bundle")
    (folder / "scout.kdwt").write_bytes(b"")
    with pytest.raises(BundleError):
        describe(folder)
