"""The outputs on docs/first_run.md: ``python -m scripts.site.first_run`` runs its commands and writes what they print.

Between ``<!-- output -->`` and ``<!-- end of output -->`` stands a block whose first line is ``$ COMMAND``. Commands
run in one new folder that holds a link to results/, as a reader would run them in the project.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from envs.files import write_whole
from scripts.site.outside import ROOT

PAGE = ROOT / "docs" / "first_run.md"
PICTURES = ("captured-priority", "timeline-teacher-fo")  # of the run, in docs/images/first_run
BLOCK = re.compile(r"(<!-- output -->\n```console\n\$ )(.+?)\n(.*?)(```\n<!-- end of output -->)", re.DOTALL)
_COLUMNS = 100


def printed(command: str, folder: Path) -> str:
    """What a command prints, errors included; the folder's own path is left out."""
    words = shlex.split(command)
    program = {"kdmarl-sat": ["-m", "kdmarl_sat"], "python": []}.get(words[0])
    arguments = words if program is None else [sys.executable, *program, *words[1:]]
    if words[0] == "ls":
        arguments = ["bash", "-c", command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(_COLUMNS), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    lines = [line.rstrip() for line in done.stdout.replace(f"{folder}/", "").splitlines()]
    return "\n".join(lines).strip("\n").replace(f"{sys.executable} -m kdmarl_sat", "kdmarl-sat")


def remade(page: str, folder: Path) -> str:
    """The page with the output of each of its commands."""
    return BLOCK.sub(lambda found: f"{found[1]}{found[2]}\n{printed(found[2], folder)}\n{found[4]}", page)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "results").symlink_to(ROOT / "results")
        text = remade(PAGE.read_text(), folder)
        [run] = [each.parent for each in folder.glob("outputs/*/report.html")]
        pictures = ROOT / "docs/images/first_run"
        pictures.mkdir(parents=True, exist_ok=True)
        for each in PICTURES:
            shutil.copyfile(run / f"{each}.png", pictures / f"{each}.png")
        write_whole(PAGE, text.encode())


if __name__ == "__main__":
    main()
