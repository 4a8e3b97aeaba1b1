"""``index.html`` of an output folder: every run that is there, newest first, with its key figures and a picture."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from envs.files import read_json, write_json, write_whole

ENTRY = "index_entry.json"
PAGE = "index.html"


@dataclass(frozen=True, slots=True)
class Entry:
    """A run as the index shows it."""

    title: str  # mission or game, preset or budget
    seed: int
    date: str  # ISO 8601
    page: str  # of the report, relative to the run's folder
    picture: str | None  # likewise
    figures: Mapping[str, str]  # what one wants to know first: name, and value as shown


def enter(entry: Entry, folder: Path, outputs: Path) -> Path | None:
    """Put a run into the index of all runs in ``outputs``; the index's path, None if the run is not in there.

    Runs of a sweep may do this at the same time: each reads what the others have written, and the last one lists all.
    """
    write_json(folder / ENTRY, asdict(entry))
    if outputs.resolve() not in folder.resolve().parents:
        return None
    return write_whole(outputs / PAGE, page(_entries(outputs)).encode())


def _entries(outputs: Path) -> list[tuple[Path, Entry]]:
    """Runs and the jobs of sweeps, their folders relative to ``outputs``, newest first; what is damaged is left out."""
    found = []
    for path in [*outputs.glob(f"*/{ENTRY}"), *outputs.glob(f"*/*/{ENTRY}")]:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OSError):
            found.append((path.parent.relative_to(outputs), _read(path)))
    return sorted(found, key=lambda each: (each[1].date, str(each[0])), reverse=True)


def _read(path: Path) -> Entry:
    """An entry, as text throughout; whatever is wrong with it raises."""
    content = read_json(path)
    figures = {str(name): str(value) for name, value in content["figures"].items()}
    picture = None if content["picture"] is None else str(content["picture"])
    title, date, page = (str(content[name]) for name in ("title", "date", "page"))
    return Entry(title, int(content["seed"]), date, page, picture, figures)


def page(entries: Sequence[tuple[Path, Entry]]) -> str:
    """The page: one card for each run."""
    cards = "\n".join(_card(folder, entry) for folder, entry in entries)
    count = f"{len(entries)} run{'s' * (len(entries) != 1)}"
    return _PAGE.format(count=count, cards=cards)


def _card(folder: Path, entry: Entry) -> str:
    link = quote(f"{folder.as_posix()}/{entry.page}")
    escaped = [(html.escape(name), html.escape(value)) for name, value in entry.figures.items()]
    shown = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in escaped)
    picture = ""
    if entry.picture is not None:
        place = quote(f"{folder.as_posix()}/{entry.picture}")
        picture = f'<a href="{link}"><img src="{place}" alt="" loading="lazy"></a>'
    return (
        f'<article><h2><a href="{link}">{html.escape(entry.title)}</a></h2>'
        f"<p>seed {entry.seed}, {html.escape(entry.date)}, {html.escape(folder.as_posix())}</p>"
        f"<dl>{shown}</dl>{picture}</article>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>kdmarl_sat: runs</title>
<style>
:root {{ color-scheme: light dark; --ink: #1c2129; --muted: #5d6673; --grid: #dde2e9; --surface: #fff;
  --page: #f5f6f8; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e7eaee; --muted: #a0a9b5; --grid: #343b45; --surface: #1a1e24; --page: #121519; }}
}}
body {{ margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }}
article {{ background: var(--surface); border: 1px solid var(--grid); border-radius: .6rem; padding: 1rem; }}
h2 {{ font-size: 1.1rem; margin: 0; overflow-wrap: anywhere; }}
a {{ color: inherit; }}
p {{ color: var(--muted); font-size: .85rem; margin: .2rem 0 .6rem; overflow-wrap: anywhere; }}
dl {{ display: grid; grid-template-columns: 1fr auto; gap: .1rem 1rem; margin: 0 0 .6rem; font-size: .9rem; }}
dd {{ margin: 0; text-align: right; font-variant-numeric: tabular-nums; }}
img {{ width: 100%; background: #fff; border-radius: .3rem; }}
</style>
</head>
<body>
<h1>{count}</h1>
<main>
{cards}
</main>
</body>
</html>
"""
