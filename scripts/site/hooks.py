"""What mkdocs calls while it builds the site (``hooks`` of mkdocs.yml).

- ``<!-- made: WHAT ARGUMENTS -->`` in a page is replaced by what ``MAKERS`` makes: tables, figures, configuration keys.
- Links to files of the project that are no pages lead to copies of them (``outside``).
- Formulas become pictures (``formulas``): no script, no font.
- Links to other sites become text with their address: the site needs no network.
"""

from __future__ import annotations

import html
import io
import json
import logging
import posixpath
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from matplotlib.figure import Figure
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts.site import formulas, keys, notebook, outside, results
from scripts.site.commands import commands

log = logging.getLogger("mkdocs.hooks.kdmarl_sat")

DOCS = "docs"
NOTEBOOK = "notebook.ipynb"
SHIM = "https://unpkg.com/iframe-worker/shim"  # what the theme would load for the search; docs/iframe-worker.js is it
_MARK = re.compile(r"^<!-- made: (.+?) -->$", re.MULTILINE)
_EXTERNAL = re.compile(r'<a\b[^>]*?href="((?:https?:)?//[^"]+)"[^>]*>(.*?)</a>', re.DOTALL)
_LOADED = re.compile(r"""(?:src|href|data-src|srcset|action)=["']?((?:https?:)?//[^"' >]+)""")
_figures: dict[str, bytes] = {}


def _figure(name: str, text: str, figure: Figure) -> str:
    """A picture in the page, whose file is written at the end of the build."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    _figures[f"made/{name}.svg"] = buffer.getvalue()
    return f'<img class="figure" alt="{html.escape(text)}" src="MADE/{name}.svg">'


def _scores(name: str) -> str:
    return _figure(f"scores-{name}", f"captured priority of every policy in {name}", results.mission_scores(name))


def _mission(name: str) -> str:
    curves = _figure(f"curves-{name}", f"learning curves of {name}", results.mission_curves(name))
    return f"{_scores(name)}\n\n{results.mission(name)}\n\n### Learning curves\n\n{curves}\n"


def _costs() -> str:
    return _figure("costs", "captured priority against CPU-seconds of training", results.mission_costs())


def _curves(page: str) -> str:
    drawn = results.method_curves(page).items()
    shown = [_figure(f"{page}-{game}", f"learning curves on {game}", figure) for game, figure in drawn]
    return "\n\n".join(shown) or "There is no learning curve to show."


MAKERS: dict[str, Callable[..., str]] = {
    "keys": keys.markdown,
    "commands": commands,
    "missions": results.missions,
    "games": results.games,
    "mission": _mission,
    "scores": _scores,
    "costs": _costs,
    "stages": results.stages,
    "aeos": results.aeos,
    "labels": results.labels,
    "method": results.method,
    "curves": _curves,
}


def made(what: str) -> str:
    """What stands in a page in place of a mark.

    Raises:
        KeyError: nobody makes that.
    """
    name, *arguments = what.split()
    return MAKERS[name](*arguments)


# --- mkdocs -----------------------------------------------------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The notebook as a page, and what pages link to outside docs/."""
    _figures.clear()
    folder = Path(config.docs_dir)
    content = json.loads((folder / NOTEBOOK).read_text())
    text, pictures = notebook.page(content)
    files.append(File.generated(config, "notebook.md", content=text))
    for name, data in pictures.items():
        files.append(File.generated(config, f"made/{name}", content=data))
    pages = [(f"{DOCS}/{path.relative_to(folder)}", path.read_text()) for path in sorted(folder.rglob("*.md"))]
    found, dead = outside.needed(pages)
    for sentence in dead:
        log.warning(sentence)
    for path in found:
        shown, address = outside.page(path), outside.address(path)
        if shown is not None:
            files.append(File.generated(config, address, content=shown))
        else:
            files.append(File.generated(config, address, abs_src_path=str(outside.ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Marks filled, links to the project's files redirected, formulas set aside."""
    here = page.file.src_uri
    up = posixpath.relpath(".", posixpath.dirname(here) or ".")
    try:
        text = _MARK.sub(lambda mark: made(mark[1]), markdown).replace("MADE/", f"{up}/made/")
    except (KeyError, TypeError) as error:
        log.warning("%s: a mark that nothing is made of: %s", here, error)
        return markdown
    if here.startswith(f"{outside.FOLDER}/") and not here.endswith(".md.md"):
        origin = here.removeprefix(f"{outside.FOLDER}/")
        if not (outside.ROOT / origin).is_file():
            return text  # code or a folder
    else:
        origin = f"{DOCS}/{here}"

    def redirected(target: str) -> str:
        path = outside.resolved(origin, target)
        if path is None:
            return target
        anchor = target.partition("#")[1] + target.partition("#")[2]
        inside = _inside(path, files)
        return posixpath.relpath(inside, posixpath.dirname(here) or ".") + anchor if inside else target

    pictures: dict[str, bytes] = {}
    shown = formulas.drawn(outside.rewritten(text, redirected), pictures, f"{up}/made/")
    _figures.update({f"made/{name}": data for name, data in pictures.items()})
    return shown


def _inside(path: PurePosixPath, files: Files) -> str | None:
    """Where a file of the repository stands in the site."""
    own = str(path).removeprefix(f"{DOCS}/")
    places = [own] if str(path).startswith(f"{DOCS}/") else []
    if own == NOTEBOOK:
        places = ["notebook.md"]
    return next((place for place in (*places, outside.address(path)) if files.get_file_from_path(place)), None)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """No link to another site: its address stands beside its name."""

    def told(link: re.Match[str]) -> str:
        address = re.sub(r"^(https?:)?//", "", link[1]).rstrip("/")
        text = link[2]
        return text if address in text else f'{text} <small class="address">({html.escape(address)})</small>'

    up = posixpath.relpath(".", posixpath.dirname(page.file.src_uri) or ".")
    whole = _EXTERNAL.sub(told, output).replace(SHIM, f"{up}/iframe-worker.js")
    for address in _LOADED.findall(whole):
        log.warning("%s loads %s: the site must work without a network", page.file.src_uri, address)
    return whole


def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """The figures that pages show."""
    for name, data in _figures.items():
        path = Path(config.site_dir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
