"""What each policy came to: the numbers behind every table and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from envs.basilisk.completion import Completion, mean_completion
from kdmarl_sat.missions.results import PolicyResult, RunResult
from kdmarl_sat.report.statistics import (
    Interval,
    interquartile_mean,
    mean_interval,
    mean_ratio,
    paired_difference,
    retention,
)


class ReportError(ValueError):
    """Results that cannot be reported on; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """One policy over the held-out episodes; comparisons are None where the run lacks what they compare with."""

    policy: PolicyResult
    captured: Interval  # priority per episode
    captured_iqm: Interval
    available: float  # priority per episode
    of_available: float  # fraction of the available priority that was captured
    retention: Interval | None  # normalised: 0 = random, 1 = teacher
    ratio: Interval | None  # mean captured over the teacher's
    difference: Interval | None  # captured minus the teacher's, paired by seed
    duplicates: float  # per episode
    deaths: float  # per episode
    overrides: float | None  # by the guards, per episode
    share: tuple[float, ...]  # of the captured priority, per satellite
    agreement: float | None  # with the teacher's greedy action, mean over satellites
    macs_max: int | None  # per decision, of the satellite that computes most
    macs_sum: int | None  # per decision of every satellite, all together
    macs_per_episode: tuple[float, ...]  # mean, per satellite
    macs_ratio: float | None  # the teacher's macs_max over this one's
    macs_sum_ratio: float | None  # the teacher's macs_sum over this one's
    bits_per_orbit: tuple[float, ...]  # of intents, mean, per satellite; empty where they were not counted
    bits_per_orbit_max: float | None  # of the satellite that sends most
    completion: Completion | None  # of the tasks, mean over the episodes; None where the targets are not from a file


BOOTSTRAP_SEED = 0  # the same results give the same intervals


def confidence_of(result: RunResult) -> float:
    """The confidence level of all intervals: evaluation.confidence of the run's config, 0.95 without one."""
    evaluation = result.config.get("evaluation") or {}
    return float(evaluation.get("confidence", 0.95))


def faults_of(result: RunResult) -> str | None:
    """Which faults were on and what became of them, in a sentence; None where there were none."""
    scenario = result.config.get("scenario")
    faults = (scenario.get("faults") or {}) if isinstance(scenario, Mapping) else {}
    rates = {name: faults[name] for name in _FAULTS if faults.get(name)}
    episodes = [episode for policy in result.policies for episode in policy.episodes]
    if not rates or not episodes:
        return None
    failed, missed, late = (float(np.mean([getattr(e, of) for e in episodes])) for of in ("failures", "missed", "late"))
    shown = ", ".join(f"{name}={rate:g}" for name, rate in rates.items())
    return (
        f"faults: {shown}; per episode {failed:.2f} satellites failed, {missed:.1f} decisions did not arrive and "
        f"{late:.1f} were late, mean over policies"
    )


def apart_of(result: RunResult) -> str | None:
    """How far Basilisk and SGP4 part within an episode, in a sentence; None where SGP4 has no part."""
    distances = [episode.from_sgp4_km for policy in result.policies for episode in policy.episodes]
    if not any(distances):
        return None
    largest = np.max([each for each in distances if each], axis=0)
    worst = int(np.argmax(largest))
    return (
        f"Basilisk and SGP4 start from the same states and deviate by {largest.min():.2f} to {largest[worst]:.2f} km "
        f"within an episode (most: {result.satellites[worst]})"
    )


_FAULTS = ("satellite_failures", "crosslink_outage", "sensor_dropout", "missing_decisions", "late_decisions")


