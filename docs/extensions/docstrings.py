"""Docstrings of plain text, as reStructuredText.

The docstrings of this project are meant to be read in the source: paragraphs, and blocks that are
indented or aligned in columns. An indented block appears in the site as it is in the source, and
two columns of names and descriptions become a list.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"`+([^`]+)`+")
ITEM = re.compile(r"`?(?P<name>[\w.]+)`? +(?P<text>\S.*)")
FORM = re.compile(r"(?:<class |TypeAliasForwardRef\()'([\w.]+)'[>)]")
SPECIAL = re.compile(r"([\\*|_])")


def restructured(lines: Iterable[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    result: list[str] = []
    literal = False  # whether the last block was one
    for empty, group in itertools.groupby(lines, lambda line: not line.strip()):
        block = list(group)
        if empty:
            result += block
        elif is_list(block):
            result += [line for text in block for line in item(text)]
            literal = False
        elif block[0].startswith(" ") or has_columns(block):
            head = [] if literal else [".. code-block:: text", ""]
            result += [*head, *(f"    {line}" for line in block)]
            literal = True
        else:
            result += [inline(line) for line in block]
            literal = False
    return result


def has_columns(block: list[str]) -> bool:
    return any(re.search(r"\S {2,}\S", line) for line in block)


def is_list(block: list[str]) -> bool:
    """Whether each line is a name with its description, in columns, or goes on with the last."""
    return re.match(r"[`\w.]+ {2,}", block[0]) is not None and all(
        line.startswith("    ") or ITEM.fullmatch(line) for line in block
    )


def item(line: str) -> list[str]:
    """A line of such a list: a term and the first line of its definition, or one more line."""
    match = ITEM.fullmatch(line)
    if match is None:
        return ["    " + inline(line.strip())]
    return [f"``{match['name']}``", "    " + inline(match["text"])]


def inline(line: str) -> str:
    """A line of prose: `x` is code, a link if `x` has an entry; no other character is special."""
    parts = CODE.split(line)
    for i, part in enumerate(parts):
        role = ":py:obj:`{}`" if part.replace(".", "").isidentifier() else "``{}``"
        parts[i] = role.format(part) if i % 2 else SPECIAL.sub(r"\\\1", part)
    return "".join(parts)


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = restructured(lines)


def sign(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str, result: str
) -> tuple[str | None, ...]:
    """A signature as in the source: without the forms that Python has for some objects."""
    texts = (arguments, result)
    return tuple(text and FORM.sub(r"\1", text).replace("<factory>", "...") for text in texts)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", sign)
    return {"parallel_read_safe": True}
