"""One step of training, and evaluation: where backpropagation through time is truncated.

The text is one long sequence. Each column of a batch is a consecutive part of it, and a chunk of
a column is `bptt` steps. The hidden state after a chunk is the state before the next one. What
is carried on is its value; its history, the graph that computed it, is dropped. The line that
does so, `repackage_hidden(hidden)` in `train_step`, is what truncates BPTT:

    chunk 1               chunk 2               chunk 3
    h0 → h1 → … → h35  ┆  h35 → … → h70  ┆  h70 → …       values: all the way
    h0 ← h1 ← … ← h35  ┆  h35 ← … ← h70  ┆  h70 ← …       gradients: within a chunk

Detaching removes one part of the gradient: how the loss of a chunk depends on the weights
through the steps of earlier chunks. Without it the graph would grow until the whole text is in
memory, and each backward pass would take longer than the one before. What remains is exact: the
derivative of the chunk's loss if the state that it starts from is a constant. Longer memories can
still be used, since their values arrive, but a dependency longer than a chunk is not learned from.

`evaluate` computes no gradients, so there is nothing to truncate: `bptt` only sets how many steps
are computed at a time, and the result does not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minigrad import Tensor, no_grad
from minigrad.backend import Array
from minigrad.optim import Optimizer, clip_grad_norm_

from .batches import count_batches, get_batch
from .model import Hidden, RNNModel


def repackage_hidden(hidden: Hidden) -> Hidden:
    """The same state without its history; tuples recursively."""
    if isinstance(hidden, Tensor):
        return hidden.detach()
    return tuple(repackage_hidden(h) for h in hidden)


def train_step(
    model: RNNModel,
    optimizer: Optimizer,
    data: np.ndarray,
    target: np.ndarray,
    hidden: Hidden,
    clip: float,
    clip_grad_norm_: Callable[[list[Tensor], float], Array] = clip_grad_norm_,
) -> tuple[Tensor, Array, Hidden]:
    """Train on one chunk: data (T, B), target (T·B,), and the state before it.

    Returns the loss in nats per word, the gradient's norm before clipping, and the state after
    the chunk, none of them with a history. Where processes share a batch, their `clip_grad_norm_`
    first sums the gradients.
    """
    hidden = repackage_hidden(hidden)  # this truncates BPTT
    optimizer.zero_grad()
    loss, hidden = model.loss(data, target, hidden)
    loss.backward()
    norm = clip_grad_norm_(optimizer.params, clip)
    optimizer.step()
    return loss.detach(), norm, repackage_hidden(hidden)


@no_grad()
def evaluate(
    model: RNNModel,
    source: np.ndarray,
    bptt: int,
    *,
    progress: Callable[[int, int, int], None] | None = None,
) -> float:
    """The exact mean loss in nats per predicted word over `source` (rows, B), without dropout.

    A chunk counts in proportion to its words, so that a shorter last one does not weigh too much.
    `progress` is called after each chunk with the chunks done, all chunks, and the words done.
    Raises ValueError without a word to predict, or for a bptt below 1.
    """
    if len(source) < 2 or bptt < 1:
        raise ValueError(
            "evaluate: source needs at least 2 rows (a word and the next one) and bptt at least 1, "
            f"not {len(source)} and {bptt}"
        )
    was_training = model.training
    model.eval()
    hidden = model.init_hidden(source.shape[1])
    total, words = 0.0, 0
    batches = count_batches(source, bptt)
    for batch in range(batches):
        data, target = get_batch(source, batch * bptt, bptt)
        loss, hidden = model.loss(data, target, hidden)
        total = total + loss.data * np.float64(target.size)
        words += target.size
        if progress is not None:
            progress(batch + 1, batches, words)
    model.train(was_training)
    return float(total) / words


def perplexity(loss: float) -> float:
    """exp(loss), or infinity where that is too large for a float."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
