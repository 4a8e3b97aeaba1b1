"""``kdmarl-sat VERB``: what it lists, what its help loads, and what it understands of a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kdmarl_sat.__main__ import MEASURES, VERBS, measures, screen
from kdmarl_sat.arguments import Parser, whole
from kdmarl_sat.bundles import doors as bundles
from scenarios.compose import composed
from scenarios.messages import COMPOSITION_ERRORS, explain

ROOT = Path(__file__).parents[1]
ALL = [*(verb for verb in VERBS if verb != "measure"), *(f"measure {what}" for what in MEASURES)]
HEAVY = {"torch", "Basilisk", "bsk_rl", "matplotlib", "jax", "scipy"}
# Calls the command, and says in the last line of standard error what it has loaded by its end.
CALL = """
import atexit, json, sys
def tell():
    print("\\n" + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
atexit.register(tell)
from kdmarl_sat.__main__ import main
sys.argv = ["kdmarl-sat", *sys.argv[1:]]
main()
"""


def called(*arguments: str) -> tuple[int, str, str, set[str]]:
    """Exit code, what was said on both streams, and the packages that were loaded."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CALL, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    *said, loaded = done.stderr.splitlines()
    return done.returncode, done.stdout, "\n".join(said).strip(), set(json.loads(loaded))


def test_the_screen_has_a_line_and_an_example_of_every_verb() -> None:
    lines = screen().splitlines()
    for verb, (_, line, example) in VERBS.items():
        at = lines.index(f"  {verb:<10} {line}")
        assert line and example.split()[0] == verb and lines[at + 1].strip() == f"kdmarl-sat {example}"
    assert all(f"  {what:<10} {line}" in measures().splitlines() and line for what, (_, line) in MEASURES.items())
    code, said, _, loaded = called()
    assert (code, said.rstrip("\n")) == (0, screen()) and not loaded & HEAVY
    assert called("measure")[1].rstrip("\n") == measures()


@pytest.mark.parametrize("verb", ALL)
def test_help_loads_nothing_heavy(verb: str) -> None:
    code, said, error, loaded = called(*verb.split(), "--help")
    assert (code, error) == (0, "")
    assert f"kdmarl-sat {verb}" in said or verb == "run"
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nosuch=1"], "nosuch is not a known key"),
        (["fly", "bundel=x"], "bundel is not a known key (did you mean bundle?)"),
        (["transfer", "to.scenario.durations_s=3"], "did you mean duration_s?"),
        (["quantise", "bundle=x", "out=y", "episodes=0"], "episodes=0 is not allowed: it must be "),
        (["table", "recods=x"], "recods is not a known key (did you mean records?): the configuration has records"),
        (["measure", "soak", "scenario=nosuch"], "scenario='nosuch' is not known: it must be one of "),
        (["measure", "scale", "scenario.sim_step_s=9"], "scenario.sim_step_s=9.0 is not allowed: it must be "),
        (["measure", "simulation", "record=/proc/none"], "record=/proc/none is not allowed: it must be a file"),
        (["measure", "twin", "episode=1"], "episode is not a known key (did you mean episodes?)"),
        (["measure", "onboard", "only=bits", "scenario.durations_s=3"], "did you mean duration_s?"),
        (["measure", "evidence", "nosuch"], "'nosuch'"),
        (["measure", "peers"], "there is no peer to compare with"),
    ],
    ids=lambda given: "-".join(given[:2]) if isinstance(given, list) else "",
)
def test_bad_options_are_refused_before_anything_heavy(arguments: Sequence[str], sentence: str) -> None:
    if "=" in arguments[0]:
        arguments = ["run", *arguments]
    code, _, error, loaded = called(*arguments)
    assert code == 2 and error.count("\n") == 0 and sentence in error
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["quantize"], "quantize is not a command (did you mean quantise?): it must be one of run, fly, "),
        (["tranfer", "--help"], "tranfer is not a command (did you mean transfer?)"),
        (["xyz"], "xyz is not a command: it must be one of run, fly, "),
        (["scenario=imaging_constellation"], "(did you mean run scenario=imaging_constellation?)"),
        (["measure", "soka"], "measure soka is not a command (did you mean measure soak?): it must be one of simul"),
        (["measure", "xyz"], "measure xyz is not a command: it must be one of simulation, twin, "),
    ],
)
def test_an_unknown_verb_is_one_sentence(arguments: list[str], meant: str) -> None:
    code, said, error, _ = called(*arguments)
    assert (code, said) == (2, "") and error.count("\n") == 0
    assert error.startswith("kdmarl-sat: ") and meant in error


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "kdmarl_sat"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.rstrip("\n")) == (0, screen())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("imaging_constelation", "is not known (did you mean imaging_constellation?): it must be one of "),
        ("smac_3n", "is not known (did you mean smac_3m?): it must be one of "),
        ("zzz", "is not known: it must be one of "),
    ],
)
def test_a_scenario_that_is_nearly_right(name: str, said: str) -> None:
    with pytest.raises(COMPOSITION_ERRORS) as error:
        composed(f"scenario={name}")
    assert explain(error.value, games=True).startswith(f"scenario={name!r} {said}")
    missions = "bskrl_aeos, imaging_constellation, optical_sar, tip_and_cue, walker_cities"
    assert explain(error.value).endswith(f": it must be one of {missions}")  # where no game can be named


