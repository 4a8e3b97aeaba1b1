"""Figures as PNG files and as SVG that lives inside a page and follows its colours."""

from __future__ import annotations

import html
import io
import re

import matplotlib
from matplotlib.figure import Figure

from kdmarl_sat.report.style import DPI, NEUTRALS

_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def png(figure: Figure) -> bytes:
    """The figure as a PNG file; its layout stands from then on."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    figure.set_layout_engine("none")  # or drawing it again would solve the layout again
    return buffer.getvalue()


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an <svg> element of an HTML page.

    Neutral colours become the page's CSS variables, so the figure turns dark with it; identifiers start with ``name``
    (letters, digits, hyphens), so that several figures share a page. ``description`` is for screen readers.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "kdmarl_sat", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    svg = buffer.getvalue()
    view_box = re.search(r'viewBox="([^"]+)"', svg)
    assert view_box is not None
    body = svg[svg.index(">", view_box.end()) + 1 :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    for colour, variable in NEUTRALS.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r"\s*\n\s*", " ", body)
    return f'<svg viewBox="{view_box[1]}" role="img" aria-label="{html.escape(description)}">{body}'
