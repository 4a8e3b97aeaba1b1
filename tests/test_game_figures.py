"""Figures of runs on games: written, with something on them, and readable."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from game_samples import mpe_record, smax_record
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from kdmarl_sat.games.records import GameRecord
from kdmarl_sat.games.report import figures, formats, write_figures
from kdmarl_sat.games.report.message_figure import messages
from kdmarl_sat.games.report.summary import Results, grouped
from scenarios.games.schema import METHODS

ACTIONS = ["stop", *(f"move {way}" for way in ("north", "south", "east", "west")), *(f"attack {n}" for n in range(8))]


def full() -> list[GameRecord]:
    """Every method on 3s5z, two seeds of some."""
    rng = np.random.default_rng(0)
    records = []
    for index, method in enumerate(METHODS):
        for seed in range(1 + index % 2):
            rates = np.linspace(0.1, 0.9 - 0.03 * index, 5)
            curve = [
                {"steps": 200_000 * (n + 1), "cpu_s": 1.0, "return": 0.0, "win_rate": float(rate)}
                for n, rate in enumerate(rates)
            ]
            changes = {
                "curve": curve,
                "actions": ACTIONS,
                "action_counts": rng.integers(0, 90, (8, len(ACTIONS))).tolist(),
                "macs": {"per_decision": [123456 // (index + 1)] * 8, "per_episode": 1e6},
            }
            records.append(smax_record(method, [True, False], seed, scenario="smac_3s5z", map="3s5z", **changes))
    return records


@pytest.fixture(scope="module")
def results() -> Results:
    return grouped(full())


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of a figure that lie on each other, and texts that leave it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    beyond = set()  # labels of ticks outside the axes, which are not drawn
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
        beyond |= {id(text) for tick in ticks for text in (tick.label1, tick.label2)}
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and id(text) not in beyond]
    shown = [text for text in texts if text.get_visible() and text.get_text().strip()]
    # Rotated labels lie side by side though the boxes around them do not.
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in shown if t.get_rotation() in (0, 90)]
    page = figure.bbox
    out = [
        (text, "the edge")
        for text, box in boxes
        if box.x0 < -1 or box.y0 < -1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1
    ]
    pairs = [
        (a, b)
        for index, (a, first) in enumerate(boxes)
        for b, second in boxes[index + 1 :]
        if min(first.x1, second.x1) - max(first.x0, second.x0) > 1
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 1
    ]
    return out + pairs


def test_figures_are_written_and_not_blank(tmp_path: Path) -> None:
    records = [*full(), mpe_record("mappo_fo", [-1.0])]
    paths = write_figures(records, tmp_path / "out")
    assert sorted(path.name for path in paths) == [
        "actions-smac_3s5z-smax.png",
        "curves-smac_3s5z-smax.png",
        "flops-mpe-mpe2.png",
        "flops-smax.png",
        "improvement-smax.png",
        "messages-smac_3s5z-smax.png",
        "profiles-smax.png",
    ]
    for path in paths:
        darkest = imread(io.BytesIO(path.read_bytes()), format="png")[..., :3].min(-1)
        assert len(np.unique(darkest)) > 20
        assert (darkest < 0.5).mean() > 0.005  # ink
    fewer = write_figures(records, tmp_path / "less", maps=["simple_spread"])
    assert [path.name for path in fewer] == [  # its curves have no points, and neither of the pair has run
        "flops-smax.png",
        "flops-mpe-mpe2.png",
        "improvement-smax.png",
        "profiles-smax.png",
    ]


def test_a_variant_alone_is_shown_and_has_no_figures(tmp_path: Path) -> None:
    """As of one job of `benchmark ablation`."""
    records = [mpe_record("kd_lh", [-1.0, -2.0], variant="no_kl")]
    assert write_figures(records, tmp_path) == []
    [table] = formats.console(grouped(records))
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells == [["KD-MARL LH, no_kl"], ["\u22121.5"]]


def test_texts_do_not_overlap(results: Results) -> None:
    [place] = results.places
    assert overlapping(figures.flops(results, ("smax", "smax"))) == []
    assert overlapping(figures.actions(results, place)) == []
    assert overlapping(figures.curves(results, place)) == []


def test_flops_are_twice_the_macs_and_compared_with_the_teacher(results: Results) -> None:
    [axes] = figures.flops(results, ("smax", "smax")).axes
    texts = [text.get_text() for text in axes.texts]
    # 123456 = 128 (C + A) + 6 x 128^2; with 256 units 256 (C + A) + 6 x 256^2 = 2 (123456 - 98304) + 393216.
    assert texts[0] == "887\u202f040 FLOP"  # 2 x 443520
    assert texts[1] == "246\u202f912 FLOP"  # 2 x 123456
    assert texts[2] == "123\u202f456 FLOP, 2.00× fewer (7.19× than 256 units)"
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert ends[:3] == pytest.approx([887040, 246912, 123456])


def test_rows_of_actions_are_shares_over_all_seeds() -> None:
    records = [
        smax_record("kd_lh_a", [True], 0, action_counts=[[10, 0, 0], [1, 2, 1]]),
        smax_record("kd_lh_a", [True], 1, action_counts=[[0, 30, 0], [0, 0, 0]]),
        smax_record("mappo_lh_a", [True], 0, action_counts=[[0, 0, 0], [1, 0, 0]]),
    ]
    results = grouped(records)
    figure = figures.actions(results, results.places[0])
    first, second = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert np.asarray(first) == pytest.approx(np.array([[0.25, 0.75, 0], [0.25, 0.5, 0.25]]))
    assert np.asarray(second) == pytest.approx(np.array([[0, 0, 0], [1, 0, 0]]))


def test_curves_of_seeds_that_were_evaluated_at_unlike_steps() -> None:
    def record(seed: int, steps: list[int], rates: list[float]) -> GameRecord:
        curve = [
            {"steps": s, "cpu_s": 1.0, "return": 0.0, "win_rate": rate} for s, rate in zip(steps, rates, strict=True)
        ]
        return smax_record("mappo_fo", [True], seed, curve=curve)

    results = grouped([record(0, [100, 200, 300], [0.0, 0.5, 1.0]), record(1, [100, 300], [0.0, 0.6])])
    [axes] = figures.curves(results, results.places[0]).axes
    [line] = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 3]
    assert np.asarray(line.get_xdata()).tolist() == [100, 200, 300]
    assert np.asarray(line.get_ydata()) == pytest.approx([0, 40, 80])  # means of 50 and 30, 100 and 60


def test_messages_are_drawn_by_their_bits_and_by_what_is_lost() -> None:
    def run(won: int, *overrides: str, method: str = "kd_lh_m", variant: str = "") -> GameRecord:
        return smax_record(method, [n < won for n in range(10)], overrides=overrides, variant=variant)

    lost = "evaluation.message_loss"
    records = [
        *(run(2, method="kd_lh"), run(5), run(9, method="teacher")),
        *(run(4, "student.message_bits=2", variant="bits_2"), run(6, "student.message_bits=32", variant="bits_32")),
        *(run(1, f"{lost}=1.0", variant="lost_100"), run(3, f"{lost}=0.3", variant="lost_30")),
        run(8, "distill.kl=0", variant="no_kl"),  # something else was changed
    ]
    drawn = grouped(records)
    [place] = drawn.places
    figure = messages(drawn, place)
    assert figure is not None
    of_bits, of_loss = figure.axes
    assert [[text.get_text() for text in axes.get_xticklabels()] for axes in (of_bits, of_loss)] == [
        ["0", "2", "8", "32"],
        ["0", "30", "100"],
    ]
    heights = [next(line.get_ydata() for line in axes.lines if line.get_marker() == "o") for axes in figure.axes]
    assert [list(each) for each in heights] == [[20, 40, 50, 60], [50, 30, 10]]
    assert messages(grouped(records[:1]), place) is None
