"""The pages are equal to the results and the source; the commands of the results still work."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from lm.console import UserError
from lm.results import read_result, write_result

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "docs" / "results").rglob("*.json"))
RESULTS = [path for path in FILES if path.name != "settings.json"]  # a trial has both
update = runpy.run_path(str(ROOT / "docs" / "update.py"))


@pytest.mark.parametrize("page", update["pages"](), ids=lambda page: page.name)
def test_a_page_is_equal_to_the_results_and_the_source(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert update["updated"](text, page) == text, "run docs/update.py"


@pytest.mark.parametrize("page", update["pages"](), ids=lambda page: page.name)
def test_every_comment_with_a_source_is_read(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sources = re.findall(r"<!-- [\w/-]+\.\w[^>]*:[^>]*-->", text)
    assert len(sources) == len(update["NUMBER"].findall(text)), "a space is missing before -->"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "code.py").write_text(
        'class Cell:\n    @staticmethod\n    def step(x):\n        """One\n        step."""\n'
        "        y = x + 1\n        return y\n"
    )
    return tmp_path


def refreshed(text: str, project: Path) -> str:
    return update["updated"](text, project / "docs" / "page.md", project)


def test_a_number_follows_its_result(project: Path) -> None:
    found = {"lstm": {"test_ppl": 115.678, "share": 0.614}, "words": 929589, "decoder + loss": 7}
    (project / "docs/results/ptb.json").write_text(json.dumps({"numbers": found}))
    page = (
        "about 117.6 <!-- ptb.lstm.test_ppl:.1f --> (or 9 % <!-- none -->), "
        "| 5% <!-- ptb.lstm.share:.1%--> | 1 <!-- ptb.words:, --> |"
        " 1 <!-- ptb.decoder + loss: -->"
    )
    assert refreshed(page, project) == (
        "about 115.7 <!-- ptb.lstm.test_ppl:.1f --> (or 9 % <!-- none -->), "
        "| 5% <!-- ptb.lstm.share:.1%--> | 929,589 <!-- ptb.words:, --> |"
        " 7 <!-- ptb.decoder + loss: -->"
    )


def test_a_result_in_a_folder(project: Path) -> None:
    (project / "docs/results/cells").mkdir()
    result = {"numbers": {"gru_lr-7,5": {"test_ppl": {"mean": 120.04}}}}
    (project / "docs/results/cells/results.json").write_text(json.dumps(result))
    page = "1 <!-- cells/results.gru_lr-7,5.test_ppl.mean:.1f -->"
    assert refreshed(page, project).startswith("120.0 <!--")


def test_a_table_follows_its_file(project: Path) -> None:
    (project / "docs/results/table.md").write_text("| a |\n| --: |\n| 2 |\n")
    page = "Look:\n\n<!-- table: table.md -->\n{}\nand | so on\n"
    old, new = "| a |\n| --: |\n| 1 |\n| 3 |\n", "| a |\n| --: |\n| 2 |\n"
    assert refreshed(page.format(old), project) == page.format(new)
    assert refreshed(page.format(""), project) == page.format(new)


@pytest.mark.parametrize("source", ["ptb.lstm", "ptb.lstm.x", "other.lstm"])
def test_a_number_that_does_not_exist(source: str, project: Path) -> None:
    (project / "docs/results/ptb.json").write_text(json.dumps({"numbers": {"gru": {}}}))
    with pytest.raises(ValueError, match=f"no number {source}"):
        refreshed(f"1 <!-- {source}:.1f -->", project)


@pytest.mark.parametrize(
    ("part", "lines"),
    [
        ("", ["@staticmethod", "def step(x):", "    y = x + 1", "    return y"]),
        (" whole", ["@staticmethod", "def step(x):", '    """One', '    step."""', "    y = x + 1",
                    "    return y"]),
        (" 5-6", ["y = x + 1", "return y"]),
    ],
)  # fmt: skip
def test_a_quotation_follows_the_source(part: str, lines: list[str], project: Path) -> None:
    head = f"Look:\n\n<!-- source: code.py Cell.step{part} -->\n```python\n"
    assert refreshed(f"{head}old\n```\nend", project) == head + "\n".join(lines) + "\n```\nend"


def test_a_quotation_of_a_whole_file(project: Path) -> None:
    (project / "run.sh").write_text("#!/bin/sh\necho\n")
    head = "<!-- source: run.sh -->\n```bash\n"
    assert refreshed(f"{head}old\n```\nend", project) == f"{head}#!/bin/sh\necho\n```\nend"


def test_a_link_follows_the_line_of_its_function(project: Path) -> None:
    page = "[`Cell.step`](../code.py#L99) and [`Cell`](../code.py), but [the file](../code.py)"
    assert refreshed(page, project) == (
        "[`Cell.step`](../code.py#L3) and [`Cell`](../code.py#L1), but [the file](../code.py)"
    )


@pytest.mark.parametrize(
    "page",
    [
        "[`Cell.back`](../code.py)",
        "[`Cell`](../gone.py)",
        "<!-- source: code.py back -->\n```python\n```\n",
    ],
)
def test_source_that_does_not_exist(page: str, project: Path) -> None:
    with pytest.raises(ValueError, match=r"no (file|Cell.back|back)"):
        refreshed(page, project)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_result_says_where_it_comes_from(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert {"command", "settings", "seeds", "date", "seconds", "machine", "blas", "versions",
            "commit", "numbers"} <= set(result)  # fmt: skip
    assert str(ROOT) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_command_of_a_result_still_parses(path: Path) -> None:
    python, program, *options = shlex.split(json.loads(path.read_text())["command"])
    assert python == "python"
    parser_of(program).parse(options)


def parser_of(program: str) -> Any:
    """The parser of an example, which may only call a command of lm."""
    sys.path.insert(0, str((ROOT / program).parent))  # as when it is run
    try:
        module = runpy.run_path(str(ROOT / program))
    finally:
        del sys.path[0]
    if "parser" in module:
        return module["parser"]()
    name = Path(program).stem
    return importlib.import_module(f"lm.commands.{name.removesuffix('_ptb')}").parser()


def test_a_result_that_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    command = ["python", "examples/train_ptb.py", "--data", "a folder"]
    write_result(path, command, {"nhid": 200}, [1, 2], 12.34, {"loss": {"test": 4.75}})
    result = json.loads(path.read_text())
    assert shlex.split(result["command"]) == command
    assert result["seconds"] == 12.3 and result["seeds"] == [1, 2]
    assert update["look_up"](tmp_path, "x", "loss.test") == 4.75
    assert result["machine"]["cores"] >= 1 and result["versions"]["numpy"]


@pytest.mark.parametrize("content", [None, "not JSON", "[1]", '{"settings": {}}'])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "result.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="can't read" if content is None else "not a result"):
        read_result(path)
