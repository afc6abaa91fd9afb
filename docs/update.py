"""Keep the pages equal to the results and to the source.

python docs/update.py            # update README.md and the pages in docs/
python docs/update.py --check    # change nothing; exit status 1 if a page is stale

Four things in a page follow from somewhere else:

- A number names its source in a comment behind it: `61.4 <!-- profile.shares.forward:.1f -->` is
  `numbers["shares"]["forward"]` in docs/results/profile.json, formatted by `.1f`. The file may be
  in a folder: `cells/results.lstm.parameters`.
- A table has a comment above it: `<!-- table: batch-size/rates.md -->` is the table in
  docs/results/batch-size/rates.md, which a program has written.
- A quotation of source has a comment above its fence:
  `<!-- source: minigrad/cells.py TanhRNN.step -->` quotes that function or class without its
  docstring, and with `whole` behind the name also with it. `lm/steps.py train_step 3-5` quotes
  its third to fifth lines. A file without a name, such as a script for the shell, is quoted whole.
- A link to source whose text is a function or class, [`TanhRNN.step`](../minigrad/cells.py#L98),
  gets the line on which that is defined.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NUMBER = re.compile(
    r"(?P<text>[^\s|(]+) <!-- (?P<file>[\w/-]+)\.(?P<path>[\w.,/+ -]+):(?P<spec>\S*) -->"
)
QUOTE = re.compile(
    r"(?P<head><!-- source: (?P<file>\S+)( (?P<name>[\w.]+)(?P<part> whole| \d+-\d+)?)? -->\n"
    r"```(python|bash)\n).*?(?P<tail>```)",
    re.DOTALL,
)
TABLE = re.compile(r"(?P<head><!-- table: (?P<file>\S+) -->\n)(?:\|.*\n)*")
LINK = re.compile(r"\[`(?P<name>[\w.]+?)(?:\(\))?`\]\((?P<file>[^)#\s]+\.py)(?:#L\d+)?\)")
Definition = ast.FunctionDef | ast.ClassDef


def pages(root: Path = ROOT) -> list[Path]:
    """README and the pages of the documentation."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def updated(text: str, page: Path, root: Path = ROOT) -> str:
    """A page with the numbers, tables, quotations and line numbers of today."""
    text = NUMBER.sub(functools.partial(_number, root / "docs" / "results"), text)
    text = TABLE.sub(functools.partial(_table, root / "docs" / "results"), text)
    text = QUOTE.sub(functools.partial(_quotation, root), text)
    return LINK.sub(functools.partial(_link, page.parent), text)


# -------------------------------------------------------------------- numbers


def look_up(results: Path, file: str, path: str) -> Any:
    """A number by its path; ValueError if there is none."""
    try:
        found = json.loads((results / f"{file}.json").read_text(encoding="utf-8"))["numbers"]
        for key in path.split("."):
            found = found[key]
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"no number {file}.{path} in {results}") from error
    return found


def _number(results: Path, match: re.Match[str]) -> str:
    number = look_up(results, match["file"], match["path"])
    return match[0].replace(match["text"], format(number, match["spec"]), 1)


def _table(results: Path, match: re.Match[str]) -> str:
    return match["head"] + (results / match["file"]).read_text(encoding="utf-8")


# -------------------------------------------------------------------- source


def find(file: Path, name: str) -> Definition:
    """The function or class of this name, such as "LSTM.step"; ValueError if there is none."""
    if not file.is_file():
        raise ValueError(f"no file {file}")
    found: ast.AST = ast.parse(file.read_text(encoding="utf-8"))
    for part in name.split("."):
        inside = [n for n in ast.walk(found) if isinstance(n, Definition) and n.name == part]
        if not inside:
            raise ValueError(f"no {name} in {file}")
        found = inside[0]
    assert isinstance(found, Definition)
    return found


def quotation(file: Path, name: str, part: str = "") -> str:
    """The source of a function or class: without its docstring, whole, or some of its lines."""
    source = file.read_text(encoding="utf-8").splitlines(keepends=True)
    definition = find(file, name)
    first = min([definition.lineno, *(d.lineno for d in definition.decorator_list)])
    numbers = list(range(first, (definition.end_lineno or first) + 1))
    if part and part != "whole":
        start, end = map(int, part.split("-"))
        numbers = numbers[start - 1 : end]
    elif not part and ast.get_docstring(definition):
        doc = definition.body[0]
        numbers = [n for n in numbers if not doc.lineno <= n <= (doc.end_lineno or doc.lineno)]
    return textwrap.dedent("".join(source[n - 1] for n in numbers))


def _quotation(root: Path, match: re.Match[str]) -> str:
    if match["name"] is None:
        return match["head"] + (root / match["file"]).read_text(encoding="utf-8") + match["tail"]
    part = (match["part"] or "").strip()
    return match["head"] + quotation(root / match["file"], match["name"], part) + match["tail"]


def _link(folder: Path, match: re.Match[str]) -> str:
    line = find(Path(os.path.normpath(folder / match["file"])), match["name"]).lineno
    return match[0].partition("](")[0] + f"]({match['file']}#L{line})"


# -------------------------------------------------------------------- the command


def main(argv: list[str], say: Callable[[str], object] = print) -> int:
    stale = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        try:
            new = updated(text, page)
        except ValueError as error:
            say(f"error: {page.relative_to(ROOT).as_posix()}: {error}")
            return 2
        if new != text:
            stale.append(page.relative_to(ROOT).as_posix())
            if "--check" not in argv:
                page.write_text(new, encoding="utf-8")
    for name in stale:
        say(f"{name} {'is stale' if '--check' in argv else 'updated'}")
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
