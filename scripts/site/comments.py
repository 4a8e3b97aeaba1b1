"""The comments beside a dataclass's fields and an enum's members: they hold what a setting means."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
import typing


def comments_of(cls: type) -> dict[str, str]:
    """Field or member: the comment behind it, or else the comment lines right above it."""
    source = inspect.getsource(cls)
    [node] = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    lines = source.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    found = {}
    for each in node.body:
        target = each.target if isinstance(each, ast.AnnAssign) else each.targets[0] if _is_member(each) else None
        if not isinstance(target, ast.Name):
            continue
        said, above = list[str](), each.lineno - 1
        while above in comments and lines[above - 1].lstrip().startswith("#"):
            said.insert(0, comments[above])
            above -= 1
        lasts = range(each.lineno, (each.end_lineno or each.lineno) + 1)
        said += [comments[line] for line in lasts if line in comments]
        if said:
            found[target.id] = " ".join(said)
    return found


def _is_member(node: ast.stmt) -> typing.TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign)
