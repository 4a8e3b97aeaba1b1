"""The method read aloud: heuristics, teacher, students, bundles, flights, report.

Each stage is a function from configuration and artifacts to an artifact; finished ones are reused.
"""

from __future__ import annotations

import dataclasses
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.api import AgentSpec
from envs.basilisk import extensions
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.features import agent_specs
from envs.basilisk.planner import PlannerSettings
from envs.basilisk.support_data import data_digest
from envs.basilisk.twin.environment import planner_fault, twin_fault
from envs.basilisk.twin.library import fault as twin_library_fault
from envs.files import write_json, write_whole
from envs.sensing import sense
from kdmarl_sat.claims import claims
from kdmarl_sat.console import Console
from kdmarl_sat.mission_teacher import as_teacher, load_teacher, open_training
from kdmarl_sat.provenance import provenance
from kdmarl_sat.report import console_table, write_report
from kdmarl_sat.results import BudgetRow, Curve, PolicyResult, RunResult
from onboard.budget import check as check_budget
from onboard.budget import margins, measure
from onboard.bundle import read_bundle
from onboard.network import Design
from onboard.network import Dtype as OnboardDtype
from onboard.runners.choose import native_fault
from scenarios.folders import check_writable
from scenarios.memory import available_bytes, check_workers, worlds_bytes
from scenarios.ranges import ConfigError
from scenarios.schema import Dtype, Labels, RunConfig, Simulation, to_dict
from training.artifact import Artifact, code_digest, make
from training.distill import Teacher, student_widths
from training.evaluate import Evaluation, evaluate, host_latency_us
from training.export import budget_of, export_students
from training.flight import FlightPlan, onboard_spec
from training.loops import (
    Pool,
    final_weights,
    fresh_distiller,
    fresh_learner,
    load_final,
    quantise_students,
    save_team,
    train_mappo,
    train_students,
)
from training.mappo import Learner
from training.networks import Team
from training.quantise import in_int8
from training.rollout import Rollout, concatenate
from training.simulate import (
    ON_TWIN,
    Flyer,
    Ground,
    Heuristic,
    TeamPlan,
    episode_seeds,
    flyer,
    gather,
    settings_of,
    training_jobs,
    worker_pool,
)
from training.stored import Unfinished

# The code that each stage's result depends on, for the cache.
_SIMULATION = (
    *("envs", "scenarios/mission.py", "scenarios/communication.py", "scenarios/orbits.py"),
    *("scenarios/ground.py", "scenarios/files"),
    *("training/simulate.py", "training/rollout.py", "training/policies.py"),
)
_NETWORKS = (*_SIMULATION, "training/networks.py", "training/losses.py", "training/batch.py")
_TEACHER = (*_NETWORKS, "training/optimisation.py", "training/mappo.py", "training/loops.py", "training/checkpoint.py")
_STUDENTS = (
    *_NETWORKS,
    "training/optimisation.py",
    "training/distill.py",
    "training/loops.py",
    "training/checkpoint.py",
)
_FLIGHT = (*_NETWORKS, "training/evaluate.py", "training/flight.py", "training/distill.py", "onboard")
_INT8 = (*_STUDENTS, "training/quantise.py", "onboard/quantise.py", "onboard/reference.py")
_BUNDLE = (*_NETWORKS, "training/export.py", "training/flight.py", "training/quantise.py", "onboard")

_ROLLOUT = "rollout.npz"

HEURISTICS = {
    Heuristic.random: "random",
    Heuristic.greedy_battery: "greedy + battery",
    Heuristic.global_knowledge: "global knowledge",
    Heuristic.forecast: "forecast",
    Heuristic.planner: "planner",
}


