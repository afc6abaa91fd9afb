"""Draw all figures of the documentation again, or measure all experiments of the course again.

python examples/course/repeat.py figures        # from the committed results
python examples/course/repeat.py experiments    # says first how long it will take

Each result in docs/results/course contains the command that measured it, and the time it took.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from experiment import RESULTS, ROOT

from lm.arguments import Parser
from lm.console import UserError, run_command, show
from lm.results import read_result

TAPE = ROOT / "docs" / "figures" / "lstm-tape.svg"


def figures() -> None:
    """Run the programs that draw, and Graphviz if it is installed."""
    folders = (Path(__file__).parent, ROOT / "benchmarks")
    programs = [program for folder in folders for program in folder.glob("draw_*.py")]
    for program in sorted(programs):
        run([program.relative_to(ROOT).as_posix()])
    if shutil.which("dot"):
        text = run(["examples/draw_tape.py"], subprocess.PIPE)
        drawn = subprocess.run(["dot", "-Tsvg"], input=text, stdout=subprocess.PIPE, check=True)
        TAPE.write_bytes(drawn.stdout)
    else:
        show(f"Graphviz is not installed, so {TAPE.relative_to(ROOT).as_posix()} stays as it is.")


def experiments() -> None:
    """Repeat the command of each result, the fastest first."""
    results = [read_result(file) for file in RESULTS.glob("*.json")]
    results.sort(key=lambda result: result["seconds"])
    total = sum(result["seconds"] for result in results)
    show(f"{len(results)} experiments took {minutes(total)} when they were last measured.")
    for result in results:
        show(f"\n{result['command']}    # {minutes(result['seconds'])}")
        run(shlex.split(result["command"])[1:])


def run(command: Sequence[str], stdout: int | None = None) -> bytes:
    """Run a program of the project and say how long it took. UserError if it fails."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=stdout)
    if done.returncode:
        raise UserError(f"{command[0]} failed with exit status {done.returncode}")
    show(f"{command[0]}: {time.perf_counter() - started:.1f} s")
    return done.stdout


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def parser() -> argparse.ArgumentParser:
    p = Parser(description="Draw all figures again, or measure all experiments again.")
    p.add_argument("what", choices=["figures", "experiments"], help="what to repeat")
    return p


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    figures() if args.what == "figures" else experiments()


if __name__ == "__main__":
    run_command(main)
