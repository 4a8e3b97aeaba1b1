"""metrics.json: everything a run measured, for other programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from envs.files import write_whole
from kdmarl_sat.missions.report.summary import PolicySummary, summarise
from kdmarl_sat.missions.results import RunResult

FORMAT = "kdmarl_sat.metrics"
VERSION = 1


def metrics(result: RunResult, summaries: Sequence[PolicySummary] | None = None) -> dict[str, Any]:
    """A run as JSON types; NaN and infinities become null.

    What the machine's clock had a say in stands under "run" and under each policy's "timing"; all else is a
    function of config and seed, unless a policy's "events" count late answers.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "run": result.run,
        "config": result.config,
        "satellites": result.satellites,
        "policies": [_policy(summary) for summary in (summarise(result) if summaries is None else summaries)],
        "curves": result.curves,
        "budget": result.budget,
        "claims": [
            {"text": text, "measured": measured, "wanted": wanted, "met": met}
            for text, measured, wanted, met in result.claims
        ],
    }
    plain: dict[str, Any] = json_ready(document)
    return plain


def write_metrics(document: Mapping[str, Any], path: Path) -> Path:
    """Write metrics.json; the file appears whole or not at all."""
    return write_whole(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def _policy(summary: PolicySummary) -> dict[str, Any]:
    policy = summary.policy
    return {
        "name": policy.name,
        "label": policy.label,
        "summary": {
            field.name: getattr(summary, field.name) for field in dataclasses.fields(summary) if field.name != "policy"
        },
        "macs_per_decision": policy.macs_per_decision,
        "parameters": policy.parameters,
        "agreement": policy.agreement,
        "events": policy.events,
        "overrides": policy.overrides,
        "episodes": policy.episodes,
        "timing": {"host_latency_us": policy.host_latency_us},
    }


def json_ready(value: Any) -> Any:
    """Dataclasses, mappings, sequences, arrays, enums and paths as plain JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_ready(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return json_ready(value.tolist())
    if isinstance(value, Enum):
        return json_ready(value.value)
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
