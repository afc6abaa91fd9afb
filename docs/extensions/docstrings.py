"""Docstrings of plain text, as reStructuredText.

The docstrings of this project are meant to be read in the source: paragraphs, and blocks that are
indented or aligned in columns. Such blocks appear in the site as they are in the source.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"`+([^`]+)`+")
SPECIAL = re.compile(r"([\\*|_])")


def restructured(lines: Iterable[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    result = []
    for empty, group in itertools.groupby(lines, lambda line: not line.strip()):
        block = list(group)
        if empty:
            result += block
        elif is_aligned(block):
            result += ["::", "", *(f"    {line}" for line in block), ""]
        else:
            result += [inline(line) for line in block]
    return result


def is_aligned(block: list[str]) -> bool:
    """Whether the block is indented, or has columns: gaps of two spaces or more."""
    return block[0].startswith(" ") or any(re.search(r"\S {2,}\S", line) for line in block)


def inline(line: str) -> str:
    """A line of prose: `x` is code, and no other character has a meaning."""
    parts = CODE.split(line)
    for i, part in enumerate(parts):
        parts[i] = f"``{part}``" if i % 2 else SPECIAL.sub(r"\\\1", part)
    return "".join(parts)


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = restructured(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
