"""The code in README.md and docs/ runs and prints what the text shows."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
QUOTE = runpy.run_path(str(ROOT / "docs" / "update.py"))["QUOTE"]
COURSE = ROOT / "examples" / "course"
PAGES = [ROOT / "README.md", COURSE / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run_and_print_what_follows(page: Path) -> None:
    text = QUOTE.sub("", page.read_text(encoding="utf-8"))
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(page), "exec"), {})
    for line in printed.getvalue().splitlines():
        assert f"    {line}\n" in text, f"{page.name} does not show what its code prints"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]*)(#[^)]*)?\)", text)
    files = re.findall(r"`((?:minigrad|lm|examples|tests|docs)/[\w/.]*)`", text)
    files += re.findall(r"python ((?:examples|benchmarks|docs|tests)/[\w/]+\.py)", text)
    missing = [x for x, _ in links if x and not (page.parent / x).exists()]
    missing += [x for x in files if not (ROOT / x).exists()]
    for file, anchor in links:
        target = page.parent / file if file else page
        if target.suffix == ".md" and target.exists() and anchor:
            missing += [file + anchor] * (anchor not in anchors(target))
    assert not missing


def test_the_list_of_experiments_has_every_program() -> None:
    text = (COURSE / "README.md").read_text(encoding="utf-8")
    programs = {p.name for p in COURSE.glob("*.py") if not p.name.startswith("draw_")}
    assert programs == set(re.findall(r"`(\w+\.py)`", text)) - {"draw_NAME.py", "NAME.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_of_a_paragraph_becomes_a_comment(page: Path) -> None:
    """MyST leaves out a line that begins with a percent sign."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.DOTALL)
    assert not re.findall(r"^ *%.*", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_of_a_paragraph_becomes_a_list(page: Path) -> None:
    """A line that begins with "1. " or "- " does, as after "look at program"."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.DOTALL)
    wrapped = re.findall(r"\n\n[^\s|<>*#-][^\n]*\n(?:[^\s\n][^\n]*\n)*?(1\. |- ).*", text)
    assert not wrapped


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and the site name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {"#" + re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def test_the_anchor_of_a_heading(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# On paper, T = 3\n```\n# a comment\n```\n## `step` and h_t\n")
    assert anchors(page) == {"#on-paper-t--3", "#step-and-h_t"}


def test_the_reading_path_gives_the_length_of_each_file() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+\.py)` \| (\d+) \|", text, re.MULTILINE)
    assert len(rows) == 5
    for name, lines in rows:
        actual = len((ROOT / name).read_text(encoding="utf-8").splitlines())
        assert abs(actual - int(lines)) <= 0.1 * actual, f"{name} has {actual} lines"


READING_PATH = ("minigrad/tensor.py", "minigrad/ops.py", "minigrad/cells.py", "minigrad/bptt.py",
                "lm/steps.py")  # fmt: skip


@pytest.mark.parametrize("name", READING_PATH)
def test_the_reading_path_is_short_and_knows_no_gpu(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.findall(r"gpu|cupy|cuda|cudnn|device|kernel", text, re.IGNORECASE)
    if name != "minigrad/ops.py":  # a catalogue
        assert len(text.splitlines()) <= 250
