"""make figures and make experiments repeat all that is committed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
import repeat

from lm.console import UserError
from lm.results import write_result

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been run."""
    commands: list[list[str]] = []

    def run(command: Sequence[str], stdout: int | None = None) -> bytes:
        commands.append(list(command))
        return b""

    monkeypatch.setattr(repeat, "run", run)
    return commands


def test_experiments_says_how_long_and_begins_with_the_fastest(
    ran: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(repeat, "RESULTS", tmp_path)
    for name, seconds in (("slow", 200), ("fast", 40)):
        words = ["python", f"{name}.py", "--out", f"{name}.json"]
        write_result(tmp_path / f"{name}.json", words, {}, [], seconds, {})
    repeat.main(["experiments"])
    assert ran == [["fast.py", "--out", "fast.json"], ["slow.py", "--out", "slow.json"]]
    assert "2 experiments took 4 minutes" in capsys.readouterr().out


def test_figures_runs_every_program_that_draws(
    ran: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeat.shutil, "which", lambda name: None)
    repeat.main(["figures"])
    programs = [p for f in ("benchmarks", "examples/course") for p in (ROOT / f).glob("draw_*.py")]
    assert [c[0] for c in ran] == sorted(p.relative_to(ROOT).as_posix() for p in programs)


@pytest.mark.parametrize("file", sorted(repeat.RESULTS.glob("*.json")), ids=lambda f: f.name)
def test_the_command_of_a_result_writes_that_result(file: Path) -> None:
    command = shlex.split(json.loads(file.read_text(encoding="utf-8"))["command"])
    assert command[command.index("--out") + 1] == file.relative_to(ROOT).as_posix()


def test_a_program_that_fails_is_named() -> None:
    with pytest.raises(UserError, match=r"^-c failed with exit status 3$"):
        repeat.run(["-c", "raise SystemExit(3)"])
