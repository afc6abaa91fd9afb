"""Print the tapes of the course as Mermaid flow charts: three steps, and three chunks.

python examples/course/tapes.py

The chapters on backpropagation through time and on detaching show exactly these texts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import minigrad as mg
from lm.arguments import Parser
from lm.console import run_command, show
from lm.steps import repackage_hidden
from minigrad import cells, graph
from minigrad import functional as F
from minigrad.bptt import through_time

HIDDEN = 4


def three_steps() -> str:
    """The loss of the last of three steps of a tanh RNN. Only W_hh requires a gradient."""
    zx = mg.tensor(np.zeros((3, 1, HIDDEN)))  # of inputs that require no gradient: a constant
    W = mg.tensor(np.eye(HIDDEN), requires_grad=True)
    state = [mg.tensor(np.zeros((1, HIDDEN)))]
    for t in range(3):
        zh = F.linear(state[0], W)
        state = list(cells.TanhRNN.equations(zx[t], zh, *state))
    return chart(state[0].sum(), {"W_hh": W})


def three_chunks(detach: bool) -> str:
    """The loss of the third of three chunks of five steps. Only W_hh requires a gradient."""
    x, state = mg.tensor(np.zeros((5, 1, 2))), [mg.tensor(np.zeros((1, HIDDEN)))]
    W_ih, bias = mg.tensor(np.zeros((HIDDEN, 2))), mg.tensor(np.zeros(HIDDEN))
    W = mg.tensor(np.eye(HIDDEN), requires_grad=True)
    for _ in range(3):
        if detach:
            state = list(repackage_hidden(tuple(state)))
        output, *state = through_time(cells.TanhRNN, x, state, W_ih, W, bias, bias)
    return chart(output.sum(), {"W_hh": W})


def chart(loss: mg.Tensor, names: dict[str, mg.Tensor]) -> str:
    """From top to bottom, so that it fits on a phone."""
    return graph.mermaid(loss, names).replace("flowchart LR", "flowchart TD")


def main(argv: Sequence[str] | None = None) -> None:
    parser().parse(argv)
    for title, text in (
        ("Three steps", three_steps()),
        ("Three chunks, without detach", three_chunks(detach=False)),
        ("Three chunks, with detach", three_chunks(detach=True)),
    ):
        show(f"{title}\n\n{text}\n")


def parser() -> argparse.ArgumentParser:
    return Parser(description="Print the tapes that the course shows.")


if __name__ == "__main__":
    run_command(main)
