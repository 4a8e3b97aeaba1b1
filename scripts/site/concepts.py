"""The figure of docs/concepts.md: ``python -m scripts.site.concepts`` writes docs/images/concepts.svg."""

from __future__ import annotations

import html

from envs.files import write_whole
from scripts.site.outside import ROOT

WIDTH, HEIGHT = 900, 330
INK, MUTED, TEACHER, STUDENT, ONBOARD = "#1c2129", "#5d6673", "#1c2129", "#d55e00", "#1a80c4"
# Left, top, width, height, colour, title, lines.
BOXES = (
    (20, 60, 200, 96, MUTED, "Simulation", ("Basilisk and its twin", "ask each satellite", "when its action ends")),
    (270, 60, 180, 96, TEACHER, "Teacher", ("one wide network", "sees every block", "learns by MAPPO")),
    (270, 210, 180, 96, STUDENT, "Students", ("one small network each", "see what they sense", "learn by KD-MARL")),
    (500, 210, 160, 96, ONBOARD, "Bundle", ("weights, senses,", "budget, signature,", "golden decisions")),
    (710, 210, 170, 96, ONBOARD, "Executor", ("budget, deadline,", "weight check, fallback,", "guard")),
)
# From, to, label, place of the label.
ARROWS = (
    ((220, 108), (270, 108), "", (0, 0)),
    ((360, 156), (360, 210), "policy, values, features", (368, 181)),
    ((450, 258), (500, 258), "", (0, 0)),
    ((660, 258), (710, 258), "", (0, 0)),
)
# A decision in flight: from the executor back to the simulation, over the top.
RETURN = "M 795 210 V 32 H 120 V 60"


def svg() -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" role="img">',
        "<title>The ground trains teacher and students; a bundle carries the students to the executor on board</title>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{MUTED}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<rect x="485" y="190" width="410" height="133" rx="10" fill="{ONBOARD}" opacity="0.08"/>',
        _text(878, 205, "on board", MUTED, 12, "end"),
        _text(20, 202, "on the ground", MUTED, 12),
    ]
    for left, top, width, height, colour, title, lines in BOXES:
        parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="#ffffff" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        parts.append(_text(left + width / 2, top + 24, title, colour, 16, "middle", True))
        parts += [_text(left + width / 2, top + 45 + 18 * n, line, INK, 13, "middle") for n, line in enumerate(lines)]
    for (x1, y1), (x2, y2), label, (x, y) in ARROWS:
        parts.append(_arrow(f"M {x1} {y1} L {x2} {y2}"))
        parts += [_text(x, y, label, MUTED, 12)] if label else []
    parts += [_arrow(RETURN), _text(457, 25, "actions, one decision at a time", MUTED, 12, "middle"), "</svg>"]
    return "\n".join(parts) + "\n"


def _arrow(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{MUTED}" stroke-width="1.6" marker-end="url(#end)"/>'


def _text(x: float, y: float, text: str, colour: str, size: int, anchor: str = "start", bold: bool = False) -> str:
    look = f'fill="{colour}" font-size="{size}" text-anchor="{anchor}"' + (' font-weight="bold"' if bold else "")
    return f'<text x="{x:g}" y="{y:g}" {look}>{html.escape(text)}</text>'


def main() -> None:
    write_whole(ROOT / "docs/images/concepts.svg", svg().encode())


if __name__ == "__main__":
    main()
