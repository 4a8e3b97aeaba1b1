"""Records of runs on benchmark games, one JSON file per method, game, configuration and seed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from envs.files import read_json, write_json
from scenarios.games.schema import BUDGETS, GameRunConfig
from scenarios.ranges import NAME, is_name, shown

FORMAT = "kdmarl_sat.game_run"
VERSION = 1

# Settings that do not make a run another one. Where a teacher was loaded, the record's settings are those that made it.
_APART = ("seed", "preset", "methods", "output", "compute", "variant", "budget", "teacher.load", "teacher.resume")
_BACKEND = ("scenario.environment.backend", "scenario.environment.sc2_path")  # a record says what it came to
_PEERS = ("ctds", "tseng", "ptde")
_MESSAGES = ("student.message_bits", "student.message_loss", "evaluation.message_loss")
# Sections, or settings in them, that a family of methods does not read; all others count.
_NOT_USED = {
    "teacher": ("mappo.phases", "student", "values", "distill", *_PEERS, *_MESSAGES),
    "mappo": ("teacher", "values", "distill", *_PEERS, *_MESSAGES),
    "qmix": ("teacher", "mappo", "distill", *_PEERS, *_MESSAGES),
    "vdn": ("teacher", "mappo", "distill", *_PEERS, *_MESSAGES),
    "kd": ("mappo.phases", "values", *_PEERS),
    "ctds": ("teacher", "mappo", "distill", "tseng", "ptde", *_MESSAGES),
    "tseng": ("mappo.phases", "values", "ctds", "ptde", *_MESSAGES),
    "ptde": ("teacher", "values", "ctds", "tseng", *_MESSAGES),
}


TEACHER_SEED = "teacher.seed"  # among a record's settings


class RecordError(ValueError):
    """A run record that cannot be made or read; the message is one sentence."""


# "return" is a keyword, hence the form.
Point = TypedDict("Point", {"steps": int, "cpu_s": float, "return": float, "win_rate": float | None})


class Final(TypedDict):
    """The final evaluation, one entry per episode; ``wins`` is None in games without victory."""

    episodes: int
    returns: list[float]  # of the team; where rewards differ, the mean over its agents
    wins: list[bool] | None
    lengths: list[int]  # steps


class Macs(TypedDict):
    """Multiply-accumulates of the deployed networks."""

    per_decision: list[int]  # per agent
    per_episode: float  # of all agents, mean over the final evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class GameRecord:
    """One finished run of one method on one game with one seed."""

    run: dict[str, Any]  # commit, versions, wall_s, cpu_s, date
    config: dict[str, Any]  # the GameRunConfig as plain JSON
    scenario: str
    backend: str  # what simulated the game in training: "smax", "smac", "mpe", ...; never mixed
    evaluated_on: str  # what simulated it in the final evaluation, e.g. "mpe2"
    map: str
    method: str
    seed: int
    variant: str = ""  # name of an ablation
    budget: str = "equal"  # of training steps, see scenarios/games/budget; the teacher's stands for itself
    teacher: dict[str, Any] | None = None  # path, digest and seed of one that was loaded; None: trained as config says
    environment_steps: int  # of this method's own training, a teacher's not counted
    curve: list[Point]
    final: Final
    random_return: float  # of uniformly random legal actions in the same evaluation
    random_win_rate: float | None = None  # likewise, 0 to 1; given where the game has victories
    macs: Macs
    time_per_step_ms: float  # decisions of all agents in one step of one environment, median on the host
    agreement: float | None = None  # share of decisions that are the teacher's, 0 to 1
    action_counts: list[list[int]]  # agent x action over the final evaluation
    actions: list[str]

    def __post_init__(self) -> None:
        for field in ("scenario", "backend", "evaluated_on", "method"):
            _require(field, value := getattr(self, field), is_name(value), NAME)
        _require("variant", self.variant, self.variant == "" or is_name(self.variant), f"empty or {NAME}")
        _require("budget", self.budget, self.budget in BUDGETS, f"one of {', '.join(BUDGETS)}")
        named = self.teacher is None or (
            isinstance(self.teacher, dict)
            and {"path", "digest"} <= set(self.teacher)
            and all(isinstance(self.teacher[key], str) for key in ("path", "digest"))
            and _whole(self.teacher.get("seed", 0))
        )
        _require("teacher", self.teacher, named, "null, or a path, a digest and a seed")
        _require("map", self.map, isinstance(self.map, str) and bool(self.map), "the name of a map")
        _require("seed", self.seed, _whole(self.seed), "a whole number from 0")
        _require("environment_steps", self.environment_steps, _whole(self.environment_steps), "a whole number from 0")
        for field in ("run", "config"):
            _require(field, value := getattr(self, field), isinstance(value, dict), "a group of keys")
        _require("run.cpu_s", cpu_s := self.run.get("cpu_s"), _number(cpu_s), "a number")
        for index, point in enumerate(self.curve):
            numbers = (point["steps"], point["cpu_s"], point["return"])
            known = all(map(_number, numbers)) and (point["win_rate"] is None or _share(point["win_rate"]))
            _require(f"curve[{index}]", point, known, "steps, cpu_s, return (numbers) and win_rate (0 to 1, or null)")
        self._check_final()
        self._check_costs()

    def _check_final(self) -> None:
        final, episodes = self.final, self.final["episodes"]
        _require("final.episodes", episodes, _whole(episodes) and episodes > 0, "a whole number above 0")
        of: dict[str, tuple[list[Any] | None, Any]] = {
            "returns": (final["returns"], _number),
            "wins": (final["wins"], lambda value: isinstance(value, bool)),
            "lengths": (final["lengths"], _whole),
        }
        for name, (values, good) in of.items():
            if values is None and name == "wins":
                continue
            fits = isinstance(values, list) and len(values) == episodes and all(map(good, values))
            have = f"{len(values)} entries" if isinstance(values, list) else values
            _require(f"final.{name}", have, fits, f"{episodes} entries, one per episode, of its kind")
        _require("random_return", self.random_return, _number(self.random_return), "a number")
        rate, victory = self.random_win_rate, final["wins"] is not None
        allowed = "between 0 and 1, as the game has victories" if victory else "null, as the game has no victories"
        _require("random_win_rate", rate, _share(rate) if victory else rate is None, allowed)

    def _check_costs(self) -> None:
        macs, counts = self.macs["per_decision"], self.action_counts
        fits = isinstance(macs, list) and bool(macs) and all(map(_whole, macs))
        _require("macs.per_decision", macs, fits, "one whole number per agent")
        per_episode = self.macs["per_episode"]
        _require("macs.per_episode", per_episode, _number(per_episode) and per_episode >= 0, "a number from 0")
        time_ms = self.time_per_step_ms
        _require("time_per_step_ms", time_ms, _number(time_ms) and time_ms >= 0, "a number from 0")
        agreement = self.agreement
        _require("agreement", agreement, agreement is None or _share(agreement), "between 0 and 1, or null")
        names = isinstance(self.actions, list) and all(isinstance(name, str) for name in self.actions)
        _require("actions", self.actions, names, "a list of names")
        shape = [len(row) for row in counts]
        fits = shape == [len(self.actions)] * len(macs) and all(_whole(value) for row in counts for value in row)
        _require("action_counts", f"rows of {shape}", fits, f"{len(macs)} rows of {len(self.actions)} whole numbers")

    @property
    def agents(self) -> int:
        return len(self.macs["per_decision"])

    @property
    def has_victory(self) -> bool:
        return self.final["wins"] is not None

    def settings(self) -> dict[str, Any]:
        """What makes the run another one than those with the same game, method and seed, see ``settings``; also the
        seed of its teacher, where that was loaded and is another seed's."""
        found = settings(self.config, self.method)
        seed = self.seed if self.teacher is None else self.teacher.get("seed", self.seed)
        return found if seed == self.seed else {**found, TEACHER_SEED: seed}

    def digest(self) -> str:
        """SHA-256 of the settings, the variant, and the budget unless it is equal steps."""
        about = {"settings": self.settings(), "variant": self.variant}
        if self.budget != "equal" and self.method != "teacher":  # a teacher trains as long in every budget
            about["budget"] = self.budget
        text = json.dumps(about, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def file_name(self) -> str:
        return f"{self.scenario}-{self.backend}-{self.method}-{self.digest()[:8]}-seed{self.seed}.json"


def write(record: GameRecord, folder: Path) -> Path:
    """Write the record under its own name, replacing an earlier run of the same; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return write_json(folder / record.file_name(), {"format": FORMAT, "version": VERSION, **content})


def read(path: Path) -> GameRecord:
    """One record.

    Raises:
        RecordError: it is damaged or of another format or version.
    """
    try:
        content = read_json(path)
    except ValueError as error:  # no JSON, or no text
        raise RecordError(f"run record {path} is damaged: {error}") from error
    found = (content.get("format"), content.get("version")) if isinstance(content, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise RecordError(
            f"run record {path} has format {found[0]!r} and version {found[1]!r}: this program reads {FORMAT!r}, "
            f"version {VERSION}"
        )
    fields = {field.name for field in dataclasses.fields(GameRecord)}
    try:
        return GameRecord(**{key: value for key, value in content.items() if key in fields})
    except RecordError as error:
        raise RecordError(f"run record {path} is damaged: {error}") from error
    except KeyError as error:
        raise RecordError(f"run record {path} is damaged: the field {error} is missing") from error
    except (TypeError, AttributeError) as error:
        message = str(error).partition("() ")[2] or str(error)
        raise RecordError(f"run record {path} is damaged: {message}") from error


def read_all(folder: Path) -> list[GameRecord]:
    """All records of a folder, in the order of their file names.

    Raises:
        RecordError: one is damaged or of another version, or two are of the same run.
    """
    records: list[GameRecord] = []
    places: dict[str, Path] = {}
    for path in sorted(folder.glob("*.json")):
        record = read(path)
        earlier = places.setdefault(record.file_name(), path)
        if earlier != path:
            raise RecordError(f"run records {earlier} and {path} are of the same run: one of them must go")
        records.append(record)
    return records


def depends_on_a_teacher(method: str) -> bool:
    return "teacher" not in _NOT_USED.get(method.partition("_")[0], ())


def settings(config: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Settings that the method depends on and that are not the default, by their dotted keys.

    Defaults are left out so that a setting added later does not make older records those of another configuration.
    """
    family = method.partition("_")[0]
    unused = {*_APART, *_NOT_USED.get(family, ())}
    if family in ("mappo", "qmix", "vdn") and not method.endswith("_a"):  # FO and LH: the teacher's size throughout
        unused.add("student")
    used = _flat({key: value for key, value in config.items() if key not in unused})
    defaults, unused = _defaults(), unused | {*_BACKEND}
    return {k: v for k, v in used if k not in unused and (k not in defaults or defaults[k] != v)}


@cache
def _defaults() -> dict[str, Any]:
    return dict(_default_values(GameRunConfig, ""))


def _default_values(group: Any, where: str) -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(group)
    for field in dataclasses.fields(group):
        key, kind = f"{where}{field.name}", hints[field.name]
        if dataclasses.is_dataclass(kind):
            yield from _default_values(kind, f"{key}.")
        elif field.default is not dataclasses.MISSING:
            yield key, _plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            yield key, _plain(field.default_factory())


def _plain(value: Any) -> Any:
    """As ``scenarios.schema.to_dict`` and JSON leave it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _flat(node: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", _plain(value)


def _require(field: str, value: object, good: bool, allowed: str) -> None:
    if not good:
        raise RecordError(f"{field}={shown(value)} is not allowed: it must be {allowed}")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _share(value: object) -> bool:
    return isinstance(value, int | float) and _number(value) and 0 <= value <= 1
