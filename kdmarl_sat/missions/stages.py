"""The stages of a mission: what is cloned, the teacher, its buffer, the students, their bundles."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from envs.basilisk.planner import PlannerSettings
from envs.sensing import sense
from kdmarl_sat.missions.mission import Mission
from kdmarl_sat.missions.teacher import load_teacher, open_training
from kdmarl_sat.stages import Stage
from onboard.bundle import MANIFEST, read_bundle
from scenarios.schema import Labels, TeacherConfig, to_dict
from training.artifact import Artifact, Place
from training.missions.distill import Teacher
from training.missions.export import budget_of, export_students, students_of
from training.missions.flight import onboard_spec
from training.missions.loops import (
    Sampler,
    final_weights,
    fresh_distiller,
    fresh_learner,
    load_final,
    quantise_students,
    save_team,
    train_mappo,
    train_students,
)
from training.missions.mappo import Learner
from training.missions.networks import Team
from training.missions.quantise import in_int8
from training.missions.rollout import Rollout, concatenate
from training.missions.simulate import (
    Flyer,
    Heuristic,
    TeamPlan,
    episode_seeds,
    settings_of,
    training_jobs,
)
from training.stored import Unfinished

# The code that each stage's result depends on, for the cache.
SIMULATION = (
    *("envs", "scenarios/files"),
    *(f"scenarios/{name}.py" for name in ("mission", "constellation", "communication", "orbits", "ground")),
    *(f"training/missions/{name}.py" for name in ("simulate", "rollout", "policies")),
)
NETWORKS = (
    *SIMULATION,
    *("training/networks.py", "training/losses.py", "training/missions/networks.py", "training/missions/batch.py"),
)
_TRAINING = (
    *NETWORKS,
    *("training/optimisation.py", "training/exact.py", "training/checkpoint.py", "training/missions/loops.py"),
)
TEACHER = (*_TRAINING, "training/missions/mappo.py")
STUDENTS = (*_TRAINING, "training/distill.py", "training/missions/distill.py")
INT8 = (*STUDENTS, "training/missions/quantise.py", "onboard/quantise.py", "onboard/reference.py")
BUNDLE = (*NETWORKS, *(f"training/missions/{name}.py" for name in ("export", "flight", "quantise")), "onboard")

_ROLLOUT = "rollout.npz"


def teach(mission: Mission, plan: TeamPlan) -> tuple[Artifact, Learner]:
    """The teacher: MAPPO on all that the satellites know, loaded where the run names one."""
    learner = fresh(mission, plan)
    found = named(mission, plan, learner)
    if isinstance(found, Artifact):
        return found, learner
    return _mappo(mission, "teacher", plan, learner, mission.config.teacher, found)


def train_masked(mission: Mission, name: str, plan: TeamPlan) -> tuple[Artifact, Learner]:
    """Students trained directly under their masks, by MAPPO."""
    config = dataclasses.replace(mission.config.teacher, imitation_epochs=mission.config.student.imitation_epochs)
    return _mappo(mission, name, plan, fresh(mission, plan), config)


def _mappo(
    mission: Mission,
    name: str,
    plan: TeamPlan,
    learner: Learner,
    config: TeacherConfig,
    resumed: Unfinished | None = None,
) -> tuple[Artifact, Learner]:
    stream = "teacher" if name == "teacher" else "masked"  # of episode seeds
    shown = demonstrations(mission)
    adviser = None
    if mission.ground.worlds:
        adviser = settings_of(mission.config.planner, config.imitation_width, config.aggregation_horizon_s)
    sampler = mission.sampler(plan, adviser)

    def work(place: Place) -> dict[str, Any]:
        if resumed is not None:
            resumed.go_on(place.folder, place.key)
        episodes = Rollout.load(shown.path / _ROLLOUT) if shown else None
        return {"curve": train_mappo(learner, sampler, stream, episodes, config, place)}

    depends_on = {**_settings(mission, plan, stream, config), "demonstrations": shown.digest if shown else None}
    artifact = mission.workshop.make(Stage(name, f"MAPPO: {name}", depends_on, TEACHER, work))
    load_final(learner, artifact.path, artifact.digest)
    return artifact, learner


def fresh(mission: Mission, plan: TeamPlan) -> Learner:
    """Untrained networks, and their optimisers."""
    return fresh_learner(plan, mission.specs, mission.state_size, mission.config.teacher, mission.config.seed)


def _settings(mission: Mission, plan: TeamPlan, stream: str, config: TeacherConfig) -> dict[str, Any]:
    """What decides MAPPO's result, but for what is cloned first."""
    teacher = to_dict(config)
    return {
        **mission.trained,
        "teacher": {key: value for key, value in teacher.items() if key not in ("load", "resume", "decide_by_kind")},
        "planner": to_dict(mission.config.planner),
        "plan": dataclasses.asdict(plan),
        "stream": stream,
        "seed": mission.config.seed,
    }


