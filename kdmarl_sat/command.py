"""What our commands have in common: Hydra at the door, and errors that the user can mend as one sentence."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from envs.workers import is_ours
from scenarios import onboard_sim, quantise, roots, schema
from scenarios.check import Stopped
from scenarios.games import schema as games
from scenarios.messages import COMPOSITION_ERRORS, explain
from scenarios.ranges import ConfigError
from scenarios.schema import load


def command(name: str, config_name: str, work: Callable[[Any, Path], object], root: str = roots.CONSTELLATION) -> None:
    """Compose the configuration from the command line, check it, and call ``work(config, folder)``.

    ``root``: of ``scenarios.roots``.

    Ends the program with a sentence where the user can mend what is wrong; whole errors with HYDRA_FULL_ERROR=1.
    """

    @hydra.main(version_base="1.3", config_path=root, config_name=config_name)
    def composed(cfg: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            work(load(cfg), folder)
        except Exception as error:
            if verdict(error):
                raise Stopped from error
            raise
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only where the run left nothing in it

    whole = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves errors to us
    schema.register()
    onboard_sim.register()
    quantise.register()
    games.register()
    # Hydra's parser takes overrides on one side of a flag only; -m may stand anywhere.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda argument: argument not in ("-m", "--multirun"))
    with sentences(name, resumable=True, whole=whole):
        check_groups(sys.argv[1:])
        composed()


def check_groups(arguments: Sequence[str]) -> None:
    """Hydra has no sentence of its own for a number where a group's option belongs.

    Raises:
        ConfigError: there is one.
    """
    for argument in arguments:
        if found := re.fullmatch(r"(scenario|preset|workers|launcher|board)=([-+.\d][-+.,\de]*)", argument):
            how_many = "; how many there are is compute.workers" if found[1] == "workers" else ""
            raise ConfigError(f"{argument} is not allowed: it must be a name, see --help{how_many}")


@contextlib.contextmanager
def sentences(name: str, resumable: bool = False, whole: bool = False) -> Iterator[None]:
    """Ends the program with a sentence where the user can mend what is wrong.

    Args:
        name: of the program.
        resumable: an interrupted run goes on where it stopped.
        whole: let errors pass as they are.
    """
    try:
        yield
    except KeyboardInterrupt:
        code, sentence = 130, "interrupted" + ": the same command again goes on from where it stopped" * resumable
    except (Stopped, Exception) as caught:
        known = verdict(caught.__cause__ if isinstance(caught, Stopped) else caught)
        if whole or known is None:
            raise
        code, sentence = known
    else:
        return
    print(f"{name}: {sentence}", file=sys.stderr)
    sys.exit(code)


def verdict(error: BaseException | None) -> tuple[int, str] | None:
    """Exit code (2: the configuration; 1: anything else) and sentence of an error meant for the user, or None."""
    if isinstance(error, COMPOSITION_ERRORS):
        return 2, explain(error)
    if is_ours(error):
        return 2 if isinstance(error, ConfigError) else 1, " ".join(str(error).split())
    if isinstance(error, OSError):
        return 1, ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
    return None
