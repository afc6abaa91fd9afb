"""Write a text of any length that resembles Penn Treebank: each word follows the one before it as
often as it does there.

    python benchmarks/big_text.py --words 100000000 --out /tmp/big

The folder gets train.txt with so many words, counted as `Corpus` does, and valid.txt and test.txt
with a tenth of them, but at most 20,000. The words are drawn and written in blocks, so memory
does not grow with the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lm.arguments import Parser, at_least_one, whole
from lm.console import UserError, run_command
from lm.corpus import EOS, SPLITS
from lm.datasets import load_corpus
from lm.files import make_folder

STRETCHES, LENGTH = 1000, 1000  # a block is so many stretches of so many words
OTHERS = 20_000  # words of valid.txt and test.txt


class Bigrams:
    """The pairs of neighbouring words in a text.

    `successors` has the words that follow word w from position `first[w]` on, `counts[w]` of them.
    """

    def __init__(self, ids: np.ndarray) -> None:
        self.successors = np.roll(ids, -1)[np.argsort(ids, kind="stable")]
        self.counts = np.bincount(ids)
        self.first = np.cumsum(self.counts) - self.counts

    def draw(self, start: int, rng: np.random.Generator) -> np.ndarray:
        """Stretches of words, (STRETCHES, LENGTH), each drawn as what follows `start`."""
        drawn = np.empty((STRETCHES, LENGTH), np.int64)
        words = np.full(STRETCHES, start)
        for step in range(LENGTH):
            chosen = (rng.random(STRETCHES) * self.counts[words]).astype(np.int64)
            words = self.successors[self.first[words] + chosen]
            drawn[:, step] = words
        return drawn


def blocks(bigrams: Bigrams, eos: int, words: int, seed: int) -> Iterator[np.ndarray]:
    """So many word ids, the last of them `eos`, in blocks."""
    rng = np.random.default_rng(seed)
    for done in range(0, words, STRETCHES * LENGTH):
        ids = bigrams.draw(eos, rng).reshape(-1)[: words - done]
        if done + len(ids) == words:
            ids[-1] = eos
        yield ids


def write_text(folder: Path, words: int, data: str | None = None, seed: int = 1) -> None:
    """Write the three splits, with the statistics of the training text in `data`."""
    corpus = load_corpus(data)
    bigrams, eos = Bigrams(corpus.train), corpus.dictionary.word2idx[EOS]
    names = corpus.dictionary.idx2word.copy()
    names[eos] = "\n"
    make_folder(folder)
    for number, split in enumerate(SPLITS):
        length = words if split == "train" else min(OTHERS, max(1, words // 10))
        with open(folder / f"{split}.txt", "w", encoding="utf-8", newline="\n") as file:
            for ids in blocks(bigrams, eos, length, len(SPLITS) * seed + number):
                file.write(" " + " ".join([names[i] for i in ids.tolist()]))


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    try:
        write_text(args.out, args.words, args.data, args.seed)
    except OSError as error:
        raise UserError(f"can't write the text to {args.out}: {error.strerror}") from error


def parser() -> Parser:
    p = Parser(description="Write a long text with the statistics of Penn Treebank.")
    p.add_argument("--words", type=at_least_one, default=10**8, help="words of the training text")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    p.add_argument("--data", metavar="DIR", help="take the statistics from this text "
                   "(default Penn Treebank, in data/ptb)")  # fmt: skip
    p.add_argument("--seed", type=whole, default=1, help="seed of the draws")
    return p


if __name__ == "__main__":
    run_command(main)