@dataclass(frozen=True)
class Mission:
    """What every stage needs to know of a run."""

    config: RunConfig
    specs: tuple[AgentSpec, ...]
    state_size: int
    cache: Path
    pool: Pool
    console: Console
    origin: dict[str, Any]  # commit, versions ... as they were when the run began
    support_data: str  # digest of Basilisk's support data
    twin_fault: str | None  # why the mission is not trained on a twin; None: it is
    planner_fault: str | None  # why nobody plans it; None: somebody does

    @property
    def ground(self) -> Ground:
        """Where training episodes are flown."""
        config = self.config
        if self.twin_fault is not None or config.training.simulation is Simulation.basilisk:
            return Ground(config.scenario, (), config.compute.episodes_per_job)
        worlds = episode_seeds("worlds", config.seed, 0, config.training.worlds)
        return Ground(config.scenario, tuple(worlds), config.training.episodes_per_job)

    @property
    def trained(self) -> dict[str, Any]:
        """What decides a training episode's course: all but the guard, under which only flights are."""
        scenario = {name: value for name, value in self.simulated["scenario"].items() if name != "guard"}
        ground = {"worlds": list(self.ground.worlds), "episodes_per_job": self.ground.episodes_per_job}
        return {**self.simulated, "scenario": scenario, "ground": ground}

    @property
    def simulated(self) -> dict[str, Any]:
        """What decides a flight's course: part of every digest. The number of workers is not."""
        compute = self.config.compute
        return {
            "scenario": to_dict(self.config.scenario),
            "support_data": self.support_data,
            **({"extensions": used} if (used := extensions.digests(self.config.scenario)) else {}),
            "episodes_per_job": compute.episodes_per_job,
            "threads": compute.threads,
        }

    def plan(self, visible: list[list[str]], hidden: list[int], shared: bool = False) -> TeamPlan:
        agents = range(len(self.specs))
        groups = (tuple(agents),) if shared else tuple((agent,) for agent in agents)
        return TeamPlan(tuple(tuple(blocks) for blocks in visible), groups, tuple(hidden))


def mission_of(config: RunConfig, pool: Pool, console: Console, origin: dict[str, Any]) -> Mission:
    """
    Raises:
        ConfigError: something that the mission names does not exist.
    """
    env = ConstellationEnv(config.scenario)
    if config.scenario.features:
        env.reset([0])  # so that a mistake in one is told before any compute
    digest = data_digest(config.scenario.support_data_dir)
    cache, faults = Path(config.output.cache_dir), (twin_fault(config.scenario), planner_fault(config.scenario))
    return Mission(config, env.specs, env.state_size, cache, pool, console, origin, digest, *faults)


