"""Programs with one planted mistake each: copy them, find the mistakes, and have them checked.

python examples/course/find_the_bug.py start             # copies them into the folder bugs
python examples/course/find_the_bug.py check 3           # is bugs/3_dropout.py right now?
python examples/course/find_the_bug.py check 3 --hint    # and a hint; --hint 2 says more
python examples/course/find_the_bug.py status            # a line for each program
python examples/course/find_the_bug.py ledger            # of the layer in bugs/8_memory.py

The exit status of check and status is 0 if all that they looked at is right, and otherwise 1.
`bug_checks.py` has the checks, and so the solutions.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import linecache
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bptt_ledger import Example, ledger, shares
from bug_checks import BUGS, Bug, NotFixed, named

from lm.arguments import Parser
from lm.console import UserError, run_command, show
from lm.files import make_folder, replace_file
from minigrad.bptt import unrolled

PROGRAMS = Path(__file__).resolve().parent / "bugs"


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    if args.action == "check" and args.number is None:
        raise UserError("which program? give its number, as in: check 3")
    actions = {"start": start, "check": check, "status": status, "ledger": show_ledger}
    if not actions[args.action](args):
        raise SystemExit(1)


def start(args: argparse.Namespace) -> bool:
    """Copy the programs into the reader's folder; UserError if one of them is there already."""
    folder = make_folder(args.folder)
    for bug in BUGS.values():
        if (folder / bug.file).exists():
            raise UserError(
                f"{folder / bug.file} exists, and nothing was copied; name another folder with "
                f"--folder, or copy single programs from {PROGRAMS}"
            )
    for bug in BUGS.values():
        try:
            replace_file(folder / bug.file, (PROGRAMS / bug.file).read_bytes())
        except OSError as error:
            raise UserError(f"can't write to {folder}: {error.strerror}") from None
    show(f"{len(BUGS)} programs are in {folder}. Run one: python {folder / BUGS[1].file}")
    return True


def check(args: argparse.Namespace) -> bool:
    """Check one program, and give a hint if asked to."""
    bug = BUGS[args.number]
    fault = fault_of(bug, args.folder)
    show(f"{bug.file}: {'right. ' + bug.lesson if fault is None else 'not yet: ' + fault}")
    if args.hint:
        show(f"Hint {args.hint} of {len(bug.hints)}: {bug.hints[args.hint - 1]}")
    return fault is None


def status(args: argparse.Namespace) -> bool:
    """A line for each program."""
    solved = 0
    for bug in BUGS.values():
        path, fault = args.folder / bug.file, None
        if source_of(path) == (PROGRAMS / bug.file).read_text(encoding="utf-8"):
            said = "unchanged"
        else:
            with contextlib.redirect_stdout(io.StringIO()):  # what the program prints
                fault = fault_of(bug, args.folder)
            said = "right" if fault is None else f"not yet: {fault}"
            solved += fault is None
        show(f"{bug.file:16} {said}")
    show(f"{solved} of {len(BUGS)} are right")
    return solved == len(BUGS)


def show_ledger(args: argparse.Namespace) -> bool:
    """The ledger of the layer in program 8, and that of `unrolled`."""
    path = args.folder / BUGS[8].file
    source = source_of(path)
    try:
        layer = named(names_in(source, path), "one_layer")
        mine = ledger(Example("RNN_TANH", 1, steps=6), layer)
    except NotFixed as found:
        raise UserError(f"{path}: {found}") from None
    except (Exception, SystemExit) as error:
        raise UserError(said_by(error, path)) from None
    right = ledger(Example("RNN_TANH", 1, steps=6), unrolled)
    show("Percent of dL/dW_hh from the loss of step t (row) through step s (column)")
    for name, entries in ((path, mine), ("minigrad.bptt.unrolled", right)):
        show(f"{name}:")
        for t, row in enumerate(shares(entries)):
            show(f"{t:3} " + "".join(f"{100 * share + 0.0:7.2f}" for share in row[: t + 1]))
    return True


# -------------------------------------------------------------------- a program of the reader's


def fault_of(bug: Bug, folder: Path) -> str | None:
    """What is wrong with the reader's program, in one line; None if it is right."""
    path = folder / bug.file
    source = source_of(path)
    try:
        bug.check(names_in(source, path))
    except NotFixed as found:
        return " ".join(str(found).split())
    except (Exception, SystemExit) as error:
        return said_by(error, path)
    return None


def names_in(source: str, path: Path) -> dict[str, Any]:
    """What a program defines, without running its `main`; any error is the program's."""
    names: dict[str, Any] = {"__name__": "program", "__file__": str(path)}
    exec(compile(source, str(path), "exec"), names)
    return names


def source_of(path: Path) -> str:
    """The text of the program; UserError if it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"no file {path}; copy the programs with `start`, or name their folder with --folder"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read {path}: {error}") from None


def said_by(error: BaseException, path: Path) -> str:
    """An exception in one line: where in the program, what, and the source of that line."""
    kind = type(error).__name__
    message = " ".join(str(error).split())
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines, message = [error.lineno], error.msg
    if not lines:
        return f"the check can't use what the program returned ({kind}: {message})"
    linecache.checkcache(str(path))
    source = linecache.getline(str(path), lines[-1] or 0).strip()
    return f"{path}, line {lines[-1]}: {kind}: {message}" + (f"   [{source}]" if source else "")


def parser() -> argparse.ArgumentParser:
    p = Parser(description="Find the mistake that was planted in each of a few short programs.")
    p.add_argument("action", choices=("start", "check", "status", "ledger"),
                   help="copy the programs, check one, check all, or print a ledger")  # fmt: skip
    p.add_argument("number", nargs="?", type=int, choices=tuple(BUGS), help="of the program")
    p.add_argument("--folder", type=Path, default=Path("bugs"), metavar="DIR",
                   help="your folder with the programs")  # fmt: skip
    p.add_argument("--hint", nargs="?", type=int, const=1, choices=(1, 2),
                   help="with check: also print a hint, the first or the second")  # fmt: skip
    return p


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
