"""The verbs of the command line, as the program itself lists them."""

from __future__ import annotations

from kdmarl_sat.__main__ import MEASURES, VERBS


def commands() -> str:
    """Markdown: each verb with its line and an example; then what ``measure`` measures."""
    lines = ["| verb | does | for example |", "|---|---|---|"]
    lines += [f"| `{verb}` | {line} | `kdmarl-sat {example}` |" for verb, (_, line, example) in VERBS.items()]
    lines += ["", "| `kdmarl-sat measure` | measures |", "|---|---|"]
    lines += [f"| `{what}` | {line} |" for what, (_, line) in MEASURES.items()]
    return "\n".join(lines)
