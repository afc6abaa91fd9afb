"""The recurrent language model: embedding, recurrent stack, decoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.backend import array_module
from minigrad.cells import CELLS
from minigrad.random import uniform

Hidden = Any  # a Tensor (layers, B, H), or for a cell with several states, as the LSTM, a tuple


class RNNModel(nn.Module):
    """Predicts each word of a text from those before it.

    rnn_type   name of the cell in `minigrad.cells.CELLS`: LSTM, GRU, RNN_TANH, RNN_RELU
    ntoken     words in the vocabulary, V
    ninp       size of a word's vector
    nhid       hidden units per layer, H
    nlayers    recurrent layers
    dropout    probability, on the embedding, between the layers and on the output
    tie_weights  use one matrix for embedding and decoder (Press & Wolf 2017); needs ninp == nhid
    bptt         "manual" or "autograd", as in `nn.LSTM`
    dropout_kind "standard", or "variational" for one mask per sequence, the same at every step

    Raises ValueError for an unknown rnn_type, a size below 1, a dropout outside [0, 1], or tied
    weights of different sizes.
    """

    def __init__(
        self,
        rnn_type: str,
        ntoken: int,
        ninp: int,
        nhid: int,
        nlayers: int,
        dropout: float = 0.5,
        tie_weights: bool = False,
        *,
        bptt: str = "manual",
        dropout_kind: str = "standard",
    ) -> None:
        if rnn_type not in CELLS:
            raise ValueError(f"the model must be one of {', '.join(CELLS)}, not {rnn_type!r}")
        if min(ntoken, ninp, nhid, nlayers) < 1:
            raise ValueError(
                f"sizes must be at least 1, not ntoken={ntoken}, ninp={ninp}, nhid={nhid}, "
                f"nlayers={nlayers}"
            )
        if tie_weights and ninp != nhid:
            raise ValueError(f"tied weights need ninp, {ninp}, and nhid, {nhid}, to be equal")
        self.nlayers = nlayers
        self.nhid = nhid
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.Recurrent(
            CELLS[rnn_type], ninp, nhid, nlayers, dropout=dropout, bptt=bptt,
            dropout_kind=dropout_kind,
        )  # fmt: skip
        self.drop = nn.Dropout(dropout, shared=self.rnn.dropout_shared)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        self.init_weights()

    def init_weights(self) -> None:
        """Embedding and decoder uniform in ±0.1, the decoder's bias zero."""
        for weight in (self.encoder.weight, self.decoder.weight):
            weight.data[...] = uniform(-0.1, 0.1, weight.shape)
            weight.mark_changed()
        self.decoder.bias.data.fill(0)

    def init_hidden(self, batch_size: int) -> Hidden:
        """The state before the first word: zeros (layers, batch_size, H), for the LSTM a pair."""
        shape = (self.nlayers, batch_size, self.nhid)
        weight = self.decoder.weight.data
        xp, number = array_module(weight), self.rnn.cell.num_states
        states = tuple(Tensor(xp.zeros(shape, weight.dtype)) for _ in range(number))
        return states if number > 1 else states[0]

    def features(self, data: np.ndarray, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Everything before the decoder: word ids (T, B) to features (T·B, H)."""
        embedded = self.drop(self.encoder(data))
        output, hidden = self.rnn(embedded, hidden)
        T, B, H = output.shape
        return self.drop(output).reshape(T * B, H), hidden

    def forward(self, data: np.ndarray, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Word ids (T, B) to logits (T·B, V) for the word after each, and the state."""
        features, hidden = self.features(data, hidden)
        return self.decoder(features), hidden

    def loss(self, data: np.ndarray, target: np.ndarray, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """The mean cross-entropy in nats of target (T·B,) given data (T, B), and the state."""
        features, hidden = self.features(data, hidden)
        decoder = self.decoder
        return F.linear_cross_entropy(features, decoder.weight, decoder.bias, target), hidden


def as_tuple(hidden: Hidden) -> tuple[Tensor, ...]:
    """The state as a tuple for every cell: (h,), for the LSTM (h, c). The model takes it too."""
    return (hidden,) if isinstance(hidden, Tensor) else tuple(hidden)
