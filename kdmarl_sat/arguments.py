"""Settings of commands that have no configuration: KEY=VALUE as everywhere, refused in one sentence if wrong.

``--key VALUE`` is understood too.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from scenarios.messages import unknown_key
from scenarios.ranges import cut, sentence

_OWN = re.compile(r"argument [^:]*: (?=\S+=)")  # argparse's name of a flag before a sentence that names it itself
_CHOICE = re.compile(r"argument (?:--)?(?P<key>[\w-]+): invalid choice: (?P<value>.*) \(choose from (?P<known>.*)\)")
_MISSING = "the following arguments are required: "
_KEY = re.compile(r"(?P<key>[A-Za-z_][\w-]*)=(?P<value>.*)", re.DOTALL)


class Help(argparse.RawDescriptionHelpFormatter):
    """Options as one types them: ``episodes=N`` in place of ``--episodes N``."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.dest in ("help", "config_dir"):
            return super()._format_action_invocation(action)
        default = "" if action.default in (None, [], argparse.SUPPRESS) else f" ({_shown(action.default)})"
        return f"{action.dest}=...{default}"

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        named = [action for action in actions if not action.option_strings]
        places = [action.metavar or action.dest.upper() for action in named if action.dest != "overrides"]
        words = " ".join(["%(prog)s", *map(str, places), "[KEY=VALUE ...]"])
        super().add_usage(usage or words, actions, groups, prefix)


class Parser(argparse.ArgumentParser):
    """Reads KEY=VALUE; refuses in one sentence, without the list of flags above it that argparse prints."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": Help, "allow_abbrev": False, **settings})

    def take_overrides(self, text: str) -> None:
        """Keys of a run beside the options, and ``--config-dir``."""
        self.add_argument("overrides", nargs="*", help=text)
        self.add_argument("--config-dir", "-cd", type=Path, metavar="FOLDER", help="as for kdmarl-sat run")

    def error(self, message: str) -> NoReturn:
        if chosen := _CHOICE.fullmatch(message):
            known = chosen["known"].replace("'", "")  # which some versions of Python quote
            message = f"{chosen['key']}={cut(chosen['value'])} is not allowed: it must be one of {known}"
        if message.startswith(_MISSING):
            message = self._missing(message.removeprefix(_MISSING).split(", "))
        print(f"{self.prog}: {sentence(_OWN.sub('', message))}", file=sys.stderr)
        sys.exit(2)

    def _missing(self, names: Sequence[str]) -> str:
        """The sentence for what must be given and is not, as one types it: KEY=VALUE, or FOLDER that stands alone."""
        keys = [name.removeprefix("--").replace("-", "_") for name in names]
        words = [f"{key}=VALUE" if key != name else key.upper() for name, key in zip(names, keys, strict=True)]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and {action.dest, action.metavar} & {*names}:
                return f"command is not set: it must be one of {', '.join(action.choices)}"
        verb, subject = ("is", "it") if len(keys) == 1 else ("are", "they")
        return f"{' and '.join(keys)} {verb} not set: {subject} must be given, as {' '.join(words)}"

    def parse_args(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]
        return super().parse_args(self._flags(sys.argv[1:] if arguments is None else arguments))

    def parse_intermixed_args(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]
        return super().parse_intermixed_args(self._flags(sys.argv[1:] if arguments is None else arguments))

    def _flags(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with every KEY=VALUE of an option as argparse has it, behind the others."""
        known, free = self._options(arguments)
        kept: list[str] = []
        flags: list[str] = []
        for argument in arguments:
            found = _KEY.fullmatch(argument)
            key = found["key"].replace("-", "_") if found else ""
            if found is None or (key not in known and free):
                kept.append(argument)
            elif key in known:
                flags += self._as_flags(known[key], found["value"])
            else:
                self.error(unknown_key(found["key"], known))
        return [*kept, *flags]

    def _as_flags(self, action: argparse.Action, value: str) -> list[str]:
        flag = action.option_strings[0]
        if action.nargs == 0:
            if value.lower() not in ("true", "false"):
                self.error(f"{action.dest}={cut(value) or repr(value)} is not allowed: it must be true or false")
            return [flag] if value.lower() == "true" else []
        if action.nargs == "+":
            listed = value[1:-1] if value.startswith("[") and value.endswith("]") else value
            return [flag, *(part.strip() for part in listed.split(","))]
        return [f"{flag}={value}"]

    def _options(self, arguments: Sequence[str]) -> tuple[dict[str, argparse.Action], bool]:
        """Options by name, a subcommand's too, and whether other keys are allowed: overrides of a run."""
        actions = list(self._actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                chosen = next((each for each in arguments if each in action.choices), None)
                actions += action.choices[chosen]._actions if chosen is not None else []
        options = {each.dest: each for each in actions if each.option_strings and each.dest != "help"}
        return options, any(each.dest == "overrides" for each in actions)


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)


def whole(name: str, least: int, most: int = 10**12) -> Callable[[str], Any]:
    """An option's type: a whole number within a range, refused by name otherwise."""

    def read(text: str) -> int:
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else None
        if number is not None and least <= number <= most:
            return number
        if number is None:
            allowed = f"a whole number, at least {least}"
        else:
            allowed = f"at least {least}" if number < least else f"at most {most}"
        raise argparse.ArgumentTypeError(f"{name}={cut(text) or repr(text)} is not allowed: it must be {allowed}")

    return read