def run(config: RunConfig, folder: Path) -> RunResult:
    """Run all stages and write the report into ``folder``.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    start = time.monotonic()
    check_workers(config.compute, config.scenario.constellation.size, available_bytes(), worlds_bytes(config))
    check_writable(config.output, folder)
    check_designs(config)
    torch.set_num_threads(config.compute.threads)
    # The code may be edited while a long run goes on: what it is made of is noted now.
    origin = provenance(config)
    for sources in (_SIMULATION, _TEACHER, _STUDENTS, _INT8, _FLIGHT, _BUNDLE, _NETWORKS):
        code_digest(sources)
    with worker_pool(config.compute) as pool, Console() as console:
        result = _stages(mission_of(config, pool, console, origin))
    result.run["wall_s"] = round(time.monotonic() - start, 1)
    report = write_report(result, folder)
    record = folder / "run_record.json"
    write_json(record, {"run": result.run, "config": result.config, "metrics": "metrics.json"})
    if config.output.records_dir is not None:
        _keep_record(folder, Path(config.output.records_dir), result)
    console.show(console_table(result))
    for text, measured, wanted, met in result.claims:
        found = f"{measured:.3g}" if math.isfinite(measured) else "not defined"
        console.say(f"{'met    ' if met else 'NOT MET'}  {text}: {found}, wanted {wanted:.3g}")
    console.say(f"report: {report}")
    return result


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


def _stages(mission: Mission) -> RunResult:
    config, scenario = mission.config, mission.config.scenario
    sensed = scenario.visible
    sensings = [sense(spec, blocks) for spec, blocks in zip(mission.specs, sensed, strict=True)]
    widths_lh = student_widths(sensings, config.student, by_sensing=False)
    widths_lh_a = student_widths(sensings, config.student, by_sensing=True)
    if config.distill.labels is not Labels.teacher and not mission.ground.worlds:
        reason = mission.twin_fault or "training.simulation=basilisk"
        raise ConfigError(
            f"distill.labels={config.distill.labels.value} is not allowed: "
            f"it must be teacher where nobody plans ({reason})"
        )
    everything = [scenario.taught] * len(mission.specs)
    teacher_plan = mission.plan(everything, [config.teacher.hidden], shared=True)
    if config.teacher.load is not None or config.teacher.resume is not None:
        _named(mission, teacher_plan, _fresh(mission, teacher_plan))  # refused before any compute, if it does not fit

    if fault := native_fault():
        mission.console.say(f"{fault}; the bundles fly with the reference runner, to the same bits")
    if mission.twin_fault:
        mission.console.say(f"{mission.twin_fault}; policies are trained in Basilisk, which takes far longer")
    if scenario.foretell and (missing := twin_library_fault()):
        mission.console.say(f"{missing}; the block foretold reads 0")
    results = [_heuristic(mission, which) for which in rules(mission)]
    taught, learner = _teach(mission, "teacher", teacher_plan)
    teacher = as_teacher(learner, taught, config.teacher)
    results.append(_fly_team(mission, "teacher_fo", "teacher, FO", teacher_plan, learner.team, taught))

    expert = _expert(mission, teacher_plan, teacher, taught)
    curves = [_curve("teacher, FO", taught)]
    budget: list[BudgetRow] = []
    lh, lh_a = mission.plan(sensed, widths_lh), mission.plan(sensed, widths_lh_a)
    for name, label, plan in (("kd_lh", "KD-MARL LH", lh), ("kd_lh_a", "KD-MARL LH+A", lh_a)):
        distilled, students = _distil(mission, name, plan, teacher, taught, expert)
        curves.append(_curve(label, distilled))
        if config.student.dtype is Dtype.int8:
            label = f"{label}, int8"
            distilled, students = _quantise(mission, name, plan, students, distilled)
        bundle = _bundle(mission, name, plan, students, distilled, expert)
        results.append(_fly_bundle(mission, name, label, plan, students, teacher, bundle, taught))
        budget += _budget_rows(label, bundle)

    direct, masked = _teach(mission, "mappo_lh_a", lh_a)
    results.append(_fly_team(mission, "mappo_lh_a", "MAPPO LH+A", lh_a, masked.team, direct, teacher, taught))
    curves.append(_curve("MAPPO LH+A", direct))

    if config.evaluation.controls:
        all_but_claimed = [[block for block in scenario.taught if block != "claimed"]] * len(mission.specs)
        controls = (
            ("kd_claimed_hidden", "KD-MARL, only claimed hidden", mission.plan(all_but_claimed, widths_lh)),
            ("kd_wide_lh", "KD-MARL LH, wide", mission.plan(sensed, [config.teacher.hidden] * len(mission.specs))),
        )
        for name, label, plan in controls:
            distilled, students = _distil(mission, name, plan, teacher, taught, expert)
            results.append(_fly_team(mission, name, label, plan, students, distilled, teacher, taught))
            curves.append(_curve(label, distilled))

    return RunResult(
        run={**mission.origin, "stage_s": mission.console.stage_s, **_source(config, taught)},
        config=to_dict(config),
        satellites=tuple(spec.name for spec in mission.specs),
        policies=tuple(results),
        curves=tuple(curves),
        budget=tuple(budget),
        claims=claims(results, scenario.name, config.preset),
    )


def policies(mission: Mission) -> dict[str, tuple[TeamPlan, Team, Artifact]]:
    """The teacher and the students of a run, trained where they are not yet; in float32, whatever flies."""
    config, specs, scenario = mission.config, mission.specs, mission.config.scenario
    sensed = scenario.visible
    sensings = [sense(spec, blocks) for spec, blocks in zip(specs, sensed, strict=True)]
    everything = [scenario.taught] * len(specs)
    plan = mission.plan(everything, [config.teacher.hidden], shared=True)
    taught, learner = _teach(mission, "teacher", plan)
    teacher = as_teacher(learner, taught, config.teacher)
    expert = _expert(mission, plan, teacher, taught)
    made = {"teacher_fo": (plan, learner.team, taught)}
    for name, by_sensing in (("kd_lh", False), ("kd_lh_a", True)):
        students = mission.plan(sensed, student_widths(sensings, config.student, by_sensing))
        distilled, team = _distil(mission, name, students, teacher, taught, expert)
        made[name] = (students, team, distilled)
    return made


def _teach(mission: Mission, name: str, plan: TeamPlan) -> tuple[Artifact, Learner]:
    """MAPPO on a team's own observations: the teacher, or students trained directly under their masks."""
    config, resumed = mission.config, None
    learner = _fresh(mission, plan)
    if name == "teacher":
        found = _named(mission, plan, learner)
        if isinstance(found, Artifact):
            return found, learner
        resumed = found
    stream = "teacher" if name == "teacher" else "masked"
    shown = _demonstrations(mission)
    horizon_s = config.teacher.aggregation_horizon_s
    adviser = settings_of(config.planner, config.teacher.imitation_width, horizon_s) if mission.ground.worlds else None

    def work(folder: Path, key: str) -> dict[str, Any]:
        if resumed is not None:
            resumed.go_on(folder, key)
        with mission.console.stage(f"MAPPO: {name}") as progress:
            curve = train_mappo(
                learner,
                plan,
                stream,
                mission.ground,
                config.teacher,
                Rollout.load(shown.path / _ROLLOUT) if shown else None,
                adviser,
                mission.pool,
                folder,
                key,
                progress,
            )
        return {"curve": curve}

    depends_on = {**_settings(mission, plan, stream), "demonstrations": shown.digest if shown else None}
    artifact = make(mission.cache, name, depends_on, _TEACHER, work, mission.console.say)
    load_final(learner, artifact.path, artifact.digest)
    return artifact, learner


