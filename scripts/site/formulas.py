"""Formulas as pictures: ``$$`` ... ``$$`` and ``$` `` ... `` `$`` (as GitHub has them), drawn by matplotlib's mathtext.

So a page needs no script and no font of formulas. What mathtext lacks is replaced by what it has.
"""

from __future__ import annotations

import hashlib
import html
import io
import re

from matplotlib import rc_context
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser, math_to_image

_DISPLAY, _INLINE = re.compile(r"\$\$(.+?)\$\$", re.DOTALL), re.compile(r"\$`([^`]+)`\$")
_SIZE_PT, _EM_PT = 12.0, 10.5  # as drawn; what of that is one em of the page
_INSTEAD = {r"\dots": r"\ldots", r"\parallel": r"\Vert", r"\arg\max": r"\mathrm{arg\,max}", r"\ge ": r"\geq "}


def drawn(text: str, pictures: dict[str, bytes], place: str) -> str:
    """The page with its formulas as pictures.

    Args:
        text: Markdown.
        pictures: gets each picture, by file name.
        place: where the pages finds them, ending in a slash.

    Raises:
        ValueError: a formula that cannot be drawn.
    """

    def one(formula: str, more: str) -> str:
        name, depth_em = _picture(formula, pictures)
        said = html.escape(" ".join(formula.split()), quote=True)
        style = f' style="vertical-align: {-depth_em:.3f}em"' if not more else ""
        return f'<img class="formula{more}" alt="{_quiet(said)}" src="{place}{name}"{style}>'

    shown = _DISPLAY.sub(lambda found: one(found[1], " display"), text)
    return _INLINE.sub(lambda found: one(found[1], ""), shown)


def _quiet(text: str) -> str:
    """Without what Markdown would take for its own."""
    return re.sub(r"[*_`\\\[\]]", lambda mark: f"&#{ord(mark[0])};", text)


def _picture(formula: str, pictures: dict[str, bytes]) -> tuple[str, float]:
    """File name, and how far the picture reaches below the line, em."""
    tex = " ".join(formula.split())
    for missing, instead in _INSTEAD.items():
        tex = tex.replace(missing, instead)
    name = f"formula-{hashlib.sha256(tex.encode()).hexdigest()[:12]}.svg"
    with rc_context({"mathtext.fontset": "stix"}):
        buffer, font = io.BytesIO(), FontProperties(size=_SIZE_PT)
        math_to_image(f"${tex}$", buffer, prop=font, dpi=72, format="svg")
        depth_pt = MathTextParser("path").parse(f"${tex}$", dpi=72, prop=font)[2]
    pictures[name] = _scalable(buffer.getvalue())
    return name, depth_pt / _EM_PT


def _scalable(svg: bytes) -> bytes:
    """Of a height in em, so that it goes with the page's letters; without the date."""
    text = re.sub(r"<metadata>.*?</metadata>", "", svg.decode(), flags=re.DOTALL)

    def in_em(found: re.Match[str]) -> str:
        return f'{found[1]}="{float(found[2]) / _EM_PT:.3f}em"'

    return re.sub(r'(?<=svg )?\b(width|height)="([\d.]+)pt"', in_em, text).encode()
