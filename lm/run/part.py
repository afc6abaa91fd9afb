"""Some columns of a batch as a part of the whole batch: for several ranks, and for accumulation.

The mean loss of a batch is the sum of the parts' losses, each the mean over its columns times its
share of all columns. So is its gradient. A part may be cut into pieces, of which only one is in
memory at a time.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from minigrad import Tensor, random
from minigrad.backend import Array, array_module
from minigrad.tensor import record_joint

from ..model import Hidden, RNNModel, as_tuple
from .ranks import share


class Part:
    """The columns `columns` of batches with `total` columns, computed in so many `pieces`.

    It takes the place of the model in `train_step`.
    """

    def __init__(self, model: RNNModel, columns: slice, total: int, pieces: int = 1) -> None:
        self.model, self.first, self.total = model, columns.start, total
        width = columns.stop - columns.start
        pieces = min(pieces, width)
        self.pieces = [share(i, pieces, width) for i in range(pieces)]

    def loss(self, data: np.ndarray, target: np.ndarray, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """This part's share of the mean loss; arguments and result as in `RNNModel.loss`.

        Summed over all parts, it and its gradients are those of the whole batch.
        """
        if len(self.pieces) == 1:
            return self._piece(self.pieces[0], data, target, hidden)
        return self._accumulated(data, target, as_tuple(hidden))

    def _piece(
        self, piece: slice, data: np.ndarray, target: np.ndarray, hidden: Hidden
    ) -> tuple[Tensor, Hidden]:
        start, stop = self.first + piece.start, self.first + piece.stop
        with random.columns(start, stop, self.total):
            loss, hidden = self.model.loss(data, target, hidden)
        return loss * ((stop - start) / self.total), hidden

    def _accumulated(
        self, data: np.ndarray, target: np.ndarray, hidden: tuple[Tensor, ...]
    ) -> tuple[Tensor, Hidden]:
        """The sum over the pieces. The graph of each is freed before the next one is computed.

        For that, its gradients are computed here already; `backward` only multiplies them.
        """
        xp, params = array_module(hidden[0].data), list(self.model.parameters())
        kept = [p.grad for p in params]
        self.model.zero_grad()
        before = random.get_state()
        losses, ends = [], []
        for piece in self.pieces:
            random.set_state(before)  # each piece takes its columns of the same masks
            words = data[:, piece]
            answers = target.reshape(data.shape)[:, piece].reshape(-1)
            start = tuple(Tensor(xp.ascontiguousarray(h.data[:, piece])) for h in hidden)
            loss, end = self._piece(piece, words, answers, start)
            loss.backward()
            losses.append(loss.data)
            ends.append([h.data for h in as_tuple(end)])
        grads = [p.grad for p in params]
        for p, grad in zip(params, kept, strict=True):
            p.grad = grad

        def accumulated(dy: Array) -> list[Array | None]:
            return [None if g is None else g * dy for g in grads]

        total = record_joint([sum(losses)], params, accumulated, saved=[])[0]
        return total, tuple(Tensor(xp.concatenate(h, axis=1)) for h in zip(*ends, strict=True))


def part_of(model: RNNModel, columns: slice, total: int, pieces: int = 1) -> RNNModel:
    """What `train_step` trains on these columns: for a whole batch, the model itself."""
    whole = columns == slice(0, total) and pieces == 1
    return model if whole else cast(RNNModel, Part(model, columns, total, pieces))
