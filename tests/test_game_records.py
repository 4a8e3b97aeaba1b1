"""Records of runs on games: written, read, refused, told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from game_samples import mpe_record, smax_record

from kdmarl_sat.games.records import RecordError, read_all, settings, write


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = [smax_record("kd_lh", [True, False], seed) for seed in (0, 1)] + [mpe_record("mappo_fo", [-5.0])]
    paths = [write(record, tmp_path / "new") for record in records]
    assert sorted(read_all(tmp_path / "new"), key=lambda r: (r.map, r.seed)) == records
    assert [path.name for path in paths] == [record.file_name() for record in records]
    assert paths[0].name.startswith("smac_3m-smax-kd_lh-") and paths[0].name.endswith("-seed0.json")
    write(records[0], tmp_path / "new")  # the same run again replaces its record
    assert len(read_all(tmp_path / "new")) == 3


def test_no_folder_holds_no_records(tmp_path: Path) -> None:
    assert read_all(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 9}, r"a\.json has format 'kdmarl_sat.game_run' and version 9: this program reads .* version 1"),
        ({"format": "other"}, r"a\.json has format 'other'"),
        ({"final": None}, r"a\.json is damaged: "),
        ({"seed": -1}, r"a\.json is damaged: seed=-1 is not allowed: it must be a whole number from 0"),
        ({"random_win_rate": None}, r"random_win_rate=None is not allowed: .*as the game has victories"),
        ({"method": "kd/lh"}, r"method='kd/lh' is not allowed"),
        ({"action_counts": [[1]]}, r"action_counts='rows of \[1\]' is not allowed: it must be 2 rows of 3"),
        ({"curve": [{"steps": 1, "cpu_s": 1.0, "return": None, "win_rate": 0.5}]}, r"curve\[0\]="),
        ({"curve": [{"steps": 1}]}, r"the field 'cpu_s' is missing"),
        ({"run": {}}, r"run\.cpu_s=None"),
        ({"agreement": 1.5}, r"agreement=1.5 is not allowed: it must be between 0 and 1"),
    ],
)
def test_damaged_or_other_records_are_named_in_one_sentence(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    content = json.loads(write(smax_record("kd_lh", [True]), tmp_path / "good").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(RecordError, match=sentence) as caught:
        read_all(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "\x00", '{"format": "kdmarl_sat.game_run", "version": 1}'])
def test_files_that_are_no_records(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RecordError, match=r"run record .*a\.json"):
        read_all(tmp_path)


def test_fewer_wins_than_episodes_are_refused() -> None:
    final = {"episodes": 2, "returns": [1.0, 2.0], "wins": [True], "lengths": [3, 3]}
    with pytest.raises(RecordError, match=r"final.wins='1 entries' is not allowed: it must be 2 entries"):
        smax_record("kd_lh", [True], final=final)


def test_two_records_of_one_run_are_refused(tmp_path: Path) -> None:
    path = write(smax_record("kd_lh", [True]), tmp_path)
    (tmp_path / "copy.json").write_bytes(path.read_bytes())
    with pytest.raises(RecordError, match="are of the same run: one of them must go"):
        read_all(tmp_path)


def test_what_makes_a_run_another_one() -> None:
    plain = smax_record("kd_lh", [True])
    same = smax_record("kd_lh", [True], overrides=("values.hidden=8", "compute.threads=1", "methods=[kd_lh]"))
    assert same.digest() == plain.digest()  # a distilled student knows nothing of QMIX's settings
    assert smax_record("kd_lh", [True], overrides=("scenario.environment.backend=smax",)).digest() == plain.digest()
    for other in ("distill.kl=0", "mappo.hidden=8", "student.hidden=8", "scenario.environment.leak_free=true"):
        assert smax_record("kd_lh", [True], overrides=(other,)).digest() != plain.digest(), other
    assert smax_record("kd_lh", [True], variant="no_kl").digest() != plain.digest()
    small = {**plain.config, "student": {"hidden": 8}}
    for method, same_run in (("mappo_fo", True), ("qmix_lh", True), ("vdn_lh_a", False), ("kd_fo_small", False)):
        assert (settings(plain.config, method) == settings(small, method)) is same_run, method


def test_a_setting_added_later_does_not_orphan_records() -> None:
    record = smax_record("kd_lh", [True])
    del record.config["distill"]["clip"]  # as if written before there was one
    assert record.digest() == smax_record("kd_lh", [True]).digest()
