"""In float32: an epoch over the first 100,000 words of Penn Treebank, on two ranks and on one.

At a learning rate of 1 they agree to the end. At 20, the default, training is chaotic: another
order of any sum makes the losses part after some thirty batches.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from started import EXAMPLE, Run
from treebank import PTB, needs_ptb

WORDS, BATCHES = 100_000, 142  # of 20 columns and 35 steps, and what is left is another one
OPTIONS = ("--epochs=1", "--lr=1", "--log-interval=1")


def beginning(of: Path, to: Path) -> Path:
    """A folder with the first sentences of the training text, and all of the other splits."""
    to.mkdir()
    words, sentences = 0, []
    for line in (of / "ptb.train.txt").read_text(encoding="utf-8").splitlines(keepends=True):
        if words < WORDS:
            sentences.append(line)
            words += len(line.split()) + 1
    (to / "train.txt").write_text("".join(sentences), encoding="utf-8")
    for split in ("valid", "test"):
        (to / f"{split}.txt").write_bytes((of / f"ptb.{split}.txt").read_bytes())
    return to


@pytest.mark.slow
@needs_ptb
def test_an_epoch_on_two_ranks_is_that_on_one(mpi: None, tmp_path: Path) -> None:
    """The ranks also compare the hashes of their weights, at the report after each batch."""
    text = beginning(PTB, tmp_path / "text")
    losses, perplexities = [], []
    for ranks in (1, 2):
        options = [*OPTIONS, "--data", text, f"--ranks={ranks}", f"--metrics={ranks}.jsonl"]
        run = Run([EXAMPLE, *options, f"--save={ranks}.safetensors"], tmp_path).wait(900)
        assert (run.status, run.err) == (0, "")
        records = [json.loads(r) for r in (tmp_path / f"{ranks}.jsonl").read_text().splitlines()]
        losses.append([r["loss"] for r in records if "batch" in r])
        perplexities.append([r[name] for name in ("valid_perplexity", "test_perplexity")
                             for r in records if name in r])  # fmt: skip
    assert len(losses[0]) == BATCHES + 1
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    np.testing.assert_allclose(perplexities[1], perplexities[0], rtol=0.005)
