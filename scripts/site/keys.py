"""Every configuration key, read from the dataclasses in scenarios/: nothing on the page is typed in.

Type and default are the field's. The unit is in the field's name. The meaning is the comment above or behind the
field. The range is what ``scenarios.ranges.check`` says while configurations are composed: a profiler listens to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import inspect
import re
import sys
import types
import typing
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import MISSING

from scenarios import onboard_sim, quantise, ranges, roots
from scenarios import schema as missions
from scenarios.compose import composed
from scenarios.games import environment
from scenarios.games import schema as games
from scenarios.launcher import RayLauncherConfig
from scenarios.mission import ScenarioConfig
from scenarios.processor import ProcessorConfig, check_processors
from scripts.site.comments import comments_of

UNITS = {
    "_rad_s": "rad/s",
    "discount_per_s": "per second",
    "_s_per_image": "s per image",
    "_deg": "deg",
    "_km": "km",
    "_m2": "m²",
    "_Nm": "N m",
    "_rpm": "rpm",
    "_Wh": "Wh",
    "_W": "W",
    "_w": "W",
    "_ms": "ms",
    "_mj": "mJ",
    "_mhz": "MHz",
    "_bytes": "bytes",
    "_mrp": "MRP",
    "_bits": "bits",
    "_images": "images",
    "_utc": "UTC",
    "_s": "s",
}
NAME, INDEX = "NAME", "N"  # of what a user names, and of an element of a list
_LIMITLESS = f"at most {ranges.LARGEST:g}"  # of what has no other limit: not worth a reader's time
_FOUND = dict[str, dict[str, list[str]]]  # key -> where it was composed -> what is allowed


@dataclass(frozen=True)
class Key:
    """One setting: its dotted path, and what the page says of it."""

    path: str
    type: str
    default: str
    unit: str
    allowed: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The settings of one dataclass; ``path`` is empty for a root."""

    path: str
    about: str
    keys: tuple[Key, ...]


ROOTS: dict[str, type] = {
    "mission": missions.RunConfig,
    "game": games.GameRunConfig,
    "fly": onboard_sim.OnboardSimConfig,
    "quantise": quantise.QuantiseRunConfig,
    "launcher": RayLauncherConfig,
}
_AT = {"launcher": "hydra.launcher"}


@cache
def sections(root: str) -> tuple[Section, ...]:
    """All sections of a root, in the order of the dataclasses; each dataclass stands for itself."""
    said = _said(root)
    found: list[Section] = []

    def walk(cls: type, path: str) -> None:
        hints, comments, keys = typing.get_type_hints(cls), comments_of(cls), []
        inner: list[tuple[type, str]] = []
        for field in dataclasses.fields(cls):
            where = f"{path}.{field.name}".lstrip(".")
            if (below := _below(hints[field.name])) is not None:
                inner.append((below[0], f"{where}{below[1]}"))
                if below[1] == "" and field.name in comments:
                    keys.append(_key(where, hints[field.name], field, comments, said))
                continue
            keys.append(_key(where, hints[field.name], field, comments, said))
        about = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
        own = "" if about.startswith(f"{cls.__name__}(") else about  # what dataclass writes where there is none
        found.append(Section(path, own, tuple(keys)))
        for each, where in inner:
            walk(each, where)

    walk(ROOTS[root], _AT.get(root, ""))
    return tuple(found)


def _key(
    path: str, hint: Any, field: dataclasses.Field[Any], comments: dict[str, str], said: Callable[[str], str]
) -> Key:
    name = field.name
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
    meaning = comments.get(name, "").replace("``", "`")
    return Key(path, _type(hint), _default(field), unit, _allowed(hint, said(path)), meaning)


def _allowed(hint: Any, said: str) -> str:
    """What a key may be: its type or choices, what its checks say, and null where that is allowed."""
    kind, choices = _type(hint), _choices(hint)
    if choices or kind == "true or false":
        allowed = "; where that cannot be: ".join(filter(None, (choices or kind, said)))
    elif _below(hint) is not None:
        allowed = "the keys below"
    elif said and kind in ("number", "text"):
        allowed = said
    else:
        allowed = ": ".join(filter(None, (kind, said)))
    is_optional = type(None) in typing.get_args(hint) and not allowed.endswith("or null")
    return f"{allowed}; or null" if is_optional else allowed


