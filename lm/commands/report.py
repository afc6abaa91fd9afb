"""Make a page about runs from their metrics files."""

from __future__ import annotations

from collections.abc import Sequence

from ..arguments import Parser
from ..console import UserError, show
from ..files import same_file
from ..report.data import read_runs
from ..report.page import must_be_ours, write


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    runs = read_runs(args.metrics)
    for path in args.metrics:
        if same_file(path, args.out):
            raise UserError(f"--out {args.out} is the metrics file {path}; name another file")
    must_be_ours(args.out, "--out")
    try:
        write(args.out, runs)
    except OSError as error:
        raise UserError(f"can't write the report to {args.out}: {error.strerror}") from error
    names = ", ".join(run.name for run in runs)
    show(f"{args.out}: {len(runs)} run{'s' * (len(runs) > 1)} ({names})")


def parser() -> Parser:
    p = Parser("report", description="Make a page about runs, with curves to compare them.")
    p.add_argument("metrics", nargs="+", metavar="FILE", help="what train --metrics has written")
    p.add_argument("--out", default="report.html", metavar="FILE", help="the page to write")
    return p
