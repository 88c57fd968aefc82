"""One cell of a table -> the list or mapping that is written in it, in JSON or as Python prints it."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from itertools import pairwise

from pydantic import JsonValue

from tinythinker.core.errors import DataError, expected
from tinythinker.core.formats import MalformedError, parse_json


def parse_cell(cell: str, where: str) -> JsonValue:
    """The value written in a cell. No code is run.

    Raises:
        DataError: it is neither JSON nor a Python list, tuple or mapping of plain values.
    """
    try:
        return parse_json(cell.strip())
    except MalformedError as error:
        if (found := _python(cell.strip())) is not None:
            return found
        raise DataError(f"{expected(where, cell, 'a JSON list or mapping, or a Python one')}; {error}") from None


def _python(cell: str) -> JsonValue:
    """A list or mapping as Python prints it; None if it is none, or if two texts stand side by side in it.

    Python would join such texts; a list that NumPy has printed has no commas, and would become one text.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about backslashes
            node = ast.parse(cell, mode="eval").body
            kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(cell).readline)]
        kinds = [kind for kind in kinds if kind not in (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT)]
        if (tokenize.STRING, tokenize.STRING) in pairwise(kinds):
            return None
        return _plain(node) if isinstance(node, ast.List | ast.Tuple | ast.Dict) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None


def _plain(node: ast.expr) -> JsonValue:
    """The value of a node. Raises ValueError if it is no plain value, or names a key twice."""
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(one) for one in node.elts]
    if isinstance(node, ast.Dict):
        keys = [one.value if isinstance(one, ast.Constant) else None for one in node.keys]
        names = [str(key) for key in keys if isinstance(key, str | int) and not isinstance(key, bool)]
        if len(set(names)) < len(node.keys):
            raise ValueError
        return dict(zip(names, map(_plain, node.values), strict=True))
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, str | bool | int | float)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    raise ValueError