def _below(hint: Any) -> tuple[type, str] | None:
    """The dataclass in a field's type, and how its keys are reached; None for a plain value."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint, ""
    for inner in typing.get_args(hint):
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            return inner, {dict: f".{NAME}", list: f".{INDEX}"}.get(typing.get_origin(hint), "")
    return None


def _type(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(each) for each in inner if each is not type(None))
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"{_type(inner[0])} → {_type(inner[1])}"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "choice"
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Any": "any"}
    return names.get(getattr(hint, "__name__", ""), str(hint))


def _choices(hint: Any) -> str:
    """The members of an Enum, each with its comment."""
    if not (isinstance(hint, type) and issubclass(hint, enum.Enum)):
        return ""
    comments = comments_of(hint)
    return ", ".join(
        f"`{each.value}`" + (f" ({comments[each.name]})" if each.name in comments else "") for each in hint
    )


def _default(field: dataclasses.Field[Any]) -> str:
    made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    if made == MISSING or made is dataclasses.MISSING:
        return "required"
    return f"`{_shown(made)}`"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{{{', '.join(f'{key}: {_shown(each)}' for key, each in vars(value).items())}}}"
    return '""' if value == "" else str(value)


# --- ranges -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(found: _FOUND, where: str) -> Iterator[None]:
    """Note each key that ``ranges.check`` checks meanwhile, and what it says is allowed."""

    def called(frame: types.FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is ranges.check.__code__:
            name, allowed = str(frame.f_locals["name"]), str(frame.f_locals["allowed"])
            here = found.setdefault(name, {}).setdefault(where, [])
            if allowed != _LIMITLESS and allowed not in here:
                here.append(allowed)

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield
    finally:
        sys.setprofile(before)


def _said(root: str) -> Callable[[str], str]:
    """What the checks of a root say of a key."""
    found: _FOUND = {}
    for where, work in _compositions(root):
        with listening(found, where), contextlib.suppress(ValueError):  # a refused one has been heard all the same
            work()

    def said(path: str) -> str:
        pattern = re.escape(path).replace(rf"\.{NAME}", r"\..+?").replace(rf"\.{INDEX}\.", r"\.\d+\.")
        whole = re.compile(rf"{pattern}(\.[^.]+)?" if path in _MAPPINGS else pattern)
        heard: dict[str, set[str]] = defaultdict(set)  # sentence -> where
        places: list[str] = []
        for name, by_place in found.items():
            if whole.fullmatch(name):
                for where, sentences in by_place.items():
                    places.append(where)
                    for sentence in sentences:
                        heard[sentence].add(where)
        everywhere = [sentence for sentence, where in heard.items() if len(where) == len(set(places))]
        some = [f"in {min(where)}: {sentence}" for sentence, where in heard.items() if len(where) < len(set(places))]
        return "; ".join([*everywhere, *some[:1]])

    return said


_MAPPINGS = ("scenario.sensing", "scenario.features", "scenario.ground_stations.at", "scenario.environment.blocks")


def _compositions(root: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    if root == "mission":
        for name in _names(roots.CONSTELLATION):
            yield name, partial(composed, f"scenario={name}")
        # What is checked only where it is given.
        optional = ("planner.budget_s=1", "scenario.reward.rule='a:b'", "scenario.training_duration_s=[1,2]")
        yield "imaging_constellation", lambda: composed(*optional)
        yield "imaging_constellation", lambda: check_processors({NAME: ProcessorConfig("", 1.0, 1, 1.0, 1.0, "")})
        yield "imaging_constellation", lambda: missions.load(ScenarioConfig(features={NAME: "a:b"}))
    elif root == "game":
        games.register()
        for name in ("smac_3m", "mpe_spread"):  # one of each suite: all others are checked alike
            yield name, partial(_compose, "scenarios.games", "config", f"scenario={name}")
        suite, blocks = environment.Suite.pettingzoo, {"*": [{"name": "clock", "size": 1}]}
        named = {"_target_": "a.B"}
        yield "a game of your own", lambda: environment.EnvironmentConfig(suite, parallel_env=named, blocks=blocks)
        yield "a game of your own", lambda: games.GameRunConfig(variant="a")
    elif root == "launcher":
        yield "", lambda: RayLauncherConfig(num_cpus=4)
    else:
        name = {"fly": "onboard_sim", "quantise": "quantise"}[root]
        (onboard_sim if root == "fly" else quantise).register()
        more = ("deadline_ms=1",) if root == "fly" else ("out=OUT",)
        yield root, lambda: _compose("scenarios", name, "bundle=FOLDER", *more)


def _names(root: str) -> list[str]:
    return sorted(path.stem for path in (roots.FOLDERS[root] / "scenario").glob("*.yaml"))


def _compose(module: str, name: str, *overrides: str) -> Any:
    with initialize_config_module(module, version_base="1.3"):
        return missions.load(compose(name, list(overrides)))


# --- the page ---------------------------------------------------------------------------------------------------------


def markdown(root: str, within: str = "", level: int | str = 3) -> str:
    """The sections of a root as Markdown; ``within``: only those whose path begins so; ``level``: of their headings.

    Raises:
        KeyError: there is no such root, or no such section.
    """
    every = sections(root)
    shared = {section.path for section in sections("mission")} if root in ("fly", "quantise") else set()
    shown = [each for each in every if _inside(each.path, within) and each.path not in shared - {""}]
    if not shown:
        raise KeyError(f"no section {within} of {root}")
    return "\n\n".join(_section(each, int(level)) for each in shown if each.keys)


def _inside(path: str, within: str) -> bool:
    return not within or path == within or path.startswith(f"{within}.")


def _section(section: Section, level: int) -> str:
    lines = [f"{'#' * level} {f'`{section.path}`' if section.path else 'The run'}", ""]
    lines += [section.about, ""] if section.about else []
    lines += ["| key | default | allowed | unit | meaning |", "|---|---|---|---|---|"]
    for key in section.keys:
        cells = (f"`{key.path}`", key.default, key.allowed, key.unit, key.meaning)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)
