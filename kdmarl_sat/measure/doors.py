"""The commands of ``kdmarl-sat measure``.

Torch, Basilisk and matplotlib are imported only once the settings are known to be good.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kdmarl_sat.arguments import Parser, whole
from kdmarl_sat.command import sentences
from kdmarl_sat.console import plain_console
from kdmarl_sat.measure.peers.programs import PEERS, WINDOW_STEPS, find
from kdmarl_sat.measure.sizes import SHAPES, sized
from scenarios.compose import composed
from scenarios.folders import check_file, check_writable
from scenarios.memory import available_bytes, check_workers
from scenarios.ranges import ConfigError
from scenarios.roots import GAME, packaged

SMAX_MAPS = tuple(name.removeprefix("smac_") for name in packaged(GAME) if name.startswith("smac_"))

SIMULATION = """``kdmarl-sat measure simulation``: our simulation against plain BSK-RL, and its memory over many resets.

Both fly the same decisions of the same episodes in one process, so that machine and load are the same; rewards must be
equal. Speeds are CPU seconds of this process, resets included, network inference not.
"""
SCALE = """``kdmarl-sat measure scale``: what a decision costs in constellations of more and more satellites.

Ours and plain BSK-RL fly the same decisions of the same episodes in one process, as in ``measure simulation``; the
cost is CPU time with resets, network inference not. Targets grow with the constellation: each satellite has as many.
The exponent is the slope of log(cost per decision) over log(satellites): 0 means that a decision costs the same in any
constellation, 1 that it costs as many times more as there are more satellites.
"""
TWIN = """``kdmarl-sat measure twin``: the twin against Basilisk, how fast it is, and what the planner makes of it.

Parity: every action of flights of every shipped mission is flown in Basilisk and, from the same state, on the twin.
Speeds are decisions per CPU-second of this process in one run, resets and policies not counted (but for plain BSK-RL).
Planning: rules, planner and the upper bound on validation episodes in Basilisk, under the guard; no held-out one.
Size: rules, planner and stored students in larger constellations, the planner also with a minute of neighbourhood
search. A part that is measured again replaces only itself in the record.
"""
SOAK = """``kdmarl-sat measure soak``: many episodes in one go, killed and resumed on the way, and what became of them.

Flies a heuristic through ``episodes`` held-out episodes with satellites, crosslinks, sensors and decisions failing,
in a process group that is killed (SIGKILL) ``kills`` times and started anew. Every episode must have its result, some
flown again alone must come to the same, and no process may grow. Linux only: it reads /proc.
"""
ONBOARD = """``kdmarl-sat measure onboard``: the onboard executor against what is wanted of it.

Measures part by part, keeps results/benchmark_onboard.json, and writes it as results/onboard.md and, between its
markers, into README.md. A part that is measured again replaces only itself.
"""
EVIDENCE = """``kdmarl-sat measure evidence PART...``: what is known about the C engine by analysis, not by flying it.

analysis   cppcheck with MISRA C:2012, clang-tidy, compiler warnings: every finding is an error
misra      writes docs/misra.md from the suppressions in the code
coverage   statements and branches that the engine's tests and the fuzzer's seeds execute
eva        Frama-C's value analysis: no undefined behaviour, whatever the weights and observations
bound      the most instructions of a decision of the shipped students, on each emulated core
forged     10,000 forged and replayed bundles, with a key set: one that is read is an error
generator  our exported C beside that of emx-onnx-cgen: instructions, time, size, bits; wants it on PATH
kills_game, kills_mission
           a small run that is killed at 20 moments and started again ends in the same bytes
processors_game, processors_mission
           a small run here and on three emulated processors with compute.reproducible=true: the same bytes
page       writes docs/evidence.md from the records
forms      writes onboard/bound_form.json, by which admission knows the most instructions of a decision

What they find is kept with record=results/evidence.json.
"""
PEERS_TEXT = """``kdmarl-sat measure peers``: what training costs, beside EPyMARL, JaxMARL and BenchMARL.

Each trains recurrent MAPPO on simple_spread, one after the other, in a process of its own that is measured from
outside: CPU seconds of it and of all that it starts, environment steps by its own count. Ours runs as it is meant to be
used, with the network's width and the epochs of EPyMARL and JaxMARL, and once for each peer with the peer's
environments and minibatches too.

Returns are per agent, as mpe2 gives them, of training, averaged over the episodes of the latest 20,000 environment
steps. The common return of a peer and ours is the best that the one which learns less reaches: both reach it.

With map=3s5z, or another map of SMAX, JaxMARL's MAPPO and ours train there with their own settings: wins against CPU
seconds, as a record and a figure.

