"""All stages of a run on a mission, in order: heuristics, teacher, students, bundles, flights, report.

Each stage is a function from configuration and artifacts to an artifact; finished ones are reused.
"""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from envs.basilisk.features import agent_specs
from envs.basilisk.twin.library import fault as twin_library_fault
from envs.files import write_json, write_whole
from envs.sensing import sense
from kdmarl_sat.console import Console
from kdmarl_sat.missions import flights, stages
from kdmarl_sat.missions.claims import claims
from kdmarl_sat.missions.flights import Entry, Taught
from kdmarl_sat.missions.mission import Mission, mission_of
from kdmarl_sat.missions.report import console_table, entry, write_report
from kdmarl_sat.missions.results import BudgetRow, Curve, RunResult
from kdmarl_sat.missions.teacher import as_teacher
from kdmarl_sat.provenance import provenance
from kdmarl_sat.report.index import enter
from kdmarl_sat.scalars import events_folder
from onboard.budget import check as check_budget
from onboard.network import Design
from onboard.network import Dtype as OnboardDtype
from onboard.runners.choose import native_fault
from scenarios.files.mission import catalogue_numbers
from scenarios.folders import check_writable
from scenarios.memory import available_bytes, check_workers, worlds_bytes
from scenarios.ranges import ConfigError
from scenarios.schema import Dtype, Labels, RunConfig, to_dict
from training.artifact import Artifact, code_digest
from training.missions.distill import student_widths
from training.missions.export import budget_of
from training.missions.flight import onboard_spec
from training.missions.simulate import TeamPlan, worker_pool

SMOKE = "smoke"  # the preset that shows whether everything works
STUDENTS = {"kd_lh": "KD-MARL LH", "kd_lh_a": "KD-MARL LH+A"}  # of equal width, and sized to what each senses


