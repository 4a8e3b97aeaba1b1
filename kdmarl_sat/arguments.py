"""Flags of commands that have no configuration: what is wrong with one is said in one sentence, before any compute."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from scenarios.ranges import cut, sentence

_OWN = re.compile(r"argument [^:]*: (?=-)")  # argparse's name of a flag before a sentence that names it itself


class Parser(argparse.ArgumentParser):
    """Refuses in one sentence, without the list of flags above it that argparse prints."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {sentence(_OWN.sub('', message))}", file=sys.stderr)
        sys.exit(2)


def whole(flag: str, least: int, most: int = 10**12) -> Callable[[str], Any]:
    """An argument's type: a whole number within a range, refused by name otherwise."""

    def read(text: str) -> int:
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else None
        if number is not None and least <= number <= most:
            return number
        if number is None:
            allowed = f"a whole number, at least {least}"
        else:
            allowed = f"at least {least}" if number < least else f"at most {most}"
        raise argparse.ArgumentTypeError(f"{flag}={cut(text) or repr(text)} is not allowed: it must be {allowed}")

    return read
