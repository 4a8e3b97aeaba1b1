"""report.html: one file that opens from disk, with every figure inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from kdmarl_sat.missions.report import globe
from kdmarl_sat.missions.report.exhibits import Exhibit
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.missions.report.schedule_table import schedule_table
from kdmarl_sat.missions.report.summary import PolicySummary, apart_of, confidence_of, faults_of
from kdmarl_sat.missions.results import PolicyResult, RunResult
from kdmarl_sat.report.formats import MISSING, count, duration, factor, number, percent, significant, spread, told_apart
from kdmarl_sat.report.render import inline_svg
from kdmarl_sat.report.statistics import Interval
from kdmarl_sat.report.style import family
from onboard.flightlog import Kind

_HEADER = ("preset", "seed", "date", "commit")  # of RunResult.run: below the title
_OWN_TABLES = ("versions", "stage_s", "cpu_s")
_FLIGHT_LOG = (
    ("decisions", Kind.DECISION),
    ("late", Kind.LATE),
    ("bad output", Kind.BAD_OUTPUT),
    ("broken down", Kind.FAILED),
    ("upsets", Kind.UPSET),
    ("started again", Kind.RESPAWNED),
    ("safe mode", Kind.SAFE_MODE),
    ("bad observation", Kind.BAD_OBSERVATION),
    ("no legal action", Kind.EMPTY_MASK),
    ("fallbacks", Kind.FALLBACK),
    ("guard's overrides", Kind.OVERRIDE),
)


def render(result: RunResult, summaries: Sequence[PolicySummary], shown: Sequence[Exhibit]) -> str:
    """The page as text; whatever the run's strings contain, they are shown, not interpreted."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = resources.files(__package__).joinpath("template.html").read_text(encoding="utf-8")
    facts = json_ready(result.run)
    return environment.from_string(source).render(
        title=_title(result),
        facts={key: _fact(facts[key]) for key in _HEADER if key in facts},
        record={key: _fact(value) for key, value in facts.items() if key not in _HEADER + _OWN_TABLES},
        claims=[
            {"text": text, "numbers": told_apart(measured, wanted), "met": met}
            for text, measured, wanted, met in result.claims
        ],
        policies=[_policy_row(summary) for summary in summaries],
        confidence=percent(confidence_of(result)),
        episodes=max((len(policy.episodes) for policy in result.policies), default=0),
        completed=[_completion_row(summary) for summary in summaries if summary.completion is not None],
        satellites=result.satellites,
        networks=[row for summary in summaries for row in _network_rows(result.satellites, summary)],
        logged=[heading for heading, _ in _FLIGHT_LOG],
        flights=[_flight_row(policy) for policy in result.policies if policy.events is not None],
        budget=[
            {
                "bundle": row.bundle,
                "satellite": row.satellite,
                "quantity": row.quantity,
                "value": significant(row.value),
                "limit": f"{significant(row.limit)} {row.unit}".rstrip(),
                "used": percent(row.used),
                "over": row.value > row.limit,
            }
            for row in result.budget
        ],
        stages=_stages(facts.get("stage_s")),
        versions=facts.get("versions") or {},
        config=json.dumps(json_ready(result.config), indent=2),
        figures=[
            {
                "section": exhibit.section,
                "title": exhibit.title,
                "caption": exhibit.caption,
                # our own drawing; outside text within it is paths, and comments are removed
                "svg": Markup(inline_svg(exhibit.figure, exhibit.name, exhibit.title)),
            }
            for exhibit in shown
        ],
        globe=_globe(result),
        schedule=schedule_table(result, environment),
        faults=faults_of(result),
        apart=apart_of(result),
    )


def _title(result: RunResult) -> str:
    scenario = result.config.get("scenario")
    name = scenario.get("name") if isinstance(scenario, Mapping) else scenario
    return str(name or "KD-MARL run")


