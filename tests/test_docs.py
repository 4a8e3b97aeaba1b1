"""Every command and snippet of docs/: Python is run, YAML is composed, commands are composed or named; README too."""

from __future__ import annotations

import contextlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_module

from kdmarl_sat.__main__ import MEASURES, VERBS
from kdmarl_sat.games import benchmark
from kdmarl_sat.missions.variations import TO, variations
from scenarios import onboard_sim, quantise, roots, schema
from scenarios.games import schema as games
from scenarios.roots import root_of
from tests.test_config import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = {"docs/extending.md": "my_parts", "docs/own_game.md": "my_games"}  # as the pages say that files are called
SLOW = ("docs/api.md",)  # pages whose Python flies
CONFIGS = {"run": "config", "fly": "onboard_sim", "quantise": "quantise"}
# Programs that are not ours; the pages say when they are needed.
FOREIGN = ("source", "export", "ray", "ls")


@dataclass(frozen=True)
class Block:
    """A fenced or indented block of a page."""

    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.text.strip().splitlines()[0][:40]}"


def blocks(path: Path) -> Iterator[Block]:
    page, text = str(path.relative_to(ROOT)), path.read_text()
    fenced = re.compile(r"^( *)(```+)(\w*)\n(.*?)^\1\2$", re.DOTALL | re.MULTILINE)
    for _, _, language, inside in fenced.findall(text):
        yield Block(page, language, inside)
    for inside in re.findall(r"(?:\n\n)((?: {4}\S.*\n(?: {4}.*\n)*)+)", fenced.sub("", text)):
        if re.match(r" {4}(kdmarl-sat|python|make|pip) ", inside):
            yield Block(page, "bash", re.sub(r"^ {4}", "", inside, flags=re.MULTILINE))


BLOCKS = [block for path in PAGES for block in blocks(path)]


def commands(block: Block) -> list[list[str]]:
    """The words of each command; of a console block the lines with a prompt."""
    text = block.text.replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


COMMANDS = [(b, w) for b in BLOCKS if b.language in ("bash", "console") for w in commands(b)]


def test_there_is_something_to_test() -> None:
    assert len(PAGES) > 25
    assert len(COMMANDS) > 40
    assert {block.language for block in BLOCKS} <= {"bash", "console", "python", "yaml", "", "text"}


@pytest.mark.parametrize(("block", "words"), COMMANDS, ids=lambda value: "" if isinstance(value, list) else str(value))
def test_a_command_exists_and_its_settings_compose(block: Block, words: list[str], tmp_path: Path) -> None:
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program, *rest = words
    if program == "make":
        assert rest[0] in re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
        if len(rest) > 1:
            composes("run", ["scenario=imaging_constellation", *shlex.split(rest[1].partition("=")[2])], None)
    elif program == "pip":
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(re.findall(r"\.\[(.*?)\]", " ".join(rest)) or [""]) <= {*known, ""}
    elif program == "python":
        assert rest[0] == "-m"
        if rest[1] == "kdmarl_sat.run":
            refused = pytest.raises(Exception) if "is not a known key" in block.text else contextlib.nullcontext()
            with refused:
                composes("run", rest[2:], own_files(block.page, tmp_path))
        else:
            assert (ROOT / f"{rest[1].replace('.', '/')}.py").exists(), words
    elif program == "build/rllib/bin/python":  # of an environment of its own
        assert (ROOT / rest[0]).exists()
    elif program == "kdmarl-sat":
        verb = rest[0] if rest else ""
        if verb == "measure":
            assert rest[1] in MEASURES
        elif verb == "transfer":
            asked = [word.removeprefix(TO) for word in rest if word.startswith(TO)]
            run = [word for word in rest[1:] if not word.startswith(TO)]
            for extra in variations(asked):
                composes("run", [*run, *extra], None)
        elif verb == "benchmark":
            benchmark._parser().parse_args(rest[1:])
        elif verb in CONFIGS:
            composes(verb, rest[1:], None)
        else:
            assert verb in (*VERBS, "VERB", "", "--help")
    else:
        assert program in FOREIGN, words


def own_files(page: str, folder: Path) -> Path:
    """A --config-dir with what the page tells to write; of a mission also what others build on."""
    for block in BLOCKS:
        if block.page == page and block.language == "yaml" and (name := yaml.safe_load(block.text).get("name")):
            (folder / "scenario").mkdir(exist_ok=True)
            (folder / "scenario" / f"{name}.yaml").write_text(block.text)
    return folder


def composes(verb: str, words: list[str], own: Path | None) -> Any:
    """The configuration that the command would start with, or what it refuses.

    Raises:
        Exception: what the command would say.
    """
    overrides, folder, rest = [], None, list(words)
    sweep = "-m" in rest
    while rest:
        word = rest.pop(0)
        if word == "--config-dir":
            given = ROOT / rest.pop(0)
            folder = given if given.is_dir() else own
        elif word not in ("-m", "--help") and not word.startswith("launcher="):
            key, _, value = word.partition("=")
            overrides.append(f"{key}={value.split(',')[0]}" if sweep and not value.startswith("[") else word)
    named = ["--config-dir", str(folder), *overrides] if folder else overrides
    root = root_of(named) if verb == "run" else roots.CONSTELLATION
    for each in (schema, onboard_sim, quantise, games):
        each.register()
    search = [f"hydra.searchpath=['file://{folder}']"] if folder else []
    if verb == "fly":
        for named_bundle in (o.partition("=")[2] for o in overrides if o.startswith(("bundle=", "shadow="))):
            assert (ROOT / named_bundle).exists() or "FOLDER" in named_bundle
        overrides = [o for o in overrides if not o.endswith("[ledger=FILE]") and o != "[ledger=FILE]"]
    with initialize_config_module(root.removeprefix("pkg://"), version_base="1.3"):
        return schema.load(compose(CONFIGS[verb], [*search, *overrides]))


def test_what_the_architecture_names_is_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = text[text.index("## Where the code is") : text.index("## Main types")]
    named = re.findall(r"`([a-z_]+(?:/[A-Za-z_.]+)*)`", table)
    places = [name for name in named if "/" in name or (ROOT / name).exists()]
    assert len(places) > 40
    assert [name for name in places if not (ROOT / name).exists()] == []


# --- snippets ---------------------------------------------------------------------------------------------------------

PYTHON = [block for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize(
    "block",
    [pytest.param(b, marks=pytest.mark.slow if b.page in SLOW else ()) for b in PYTHON],
    ids=str,
)
def test_a_python_snippet_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, block.page, "exec"), {"__name__": MODULES.get(block.page, "snippet")})


YAML = [block for block in BLOCKS if block.language == "yaml"]


@pytest.mark.parametrize("block", YAML, ids=str)
def test_a_yaml_snippet_composes(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load(block.text)
    package = re.match(r"# @package processors\.(\w+)", block.text)
    if package:
        (tmp_path / "board").mkdir()
        (tmp_path / "board" / "mine.yaml").write_text(block.text)
        made = composes("run", ["--config-dir", "X", "board=mine", f"budget.processor={package[1]}"], tmp_path)
        assert made.processors[package[1]].core == content["core"]
        return
    monkeypatch.syspath_prepend(tmp_path)
    made = composes("run", ["--config-dir", "X", f"scenario={content['name']}"], own_files(block.page, tmp_path))
    assert made.scenario.name == content["name"]
