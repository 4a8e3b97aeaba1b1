"""The paper's numbers, from paper.json beside this file, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("paper.json")


@dataclass(frozen=True, slots=True)
class Stated:
    """A number as printed; ``spread`` is what stands behind its ± sign."""

    value: float
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One game in Table I or II: numbers by method."""

    table: str
    map: str
    name: str
    target: bool  # False: a row that cannot be right
    score: dict[str, Stated]  # win rate in percent (Table I), return (Table II)
    time_per_step_ms: dict[str, Stated]

    def retention(self, method: str) -> float | None:
        """Share of the teacher's score; with negative returns 1 less the loss relative to its size."""
        if method not in self.score:
            return None
        teacher = self.score["mappo_fo"].value
        return 1 - (teacher - self.score[method].value) / abs(teacher)

    def times_faster(self, method: str) -> float | None:
        times = self.time_per_step_ms
        return times["mappo_fo"].value / times[method].value if method in times else None


@dataclass(frozen=True, slots=True)
class Peer:
    """One row of Table III."""

    method: str
    name: str
    agents: str
    win_rate_percent: float


@cache
def _numbers() -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads(_FILE.read_text())
    return numbers


def source() -> str:
    return str(_numbers()["source"])


def columns() -> tuple[str, ...]:
    """The methods of Tables I and II, in their order."""
    return tuple(_numbers()["columns"])


def title(table: str) -> str:
    return str(_numbers()["tables"][table]["title"])


def rows(table: str) -> tuple[PaperRow, ...]:
    """The games of Table I or II, in their order."""
    return tuple(_row(table, name, row) for name, row in _numbers()["tables"][table]["rows"].items())


def row_of(game_map: str) -> PaperRow | None:
    return next((row for table in ("I", "II") for row in rows(table) if row.map == game_map), None)


def table_of(game_map: str, backend: str) -> str | None:
    """The table that a game belongs to, also where the paper does not have it; None: neither SMAC nor MPE."""
    row = row_of(game_map)
    if row is not None:
        return row.table
    return next((table for table in ("I", "II") if backend in _numbers()["tables"][table]["backends"]), None)


def peers() -> tuple[str, tuple[Peer, ...]]:
    """Table III: its map and rows."""
    table = _numbers()["tables"]["III"]
    return table["map"], tuple(Peer(**row) for row in table["rows"])


def defects(table: str) -> tuple[str, ...]:
    """Known problems of a table's numbers, one sentence each."""
    return tuple(each["text"] for each in _numbers()["defects"] if table in each["tables"])


def headlines() -> tuple[float, float]:
    """Share of the teacher's performance that the paper says is kept, and how many times fewer FLOPs at most."""
    stated = _numbers()["headlines"]
    return stated["retention"], stated["times_fewer_flops"]


def _row(table: str, name: str, row: dict[str, Any]) -> PaperRow:
    def by_method(values: list[Any]) -> dict[str, Stated]:
        pairs = [value if isinstance(value, list) else [value] for value in values]
        return {method: Stated(*pair) for method, pair in zip(columns(), pairs, strict=True)}

    scores = by_method(row.get("win_rate_percent", row["return"]))
    return PaperRow(table, name, row["name"], row["target"], scores, by_method(row["time_per_step_ms"]))
