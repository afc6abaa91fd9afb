"""main.py and data.py of PyTorch's word_language_model with default options, for comparison."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch_model
from torch import nn

SIZE, LAYERS, DROPOUT, CLIP, BPTT = 200, 2, 0.2, 0.25, 35
BATCH, EVAL_BATCH, LOG_INTERVAL = 20, 10, 200
LR = {"LSTM": 20.0, "GRU": 10.0, "RNN_TANH": 3.0, "RNN_RELU": 2.0}


class Corpus:
    def __init__(self, files: Sequence[Path]) -> None:
        self.word2idx: dict[str, int] = {}
        self.train, self.valid, self.test = map(self.tokenize, files)

    def tokenize(self, path: Path) -> torch.Tensor:
        with open(path, encoding="utf8") as f:
            for line in f:
                for word in [*line.split(), "<eos>"]:
                    self.word2idx.setdefault(word, len(self.word2idx))
        with open(path, encoding="utf8") as f:
            lines = []
            for line in f:
                ids = [self.word2idx[word] for word in [*line.split(), "<eos>"]]
                lines.append(torch.tensor(ids).type(torch.int64))
        return torch.cat(lines)


def batchify(data: torch.Tensor, batch_size: int) -> torch.Tensor:
    rows = data.size(0) // batch_size
    return data[: rows * batch_size].view(batch_size, rows).t().contiguous()


def get_batch(source: torch.Tensor, i: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = min(BPTT, len(source) - 1 - i)
    return source[i : i + rows], source[i + 1 : i + 1 + rows].view(-1)


@torch.no_grad()
def evaluate(model: Any, source: torch.Tensor) -> float:
    model.eval()
    total, hidden = 0.0, model.init_hidden(EVAL_BATCH)
    for i in range(0, len(source) - 1, BPTT):
        data, target = get_batch(source, i)
        output, hidden = model(data, hidden)
        total += len(data) * nn.functional.nll_loss(output, target).item()
    return total / (len(source) - 1)


def train(
    files: Sequence[Path], rnn_type: str, tied: bool, epochs: int, seed: int = 1111
) -> Iterator[dict[str, float]]:
    """A whole run; yields what is known after reading the text, each epoch, and the test."""
    torch.manual_seed(seed)
    corpus = Corpus(files)
    source = batchify(corpus.train, BATCH)
    valid, test = (batchify(split, EVAL_BATCH) for split in (corpus.valid, corpus.test))
    words, lr, best = len(corpus.word2idx), LR[rnn_type], math.inf
    model: Any = torch_model.RNNModel(rnn_type, words, SIZE, SIZE, LAYERS, DROPOUT, tied)
    saved = io.BytesIO()
    yield {"words": words, "parameters": sum(p.numel() for p in model.parameters())}
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        model.train()
        total, hidden = 0.0, model.init_hidden(BATCH)
        for batch, i in enumerate(range(0, len(source) - 1, BPTT)):
            data, target = get_batch(source, i)
            loss, hidden = torch_model.train_step(model, lr, data, target, hidden, CLIP)
            total += loss.item()
            if batch % LOG_INTERVAL == 0 and batch > 0:
                mean = total / LOG_INTERVAL
                print(f"torch | epoch {epoch} | {batch} batches | ppl {math.exp(mean):.2f}")
                total = 0.0
        loss = evaluate(model, valid)
        seconds = time.perf_counter() - started
        print(f"torch | end of epoch {epoch} | {seconds:.2f} s | valid ppl {math.exp(loss):.2f}")
        if loss < best:
            best = loss
            saved = io.BytesIO()
            torch.save(model.state_dict(), saved)
        else:
            lr /= 4.0
        yield {"epoch": epoch, "valid_ppl": math.exp(loss), "seconds": seconds}
    saved.seek(0)
    model.load_state_dict(torch.load(saved))
    test_ppl = math.exp(evaluate(model, test))
    print(f"torch | test ppl {test_ppl:.2f}")
    yield {"test_ppl": test_ppl}
