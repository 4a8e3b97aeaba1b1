"""Processes that end when the process that started them has ended or was killed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Sequence

_LOOK_S = 0.25


def leave_with_parent() -> None:
    """In a process of ``multiprocessing``: be killed once its parent is gone, whatever it is at by then.

    A thread looks, for the signal that Linux could send comes already when the parent's starting thread ends.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_leave_without, args=(parent.pid,), daemon=True).start()


def tethered(command: Sequence[str]) -> list[str]:
    """A command whose process is killed as soon as the thread that starts it is gone, where the system has the means
    (``setpriv`` of Linux); the process keeps its number."""
    means = shutil.which("setpriv")
    return [means, "--pdeathsig", "KILL", *command] if means else list(command)


def _leave_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)