def summarise(result: RunResult, seed: int = BOOTSTRAP_SEED) -> tuple[PolicySummary, ...]:
    """Summaries in the order of the policies; ``seed`` drives the bootstrap.

    Raises:
        ReportError: two policies flew different episodes, so they cannot be compared.
    """
    policies = result.policies
    for policy in policies:
        seeds, wanted = _seeds(policy), _seeds(policies[0])
        if seeds != wanted:
            raise ReportError(
                f"policy {policy.name!r} flew seeds {seeds}: they must be those of {policies[0].name!r}, {wanted}"
            )
    confidence = confidence_of(result)
    teacher = teacher_of(policies)
    random = next((policy for policy in policies if policy.name == "random"), None)
    return tuple(_summary(policy, teacher, random, confidence, seed) for policy in policies)


def teacher_of(policies: tuple[PolicyResult, ...]) -> PolicyResult | None:
    return next((policy for policy in policies if policy.name.startswith("teacher")), None)


def _summary(
    policy: PolicyResult, teacher: PolicyResult | None, random: PolicyResult | None, confidence: float, seed: int
) -> PolicySummary:
    captured = _captured(policy)
    available = float(np.mean([e.available for e in policy.episodes])) if policy.episodes else np.nan
    mean = mean_interval(captured, confidence, seed)
    macs = policy.macs_per_decision
    macs_max = max(macs, default=None)
    bits_per_orbit = _bits_per_orbit(policy)
    macs_sum = sum(macs) or None
    teacher_macs = teacher.macs_per_decision if teacher else ()
    return PolicySummary(
        policy=policy,
        captured=mean,
        captured_iqm=interquartile_mean(captured, confidence, seed),
        available=available,
        of_available=mean.estimate / available if available > 0 else np.nan,
        retention=retention(captured, _captured(random), _captured(teacher), confidence, seed)
        if random and teacher
        else None,
        ratio=mean_ratio(captured, _captured(teacher), confidence, seed) if teacher else None,
        difference=paired_difference(captured, _captured(teacher), confidence, seed) if teacher else None,
        duplicates=float(np.mean([e.duplicates for e in policy.episodes])) if policy.episodes else np.nan,
        deaths=float(np.mean([e.deaths for e in policy.episodes])) if policy.episodes else np.nan,
        overrides=float(np.mean(policy.overrides)) if policy.overrides else None,
        share=_share(policy),
        agreement=mean_of_measured(policy.agreement),
        macs_max=macs_max,
        macs_sum=macs_sum,
        macs_per_episode=_macs_per_episode(policy),
        macs_ratio=max(teacher_macs) / macs_max if teacher_macs and macs_max else None,
        macs_sum_ratio=sum(teacher_macs) / macs_sum if teacher_macs and macs_sum else None,
        bits_per_orbit=bits_per_orbit,
        bits_per_orbit_max=max(bits_per_orbit, default=None),
        completion=mean_completion([episode.completion for episode in policy.episodes]),
    )


def mean_of_measured(values: Sequence[float]) -> float | None:
    """Mean of the finite values: a satellite that never decided has NaN."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _seeds(policy: PolicyResult) -> list[int]:
    return [episode.seed for episode in policy.episodes]


def _captured(policy: PolicyResult) -> list[float]:
    return [episode.captured for episode in policy.episodes]


def _share(policy: PolicyResult) -> tuple[float, ...]:
    """Fractions of the captured priority; NaN where nothing was captured."""
    if not policy.episodes:
        return ()
    by_satellite = np.sum([episode.captured_by for episode in policy.episodes], axis=0)
    total = by_satellite.sum()
    return tuple((by_satellite / total if total > 0 else np.full_like(by_satellite, np.nan)).tolist())


def _macs_per_episode(policy: PolicyResult) -> tuple[float, ...]:
    if not policy.macs_per_decision or not policy.episodes:
        return ()
    decisions = np.mean([episode.decisions for episode in policy.episodes], axis=0)
    return tuple((decisions * np.asarray(policy.macs_per_decision)).tolist())


def _bits_per_orbit(policy: PolicyResult) -> tuple[float, ...]:
    if not policy.episodes or not all(episode.bits_per_orbit for episode in policy.episodes):
        return ()
    return tuple(np.mean([episode.bits_per_orbit for episode in policy.episodes], axis=0).tolist())