def named(mission: Mission, plan: TeamPlan, learner: Learner) -> Artifact | Unfinished | None:
    """The teacher that the run names, its networks in the learner, or the training that it is to go on with.

    Raises:
        ConfigError: it does not fit the run.
    """
    config = mission.config
    if config.teacher.load is not None:
        return load_teacher(config, plan, learner)
    if config.teacher.resume is not None:
        return open_training(config, _settings(mission, plan, "teacher", config.teacher), learner)
    return None


def demonstrations(mission: Mission) -> Artifact | None:
    """Episodes to clone: the planner's on the twin, the global-knowledge rule's in Basilisk."""
    config, ground = mission.config, mission.ground
    if config.teacher.imitation_episodes == 0:
        return None
    seeds = episode_seeds("imitation", config.seed, 0, config.teacher.imitation_episodes)
    who = Flyer(heuristic=Heuristic.global_knowledge)
    if ground.worlds:
        who = Flyer(heuristic=Heuristic.planner, planner=settings_of(config.planner, config.teacher.imitation_width))
    work_list = training_jobs(ground, who, seeds)

    def work(place: Place) -> dict[str, Any]:
        flown = []
        for part in mission.pool.map(work_list):
            flown.append(part.rollout)
            mean = np.mean([each.reward.sum(0).mean() for each in flown])
            place.progress(len(flown) / len(work_list), f"return {mean:.1f}")
        concatenate(flown).save(place.folder / _ROLLOUT)
        return {"episodes": len(seeds)}

    depends_on = {**mission.trained, "seeds": seeds}
    if who.planner is not None:  # it plans under the guard, though training flights have none
        depends_on |= {"planner": dataclasses.asdict(who.planner), "guard": to_dict(config.scenario.guard)}
    return mission.workshop.make(Stage("demonstrations", "episodes to clone", depends_on, SIMULATION, work))


def expert(mission: Mission, plan: TeamPlan, teacher: Teacher, taught: Artifact) -> Rollout | None:
    """The teacher's buffer: episodes that it samples from its own policy."""
    config = mission.config
    if config.distill.teacher_episodes == 0:
        return None
    seeds = episode_seeds("expert", config.seed, 0, config.distill.teacher_episodes)
    adviser, advised = _adviser(mission)
    sampler = mission.sampler(plan, adviser)

    def work(place: Place) -> dict[str, Any]:
        sampler.sample(teacher.team, seeds, labelled=True).save(place.folder / _ROLLOUT)
        return {"episodes": len(seeds)}

    depends_on = {**mission.trained, "teacher": taught.digest, "seeds": seeds, **advised}
    artifact = mission.workshop.make(Stage("expert", "the teacher's buffer", depends_on, NETWORKS, work))
    return Rollout.load(artifact.path / _ROLLOUT)


def _adviser(mission: Mission) -> tuple[PlannerSettings | None, dict[str, Any]]:
    """The planner that labels the episodes of distillation, where it does, and what its labels depend on."""
    config = mission.config
    if config.distill.labels is Labels.teacher:
        return None, {}
    adviser = settings_of(config.planner, config.teacher.imitation_width, config.distill.labels_horizon_s)
    return adviser, {"adviser": dataclasses.asdict(adviser), "guard": to_dict(config.scenario.guard)}