A peer is a checkout of its repository (BenchMARL: any folder) with a virtual environment ``.venv`` in it, where what
the peer needs is installed. Where one is missing, the rest is compared.
"""

AGAIN = 5  # episodes of a soak flown once more, alone
FAULTS = (
    "scenario.faults.satellite_failures=0.2",
    "scenario.faults.crosslink_outage=0.2",
    "scenario.faults.sensor_dropout=0.1",
    "scenario.faults.missing_decisions=0.05",
)
TWIN_PARTS = ("parity", "speed", "planning", "size", "first_tick")
PARTS = (  # of the evidence
    "analysis", "misra", "coverage", "eva", "bound", "forms", "generator", "forged", "kills_game", "kills_mission",
    "processors_game", "processors_mission", "page",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
BUNDLES = tuple(RESULTS / "bundles" / f"imaging_constellation-{group}" for group in ("lh_a", "lh"))


def simulation(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat measure simulation", description=SIMULATION)
    parser.take_overrides("as for kdmarl-sat run, e.g. scenario.duration_s=5700")
    parser.add_argument("--episodes", type=whole("episodes", 1, 10**6), default=5, help="episodes flown both ways")
    parser.add_argument(
        "--resets", type=whole("resets", 0, 10**6), default=300,
        help="short episodes over which memory is watched; 0: none",
    )  # fmt: skip
    parser.add_argument("--record", type=Path, default=Path("results/benchmark_simulation.json"))
    options = parser.parse_intermixed_args(arguments)
    with sentences(parser.prog):
        check_file("record", options.record)
        run = composed(*options.overrides, config_dir=options.config_dir)

        from kdmarl_sat.measure.simulation import measure

        print(json.dumps(measure(run, options.episodes, options.resets, options.record), indent=1))


def scale(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat measure scale", description=SCALE)
    parser.take_overrides("as for kdmarl-sat run, e.g. scenario.duration_s=2850")
    episodes = whole("episodes", 1, 10**6)
    parser.add_argument("--episodes", type=episodes, default=1, help="episodes flown both ways, per size")
    least = SHAPES[1][0] * SHAPES[1][1]  # for two sizes
    largest = whole("largest", least, 10**6)
    parser.add_argument("--largest", type=largest, default=66, help="satellites of the largest constellation")
    parser.add_argument("--record", type=Path, default=Path("results/benchmark_scale.json"))
    options = parser.parse_intermixed_args(arguments)
    shapes = [shape for shape in SHAPES if shape[0] * shape[1] <= options.largest]
    with sentences(parser.prog):
        check_file("record", options.record)
        runs = [sized(*shape, options.overrides, options.config_dir) for shape in shapes]

        from kdmarl_sat.measure.scale import measure, shown

        plain_console().print(shown(measure(runs, options.episodes, options.record)))


def twin(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat measure twin", description=TWIN)
    parser.add_argument(
        "--only", nargs="+", choices=TWIN_PARTS, default=list(TWIN_PARTS), metavar="PART", help="parts to measure"
    )
    parser.add_argument("--episodes", type=whole("episodes", 1, 10**6), default=3, help="per mission and rule")
    parser.add_argument("--record", type=Path, default=Path("results/benchmark_twin.json"))
    options = parser.parse_args(arguments)
    with sentences(parser.prog):
        check_file("record", options.record)

        from kdmarl_sat.measure.twin import measure

        print(json.dumps(measure(options.only, options.episodes, options.record), indent=1))


def soak(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat measure soak", description=SOAK)
    parser.take_overrides("name the run, as for kdmarl-sat run")
    parser.add_argument("--episodes", type=whole("episodes", AGAIN, 10**6), default=1000)
    parser.add_argument("--kills", type=whole("kills", 0, 10**6), default=2)
    parser.add_argument("--folder", type=Path, default=Path("outputs/soak"), help="where it is flown")
    parser.add_argument("--record", type=Path, default=Path("results/soak.json"))
    parser.add_argument("--fly", action="store_true", help=argparse.SUPPRESS)  # the process that is killed
    options = parser.parse_intermixed_args(arguments)
    with sentences(parser.prog):
        asked = [f"evaluation.episodes={options.episodes}", "evaluation.trace=false"]
        folder = str(options.folder).replace("\\", "\\\\").replace("'", "\\'")
        where = f"output.cache_dir='{folder}'"
        run = composed(*FAULTS, *asked, *options.overrides, where, config_dir=options.config_dir)
        check_writable(run.output)
        check_file("record", options.record)
        check_workers(run.compute, run.scenario.constellation.size, available_bytes())

        from kdmarl_sat.measure import soak

        if options.fly:
            soak.fly_whole(run)
            return
        own = [f"--config-dir={options.config_dir}"] if options.config_dir is not None else []
        given = [*options.overrides, *own]
        measured = soak.measure(run, given, options.kills, AGAIN, options.folder, options.record)
        for name, value in measured.items():
            print(f"{name}: {value}")
    sys.exit(0 if measured["met"] else 1)


def onboard(arguments: Sequence[str] | None = None) -> None:
    from kdmarl_sat.measure.onboard.parts import COUNTS, FLOWN_FOR, TITLES, WANTED_DECISIONS, mission_of
    from onboard.emulation import TARGETS

    parser = Parser(prog="kdmarl-sat measure onboard", description=ONBOARD)
    parser.take_overrides("of the mission that is flown, e.g. scenario.duration_s=5700")
    parser.add_argument(
        "--bundle", type=Path, action="append", help="of trained float32 students; may be given more than once"
    )
    counts = {name: whole(name, 1) for name in COUNTS}
    parser.add_argument("--only", default=",".join(TITLES), help="parts to measure, e.g. bits,host (all)")
    parser.add_argument(
        "--decisions", type=counts["decisions"], default=WANTED_DECISIONS, help="flown by each bundle at least"
    )
    parser.add_argument("--targets", default=",".join(TARGETS), help="emulated processors (all)")
    parser.add_argument(
        "--calls", type=counts["calls"], default=2000, help="timed decisions of each backend and network"
    )
    parser.add_argument(
        "--flips", type=counts["flips"], help="at most so many bits of each weight table and memory (all)"
    )
    parser.add_argument("--mutations", type=counts["mutations"], default=10000, help="damaged bundles")
    parser.add_argument("--trials", type=counts["trials"], default=50, help="stopped workers")
    parser.add_argument("--record", type=Path, default=RESULTS / "benchmark_onboard.json")
    parser.add_argument("--table", type=Path, default=RESULTS / "onboard.md")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--quantised", type=Path, default=RESULTS / "quantise", help="records of kdmarl-sat quantise")
    options = parser.parse_intermixed_args(arguments)
    for name, allowed in (("only", TITLES), ("targets", TARGETS)):
        given = getattr(options, name)
        chosen = [each for each in given.removeprefix("[").removesuffix("]").split(",") if each]
        if not chosen or not set(chosen) <= set(allowed):  # nothing chosen would measure nothing, and say so to nobody
            parser.error(f"{name}={given} is not allowed: it must be of {','.join(allowed)}")
        setattr(options, name, chosen)
    options.bundle = options.bundle or list(BUNDLES)
    with sentences(parser.prog):
        for flag in ("record", "table", "readme"):
            check_file(flag, getattr(options, flag))
        bundles = options.bundle if set(options.only) & set(FLOWN_FOR) else []
        missions = [mission_of(each, options.overrides, options.config_dir) for each in bundles]

        from kdmarl_sat.measure.onboard.benchmark import Order, benchmark

        del options.config_dir
        benchmark(Order(missions=missions, **vars(options)))


def evidence(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat measure evidence", description=EVIDENCE)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--record", type=Path, help="file in which what was found is kept, e.g. results/evidence.json")
    options = parser.parse_args(arguments)
    with sentences(parser.prog):
        if options.record is not None:
            check_file("record", options.record)

        from kdmarl_sat.measure.evidence.parts import gather

        gather(options.parts, options.record)


def _wins(options: argparse.Namespace, console: Console) -> None:
    """
    Raises:
        ConfigError: JaxMARL is not named.
        MissingError: it is not where it was said to be.
    """
    if options.jaxmarl is None:
        raise ConfigError(f"map={options.map} needs jaxmarl=FOLDER: a checkout of JaxMARL, with .venv in it")

    from kdmarl_sat.measure.peers import smax

    programs = [smax.ours(options.map, options.threads), smax.jaxmarl(options.jaxmarl.resolve(), options.map)]
    settings = {name: getattr(options, name) for name in ("map", "steps", "seeds", "threads")}
    smax.benchmark(programs, settings, options.out, console)


def peers(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat measure peers", description=PEERS_TEXT)
    for peer in PEERS:
        parser.add_argument(
            f"--{peer.lower()}", type=Path, metavar="FOLDER", help=f"where {peer} is; not given: left out"
        )
    steps, threads = whole("steps", 4 * WINDOW_STEPS), whole("threads", 1, 1024)
    parser.add_argument("--steps", type=steps, default=200_000, help="environment steps of each training")
    parser.add_argument("--seeds", type=whole("seeds", 0, 2**31 - 1), nargs="+", default=[0])
    parser.add_argument("--threads", type=threads, default=1, help="threads of each program, and cores that it may use")
    parser.add_argument(
        "--map", choices=SMAX_MAPS, help="a map of SMAX in place of simple_spread; needs jaxmarl=FOLDER"
    )
    parser.add_argument("--out", type=Path, help="record (results/benchmark_peers.json, or with _MAP)")
    options = parser.parse_args(arguments)
    named = f"results/benchmark_peers{'' if options.map is None else f'_{options.map}'}.json"
    options.out = options.out or Path(named)
    with sentences(parser.prog):
        check_file("out", options.out)
        console = plain_console()
        if options.map is not None:
            _wins(options, console)
            return
        found, missing = find({peer: getattr(options, peer.lower()) for peer in PEERS})
        for peer, reason in missing.items():
            console.print(f"{peer} is not compared: {reason}", style="yellow", highlight=False, soft_wrap=True)
        if not found:
            print(f"{parser.prog}: there is no peer to compare with; name one, e.g. jaxmarl=FOLDER", file=sys.stderr)
            sys.exit(2)

        from kdmarl_sat.measure.peers.benchmark import benchmark

        complete = benchmark(found, missing, options.steps, options.seeds, options.threads, options.out, console)
    sys.exit(0 if complete else 1)
