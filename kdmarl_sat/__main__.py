"""The command line ``kdmarl-sat VERB``; without a verb it lists all commands."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping

from kdmarl_sat.streams import prepare

# Verb: the module and its function that does it, one line, an example.
VERBS = {
    "run": (
        "kdmarl_sat.run:main",
        "train the teacher, distil students, package and fly them, report",
        "run scenario=imaging_constellation preset=smoke",
    ),
    "fly": (
        "kdmarl_sat.bundles.doors:fly",
        "fly a bundle under the onboard executor, with faults on request",
        "fly bundle=results/bundles/imaging_constellation-lh_a faults.flip=0.05",
    ),
    "play": (
        "kdmarl_sat.games.doors:play",
        "play a game with a bundle under the onboard executor",
        "play bundle=results/bundles/smac_3m-lh_m message_loss=0.1",
    ),
    "replay": (
        "kdmarl_sat.bundles.doors:replay",
        "decide a recorded flight again and show the first difference",
        "replay record=outputs/onboard_.../flight_record_nominal_0.jsonl bundle=FOLDER",
    ),
    "preview": (
        "kdmarl_sat.missions.doors:preview",
        "show what a mission's files hold, and fly one episode by a rule",
        "preview --config-dir examples scenario=own_files",
    ),
    "transfer": (
        "kdmarl_sat.missions.doors:transfer",
        "fly a run's policies in missions they were not trained for",
        "transfer to.scenario.faults.satellite_failures=0,0.1,0.3",
    ),
    "quantise": (
        "kdmarl_sat.bundles.doors:quantise",
        "turn a float32 bundle into an int8 one and compare both",
        "quantise bundle=results/bundles/imaging_constellation-lh_a out=int8",
    ),
    "export": (
        "kdmarl_sat.bundles.doors:export",
        "write a student as C sources or as an ONNX graph",
        "export bundle=results/bundles/imaging_constellation-lh_a satellite=sat_2_wide c=student",
    ),
    "describe": (
        "kdmarl_sat.bundles.doors:describe",
        "write what a reviewer wants to know of a bundle's networks",
        "describe bundle=results/bundles/imaging_constellation-lh_a",
    ),
    "sign": (
        "kdmarl_sat.bundles.doors:sign",
        "make keys, sign bundles, verify signatures",
        "sign new-key operator.key",
    ),
    "table": (
        "kdmarl_sat.missions.doors:table",
        "make the table of missions from the stored run records",
        "table",
    ),
    "benchmark": (
        "kdmarl_sat.games.benchmark:main",
        "run the paper's benchmark on SMAC and MPE; make its tables and figures",
        "benchmark run scenarios=smac_3m budget=equal",
    ),
    "measure": (
        "",
        "measure what we claim: simulation, twin, scale, soak, onboard, evidence, peers",
        "measure simulation",
    ),
}
MEASURES = {
    "simulation": ("kdmarl_sat.measure.doors:simulation", "our loop against plain BSK-RL: equal physics, speed"),
    "twin": ("kdmarl_sat.measure.doors:twin", "the twin against Basilisk: equal images, speed; the planner's worth"),
    "scale": ("kdmarl_sat.measure.doors:scale", "constellations of 4 to 66 satellites"),
    "soak": ("kdmarl_sat.measure.doors:soak", "a long flight with all faults, killed and resumed"),
    "onboard": ("kdmarl_sat.measure.doors:onboard", "the executor: bits, cost, time, faults, enforcement"),
    "evidence": ("kdmarl_sat.measure.doors:evidence", "static analysis, coverage and bounds of the C engine"),
    "peers": ("kdmarl_sat.measure.doors:peers", "what training costs, beside EPyMARL, JaxMARL and BenchMARL"),
}


def main() -> None:
    prepare()
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(screen())
        return
    place = _place(VERBS, arguments)
    used = 1
    if not place:
        if len(arguments) == 1 or arguments[1] in ("-h", "--help"):
            print(measures())
            return
        place, used = _place(MEASURES, arguments[1:], "measure "), 2
    sys.argv = [f"{sys.argv[0]} {' '.join(arguments[:used])}", *arguments[used:]]
    module, _, function = place.partition(":")
    getattr(importlib.import_module(module), function)()


def _place(known: Mapping[str, tuple[str, ...]], arguments: list[str], before: str = "") -> str:
    """The module and function of a verb; ends the program with a sentence where there is none of that name."""
    verb = arguments[0]
    if verb in known:
        return known[verb][0]
    near = ["run " + verb] if "=" in verb and not before else difflib.get_close_matches(verb, known, n=1)
    meant = f" (did you mean {before}{near[0]}?)" if near else ""
    print(f"kdmarl-sat: {before}{verb} is not a command{meant}: it must be one of {', '.join(known)}", file=sys.stderr)
    sys.exit(2)


def screen() -> str:
    """All verbs, each with a line and an example."""
    lines = ["kdmarl-sat VERB [KEY=VALUE ...]        VERB --help shows its settings", ""]
    for verb, (_, line, example) in VERBS.items():
        lines += [f"  {verb:<10} {line}", f"             kdmarl-sat {example}"]
    return "\n".join(lines)


def measures() -> str:
    """What can be measured, one line each."""
    lines = ["kdmarl-sat measure WHAT [OPTION ...]   WHAT --help shows its settings", ""]
    return "\n".join([*lines, *(f"  {what:<10} {line}" for what, (_, line) in MEASURES.items())])


if __name__ == "__main__":
    main()
