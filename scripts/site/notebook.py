"""docs/notebook.ipynb without Jupyter: its code cells run in order, what they print and draw kept in it.

``python -m scripts.site.notebook`` runs it and writes the outputs; the site shows it as a page.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from envs.files import write_whole
from scripts.site.outside import ROOT

PATH = ROOT / "docs" / "notebook.ipynb"


def execute(content: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the notebook with the outputs of its code cells: what they print, and the value of a last expression.

    Raises:
        Exception: whatever a cell raises.
    """
    names: dict[str, Any] = {"__name__": "notebook"}
    cells = []
    for count, cell in enumerate(content["cells"], start=1):
        if cell["cell_type"] == "code":
            cell = {**cell, "execution_count": count, "outputs": _run("".join(cell["source"]), names)}
        cells.append(cell)
    return {**content, "cells": cells}


def _run(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    value, printed = None, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "notebook", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "notebook", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    if isinstance(value, Figure):
        drawn = io.BytesIO()
        value.savefig(drawn, format="png", dpi=110)
        data: dict[str, Any] = {"image/png": base64.b64encode(drawn.getvalue()).decode()}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    elif value is not None:
        data = {"text/plain": [repr(value)]}
        outputs.append({"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None})
    return outputs


def page(content: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and its pictures by file name."""
    parts, pictures = [], dict[str, bytes]()
    for number, cell in enumerate(content["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            text = "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
            if text:
                parts.append(f"```text\n{text.rstrip()}\n```")
            if picture := output.get("data", {}).get("image/png"):
                name = f"notebook-{number}.png"
                pictures[name] = base64.b64decode(picture)
                parts.append(f"![what the cell draws](made/{name})")
    return "\n\n".join(parts) + "\n", pictures


def written(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def main(path: Path = PATH) -> None:
    write_whole(path, written(execute(json.loads(path.read_text()))))


if __name__ == "__main__":
    main()
