"""Tables as Markdown, LaTeX, HTML and on the console, and all numbers as CSV."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from kdmarl_sat.games.report import paper
from kdmarl_sat.games.report.cells import Table, place_name
from kdmarl_sat.games.report.statistics import CONFIDENCE
from kdmarl_sat.games.report.summary import TEACHER, Group, Results, in_order, label
from kdmarl_sat.report.formats import MISSING, number
from kdmarl_sat.report.statistics import Interval

TITLE = "Benchmark games: the paper's tables and ours"

_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "|": "$|$",
        "[": "{[}",
        "]": "{]}",
    },
    **{
        "\u2013": "--",
        "\u202f": r"\,",
        "\u2212": "$-$",
        "\u00d7": r"$\times$",
        "\u00b1": r"$\pm$",
        "\u2020": r"\dag{}",
    },
    **{"\u00b2": "$^2$", "\u00b5": r"$\mu$"},
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.25rem 0.6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }}
th {{ vertical-align: bottom; white-space: normal; }}
th:first-child, td:first-child {{ text-align: left; }}
.note {{ color: #777; font-size: 0.85rem; margin: 0.4rem 0; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def markdown(tables: Sequence[Table]) -> str:
    """One section per table; the notes that several have stand once, at the end."""
    parts = [f"# {TITLE}", ""]
    for table in tables:
        parts += [f"## {table.title}", "", markdown_table(table)]
        parts += [f"- {_marked(note)}" for note in table.notes]
        parts += [""] * bool(table.notes)
    parts += ["## Notes to all tables", "", *(f"- {_marked(note)}" for note in _shared(tables)), ""]
    return "\n".join(parts)


def markdown_table(table: Table) -> str:
    """A table alone in Markdown, without its title and notes."""
    return "\n".join([_row(table.head), _row(("---",) * len(table.head)), *map(_row, table.rows), ""])


def latex(tables: Sequence[Table]) -> str:
    """Needs the packages booktabs and graphicx."""
    parts = [r"% \usepackage{booktabs,graphicx}"]
    for table in tables:
        notes = tex(" ".join([*table.notes, *table.common]))
        parts += [
            *("", r"\begin{table*}", r"\centering", rf"\caption{{{tex(table.title)}}}", r"\resizebox{\textwidth}{!}{%"),
            rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            *(r"\toprule", _tex_row(table.head), r"\midrule", *map(_tex_row, table.rows), r"\bottomrule"),
            *(r"\end{tabular}}", rf"\par\smallskip\footnotesize {notes}", r"\end{table*}"),
        ]
    return "\n".join([*parts, ""])


def page(tables: Sequence[Table]) -> str:
    """One HTML page, whole in itself."""
    parts = []
    for table in tables:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.head)
        rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table.rows]
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        parts += [
            f"<h2>{html.escape(table.title)}</h2>",
            f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>',
            *(f'<p class="note">{html.escape(note)}</p>' for note in table.notes),
        ]
    parts += ["<h2>Notes to all tables</h2>", *(f'<p class="note">{html.escape(n)}</p>' for n in _shared(tables))]
    return _PAGE.format(title=html.escape(TITLE), body="\n".join(parts))


def comma_separated(results: Results) -> str:
    """A row per place, method, variant and configuration, with unrounded numbers; empty where there is none."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for group in results.main.values():
        writer.writerow(_numbers(results, group, True))
    for group, _ in results.otherwise:
        writer.writerow(_numbers(results, group, False))
    return buffer.getvalue()


def console(results: Results) -> list[RichTable]:
    """Per simulator methods and variants by games, the paper's number in brackets; four games fit into 80 columns."""
    made = []
    for simulator in results.simulators:
        places = [p for p in results.places if (p.backend, p.evaluated_on) == simulator]
        table = RichTable(
            title=f"Win rate (%) or return on {places[0].simulator}; in brackets the paper's",
            title_justify="left",
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        table.add_column("method")
        for place in places:
            table.add_column(Text(place_name(results, place)), justify="right")
        kinds = {(method, variant) for place, method, variant in results.main if place in places}
        order = in_order(method for method, _ in kinds)
        for method, variant in sorted(kinds, key=lambda kind: (order.index(kind[0]), kind[1])):
            cells = []
            for place in places:
                group, row = results.get(place, method, variant), paper.row_of(place.map)
                stated = row.score.get(method) if row and row.target and not variant else None
                ours = number(group.score.estimate, 1) if group else MISSING
                cells.append(Text(f"{ours} ({number(stated.value)})" if stated else ours))
            table.add_row(Text(label(method) + (f", {variant}" if variant else "")), *cells)
        made.append(table)
    return made


def tex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_marked(cell) for cell in cells)} |"