def _globe(result: RunResult) -> dict[str, Any] | None:
    document = globe.document(result)
    return document and {
        "flights": [{"label": flight["label"], "family": family(flight["label"])} for flight in document["flights"]],
        "satellites": document["satellites"],
        "stations": document["stations"],
        # our own code, and JSON that cannot end its element
        "json": Markup(globe.embedded(document)),
        "script": Markup(globe.script()),
    }


def _fact(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return json.dumps(value)
    return MISSING if value is None else str(value)


def _policy_row(summary: PolicySummary) -> dict[str, Any]:
    return {
        "label": summary.policy.label,
        "family": family(summary.policy.name),
        "captured": number(summary.captured.estimate),
        "captured_interval": spread(summary.captured),
        "of_available": percent(summary.of_available),
        "retention": _percent_interval(summary.retention),
        "ratio": _percent_interval(summary.ratio),
        "duplicates": number(summary.duplicates),
        "deaths": number(summary.deaths, 2),
        "overrides": number(summary.overrides, 1),
        "macs_max": count(summary.macs_max),
        "macs_sum": count(summary.macs_sum),
        "macs_ratio": factor(summary.macs_ratio),
        "macs_sum_ratio": factor(summary.macs_sum_ratio),
        "bits": count(summary.bits_per_orbit_max),
        "agreement": percent(summary.agreement),
        "shares": [percent(share) for share in summary.share],
    }


def _completion_row(summary: PolicySummary) -> dict[str, Any]:
    done = summary.completion
    assert done is not None
    shares = [percent(share) for share in (done.CR, done.WCR, done.PCR, done.WPCR)]
    waited = MISSING if done.TAT_s is None else f"{number(done.TAT_s, 0)} s"
    cells = [*shares, waited, f"{number(done.PC_Ws / 3600)} Wh"]
    return {"label": summary.policy.label, "family": family(summary.policy.name), "cells": cells}


def _percent_interval(interval: Interval | None) -> tuple[str, str]:
    if interval is None:
        return MISSING, ""
    return percent(interval.estimate), spread(interval, 0, scale=100)


def _network_rows(satellites: Sequence[str], summary: PolicySummary) -> list[dict[str, str]]:
    """One row per satellite of a policy that computes something."""
    policy = summary.policy
    columns = (
        policy.parameters,
        policy.macs_per_decision,
        policy.host_latency_us,
        policy.agreement,
        summary.macs_per_episode,
    )
    if not any(columns[:3]):
        return []
    rows = []
    for index, satellite in enumerate(satellites):
        parameters, macs, latency, agreement, macs_per_episode = (c[index] if index < len(c) else None for c in columns)
        rows.append(
            {
                "policy": policy.label if index == 0 else "",
                "satellite": satellite,
                "parameters": count(parameters),
                "macs": count(macs),
                "flops": count(2 * macs) if macs else MISSING,
                "macs_per_episode": count(macs_per_episode),
                "latency": significant(latency),
                "agreement": percent(agreement),
            }
        )
    rows.append(
        {
            "policy": "",
            "satellite": "all",
            "parameters": count(sum(policy.parameters)),
            "macs": count(summary.macs_sum),
            "flops": count(2 * summary.macs_sum) if summary.macs_sum else MISSING,
            "macs_per_episode": count(sum(summary.macs_per_episode)),
            "latency": MISSING,
            "agreement": percent(summary.agreement),
        }
    )
    return rows


def _flight_row(policy: PolicyResult) -> dict[str, Any]:
    events = policy.events or {}
    return {
        "label": policy.label,
        "counts": [count(events.get(kind, 0)) for _, kind in _FLIGHT_LOG],
        "over": events.get(Kind.FALLBACK, 0) > 0,
    }


def _stages(seconds: Any) -> list[dict[str, Any]]:
    if not isinstance(seconds, Mapping):
        return []
    total = sum(value or 0 for value in seconds.values())
    return [
        {"name": name, "time": duration(value or 0.0), "share": round(100 * (value or 0) / total) if total else 0}
        for name, value in seconds.items()
    ] + [{"name": "all stages", "time": duration(total), "share": 0}]
