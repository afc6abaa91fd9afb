"""Print the tape of a small recurrent layer in Graphviz's DOT language.

python examples/draw_tape.py | dot -Tsvg > lstm-tape.svg
python examples/draw_tape.py --cell GRU --steps 2 --bptt manual
"""

from __future__ import annotations

from collections.abc import Sequence

import minigrad as mg
from lm.arguments import Parser, at_least_one
from lm.console import run_command, show
from minigrad import graph, nn
from minigrad.cells import CELLS
from minigrad.random import normal


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    layer = nn.Recurrent(CELLS[args.cell], 2, 3, bptt=args.bptt)
    output, _ = layer(mg.tensor(normal((args.steps, 1, 2))))
    names = {name.removesuffix("_l0"): w for name, w in layer.named_parameters()}
    show(graph.dot(output.sum(), names))


def parser() -> Parser:
    p = Parser(description="Print the tape of a small recurrent layer in the DOT language.")
    p.add_argument("--cell", choices=CELLS, default="LSTM", help="kind of recurrent net")
    p.add_argument("--steps", type=at_least_one, default=3, help="length of the sequence")
    p.add_argument("--bptt", choices=["autograd", "manual"], default="autograd",
                   help="autograd records every step, manual one operation")  # fmt: skip
    return p


if __name__ == "__main__":
    run_command(main)
