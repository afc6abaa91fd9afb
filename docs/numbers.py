"""Keep the numbers in the pages equal to the results.

python docs/numbers.py            # update README.md and the pages in docs/
python docs/numbers.py --check    # change nothing; exit status 1 if a number differs

A number names its source in a comment behind it: `61.4 <!-- profile.shares.forward:.1f -->` is
`numbers["shares"]["forward"]` in docs/results/profile.json, formatted by `.1f`. The file may be in
a folder: `cells/results.lstm.parameters`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NUMBER = re.compile(
    r"(?P<text>[^\s|(]+) <!-- (?P<file>[\w/-]+)\.(?P<path>[\w.,/+ -]+):(?P<spec>\S*) -->"
)


def pages(root: Path = ROOT) -> list[Path]:
    """README and the pages of the documentation."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def look_up(results: Path, file: str, path: str) -> Any:
    """A number by its path; ValueError if there is none."""
    try:
        found = json.loads((results / f"{file}.json").read_text(encoding="utf-8"))["numbers"]
        for key in path.split("."):
            found = found[key]
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"no number {file}.{path} in {results}") from error
    return found


def updated(text: str, results: Path) -> str:
    """A page with the numbers of the results."""

    def replace(match: re.Match[str]) -> str:
        number = look_up(results, match["file"], match["path"])
        return match[0].replace(match["text"], format(number, match["spec"]), 1)

    return NUMBER.sub(replace, text)


def main(argv: list[str], say: Callable[[str], object] = print) -> int:
    stale = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = updated(text, ROOT / "docs" / "results")
        if new != text:
            stale.append(page.relative_to(ROOT).as_posix())
            if "--check" not in argv:
                page.write_text(new, encoding="utf-8")
    for name in stale:
        say(f"{name} {'differs from the results' if '--check' in argv else 'updated'}")
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