def distil(
    mission: Mission, name: str, plan: TeamPlan, teacher: Teacher, taught: Artifact, shown: Rollout | None
) -> tuple[Artifact, Team]:
    """Students of a teacher; ``shown``: its buffer."""
    config = mission.config
    distiller = fresh_distiller(plan, mission.specs, teacher, config.distill, config.seed)
    adviser, advised = _adviser(mission)
    sampler = mission.sampler(plan, adviser)

    def work(place: Place) -> dict[str, Any]:
        return {"curve": train_students(distiller, teacher, shown, sampler, config.distill, place)}

    depends_on = {
        **mission.trained,
        "distill": to_dict(config.distill),
        "plan": dataclasses.asdict(plan),
        "teacher": taught.digest,
        "seed": config.seed,
        **advised,
    }
    artifact = mission.workshop.make(Stage(name, f"KD-MARL: {name}", depends_on, STUDENTS, work))
    distiller.students.load_state_dict(final_weights(artifact.path, artifact.digest))
    return artifact, distiller.students


def unpacked(mission: Mission, folder: Path) -> tuple[TeamPlan, Team, Artifact]:
    """The students of a stored bundle, and the bundle as the artifact that they come from.

    Raises:
        onboard.bundle.BundleError: it is damaged, or of other satellites.
        ConfigError: its networks are not in float32.
    """
    sensed = mission.config.scenario.visible
    sensings = [sense(spec, blocks) for spec, blocks in zip(mission.specs, sensed, strict=True)]
    students = students_of(read_bundle(folder, expect=[onboard_spec(each) for each in sensings]), sensings)
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    plan = mission.plan(sensed, [network.hidden for network in students.members])
    return plan, students, Artifact("bundle", folder, digest, reused=True)


def quantise(mission: Mission, name: str, plan: TeamPlan, students: Team, distilled: Artifact) -> tuple[Artifact, Team]:
    """Students fine-tuned to compute in int8."""
    config = mission.config
    sampler = Sampler(plan, mission.ground, mission.pool)

    def work(place: Place) -> dict[str, Any]:
        save_team(quantise_students(students, sampler, config.quantise, config.seed, place.progress), place)
        return {}

    depends_on = {
        **mission.trained,
        "quantise": to_dict(config.quantise),
        "plan": dataclasses.asdict(plan),
        "students": distilled.digest,
        "seed": config.seed,
    }
    artifact = mission.workshop.make(Stage(f"int8-{name}", f"int8: {name}", depends_on, INT8, work))
    tuned = in_int8(students)
    tuned.load_state_dict(final_weights(artifact.path, artifact.digest))
    return artifact, tuned


def bundle(
    mission: Mission, name: str, plan: TeamPlan, students: Team, distilled: Artifact, shown: Rollout | None
) -> Artifact:
    """Students packaged for flight; golden vectors come from training episodes, never from held-out ones."""
    config = mission.config
    budget = budget_of(config.budget, config.processors)

    def work(place: Place) -> dict[str, Any]:
        seeds = episode_seeds("student", config.seed, 0, 1)
        samples = shown or mission.sampler(plan).greedy(students, seeds)
        folder = place.folder / "bundle"
        if not folder.exists():  # it is renamed into place whole, so one that exists is finished
            export_students(
                folder,
                config.scenario.name,
                students,
                plan.sensings(mission.specs),
                samples,
                budget,
                {**mission.origin, "config_digest": distilled.digest},
                bits_per_decision=config.scenario.communication.bits_per_decision,
            )
        return {"bundle": "bundle"}

    depends_on = {"students": distilled.digest, "budget": budget.to_dict()}
    return mission.workshop.make(Stage(f"bundle-{name}", f"bundle: {name}", depends_on, BUNDLE, work))
