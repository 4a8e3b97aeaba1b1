"""Common code of all commands: composes the configuration by Hydra, and prints user errors as one sentence."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from envs.workers import is_ours
from kdmarl_sat.streams import give_up_output, prepare
from scenarios import onboard_sim, quantise, roots
from scenarios import schema as run_schema
from scenarios.check import Stopped
from scenarios.folders import leave_no_empty_ones
from scenarios.games import schema as game_schema
from scenarios.messages import COMPOSITION_ERRORS, explain, not_composed
from scenarios.overrides import check_overrides, overrides_in
from scenarios.own_files import check_files
from scenarios.ranges import ConfigError, sentence
from scenarios.schema import load


def command(
    name: str,
    config_name: str,
    schema: type,
    work: Callable[[Any, Path], object],
    root: str = roots.CONSTELLATION,
    resumable: bool = False,
    games: bool = False,
) -> None:
    """Compose the configuration from the command line, check it, and call ``work(config, folder)``.

    ``schema``: the dataclass that the root declares; ``root``: of ``scenarios.roots``; ``resumable``, ``games``: of
    ``sentences``.

    Ends the program with a sentence where the user can mend what is wrong; whole errors with HYDRA_FULL_ERROR=1.
    """
    composing = True

    @hydra.main(version_base="1.3", config_path=root, config_name=config_name)
    def composed(cfg: DictConfig) -> None:
        nonlocal composing
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            config = load(cfg)
            composing = False
            work(config, folder)
        except Exception as error:
            if verdict(error):
                raise Stopped from error
            raise
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only where the run left nothing in it

    whole = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves errors to us
    for each in (run_schema, onboard_sim, quantise, game_schema):
        each.register()
    # Hydra's parser takes overrides on one side of a flag only; -m may stand anywhere.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda argument: argument not in ("-m", "--multirun"))
    with sentences(name, resumable, whole, games):
        check_overrides(overrides_in(sys.argv[1:]), schema)
        check_files(sys.argv[1:], roots.FOLDERS[root])
        try:
            composed()
        except (Stopped, Exception) as error:
            leave_no_empty_ones()
            cause = error.__cause__ if isinstance(error, Stopped) else error
            elsewhere = type(cause).__module__.startswith("ray")  # a job of a sweep failed, not the composing
            if composing and not elsewhere and cause is not None and verdict(cause) is None:
                raise not_composed(cause) from cause
            raise


@contextlib.contextmanager
def sentences(name: str, resumable: bool = False, whole: bool = False, games: bool = False) -> Iterator[None]:
    """End the program with one sentence if the user can correct the error.

    Args:
        name: of the program.
        resumable: an interrupted run goes on where it stopped.
        whole: let errors pass as they are.
        games: it takes games as well as missions.
    """
    prepare()
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        code, said = 130, "interrupted" + ": the same command again goes on from where it stopped" * resumable
    except (Stopped, Exception) as caught:
        known = verdict(caught.__cause__ if isinstance(caught, Stopped) else caught, games)
        if whole or known is None:
            raise
        code, said = known
    else:
        return
    give_up_output()
    print(f"{name}: {said}", file=sys.stderr)
    sys.exit(code)


def verdict(error: BaseException | None, games: bool = False) -> tuple[int, str] | None:
    """Exit code (2: the configuration; 1: anything else) and sentence of an error meant for the user, or None.

    ``games``: of ``sentences``.
    """
    if isinstance(error, COMPOSITION_ERRORS):
        return 2, sentence(explain(error, games))
    if is_ours(error):
        return 2 if isinstance(error, ConfigError) else 1, sentence(str(error))
    if isinstance(error, OSError):
        return 1, sentence(": ".join(str(part) for part in (error.strerror or error, error.filename) if part))
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error)):
        return 1, sentence(f"this machine has not enough memory for it: {error}")
    return None