def parser(free: bool = False) -> Parser:
    made = Parser(prog="door")
    made.add_argument("--episodes", type=whole("episodes", 1), default=5)
    made.add_argument("--seeds", type=whole("seeds", 0), nargs="+", default=[0])
    made.add_argument("--threads-per-job", default="1")
    made.add_argument("--dry-run", action="store_true")
    if free:
        made.take_overrides("of a run")
    return made


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], {}),
        (["episodes=7"], {"episodes": 7}),
        (["--episodes", "7"], {"episodes": 7}),
        (["--episodes=7"], {"episodes": 7}),
        (["seeds=3"], {"seeds": [3]}),
        (["seeds=3,4"], {"seeds": [3, 4]}),
        (["seeds=[3, 4]"], {"seeds": [3, 4]}),
        (["threads_per_job=a=b"], {"threads_per_job": "a=b"}),
        (["threads-per-job="], {"threads_per_job": ""}),
        (["dry_run=true"], {"dry_run": True}),
        (["dry-run=False"], {"dry_run": False}),
    ],
)
def test_keys_and_values(arguments: list[str], found: dict[str, object]) -> None:
    usual = {"episodes": 5, "seeds": [0], "threads_per_job": "1", "dry_run": False}
    assert vars(parser().parse_args(arguments)) == {**usual, **found}


def test_keys_of_a_run_stand_beside_options_in_any_order() -> None:
    options = parser(free=True).parse_intermixed_args(
        ["scenario=mine", "episodes=7", "-cd", "my own", "+a.b=[1,2]", "~tuning", "seeds=[1,2]", "x.y='a b'"]
    )
    assert options.overrides == ["scenario=mine", "+a.b=[1,2]", "~tuning", "x.y='a b'"]
    assert (options.episodes, options.seeds, options.config_dir) == (7, [1, 2], Path("my own"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["episode=7"], "episode is not a known key (did you mean episodes?): the configuration has episodes, "),
        (["zzz=7"], "zzz is not a known key: the configuration has episodes, seeds, threads_per_job, dry_run"),
        (["episodes=0"], "episodes=0 is not allowed: it must be at least 1"),
        (["seeds=[1,x]"], "seeds=x is not allowed: it must be a whole number, at least 0"),
        (["dry_run=maybe"], "dry_run=maybe is not allowed: it must be true or false"),
        (["--nosuch"], "nosuch"),
    ],
)
def test_what_is_not_understood(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and error.startswith("door: ") and said in error


@pytest.mark.parametrize(
    ("door", "given", "said"),
    [
        (bundles.describe, [], "describe: bundle is not set: it must be given, as bundle=VALUE"),
        (bundles.replay, [], "replay: record and bundle are not set: they must be given, as record=VALUE bundle=VALUE"),
        (
            bundles.sign,
            ["bundle", "F"],
            "sign bundle: key and sequence are not set: they must be given, as key=VALUE sequence=VALUE",
        ),
        (bundles.sign, ["verify", "key=k"], "sign verify: folder is not set: it must be given, as FOLDER"),
        (bundles.sign, [], "sign: command is not set: it must be one of new-key, bundle, verify"),
    ],
)
def test_what_is_missing_is_named_as_it_is_typed(
    door: Callable[[Sequence[str]], None], given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        door(given)
    assert (stopped.value.code, capsys.readouterr().err) == (2, f"kdmarl-sat {said}\n")


OWN = "defaults: [imaging_constellation, _self_]\nname: mine\nsim_step_s: 9\n"


@pytest.mark.parametrize("verb", ["transfer", "measure soak", "measure scale", "measure simulation", "measure onboard"])
@pytest.mark.parametrize("flag", ["--config-dir", "-cd"])
def test_every_verb_with_keys_of_a_run_takes_a_folder_of_ones_own(verb: str, flag: str, tmp_path: Path) -> None:
    """The mission that is found in it is refused, for its step."""
    (tmp_path / "scenario").mkdir()
    (tmp_path / "scenario" / "mine.yaml").write_text(OWN)
    more = ["to.scenario.duration_s=600"] if verb == "transfer" else []
    code, _, error, loaded = called(*verb.split(), flag, str(tmp_path), "scenario=mine", *more)
    assert code == 2 and "scenario.sim_step_s=9.0 is not allowed: it must be " in error
    assert not loaded & HEAVY
