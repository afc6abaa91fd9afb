"""The built-in corpus: the documentation that comes with Python, as a text to learn from.

The language reference behind `help()` (`pydoc_data.topics`) and the docstrings of the standard
library have about 200,000 words. Each sentence of prose in them (see prose.py) is a line;
duplicates are left out. Of every twenty blocks of lines, eighteen are training text, one is
validation and one is test, so that all three are the same kind of English. A word that occurs only
once in the training text is `<unk>`. The text depends only on the version of Python.
"""

from __future__ import annotations

import ast
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .console import UserError
from .corpus import UNK, Corpus, Dictionary
from .prose import sentences

BLOCK = 25  # lines
MIN_COUNT = 2  # a word that is rarer in the training text is `<unk>`

# Of the standard library: the modules in its root, and the packages that every distribution has
# (some lack tkinter, distutils, idlelib or test).
FOLDERS = (
    ".", "asyncio", "collections", "concurrent/futures", "ctypes", "dbm", "email", "http",
    "importlib", "importlib/metadata", "importlib/resources", "json", "logging",
    "multiprocessing", "pathlib", "re", "unittest", "urllib", "wsgiref", "xml/dom", "xml/etree",
    "xml/sax", "xmlrpc", "zipfile",
)  # fmt: skip

Line = list[str]
Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def builtin_corpus(dictionary: Dictionary | None = None, vocabulary: str = "train") -> Corpus:
    """The documentation of this Python as a corpus; see `Corpus` for the arguments.

    Raises UserError if this Python lacks it.
    """
    train, valid, test = divide(documentation())
    counts = Counter(word for line in train for word in line)
    train = [[word if counts[word] >= MIN_COUNT else UNK for word in line] for line in train]
    return Corpus.from_text(_join(train), _join(valid), _join(test), dictionary, vocabulary)


def documentation() -> list[Line]:
    """Every sentence of prose in the documentation of this Python, once each, in a fixed order."""
    lines = (tuple(words) for text in _texts() for words in sentences(text))
    return [list(line) for line in dict.fromkeys(lines)]


def divide(lines: list[Line]) -> tuple[list[Line], list[Line], list[Line]]:
    """Training, validation and test lines: 90%, 5% and 5%, block by block."""
    splits: tuple[list[Line], list[Line], list[Line]] = ([], [], [])
    for number, start in enumerate(range(0, len(lines), BLOCK)):
        split = {18: 1, 19: 2}.get(number % 20, 0)
        splits[split].extend(lines[start : start + BLOCK])
    return splits


def _join(lines: list[Line]) -> str:
    return "\n".join(" ".join(words) for words in lines)


def _texts() -> Iterator[str]:
    """The topics of `help()` by name, then the docstrings by file."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UserError("this Python lacks its documentation, pydoc_data; use --data DIR") from None
    for _, text in sorted(topics.items()):
        yield text
    library = Path(sysconfig.get_path("stdlib"))
    files = [file for folder in FOLDERS for file in sorted((library / folder).glob("*.py"))]
    if not files:
        raise UserError(f"this Python lacks the source of its library in {library}; use --data DIR")
    for file in files:
        yield from docstrings(ast.parse(file.read_bytes()))


def docstrings(scope: Scope) -> Iterator[str]:
    """The docstrings of a module and of the classes and functions in it, in source order."""
    if docstring := ast.get_docstring(scope):
        yield docstring
    for child in scope.body:
        if isinstance(child, Scope):
            yield from docstrings(child)
