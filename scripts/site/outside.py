"""Files of the project that pages link to, but that are no pages: they become pages, or copies, under ``source/``.

So links in docs/*.md are those that a reader of the repository follows, and a site without a network has them too. A
link that leads nowhere is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
FOLDER = "source"
# A link or a picture, or else a span of code, in which there are none.
_LINK = re.compile(r"(?P<before>!?\[(?:[^\]\[]|\[[^\]]*\])*\]\()(?P<target>[^)\s]+)\)|`+[^`]*`+")
_FENCE = re.compile(r"^\s*(```|~~~)")
_LANGUAGES = {
    **{".py": "python", ".yaml": "yaml", ".yml": "yaml", ".c": "c", ".h": "c", ".toml": "toml", ".sh": "bash"},
    **{".txt": "text", ".cmake": "cmake", "": "text"},
}


def links(text: str) -> list[str]:
    """Targets of a page's links and pictures, those in code left out."""
    found: list[str] = []

    def noted(target: str) -> str:
        found.append(target)
        return target

    rewritten(text, noted)
    return found


def rewritten(text: str, new: Callable[[str], str]) -> str:
    """The page with each link's target replaced; code stays as it is."""

    def replaced(found: re.Match[str]) -> str:
        return found[0] if found["target"] is None else f"{found['before']}{new(found['target'])})"

    lines, fence = [], ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1] == fence:
            fence = ""
        elif not fence:
            line = _LINK.sub(replaced, line)
        lines.append(line)
    return "\n".join(lines)


def is_external(target: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]*:|//", target) is not None


def resolved(page: str, target: str) -> PurePosixPath | None:
    """The path in the repository that a page's link names; None for another site, for an anchor, and above the root.

    Args:
        page: path of the page in the repository, for instance ``docs/missions.md``.
        target: as it stands in the link.
    """
    place = target.partition("#")[0]
    if is_external(target) or not place:
        return None
    parts: list[str] = []
    for part in (PurePosixPath(page).parent / place).parts:
        if part != "..":
            parts.append(part)
        elif not parts:
            return None
        else:
            parts.pop()
    return PurePosixPath(*parts)


def address(path: PurePosixPath) -> str:
    """Where a file or folder of the repository stands among the site's sources."""
    if (ROOT / path).is_dir() or path.suffix in _LANGUAGES:
        return f"{FOLDER}/{path}.md"
    return f"{FOLDER}/{path}"


def page(path: PurePosixPath) -> str | None:
    """A text file or a folder as a page; None where it is copied as it is."""
    whole = ROOT / path
    if whole.is_dir():
        names = sorted(f"{each.name}/" if each.is_dir() else each.name for each in whole.iterdir())
        shown = [name for name in names if not name.startswith((".", "__"))]
        return "\n".join([f"# {path}/", "", "A folder of the project:", "", *(f"- `{name}`" for name in shown), ""])
    if path.suffix in _LANGUAGES:
        return f"# {path}\n\n````{_LANGUAGES[path.suffix]}\n{whole.read_text()}\n````\n"
    return None


def needed(pages: Iterable[tuple[str, str]], docs: str = "docs") -> tuple[dict[PurePosixPath, str], list[str]]:
    """The files that must be in the site because pages link to them, and those files' own links, and so on.

    Args:
        pages: path in the repository and text of each page.
        docs: the folder whose files are in the site anyway.

    Returns:
        Each file's path in the repository and the path of the page that names it first; and a sentence per dead link.
    """
    found: dict[PurePosixPath, str] = {}
    dead: list[str] = []
    todo = list(pages)
    while todo:
        name, text = todo.pop()
        for target in links(text):
            path = resolved(name, target)
            if path is None:
                continue
            whole = ROOT / path
            if not whole.exists():
                dead.append(f"{name} links to {target}, and there is no {path}")
            elif path not in found and (path.parts[0] != docs or whole.is_dir()):
                found[path] = name
                if path.suffix == ".md":
                    todo.append((str(path), whole.read_text()))
    return found, dead