def run(config: RunConfig, folder: Path) -> RunResult:
    """Run all stages and write the report into ``folder``.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    start = time.monotonic()
    check_workers(config.compute, config.scenario.constellation.size, available_bytes(), worlds_bytes(config))
    check_writable(config.output, folder)
    check_designs(config)
    events = events_folder(config.output.tensorboard, folder)
    torch.set_num_threads(config.compute.threads)
    # The code may be edited while a long run goes on: what it is made of is noted now.
    origin = provenance(config)
    for sources in (stages.SIMULATION, stages.TEACHER, stages.STUDENTS, stages.INT8, stages.BUNDLE, flights.FLIGHT):
        code_digest(sources)
    with worker_pool(config.compute) as pool, Console() as console:
        result, bundles = _stages(mission_of(config, pool, console, origin, events))
    result.run["wall_s"] = round(time.monotonic() - start, 1)
    report = write_report(result, folder)
    record = folder / "run_record.json"
    write_json(record, {"run": result.run, "config": result.config, "metrics": "metrics.json"})
    index = enter(entry(result), folder, Path(config.output.dir))
    if config.output.records_dir is not None:
        _keep_record(folder, Path(config.output.records_dir), result)
    console.show(console_table(result))
    for text, measured, wanted, met in result.claims:
        found = f"{measured:.3g}" if math.isfinite(measured) else "not defined"
        console.say(f"{'met    ' if met else 'NOT MET'}  {text}: {found}, wanted {wanted:.3g}")
    if config.preset == SMOKE:
        console.say("preset=smoke hardly trains: it shows that every stage works here, not what the method reaches")
    for name, bundle in bundles.items():
        console.say(f"bundle of {STUDENTS[name]}: {_kept(bundle, folder / 'bundles' / name)}")
    console.say(f"report: {report}" + (f"; all runs: {index}" if index else ""))
    return result


def _stages(mission: Mission) -> tuple[RunResult, dict[str, Path]]:
    """What was measured, and the students' bundles by policy."""
    config = mission.config
    lh, lh_a = students_of(mission)
    _check_named(mission)
    _say_what_is_missing(mission)
    results = [flights.heuristic(mission, which) for which in flights.rules(mission)]

    plan = teacher_plan(mission)
    artifact, learner = stages.teach(mission, plan)
    taught = Taught(as_teacher(learner, artifact, config.teacher), artifact)
    results.append(flights.networks(mission, Entry("teacher_fo", "teacher, FO", plan, learner.team, artifact)))
    curves, budget = [_curve("teacher, FO", artifact)], list[BudgetRow]()
    buffer = stages.expert(mission, plan, taught.teacher, artifact)

    bundles = dict[str, Path]()
    for (name, label), plan in zip(STUDENTS.items(), (lh, lh_a), strict=True):
        distilled, students = stages.distil(mission, name, plan, taught.teacher, artifact, buffer)
        curves.append(_curve(label, distilled))
        if config.student.dtype is Dtype.int8:
            label = f"{label}, int8"
            distilled, students = stages.quantise(mission, name, plan, students, distilled)
        bundle = stages.bundle(mission, name, plan, students, distilled, buffer)
        bundles[name] = bundle.path / "bundle"
        results.append(flights.packaged(mission, Entry(name, label, plan, students, distilled), bundle, taught))
        budget += flights.budget_rows(label, bundle)

    plan = dataclasses.replace(lh_a, by_kind=config.teacher.decide_by_kind)
    direct, masked = stages.train_masked(mission, "mappo_lh_a", plan)
    results.append(flights.networks(mission, Entry("mappo_lh_a", "MAPPO LH+A", plan, masked.team, direct), taught))
    curves.append(_curve("MAPPO LH+A", direct))

    for name, label, plan in _controls(mission, lh):
        distilled, students = stages.distil(mission, name, plan, taught.teacher, artifact, buffer)
        results.append(flights.networks(mission, Entry(name, label, plan, students, distilled), taught))
        curves.append(_curve(label, distilled))

    result = RunResult(
        run={
            **mission.origin,
            "stage_s": mission.console.stage_s,
            "cpu_s": mission.workshop.cpu_s,
            **_source(config, artifact),
        },
        config=to_dict(config),
        satellites=tuple(spec.name for spec in mission.specs),
        policies=tuple(results),
        curves=tuple(curves),
        budget=tuple(budget),
        catalogue_numbers=tuple(catalogue_numbers(config.scenario.constellation)),
        claims=claims(results, config.scenario.name, config.preset),
    )
    return result, bundles


