"""The schedule as a part of report.html: a table that its reader filters."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from envs.basilisk.tasks import OUTCOMES
from kdmarl_sat.missions.report.exhibits import epoch_and_altitude, traces_to_show
from kdmarl_sat.missions.report.globe import embedded
from kdmarl_sat.missions.report.schedule import ACTIONS, COLUMNS, Flight, rows
from kdmarl_sat.missions.results import PolicyResult, RunResult

_HEADINGS = {
    "start_utc": "start", "end_utc": "end", "catalogue_number": "catalogue number", "latitude_deg": "latitude, °",
    "longitude_deg": "longitude, °", "off_nadir_deg": "off nadir, °", "elevation_deg": "elevation, °",
}  # fmt: skip


def scheduled(policies: Sequence[PolicyResult]) -> list[PolicyResult]:
    """The flights that the report shows, of which tasks are known."""
    return [policy for policy, _ in traces_to_show(policies) if policy.tasks]


def schedule_table(result: RunResult, environment: Environment) -> Markup | None:
    """The part of the page with its style, its data and its code; None where no tasks are known."""
    where, shown = epoch_and_altitude(result.config), scheduled(result.policies)
    if where is None or not shown:
        return None
    name = result.config["scenario"]["name"]
    document = {
        "columns": COLUMNS,
        "flights": [
            _values(policy, Flight(name, policy.label, where[0], result.satellites, result.catalogue_numbers))
            for policy in shown
        ],
    }
    page = environment.from_string(_text("schedule.html")).render(
        flights=[policy.label for policy in shown],
        choices={"satellite": result.satellites, "action": list(ACTIONS.values()), "outcome": OUTCOMES},
        headings=[_HEADINGS.get(column, column) for column in COLUMNS],
        # JSON that cannot end its element, and our own code
        json=Markup(embedded(document)),
        script=Markup(_text("schedule.js")),
    )
    return Markup(page)  # rendered with its text escaped


def _values(policy: PolicyResult, flight: Flight) -> list[list[Any]]:
    return [list(row.values()) for row in rows(policy.tasks[0], flight)]


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
