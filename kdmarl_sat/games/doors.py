"""The command ``kdmarl-sat play``. Torch and the games are imported only once the settings are known to be good."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kdmarl_sat.arguments import Parser, whole
from kdmarl_sat.command import sentences
from onboard.emulation import TARGETS
from onboard.runners import choose
from scenarios.folders import check_folder, leave_no_empty_ones
from scenarios.ranges import check, cut

RUNNERS = tuple(kind for kind in choose.KINDS if kind != choose.BEST)
PLAY = """A bundle plays a game under the onboard executor. Nothing is trained.

kdmarl-sat play bundle=FOLDER [episodes=20] [runner=native] [message_loss=0.1]

A run on a game writes the bundles (docs/games.md).
"""


def play(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat play", description=PLAY)
    parser.add_argument("--bundle", type=Path, required=True, help="folder")
    parser.add_argument("--scenario", help="the game; left out: the one that the bundle was made for")
    parser.add_argument("--episodes", type=whole("episodes", 1, 10**6), default=20, help="held-out ones")
    parser.add_argument("--runner", default="native", choices=RUNNERS, help="what computes")
    parser.add_argument("--target", default="cortex-m7", choices=tuple(TARGETS), help="what runner=emulated emulates")
    parser.add_argument(
        "--message-loss", type=_number("message_loss"), default=0.0, help="share of the messages that are lost, 0 to 1"
    )
    parser.add_argument("--deadline-ms", type=_number("deadline_ms"), help="of each answer; left out: the bundle's")
    parser.add_argument("--record", action="store_true", help="keep the first episode for kdmarl-sat replay")
    parser.add_argument("--out", type=Path, help="folder of play.json and the flight log; left out: outputs/play_TIME")
    parser.add_argument("--config-dir", "-cd", type=Path, metavar="FOLDER", help="as for kdmarl-sat run")
    given = vars(parser.parse_args(arguments))
    out = given.pop("out") or Path("outputs") / time.strftime("play_%Y-%m-%d_%H-%M-%S")
    with sentences(parser.prog):
        check("out", str(out), out.name not in ("", ".."), "the path of a folder, which is made")
        check_folder(f"out={out}", out)

        from kdmarl_sat.games.play import Order, run

        try:
            run(Order(**given), out)
        finally:
            leave_no_empty_ones()


def _number(name: str) -> Callable[[str], float]:
    """An option's type: a number, refused by name otherwise."""

    def read(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            told = f"{name}={cut(text) or repr(text)} is not allowed: it must be a number"
            raise argparse.ArgumentTypeError(told) from None

    return read