def _kept(bundle: Path, target: Path) -> Path:
    """A bundle, copied from the cache into the run's folder, in place of one that an earlier run left there."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bundle, target)
    return target


def policies(mission: Mission, bundles: Mapping[str, Path]) -> list[Entry]:
    """The teacher and the students of a run, trained where they are not yet; in float32, whatever flies.

    Args:
        bundles: folders whose students are taken as they are, by policy (``kd_lh``, ``kd_lh_a``).

    Raises:
        onboard.bundle.BundleError: one is damaged, or of other satellites.
        ConfigError: one is not in float32.
    """
    stored = {name: stages.unpacked(mission, folder) for name, folder in bundles.items()}
    plan = teacher_plan(mission)
    artifact, learner = stages.teach(mission, plan)
    teacher = as_teacher(learner, artifact, mission.config.teacher)
    buffer = stages.expert(mission, plan, teacher, artifact) if len(stored) < len(STUDENTS) else None
    made = [Entry("teacher_fo", "teacher, FO", plan, learner.team, artifact)]
    for (name, label), plan in zip(STUDENTS.items(), students_of(mission), strict=True):
        if name in stored:
            plan, students, distilled = stored[name]
        else:
            distilled, students = stages.distil(mission, name, plan, teacher, artifact, buffer)
        made.append(Entry(name, label, plan, students, distilled))
    return made


def teacher_plan(mission: Mission) -> TeamPlan:
    """One network for all satellites, which sees everything."""
    everything = [mission.config.scenario.taught] * len(mission.specs)
    plan = mission.plan(everything, [mission.config.teacher.hidden], shared=True)
    return dataclasses.replace(plan, by_kind=mission.config.teacher.decide_by_kind)


def students_of(mission: Mission) -> tuple[TeamPlan, TeamPlan]:
    """Networks of their own, of equal width (LH) and sized to what each satellite senses (LH+A)."""
    sensed = mission.config.scenario.visible
    sensings = [sense(spec, blocks) for spec, blocks in zip(mission.specs, sensed, strict=True)]
    lh, lh_a = (student_widths(sensings, mission.config.student, by_sensing) for by_sensing in (False, True))
    return mission.plan(sensed, lh), mission.plan(sensed, lh_a)


def _controls(mission: Mission, lh: TeamPlan) -> list[tuple[str, str, TeamPlan]]:
    """Students that show what the mask and the width cost, where the run asks for them."""
    config, count = mission.config, len(mission.specs)
    if not config.evaluation.controls:
        return []
    all_but_claimed = [[block for block in config.scenario.taught if block != "claimed"]] * count
    return [
        ("kd_claimed_hidden", "KD-MARL, only claimed hidden", mission.plan(all_but_claimed, list(lh.hidden))),
        ("kd_wide_lh", "KD-MARL LH, wide", mission.plan(config.scenario.visible, [config.teacher.hidden] * count)),
    ]


def check_designs(config: RunConfig) -> None:
    """
    Raises:
        BudgetError: students of the configured sizes will not fit into the budget.
    """
    scenario, dtype = config.scenario, OnboardDtype(config.student.dtype.value)
    sensings = [sense(spec, blocks) for spec, blocks in zip(agent_specs(scenario), scenario.visible, strict=True)]
    for by_sensing in (False, True):
        widths = student_widths(sensings, config.student, by_sensing)
        designs = [
            (onboard_spec(each), Design(width, dtype=dtype)) for each, width in zip(sensings, widths, strict=True)
        ]
        check_budget(designs, budget_of(config.budget, config.processors), scenario.communication.bits_per_decision)


def _check_named(mission: Mission) -> None:
    """
    Raises:
        ConfigError: a label that nobody gives in this mission, or a teacher that does not fit it.
    """
    config = mission.config
    if config.distill.labels is not Labels.teacher and not mission.ground.worlds:
        reason = mission.twin_fault or "training.simulation=basilisk"
        raise ConfigError(
            f"distill.labels={config.distill.labels.value} is not allowed: "
            f"it must be teacher where nobody plans ({reason})"
        )
    if config.teacher.load is not None or config.teacher.resume is not None:
        plan = teacher_plan(mission)
        stages.named(mission, plan, stages.fresh(mission, plan))


def _say_what_is_missing(mission: Mission) -> None:
    if fault := native_fault():
        mission.console.say(f"{fault}; the bundles fly with the reference runner, to the same bits")
    if mission.twin_fault:
        mission.console.say(f"{mission.twin_fault}; policies are trained in Basilisk, which takes far longer")
    if mission.config.scenario.foretell and (missing := twin_library_fault()):
        mission.console.say(f"{missing}; the block foretold reads 0")


def _source(config: RunConfig, taught: Artifact) -> dict[str, Any]:
    """Whence a teacher came that the run has not trained, for its record."""
    if config.teacher.load is None:
        return {}
    return {"teacher": {"path": config.teacher.load, "digest": taught.digest}}


def _curve(label: str, artifact: Artifact) -> Curve:
    points = artifact.info()["curve"]
    return Curve(
        label,
        tuple(point["episodes"] for point in points),
        tuple(point["episode_return"] for point in points),
        y_label="team return per training episode",
    )


def _keep_record(folder: Path, records: Path, result: RunResult) -> None:
    """The measured numbers of the run, for tables made later."""
    records.mkdir(parents=True, exist_ok=True)
    what = f"{result.run['scenario']}-{result.run['preset']}-{result.run['config_digest'][:8]}"
    name = f"{re.sub(r'[^A-Za-z0-9_-]', '_', what)}-seed{result.run['seed']}.json"
    write_whole(records / name, (folder / "metrics.json").read_bytes())