def _marked(text: str) -> str:
    """Plain text in Markdown."""
    return text.replace("\\", "\\\\").replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")


def _tex_row(cells: Iterable[str]) -> str:
    return f"{' & '.join(tex(cell) for cell in cells)} \\\\"


def _shared(tables: Sequence[Table]) -> list[str]:
    return list(dict.fromkeys(note for table in tables for note in table.common))


_BOUNDS = ("", "_low", "_high")
_COLUMNS = (
    *("scenario", "map", "backend", "evaluated_on", "method", "variant", "configuration", "main", "seeds", "episodes"),
    *("unit", *(f"score{end}" for end in _BOUNDS), *(f"interquartile_mean{end}" for end in _BOUNDS)),
    *("return_times_agents", "random", "confidence", "paper"),
    *(f"kept{end}" for end in _BOUNDS),
    *(f"kept_normalised{end}" for end in _BOUNDS),
    *(f"kept_of_mappo_lh_normalised{end}" for end in _BOUNDS),
    *("agreement", "macs_per_decision", "macs_per_episode", "times_fewer_per_decision", "times_fewer_per_episode"),
    *("time_per_step_ms", "paper_time_per_step_ms", "environment_steps", "cpu_s"),
)


def _numbers(results: Results, group: Group, main: bool) -> dict[str, str]:
    place, first = group.place, group.records[0]
    teacher = results.get(place, TEACHER)
    row = paper.row_of(place.map) if not group.variant else None
    stated, time_ms = (row.score.get(group.method), row.time_per_step_ms.get(group.method)) if row else (None, None)
    numbers: dict[str, float | None] = {
        **_bounds("score", group.score),
        **_bounds("interquartile_mean", group.middle),
        "return_times_agents": None if group.has_victory else group.score.estimate * first.agents,
        "random": group.random,
        "confidence": CONFIDENCE,
        "paper": stated.value if stated and row and row.target else None,
        **_bounds("kept", group.kept(teacher)),
        **_bounds("kept_normalised", group.kept_normalised(teacher)),
        **_bounds("kept_of_mappo_lh_normalised", group.kept_normalised(results.masked(group))),
        "agreement": group.mean(lambda r: r.agreement),
        "macs_per_decision": group.macs_per_decision,
        "macs_per_episode": group.macs_per_episode,
        "times_fewer_per_decision": teacher.macs_per_decision / group.macs_per_decision if teacher else None,
        "times_fewer_per_episode": teacher.macs_per_episode / group.macs_per_episode if teacher else None,
        "time_per_step_ms": group.mean(lambda r: r.time_per_step_ms),
        "paper_time_per_step_ms": time_ms.value if time_ms and row and row.target else None,
        "environment_steps": group.mean(lambda r: r.environment_steps),
        "cpu_s": group.mean(lambda r: r.run["cpu_s"]),
    }
    return {
        **{"scenario": place.scenario, "map": place.map, "backend": place.backend, "evaluated_on": place.evaluated_on},
        **{"method": group.method, "variant": group.variant, "configuration": first.digest()[:8]},
        **{"main": "yes" if main else "no", "seeds": " ".join(map(str, group.seeds))},
        "episodes": str(group.episodes[0]),
        "unit": "win rate, %" if group.has_victory else "return",
        **{key: "" if value is None or not math.isfinite(value) else repr(value) for key, value in numbers.items()},
    }


def _bounds(name: str, value: Interval) -> dict[str, float | None]:
    return dict(zip((f"{name}{end}" for end in _BOUNDS), (value.estimate, value.low, value.high), strict=True))
