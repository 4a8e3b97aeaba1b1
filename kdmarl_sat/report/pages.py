"""Pages that hold generated parts between markers."""

from __future__ import annotations


def inserted(page: str, text: str, begin: str, end: str) -> str:
    """The page with ``text`` between the two markers, each of which it holds once.

    Raises:
        ValueError: it does not.
    """
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}{end}{after}"
