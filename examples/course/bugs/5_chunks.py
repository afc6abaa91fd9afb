"""A network reads a long text in chunks, and carries its state from one to the next.

The task: predict the next letter. Every batch should take about the same time, but each takes
longer than the one before.
"""

import time

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn

TEXT = "thequickbrownfoxjumpsoverthelazydog" * 40


class Model(nn.Module):
    """Letters (T, B) to logits (T, B, 26), and the state."""

    def __init__(self):
        self.embed, self.decode = nn.Embedding(26, 16), nn.Linear(32, 26)
        self.rnn = nn.RNN(16, 32)

    def forward(self, letters, hidden):
        output, hidden = self.rnn(self.embed(letters), hidden)
        return self.decode(output), hidden


def train_chunk(model, letters, hidden, lr=0.1):
    """One step of gradient descent on a chunk, letters (T + 1, B); returns loss and new state."""
    logits, hidden = model(letters[:-1], hidden)
    loss = F.cross_entropy(logits.reshape(-1, 26), letters[1:].reshape(-1))
    for p in model.parameters():
        p.zero_grad()
    loss.backward(retain_graph=True)  # without it: "backward() was called a second time"
    for p in model.parameters():
        p.data -= lr * p.grad
    return loss.item(), hidden


def main():
    mg.manual_seed(1)
    letters = np.array([ord(letter) - ord("a") for letter in TEXT])
    columns = letters.reshape(4, -1).T
    model, hidden = Model(), mg.tensor(np.zeros((1, 4, 32), np.float32))
    for batch, start in enumerate(range(0, len(columns) - 1, 7)):
        began = time.perf_counter()
        loss, hidden = train_chunk(model, columns[start : start + 8], hidden)
        if batch % 10 == 0:
            milliseconds = 1000 * (time.perf_counter() - began)
            print(f"batch {batch:2}  loss {loss:.3f}  {milliseconds:5.1f} ms")


if __name__ == "__main__":
    main()