def _fresh(mission: Mission, plan: TeamPlan) -> Learner:
    return fresh_learner(plan, mission.specs, mission.state_size, mission.config.teacher, mission.config.seed)


def _settings(mission: Mission, plan: TeamPlan, stream: str) -> dict[str, Any]:
    """What decides MAPPO's result, but for what is cloned first."""
    teacher = to_dict(mission.config.teacher)
    return {
        **mission.trained,
        "teacher": {key: value for key, value in teacher.items() if key not in ("load", "resume")},
        "planner": to_dict(mission.config.planner),
        "plan": dataclasses.asdict(plan),
        "stream": stream,
        "seed": mission.config.seed,
    }


def _named(mission: Mission, plan: TeamPlan, learner: Learner) -> Artifact | Unfinished | None:
    """The teacher that the run names, its networks in the learner, or the training that it is to go on with.

    Raises:
        ConfigError: it does not fit the run.
    """
    config = mission.config
    if config.teacher.load is not None:
        return load_teacher(config, plan, learner)
    if config.teacher.resume is not None:
        return open_training(config, _settings(mission, plan, "teacher"), learner)
    return None


def _source(config: RunConfig, taught: Artifact) -> dict[str, Any]:
    """Whence a teacher came that the run has not trained, for its record."""
    if config.teacher.load is None:
        return {}
    return {"teacher": {"path": config.teacher.load, "digest": taught.digest}}


def _demonstrations(mission: Mission) -> Artifact | None:
    """Episodes to clone: the planner's on the twin, the global-knowledge rule's in Basilisk."""
    config, ground = mission.config, mission.ground
    if config.teacher.imitation_episodes == 0:
        return None
    seeds = episode_seeds("imitation", config.seed, 0, config.teacher.imitation_episodes)
    who = Flyer(heuristic=Heuristic.global_knowledge)
    if ground.worlds:
        who = Flyer(heuristic=Heuristic.planner, planner=settings_of(config.planner, config.teacher.imitation_width))
    work_list = training_jobs(ground, who, seeds)

    def work(folder: Path, key: str) -> dict[str, Any]:
        with mission.console.stage("what is to be cloned") as progress:
            flown = []
            for part in mission.pool.map(work_list):
                flown.append(part.rollout)
                mean = np.mean([each.reward.sum(0).mean() for each in flown])
                progress(len(flown) / len(work_list), f"return {mean:.1f}")
            concatenate(flown).save(folder / _ROLLOUT)
        return {"episodes": len(seeds)}

    depends_on = {**mission.trained, "seeds": seeds}
    if who.planner is not None:  # it plans under the guard, though training flights have none
        depends_on |= {"planner": dataclasses.asdict(who.planner), "guard": to_dict(config.scenario.guard)}
    return make(mission.cache, "demonstrations", depends_on, _SIMULATION, work, mission.console.say)


