"""Tables of runs on games, against numbers by hand and scipy's bootstrap."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from game_samples import mpe_record, smax_record
from rich.console import Console
from scipy.stats import bootstrap

from kdmarl_sat.games.benchmark import RECORDS
from kdmarl_sat.games.jobs import composed
from kdmarl_sat.games.records import GameRecord, read_all
from kdmarl_sat.games.report import formats, overview, paper, write_tables
from kdmarl_sat.games.report.cells import Table
from kdmarl_sat.games.report.statistics import (
    Scores,
    compare,
    difference,
    interquartile_mean,
    mean_score,
    normalised,
    share,
)
from kdmarl_sat.games.report.summary import grouped
from kdmarl_sat.games.report.tables import tables
from kdmarl_sat.games.report.teachers import teachers
from kdmarl_sat.report.pages import inserted
from training.artifact import ROOT


def wins(number: int, of: int = 20) -> list[bool]:
    return [index < number for index in range(of)]


def toy() -> list[GameRecord]:
    """Teacher 80 and 100 %, MAPPO LH 75 %, students 70 and 80 %; random actions win 25 %."""
    big = {"macs": {"per_decision": [40000, 80000], "per_episode": 1_200_000.0}}
    return [
        smax_record("teacher", wins(16), 0, **big),
        smax_record("teacher", wins(20), 1, **big),
        smax_record("mappo_lh", wins(15), 0, **big),
        smax_record("mappo_lh", wins(15), 1, **big),
        smax_record("kd_lh", wins(14), 0),
        smax_record("kd_lh", wins(16), 1),
        smax_record("kd_lh", wins(10), 0, variant="no_kl", overrides=("distill.kl=0",)),
    ]


def found(records: list[GameRecord], title: str) -> Table:
    [table] = [table for table in tables(grouped(records)) if title in table.title]
    return table


def cells(table: Table, *begin: str) -> dict[str, str]:
    [row] = [row for row in table.rows if row[: len(begin)] == begin]
    return dict(zip(table.head, row, strict=True))


def test_table_one_by_hand() -> None:
    table = found(toy(), "Table I: ")
    ours, stated = cells(table, "3m", "ours, win rate, %"), cells(table, "3m", "paper, win rate, %")
    assert (ours["Teacher"], ours["MAPPO LH"], ours["KD-MARL LH"]) == ("90.0", "75.0", "75.0")
    assert (ours["MAPPO FO"], ours["KD-MARL LH+A"], stated["Teacher"]) == ("–", "–", "–")
    assert (stated["MAPPO FO"], stated["KD-MARL LH"], stated["QMIX LH"]) == ("98.12", "94.78", "86.34")
    assert cells(table, "3m", "ours, seeds × episodes")["Teacher"] == "2 × 20"
    assert cells(table, "3m", "paper, ms per step")["KD-MARL LH+A"] == "4.1 ± 0.2"
    assert set(cells(table, "8m", "ours").values()) == {"8m", "ours", "–"}
    assert "SMAX (jaxmarl, not StarCraft II)" in table.title
    low, high = map(float, re.findall(r"[\d.]+", cells(table, "3m", "ours, 95% interval")["Teacher"]))
    assert low < 90 < high <= 100


def test_training_is_counted_once_where_a_teacher_stands_in_two_budgets() -> None:
    def spent(record: GameRecord, cpu_s: float) -> GameRecord:
        return dataclasses.replace(record, run={**record.run, "cpu_s": cpu_s})

    table = found(
        [
            spent(smax_record("teacher", wins(16), 0), 3600.0),
            spent(smax_record("kd_lh", wins(14), 0), 1800.0),
            spent(smax_record("kd_lh", wins(15), 0, budget="converged"), 5400.0),
            spent(smax_record("kd_lh", wins(10), 0, variant="no_kl", overrides=("distill.kl=0",)), 9000.0),
        ],
        "Table I: ",
    )
    assert "Training of the 3 runs in this table took 3.0 CPU-hours." in table.notes


def test_retention_by_hand() -> None:
    row = cells(found(toy(), "3m: retention"), "KD-MARL LH")
    assert row["win rate, %"].startswith("75.0 [")
    assert row["kept of the teacher, %"].startswith("83.3 [")  # 75 / 90
    assert row["paper, plain"].startswith("96.6")  # 94.78 / 98.12
    assert row["kept of MAPPO LH, %"].startswith("100.0 [")  # 75 / 75
    assert row["agrees with teacher"].startswith("75.0")
    normalised_cells = found(toy(), "3m: retention").rows[2]
    assert normalised_cells[4].startswith("76.9 [")  # (75 - 25) / (90 - 25)
    teacher = found(toy(), "3m: retention").rows[0]
    assert (teacher[3], teacher[4], teacher[6], teacher[7]) == ("100.0", "100.0", "–", "–")


def test_costs_by_hand() -> None:
    row = found(toy(), "3m: costs").rows[2]
    assert row[:7] == ("KD-MARL LH", "2\u202f000", "4\u202f000", "40\u202f000", "80\u202f000", "30.0", "30.0")
    assert row[7:] == ("0.500", "5.5 ± 0.3", "1\u202f000", "–", "8")  # 8.5 CPU-seconds to even


def test_gaps_and_ablations() -> None:
    gap = cells(found(toy(), "3m: causes of the gap to the teacher"), "information, reinforcement learning")
    assert gap["difference of scores"].startswith("−15.00 [")
    row = cells(found(toy(), "3m: KD-MARL LH with one part changed"), "no_kl")
    assert row["win rate, %"].startswith("50.0 [")
    assert row["against as configured"].startswith("−20.0 [")  # the seed that both have: 50 - 70
    assert row["normalised, %"].startswith("45.5 [")  # (50 - 25) / (80 - 25)
    lost = [smax_record("kd_lh", wins(10), variant=f"lost_{share}") for share in (100, 30)]
    table = found([*toy(), *lost], "3m: KD-MARL LH with one part changed")
    assert [row[0] for row in table.rows] == ["as configured", "lost_30", "lost_100", "no_kl"]


def test_distillation_against_direct_training() -> None:
    """Wins of all episodes or of none have no spread: the verdict follows from the sign alone."""
    records = [
        *(smax_record("kd_lh", wins(20), seed) for seed in (0, 1)),
        *(smax_record("mappo_lh", wins(0), seed) for seed in (0, 1)),
        *(smax_record("qmix_lh", wins(20), seed) for seed in (0, 1)),
        *(smax_record("kd_lh_wide", wins(0), seed) for seed in (0, 1)),
    ]
    table = found(records, "3m: gain of distillation")
    assert {row[3] for row in table.rows} == {"2"}
    assert [(row[0], row[1], row[2].split()[0], row[4]) for row in table.rows] == [
        ("KD-MARL LH", "MAPPO LH", "100.00", "better"),
        ("KD-MARL LH", "QMIX LH", "0.00", "level: the interval holds 0"),
        ("KD, wide, LH", "MAPPO LH", "0.00", "level: the interval holds 0"),
    ]
    records += [smax_record("vdn_lh", wins(20), seed) for seed in (0, 1)]
    records = [record for record in records if record.method != "kd_lh"]
    records += [smax_record("kd_lh", wins(10), seed) for seed in (0, 1)]
    [row] = [row for row in found(records, "3m: gain of distillation").rows if row[1] == "VDN LH"]
    assert row[2].startswith("−50.00 [") and row[4] == "worse"
    records = [record for record in records if record.seed == 0]
    [row] = [row for row in found(records, "3m: gain of distillation").rows if row[1] == "VDN LH"]
    assert row[3:] == ("1", "worse, on this seed")


def test_teachers_beside_other_numbers() -> None:
    records = [smax_record("teacher", wins(19)), mpe_record("teacher", [-9.0, -9.0]), mpe_record("kd_lh", [-9.0, -9.0])]
    records.append(mpe_record("qmix_fo", [-9.0, -9.0]))
    [table] = teachers(grouped(records), {"simple_spread": [-8.0, -8.0], "simple_adversary": [1.0]})
    assert [row[0] for row in table.rows] == ["3m", *["Simple Spread"] * 3]
    assert [row[1] for row in table.rows] == ["Teacher", "Teacher", "Teacher", "QMIX FO"]
    assert [row[2].split()[0] for row in table.rows] == ["95.00", "−9.00", "−9.00", "−9.00"]
    # (-134 / 3 + 25) / 2, a tenth less than -8, and (-127 / 3 + 25) / 2.
    assert [row[5] for row in table.rows] == ["95.00: met", "−9.83: met", "−8.80: not met", "−8.67: not met"]
    assert teachers(grouped(records[2:3]), {}) == []


def test_simulators_are_never_mixed() -> None:
    records = [*toy(), smax_record("kd_lh", wins(0), 0, backend="smac", evaluated_on="smac")]
    smax, smac = found(records, "Table I: SMAC maps, on SMAX"), found(records, "Table I: SMAC maps, on SMAC (StarCraft")
    assert cells(smax, "3m", "ours, win rate, %")["KD-MARL LH"] == "75.0"
    assert cells(smac, "3m", "ours, win rate, %")["KD-MARL LH"] == "0.0"
    assert cells(smac, "3m", "ours, win rate, %")["Teacher"] == "–"
    [kept] = [t for t in tables(grouped(records)) if t.title == "3m: retention, on SMAC (StarCraft II)"]
    assert kept.rows[0][3:5] == ("–", "–")  # no teacher there
    other = [*toy(), smax_record("kd_lh", wins(0), 0, evaluated_on="elsewhere")]
    elsewhere = found(other, "Table I: SMAC maps, on SMAX (jaxmarl, not StarCraft II), evaluated on elsewhere")
    assert cells(elsewhere, "3m", "ours, win rate, %")["KD-MARL LH"] == "0.0"


def test_tasks_are_never_mixed() -> None:
    """Without the leak of legal actions it is another task; which file comes first decides nothing."""
    leak_free = ("scenario.environment.leak_free=true",)
    apart = [
        smax_record("teacher", wins(0), 0, overrides=leak_free),
        smax_record("kd_lh", wins(0), 0, overrides=leak_free),
    ]
    for records in ([*toy(), *apart], [*apart, *toy()]):
        results = grouped(records)
        assert [(place.otherwise, len(results.methods(place))) for place in results.places] == [
            ("", 3),
            ("environment.leak_free true", 2),
        ]
        assert results.places[1].slug == "smac_3m-smax-environment.leak_free_true"
        table = found(records, "Table I: ")
        assert cells(table, "3m", "ours, win rate, %")["Teacher"] == "90.0"
        assert cells(table, "3m (environment.leak_free true)", "ours, win rate, %")["Teacher"] == "0.0"
        [over_all] = [t for t in tables(results) if t.title.startswith("Over all games")]
        assert cells(over_all, "KD-MARL LH")["runs"] == "2"


def test_random_masks_and_fixed_groups_are_averaged_apart() -> None:
    records = [
        *(mpe_record(method, [-10.0, -10.0]) for method in ("teacher", "kd_lh")),
        *(
            mpe_record(
                method, [-10.0, -10.0], scenario="mpe_spread_groups", config=composed("scenario=mpe_spread_groups")
            )
            for method in ("teacher", "kd_lh")
        ),
    ]
    found_tables = {t.title: t for t in tables(grouped(records)) if t.title.startswith("Over all games")}
    assert list(found_tables) == [
        "Over all games, random masks, on our MPE, evaluated on mpe2",
        "Over all games, fixed groups, on our MPE, evaluated on mpe2",
    ]
    assert {cells(table, "KD-MARL LH")["runs"] for table in found_tables.values()} == {"1"}


def test_seeds_of_different_games_are_drawn_independently() -> None:
    """Scores 0, 1 and 0.5 in one game and 1, 0 and 0.5 in the other would cancel out, were the same seeds drawn."""

    def width(second: tuple[int, ...]) -> float:
        records = []
        for seed, (one, other) in enumerate(zip((0, 20, 10), second, strict=True)):
            for scenario, map_name, won in (("smac_3m", "3m", one), ("smac_8m", "8m", other)):
                place = {"scenario": scenario, "map": map_name, "random_win_rate": 0.0}
                records += [
                    smax_record("teacher", wins(20), seed, **place),
                    smax_record("kd_lh", wins(won), seed, **place),
                ]
        shown = cells(found(records, "Over all games"), "KD-MARL LH")["normalised retention, mean, %"]
        low, high = re.findall(r"\d+\.\d", shown)[1:]
        return float(high) - float(low)

    assert width((0, 20, 10)) == pytest.approx(width((20, 0, 10)), rel=0.15)


def test_unlike_configurations_stand_apart() -> None:
    records = [*toy(), smax_record("kd_lh", wins(2), 2, overrides=("distill.clip=0.3",))]
    assert cells(found(records, "Table I: "), "3m", "ours, win rate, %")["KD-MARL LH"] == "75.0"
    [row] = found(records, "Runs configured otherwise").rows
    assert row[4].startswith("10.00 [") and row[6] == "distill.clip 0.3 (there default)"


def test_mpe_in_both_scales() -> None:
    records = [mpe_record("teacher", [-20.0, -20.0]), mpe_record("kd_lh", [-24.0, -26.0])]
    table = found(records, "Table II: ")
    assert cells(table, "Simple Spread", "ours, return, mean over agents")["KD-MARL LH"] == "−25.00"
    assert cells(table, "Simple Spread", "ours, return × agents (EPyMARL's sum)")["KD-MARL LH"] == "−75.00"
    assert cells(table, "Simple Spread", "paper, return")["MAPPO FO"] == "−46.0 ± 2.1"
    assert any(row[0] == "Adversary †" for row in table.rows)
    assert any("repeats Table I's returns" in note for note in table.notes)
    kept = found(records, "Simple Spread: retention").rows[1]
    assert kept[3].startswith("75.0 ") and kept[4].startswith("87.5 ")  # 1 - 5 / 20; (-25 + 60) / (-20 + 60)
    assert kept[5].startswith("94.6")  # 1 - 2.5 / 46


def test_over_all_games() -> None:
    second = {"scenario": "smac_8m", "map": "8m"}
    records = [*toy(), smax_record("teacher", wins(20), 0, **second), smax_record("kd_lh", wins(20), 0, **second)]
    row = cells(found(records, "Over all games"), "KD-MARL LH")
    assert (row["games"], row["runs"]) == ("3m, 8m", "3")
    # The mean of 45 / 65 and 55 / 65, and 75 / 75: each game counts once.
    assert row["normalised retention, mean, %"].startswith("88.5 [")
    assert cells(found(records, "Over all games"), "MAPPO LH †")["games"] == "3m"  # of one game of two


def test_table_three() -> None:
    records = [smax_record("kd_lh_a", wins(10), scenario="smac_3s5z", map="3s5z")]
    table = found(records, "Table III")
    assert [row[2] for row in table.rows] == ["46.08", "54.92", "61.56", "58.17"]
    assert [row[3].split(" ")[0] for row in table.rows] == ["–", "–", "–", "50.0"]
    there = {"scenario": "smac_3s5z", "map": "3s5z"}
    records += [smax_record(name, wins(won), **there) for name, won in (("ctds", 4), ("tseng", 6), ("ptde", 8))]
    table = found(records, "Table III")
    assert [row[3].split(" ")[0] for row in table.rows] == ["20.0", "30.0", "40.0", "50.0"]


def test_a_teacher_no_better_than_chance_leaves_retention_unknown() -> None:
    records = [smax_record("teacher", wins(5)), smax_record("kd_lh", wins(5))]
    assert found(records, ": retention").rows[1][4] == "–"
    none = [smax_record("teacher", wins(0)), smax_record("kd_lh", wins(5))]
    assert found(none, ": retention").rows[1][3] == "–"


def test_the_papers_retention() -> None:
    rows = {row.map: row for row in (*paper.rows("I"), *paper.rows("II"))}
    kept = {name: rows[name].retention("kd_lh") for name in ("3m", "8m", "5m_vs_6m", "3s5z")}
    assert kept == pytest.approx({"3m": 0.966, "8m": 0.9895, "5m_vs_6m": 0.948, "3s5z": 0.882}, abs=6e-4)
    assert [name for name, row in rows.items() if not row.target] == ["simple_adversary"]
    assert paper.table_of("2s3z", "smac") == "I" and paper.table_of("simple_tag", "mpe") == "II"
    assert paper.table_of("chess", "board") is None


def test_intervals_of_one_seed_are_those_of_its_episodes() -> None:
    values = np.random.default_rng(5).normal(10, 3, 40)
    ours = mean_score(Scores({3: values}))
    theirs = bootstrap([values], np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(1))
    assert ours.estimate == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(theirs.confidence_interval, abs=0.12)
    coin = mean_score(Scores({0: [100.0] * 200 + [0.0] * 200}))
    assert (coin.low, coin.high) == pytest.approx((50 - 4.9, 50 + 4.9), abs=0.5)  # 1.96 sqrt(.25 / 400)


def test_intervals_of_single_episodes_are_those_of_the_seeds() -> None:
    values = np.random.default_rng(6).normal(0, 1, 12)
    scores = Scores({seed: [value] for seed, value in enumerate(values)})
    theirs = bootstrap([values], np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(1))
    ours = mean_score(scores)
    assert (ours.low, ours.high) == pytest.approx(theirs.confidence_interval, abs=0.05)
    assert interquartile_mean(scores).estimate == pytest.approx(np.sort(values)[3:9].mean())


def test_seeds_and_episodes_both_widen_the_interval() -> None:
    rng = np.random.default_rng(7)
    runs = {seed: rng.normal(mean, 4, 50) for seed, mean in enumerate([0, 1, 2, 3, 4, 5, 6, 7])}
    ours = mean_score(Scores(runs))
    spread = np.sqrt(np.var([values.mean() for values in runs.values()]) / 8 + 16 / 400)
    assert (ours.high - ours.low) / (2 * 1.96) == pytest.approx(spread, rel=0.08)


def test_seeds_that_score_alike_in_each_episode_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(8).normal(0, 3, 60)
    one, three = (
        mean_score(Scores({0: values}, "here")),
        mean_score(Scores(dict.fromkeys(range(3), values), "here")),
    )
    assert (three.low, three.high) == pytest.approx((one.low, one.high))


def test_comparisons_pair_episodes() -> None:
    """A constant difference has no spread, however much episodes differ; unpaired, this interval would be 3 wide."""
    values = np.random.default_rng(9).normal(0, 3, 60)
    theirs = Scores({0: values, 1: values - 1}, "here")
    ours = Scores({0: values + 0.5, 1: values - 0.5}, "here")
    found = compare(ours, theirs, difference)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_comparisons_pair_seeds() -> None:
    teacher = Scores({seed: np.full(4, 10.0 * (seed + 1)) for seed in range(5)}, "here")
    student = Scores({seed: np.full(4, 5.0 * (seed + 1)) for seed in range(5)}, "here")
    half = compare(student, teacher, share)
    assert (half.estimate, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))  # the same in every draw of seeds
    assert np.isnan(compare(student, Scores({9: [1.0]}), share).estimate)
    assert compare(student, teacher, normalised(-5.0)).estimate == pytest.approx(20 / 35)


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta",):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def test_every_format_holds_the_same_cells(tmp_path: Path) -> None:
    records = [*toy(), mpe_record("teacher", [-20.0])]
    made = tables(grouped(records))
    assert [path.name for path in write_tables(records, tmp_path / "out")] == [
        *("tables.md", "tables.csv", "tables.tex", "tables.html")
    ]
    page = Cells()
    page.feed((tmp_path / "out/tables.html").read_text())
    assert page.open == []
    assert page.tables == [[list(row) for row in (table.head, *table.rows)] for table in made]
    lines = (tmp_path / "out/tables.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == sum(2 + len(table.rows) for table in made)
    text = (tmp_path / "out/tables.tex").read_text()
    assert text.count(r"\begin{tabular}") == len(made)
    assert len(re.findall(r" \\\\$", text, re.MULTILINE)) == sum(1 + len(table.rows) for table in made)
    assert text.isascii()  # nothing that LaTeX may not know


def test_texts_that_mean_something_to_a_format() -> None:
    nasty = r"a|b & 50% $x_1$ #{~^} \ <b> *c*"
    table = Table(nasty, ("h", nasty), ((nasty, "1"),), (nasty,))
    page = Cells()
    page.feed(formats.page([table]))
    assert page.tables == [[["h", nasty], [nasty, "1"]]]
    [row] = [line for line in formats.markdown([table]).splitlines() if line.endswith("| 1 |")]
    assert row == r"| a\|b & 50% $x_1$ #{~^} \\ &lt;b> \*c\* | 1 |"
    assert formats.tex("50% & a_1 #{~^}\\") == (
        r"50\% \& a\_1 \#\{\textasciitilde{}\textasciicircum{}\}\textbackslash{}"
    )
    text = re.sub(r"\\[{}]", "", formats.latex([table]))
    assert text.count("{") == text.count("}")


def test_comma_separated_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(formats.comma_separated(grouped(toy())))))
    assert len(rows) == 4 and None not in rows[0]
    [student] = [row for row in rows if row["method"] == "kd_lh" and not row["variant"]]
    assert float(student["score"]) == 75 and float(student["kept_normalised"]) == pytest.approx(50 / 65)
    assert (student["seeds"], student["paper"], student["main"]) == ("0 1", "94.78", "yes")
    assert student["return_times_agents"] == "" and float(student["times_fewer_per_decision"]) == 30
    [ablated] = [row for row in rows if row["variant"] == "no_kl"]
    assert ablated["paper"] == ""


def test_console_fits_eighty_columns() -> None:
    records = toy()
    for name in ("8m", "5m_vs_6m", "3s5z"):
        records += [smax_record(m, wins(20), scenario=f"smac_{name}", map=name) for m in ("mappo_fo", "kd_lh_a")]
    console = Console(width=80, file=io.StringIO())
    for table in formats.console(grouped(records)):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert re.search(r"MAPPO FO +– \(98\.1\) +100\.0 \(89\.9\) +100\.0 \(61\.9\) +100\.0 \(68\.3\)", text)


def test_other_games_have_a_table_of_their_own() -> None:
    records = [smax_record("teacher", wins(3), backend="board", evaluated_on="board", map="chess")]
    assert cells(found(records, "Other games, on board"), "chess", "ours, win rate, %")["Teacher"] == "15.0"


def test_the_overview_by_hand() -> None:
    records = [*toy(), *(mpe_record("kd_lh", [-30.0, -30.0], seed) for seed in (0, 1, 2))]
    records.append(mpe_record("kd_lh_m", [-30.0, -30.0]))  # not shown there, so its seeds are not either
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in overview.overview(grouped(records)).splitlines()
    ]
    battles, spread = (dict(zip(head, row, strict=True)) for row in rows)
    assert (battles["game"], battles["score"], battles["seeds × episodes"]) == ("3m", "win rate, %", "2 × 20")
    assert (spread["game"], spread["seeds × episodes"]) == ("Simple Spread", "3 × 2")
    assert spread["score"] == "return, mean over agents"
    assert re.fullmatch(r"75\.0 \[\d\d\.\d, \d\d\.\d\]", battles["KD-MARL LH"]) and spread["KD-MARL LH"] == "−30.0"
    assert battles["Teacher"].startswith("90.0 [") and spread["Teacher"] == "–"
    # 60,000 and 2,000 are the means over two agents.
    assert battles["KD-MARL LH: times fewer MACs"] == "30.0" and spread["KD-MARL LH: times fewer MACs"] == "–"


def test_a_teacher_alone_in_a_second_budget_has_no_row_and_no_column() -> None:
    """Where only a method that the paper does not have has run in another budget."""
    other = dataclasses.replace(smax_record("kd_lh_m", wins(18), 0), budget="converged")
    records = [*toy(), other]
    named = [row[0] for row in found(records, "Table I: ").rows if row[1].startswith("ours, win rate")]
    assert named == ["3m (equal steps)"]
    shown = [line.split("|")[1].strip() for line in overview.overview(grouped(records)).splitlines()[2:]]
    assert shown == ["3m (equal steps)"]


def test_the_readme_holds_what_the_records_say() -> None:
    readme, text = (ROOT / "README.md").read_text(), overview.overview(grouped(read_all(ROOT / RECORDS)))
    assert inserted(readme, text, overview.BEGIN, overview.END) == readme
