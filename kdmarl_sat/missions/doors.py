"""The commands of missions: ``kdmarl-sat transfer``, ``preview`` and ``table``.

Torch and Basilisk are imported only once the settings are known to be good.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from kdmarl_sat.arguments import Parser
from kdmarl_sat.command import sentences
from kdmarl_sat.missions.variations import TO, mission, variations
from scenarios.compose import composed
from scenarios.ranges import ConfigError

RECORDS = Path(__file__).resolve().parents[2] / "results" / "runs"
TRANSFER = """``kdmarl-sat transfer``: a run's policies in missions that they were not trained for.

Any number of satellites, targets in proportion, and faults:

  kdmarl-sat transfer to.scenario.constellation.planes=6 to.scenario.constellation.per_plane=11 \\
    to.scenario.targets.clusters_per_orbit=990
  kdmarl-sat transfer to.scenario.faults.satellite_failures=0,0.1,0.3,1 to.scenario.faults.crosslink_outage=0,0.3,0.7

The run is the one that the overrides without to. name, as for kdmarl-sat run. What of it is not in the cache is trained
first. A key with several values is varied, one key at a time. The teacher is one network for all satellites. Of the
students, each further satellite takes the one of a satellite of the same class, in turn. All fly under the guard,
heuristics too; networks fly as they are, not under the onboard executor. Flights are kept: the same command again goes
on where it was stopped. With teacher.load=FOLDER, lh=BUNDLE and lh_a=BUNDLE nothing is trained.
"""
TABLE = """``kdmarl-sat table``: the stored run records of missions as tables.

Everything about each mission, preset and configuration goes into results/missions.md, an overview first. A short table
goes between the markers in README.md. No number there is typed in. Intervals are percentile bootstraps over training
seeds and held-out episodes together, the episodes paired between policies.
"""


def transfer(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat transfer", description=TRANSFER)
    parser.take_overrides("name the run, as for kdmarl-sat run")
    parser.add_argument("--lh", type=Path, help="folder of a bundle: its students are flown as LH, none are trained")
    parser.add_argument("--lh-a", type=Path, help="the same for LH+A")
    parser.add_argument("--out", type=Path, help="default: outputs/transfer/ and what is flown")
    parser.add_argument("--redraw", type=Path, metavar="FOLDER", help="fly nothing: draw a transfer.json again")
    given = sys.argv[1:] if arguments is None else list(arguments)
    asked = [argument.removeprefix(TO) for argument in given if argument.startswith(TO)]
    options = parser.parse_intermixed_args([argument for argument in given if not argument.startswith(TO)])
    with sentences(parser.prog, resumable=True):
        if options.redraw is not None:
            if options.overrides or asked or options.out:
                raise ConfigError("redraw stands alone: it flies nothing, and writes where it reads")
            from kdmarl_sat.missions.transfer import redraw

            redraw(options.redraw)
            return
        run = composed(*options.overrides, config_dir=options.config_dir)
        missions = {
            " ".join(extra) or "as trained": mission(run, options.overrides, extra, options.config_dir)
            for extra in variations(asked)
        }

        from kdmarl_sat.missions import transfer

        out = options.out or Path("outputs/transfer") / transfer.folder_name(run, asked)
        bundles = {"kd_lh": options.lh, "kd_lh_a": options.lh_a}
        transfer.work(run, missions, out, {name: folder for name, folder in bundles.items() if folder is not None})


def table(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat table", description=TABLE)
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder of run records")
    options = parser.parse_args(arguments)
    with sentences(parser.prog):
        from kdmarl_sat.missions import table

        print(table.write(options.records))


def preview(arguments: Sequence[str] | None = None) -> None:
    text = "Show a mission's satellites, targets and stations, and fly one episode by the rule greedy + battery."
    parser = Parser(prog="kdmarl-sat preview", description=text)
    parser.take_overrides("name the mission, as for kdmarl-sat run")
    options = parser.parse_intermixed_args(arguments)
    with sentences(parser.prog):
        run = composed(*options.overrides, config_dir=options.config_dir)

        from envs.basilisk.preview import preview

        preview(run.scenario, run.seed)