def _expert(mission: Mission, plan: TeamPlan, teacher: Teacher, taught: Artifact) -> Rollout | None:
    """The teacher's buffer: episodes that it samples from its own policy."""
    config = mission.config
    if config.distill.teacher_episodes == 0:
        return None
    seeds = episode_seeds("expert", config.seed, 0, config.distill.teacher_episodes)
    adviser, advised = _adviser(mission)
    work_list = training_jobs(mission.ground, flyer(plan, teacher.team, sample=True, adviser=adviser), seeds)

    def work(folder: Path, key: str) -> dict[str, Any]:
        with mission.console.stage("the teacher's buffer"):
            gather(mission.pool, work_list).save(folder / _ROLLOUT)
        return {"episodes": len(seeds)}

    depends_on = {**mission.trained, "teacher": taught.digest, "seeds": seeds, **advised}
    artifact = make(mission.cache, "expert", depends_on, _NETWORKS, work, mission.console.say)
    return Rollout.load(artifact.path / _ROLLOUT)


def _adviser(mission: Mission) -> tuple[PlannerSettings | None, dict[str, Any]]:
    """The planner that labels the episodes of distillation, where it does, and what its labels depend on."""
    config = mission.config
    if config.distill.labels is Labels.teacher:
        return None, {}
    adviser = settings_of(config.planner, config.teacher.imitation_width, config.distill.labels_horizon_s)
    return adviser, {"adviser": dataclasses.asdict(adviser), "guard": to_dict(config.scenario.guard)}


def _distil(
    mission: Mission, name: str, plan: TeamPlan, teacher: Teacher, taught: Artifact, expert: Rollout | None
) -> tuple[Artifact, Team]:
    config = mission.config
    distiller = fresh_distiller(plan, mission.specs, teacher, config.distill, config.seed)
    adviser, advised = _adviser(mission)

    def work(folder: Path, key: str) -> dict[str, Any]:
        with mission.console.stage(f"KD-MARL: {name}") as progress:
            curve = train_students(
                distiller,
                plan,
                teacher,
                expert,
                mission.ground,
                config.distill,
                adviser,
                mission.pool,
                folder,
                key,
                progress,
            )
        return {"curve": curve}

    depends_on = {
        **mission.trained,
        "distill": to_dict(config.distill),
        "plan": dataclasses.asdict(plan),
        "teacher": taught.digest,
        "seed": config.seed,
        **advised,
    }
    artifact = make(mission.cache, name, depends_on, _STUDENTS, work, mission.console.say)
    distiller.students.load_state_dict(final_weights(artifact.path, artifact.digest))
    return artifact, distiller.students


def _quantise(
    mission: Mission, name: str, plan: TeamPlan, students: Team, distilled: Artifact
) -> tuple[Artifact, Team]:
    """Students fine-tuned to compute in int8."""
    config = mission.config

    def work(folder: Path, key: str) -> dict[str, Any]:
        with mission.console.stage(f"int8: {name}") as progress:
            tuned = quantise_students(
                students,
                plan,
                mission.ground,
                config.quantise,
                mission.pool,
                config.seed,
                progress,
            )
        save_team(tuned, folder, key)
        return {}

    depends_on = {
        **mission.trained,
        "quantise": to_dict(config.quantise),
        "plan": dataclasses.asdict(plan),
        "students": distilled.digest,
        "seed": config.seed,
    }
    artifact = make(mission.cache, f"int8-{name}", depends_on, _INT8, work, mission.console.say)
    tuned = in_int8(students)
    tuned.load_state_dict(final_weights(artifact.path, artifact.digest))
    return artifact, tuned


def _bundle(
    mission: Mission, name: str, plan: TeamPlan, students: Team, distilled: Artifact, expert: Rollout | None
) -> Artifact:
    """Students packaged for flight; golden vectors come from training episodes, never from held-out ones."""
    config = mission.config

    def work(folder: Path, key: str) -> dict[str, Any]:
        samples = expert or gather(
            mission.pool,
            training_jobs(
                mission.ground, flyer(plan, students, sample=False), episode_seeds("student", config.seed, 0, 1)
            ),
        )
        bundle = folder / "bundle"
        if not bundle.exists():  # it is renamed into place whole, so one that exists is finished
            export_students(
                bundle,
                config.scenario.name,
                students,
                plan.sensings(mission.specs),
                samples,
                budget_of(config.budget, config.processors),
                {**mission.origin, "config_digest": distilled.digest},
                bits_per_decision=config.scenario.communication.bits_per_decision,
            )
        return {"bundle": "bundle"}

    depends_on = {"students": distilled.digest, "budget": budget_of(config.budget, config.processors).to_dict()}
    return make(mission.cache, f"bundle-{name}", depends_on, _BUNDLE, work, mission.console.say)


