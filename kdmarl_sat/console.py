"""What the user sees while a run goes on: one line per stage, with the time left."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

FILE_COLUMNS = 160  # of a file or a pipe: tables are not cut


def plain_console() -> RichConsole:
    """What commands print with: a terminal's width, or enough for a table; COLUMNS says otherwise."""
    width = None if "COLUMNS" in os.environ or sys.stdout.isatty() else FILE_COLUMNS
    return RichConsole(highlight=False, width=width)


class Console:
    """Progress bars with ETA on a terminal; elsewhere (a log file) a line at each quarter of a stage and at its end."""

    def __init__(self) -> None:
        self._rich = plain_console()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TextColumn("{task.fields[saying]:<36}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._rich,
            transient=True,
        )
        self.stage_s: dict[str, float] = {}

    def __enter__(self) -> Console:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float, str], None]]:
        """A stage's bar; call the result with the share done and something to say."""
        start = time.monotonic()
        task = self._progress.add_task(name, total=1.0, saying="")
        saying, quarter = "", 0

        def tell(share: float, text: str) -> None:
            nonlocal saying, quarter
            saying = text
            self._progress.update(task, completed=share, saying=text)
            if not self._rich.is_terminal and quarter < int(4 * share) < 4:
                quarter = int(4 * share)
                self.say(f"{name:<28} {time.monotonic() - start:7.1f} s  {share:.0%}: {text}")

        try:
            yield tell
        finally:
            self._progress.remove_task(task)
        self.stage_s[name] = round(time.monotonic() - start, 1)
        self.say(f"{name:<28} {self.stage_s[name]:7.1f} s  {saying}")

    def say(self, text: str) -> None:
        self._rich.print(text, markup=False, soft_wrap=True)
        self._rich.file.flush()

    def show(self, renderable: RenderableType) -> None:
        self._rich.print(renderable)
