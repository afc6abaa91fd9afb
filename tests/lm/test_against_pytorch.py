"""Thirty training steps beside PyTorch's word_language_model, loss by loss.

The model and the loop below are those of pytorch/examples, word_language_model, in float64 and
without dropout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from lm.batches import batchify, get_batch
from lm.model import RNNModel
from lm.steps import train_step
from minigrad.cells import CELLS
from minigrad.optim import SGD

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # for so small arrays its threads would only wait for each other

V, E, H, LAYERS = 50, 16, 20, 2
B, BPTT, CLIP, STEPS = 8, 11, 0.25, 30
LR = {"LSTM": 5.0, "GRU": 5.0, "RNN_TANH": 2.0, "RNN_RELU": 2.0}


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    """A text whose words are as unequal as a language's; the last of its 30 chunks is short."""
    share = 1 / np.arange(1, V + 1) ** 1.5
    rows = STEPS * BPTT - 3
    return batchify(np.random.default_rng(0).choice(V, B * rows, p=share / share.sum()), B)


class WordLanguageModel(torch.nn.Module):
    def __init__(self, rnn_type: str, ninp: int, tied: bool) -> None:
        super().__init__()
        nn = torch.nn
        self.encoder = nn.Embedding(V, ninp)
        if rnn_type in ("LSTM", "GRU"):
            self.rnn = getattr(nn, rnn_type)(ninp, H, LAYERS)
        else:
            nonlinearity = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}[rnn_type]
            self.rnn = nn.RNN(ninp, H, LAYERS, nonlinearity=nonlinearity)
        self.decoder = nn.Linear(H, V)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, input: Any, hidden: Any) -> Any:
        output, hidden = self.rnn(self.encoder(input), hidden)
        decoded = self.decoder(output).view(-1, V)
        return torch.nn.functional.log_softmax(decoded, dim=1), hidden

    def init_hidden(self) -> Any:
        zeros = torch.zeros(LAYERS, B, H, dtype=torch.float64)
        return (zeros, zeros.clone()) if isinstance(self.rnn, torch.nn.LSTM) else zeros


def repackage(hidden: Any) -> Any:
    return hidden.detach() if isinstance(hidden, torch.Tensor) else tuple(map(repackage, hidden))


def pytorch_losses(model: WordLanguageModel, source: np.ndarray, lr: float) -> list[float]:
    criterion = torch.nn.NLLLoss()
    text = torch.from_numpy(source)
    hidden = model.init_hidden()
    losses = []
    for i in range(0, len(text) - 1, BPTT):
        length = min(BPTT, len(text) - 1 - i)
        data, targets = text[i : i + length], text[i + 1 : i + 1 + length].reshape(-1)
        model.zero_grad()
        hidden = repackage(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
        losses.append(loss.item())
    return losses


def our_losses(model: RNNModel, source: np.ndarray, lr: float) -> tuple[list[float], list[float]]:
    optimizer = SGD(model.parameters(), lr)
    hidden = model.init_hidden(B)
    losses, norms = [], []
    for i in range(0, len(source) - 1, BPTT):
        data, target = get_batch(source, i, BPTT)
        loss, norm, hidden = train_step(model, optimizer, data, target, hidden, CLIP)
        losses.append(loss.item())
        norms.append(float(norm))
    return losses, norms


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rnn_type", CELLS)
def test_every_loss_is_pytorchs(rnn_type: str, tied: bool, source: np.ndarray) -> None:
    mg.manual_seed(1)
    ninp = H if tied else E
    ours = RNNModel(rnn_type, V, ninp, H, LAYERS, dropout=0.0, tie_weights=tied).double()
    theirs = WordLanguageModel(rnn_type, ninp, tied).double()
    # The names and shapes are the same, or this raises.
    theirs.load_state_dict({name: torch.tensor(w) for name, w in ours.state_dict().items()})

    losses, norms = our_losses(ours, source, LR[rnn_type])
    expected = pytorch_losses(theirs, source, LR[rnn_type])
    assert len(losses) == STEPS
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-9)
    for name, weight in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], weight, rtol=0, atol=1e-8)

    # The comparison is worth something: the model learns, and clipping has acted.
    assert np.mean(losses[-5:]) < losses[0] - 0.5
    assert max(norms) > CLIP