def fly(
    mission: Mission, name: str, who: Flyer, depends_on: dict[str, Any], compared: tuple[Team, Team] | None = None
) -> Evaluation:
    """Held-out episodes of the mission, from the cache where they have been flown."""
    config = mission.config

    def work(folder: Path, key: str) -> dict[str, Any]:
        with mission.console.stage(f"flight: {name}") as progress:
            evaluate(who, config.scenario, config.evaluation, config.compute, mission.pool, folder, progress, compared)
        return {}

    asked = {"episodes": config.evaluation.episodes, "trace": config.evaluation.trace}
    flown = {**mission.simulated, "evaluation": asked, **depends_on}
    return Evaluation.load(make(mission.cache, f"flight-{name}", flown, _FLIGHT, work, mission.console.say).path)


def rules(mission: Mission) -> list[Heuristic]:
    """The policies that need no training, but for those on the twin where nobody can plan."""
    return [which for which in HEURISTICS if mission.planner_fault is None or which not in ON_TWIN]


def fly_rule(mission: Mission, which: Heuristic) -> Evaluation:
    planner = settings_of(mission.config.planner) if which is Heuristic.planner else None
    depends_on = {"heuristic": which.value, **({} if planner is None else {"planner": dataclasses.asdict(planner)})}
    return fly(mission, which.value, Flyer(heuristic=which, planner=planner), depends_on)


def _heuristic(mission: Mission, which: Heuristic) -> PolicyResult:
    evaluation = fly_rule(mission, which)
    return PolicyResult(
        which.value,
        HEURISTICS[which],
        evaluation.episodes,
        trace=evaluation.trace,
        film=evaluation.film,
        overrides=evaluation.overrides,
    )


def _fly_team(
    mission: Mission,
    name: str,
    label: str,
    plan: TeamPlan,
    team: Team,
    trained: Artifact,
    teacher: Teacher | None = None,
    taught: Artifact | None = None,
) -> PolicyResult:
    """Networks that stay on the ground, flown greedily; compared with the teacher's choices where one is given."""
    depends_on = {"policy": trained.digest, "teacher": taught.digest if taught else None}
    compared = (team, teacher.team) if teacher else None
    evaluation = fly(mission, name, flyer(plan, team, sample=False), depends_on, compared)
    return PolicyResult(
        name,
        label,
        evaluation.episodes,
        macs_per_decision=tuple(network.macs() for network in team.members),
        parameters=tuple(sum(p.numel() for p in network.parameters()) for network in team.members),
        agreement=evaluation.agreement,
        host_latency_us=host_latency_us(team),
        trace=evaluation.trace,
        film=evaluation.film,
        overrides=evaluation.overrides,
    )


def _fly_bundle(
    mission: Mission,
    name: str,
    label: str,
    plan: TeamPlan,
    students: Team,
    teacher: Teacher,
    bundle: Artifact,
    taught: Artifact,
) -> PolicyResult:
    """The packaged students under the onboard executor, in the loop with Basilisk."""
    who = Flyer(plan=plan, flight=FlightPlan(bundle.path / "bundle"))
    depends_on = {"bundle": bundle.digest, "teacher": taught.digest}
    evaluation = fly(mission, name, who, depends_on, (students, teacher.team))
    flown = read_bundle(bundle.path / "bundle")
    measured = [measure(satellite) for satellite in flown.satellites]
    return PolicyResult(
        name,
        label,
        evaluation.episodes,
        macs_per_decision=tuple(m.macs for m in measured),
        parameters=tuple(m.parameters for m in measured),
        agreement=evaluation.agreement,
        host_latency_us=evaluation.latency_us,
        trace=evaluation.trace,
        film=evaluation.film,
        overrides=evaluation.overrides,
        events=evaluation.events,
    )


def _budget_rows(label: str, bundle: Artifact) -> list[BudgetRow]:
    return [
        BudgetRow(label, satellite.spec.name, margin.quantity, margin.unit, margin.value, margin.limit)
        for satellite in read_bundle(bundle.path / "bundle").satellites
        for margin in margins(measure(satellite), satellite.budget)
    ]


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
