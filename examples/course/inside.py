"""Look inside of a trained language model: its gates, its samples, its losses, its guesses.

python examples/course/inside.py --out docs/results/course/inside.json
python examples/course/inside.py --quick
python examples/course/inside.py --checkpoint model.safetensors

Three small models are trained first if they are missing (see small_lm.py). With --checkpoint, only
the samples and the next words of that model are printed.
"""

from __future__ import annotations

import argparse
import math
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import minigrad as mg  # before NumPy: sets how long OpenBLAS's threads busy-wait

# isort: split
import numpy as np
from experiment import options, summaries, write
from small_lm import SEEDS, Trained, add_models, corpus_of, read, settings_of, trained

from lm.batches import batchify
from lm.console import run_command, show
from lm.corpus import EOS, UNK, Corpus
from lm.frequency import by_frequency, word_losses
from lm.model import RNNModel
from lm.sampling import as_text, generate
from lm.settings import EVAL_BATCH_SIZE
from lm.steps import perplexity
from minigrad.cells import LSTM
from minigrad.ops import raw

GATES = ("input", "forget", "cell", "output")  # the blocks of an LSTM: i, f, g, o
LOW, HIGH = 0.1, 0.9  # a gate below or above is nearly closed or open
TEMPERATURES = (0.5, 0.8, 1.0, 1.3)
WORDS_SHOWN, WORDS_COUNTED = 40, 500  # of each sample
TEXT_WORDS, UNITS = 24, 12  # of the picture of the gates
ROWS = 200  # of validation text, whose gates are averaged
GROUP = 10  # chunks that are read at once from a state of zero
PREFIXES = (
    "new", "new york stock", "the company said it", "in the third", "mr. <unk>", "a share of",
    "this is", "the following", "returns the",
)  # fmt: skip


# -------------------------------------------------------------------- gates


def gates(model: RNNModel, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gates and the cell state of an LSTM's last layer, at each word of ids (T, B).

    Returns (T, 4, H, B), in the order of GATES, and (T, H, B). The step is `LSTM.step`, which
    training calls too. The state is zero at first, and there is no dropout.
    """
    T, B = ids.shape
    x = model.encoder.weight.data[ids]  # (T, B, E)
    for layer in range(model.nlayers):
        W_ih, W_hh, b_ih, b_hh = (w.data for w in model.rnn.weights(layer))
        H = W_hh.shape[1]
        shape = (4, H, B)
        before = [np.zeros((H, B), x.dtype) for _ in range(LSTM.num_states)]
        found, cells, outputs = [], [], []
        for t in range(T):
            z = (W_ih @ x[t].T + (b_ih + b_hh)[:, None]).reshape(shape)  # becomes the gates
            zh = (W_hh @ before[0]).reshape(shape)
            after = [np.empty_like(state) for state in before]
            LSTM.step(z, zh, before, after, np.empty((1, H, B), x.dtype))
            found.append(z)
            outputs.append(after[0].T)
            cells.append(after[1])
            before = after
        x = np.stack(outputs)
    return np.stack(found), np.stack(cells)


def gates_over_text(trained: Trained, seed: int) -> dict[str, Any]:
    """A generated text, and the gates as the model reads it."""
    mg.manual_seed(seed)
    dictionary = trained.dictionary
    words = [EOS, *generate(trained.model, dictionary, TEXT_WORDS, temperature=0.8)]
    values, _ = gates(trained.model, dictionary.encode(words)[:, None])
    values = values[..., 0]  # (T, 4, H)
    forget = values[:, GATES.index("forget")]
    liveliest = np.argsort(-forget.std(axis=0), kind="stable")[:UNITS]
    return {
        "words": words,
        "means": {name: values[:, k].mean(axis=1).tolist() for k, name in enumerate(GATES)},
        "units": liveliest.tolist(),
        "forget": forget[:, liveliest].tolist(),
    }


def gates_by_word(trained: Trained, ids: np.ndarray) -> dict[str, Any]:
    """Mean gates where the model reads the end of a sentence, and where it reads another word."""
    values, cells = gates(trained.model, ids)
    eos = ids == trained.dictionary.word2idx[EOS]  # (T, B)
    found: dict[str, Any] = {}
    for name, at in (("eos", eos), ("other", ~eos)):
        chosen = values.transpose(0, 3, 1, 2)[at]  # (words, 4, H)
        found[name] = {gate: float(chosen[:, k].mean()) for k, gate in enumerate(GATES)}
        found[name]["state"] = float(abs(cells.transpose(0, 2, 1)[at]).mean())
    return found


def saturation(model: RNNModel, ids: np.ndarray) -> dict[str, Any]:
    """Percent of the values of each gate that are nearly closed, and nearly open."""
    values, _ = gates(model, ids)
    return {
        gate: {"closed": 100 * float((values[:, k] < LOW).mean()),
               "open": 100 * float((values[:, k] > HIGH).mean())}
        for k, gate in enumerate(GATES) if gate != "cell"
    }  # fmt: skip


# -------------------------------------------------------------------- text


def samples(trained: Trained, seed: int, count: int) -> dict[str, Any]:
    """Text at rising temperatures: how varied it is, and how likely the model itself finds it."""
    found = {}
    for temperature in TEMPERATURES:
        mg.manual_seed(seed)
        words = list(generate(trained.model, trained.dictionary, count, temperature))
        ids = trained.dictionary.encode([EOS, *words])[:, None]
        _, losses = word_losses(trained.model, ids, trained.settings.bptt)
        found[f"{temperature:g}".replace(".", "_")] = {
            "text": as_text(words[:WORDS_SHOWN]),
            "distinct": 100 * len(set(words)) / len(words),
            "unknown": 100 * words.count(UNK) / len(words),
            "surprise": float(losses.mean()),
        }
    return found


def next_words(models: Sequence[Trained], prefix: str, k: int = 5) -> dict[str, list[float]]:
    """The k words most likely after a prefix at the start of a sentence, on average.

    Each has its probability in each model.
    """
    ids = models[0].dictionary.encode([EOS, *prefix.split()])[:, None]
    p = np.array([probabilities(each.model, ids) for each in models])
    best = np.argsort(-p.mean(axis=0), kind="stable")[:k]
    return {models[0].dictionary.idx2word[i]: p[:, i].tolist() for i in best}


@mg.no_grad()
def probabilities(model: RNNModel, ids: np.ndarray) -> np.ndarray:
    """Of each word of the vocabulary, after ids (T, 1)."""
    logits = raw(model(ids, model.init_hidden(1))[0])[-1].astype(np.float64)
    e = np.exp(logits - logits.max())
    return e / e.sum()


# -------------------------------------------------------------------- losses


class Unigram:
    """A model without a memory: each word as probable as it is frequent in the training text."""

    training = False

    def __init__(self, counts: np.ndarray) -> None:
        self.logits = np.log(np.maximum(counts, 0.5))  # a word that never occurs: half a time

    def eval(self) -> None:
        """It has no other mode."""

    def train(self, mode: bool) -> None:
        """It has no other mode."""

    def init_hidden(self, batch_size: int) -> None:
        """It has no state."""

    def __call__(self, data: np.ndarray, hidden: None) -> tuple[mg.Tensor, None]:
        return mg.Tensor(np.broadcast_to(self.logits, (data.size, len(self.logits)))), None


def frequency(trained: Trained, source: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """Perplexity by the frequency of the word to predict, of the model and without context."""
    bptt, vocabulary = trained.settings.bptt, trained.dictionary.idx2word
    ours = by_frequency(trained.model, source, bptt, counts, vocabulary)
    base: Any = Unigram(counts)
    without = by_frequency(base, source, bptt, counts, vocabulary)
    total = sum(bin["words"] * bin["loss"] for bin in ours)
    words = sum(bin["words"] for bin in ours)
    return {
        bin["name"].replace("–", "-").replace(UNK, "unknown"): {
            "words": 100 * bin["words"] / words,
            "ppl": perplexity(bin["loss"]),
            "unigram_ppl": perplexity(other["loss"]),
            "share_of_loss": 100 * bin["words"] * bin["loss"] / total,
        }
        for bin, other in zip(ours, without, strict=True)
    }


def by_position(trained: Trained, source: np.ndarray, T: int) -> dict[str, list[float]]:
    """Perplexity of each of the T positions in a chunk, with a carried state and from zero.

    `error` is the standard error of the mean loss with a carried state, in nats.
    """
    chunks, B = (len(source) - 1) // T, source.shape[1]
    source = source[: chunks * T + 1]
    _, carried = word_losses(trained.model, source, T)
    # Chunks side by side are read independently, each from a state of zero.
    starts = T * np.arange(chunks)
    windows = source[starts + np.arange(T + 1)[:, None]]  # (T + 1, chunks, B)
    from_zero = []
    for first in range(0, chunks, GROUP):
        group = windows[:, first : first + GROUP].reshape(T + 1, -1)
        _, losses = word_losses(trained.model, group, T)
        from_zero.append(losses.reshape(T, -1))
    carried, zero = carried.reshape(chunks, T, B), np.concatenate(from_zero, axis=1)
    mean = carried.mean(axis=(0, 2))
    return {
        "carried": np.exp(mean).tolist(),
        "zero": np.exp(zero.mean(axis=1)).tolist(),
        "error": (carried.std(axis=(0, 2)) / math.sqrt(chunks * B)).tolist(),
    }


# -------------------------------------------------------------------- the command


def measure(trained: Trained, corpus: Corpus, seed: int, quick: bool) -> dict[str, Any]:
    source = batchify(corpus.valid, EVAL_BATCH_SIZE)
    counts = np.bincount(corpus.train, minlength=len(corpus.dictionary))
    rows = source[: 50 if quick else ROWS]
    position = by_position(trained, source, trained.settings.bptt)
    loss = float(word_losses(trained.model, source, trained.settings.bptt)[1].mean())
    carried, zero = (np.log(position[name]) for name in ("carried", "zero"))
    middle = len(zero) // 2
    return {
        "valid_loss": loss,
        "valid_ppl": perplexity(loss),
        "by_word": gates_by_word(trained, rows),
        "saturation": {str(done): saturation(read(path).model, rows)
                       for done, path in sorted(trained.snapshots.items())},
        "over_text": gates_over_text(trained, seed),
        "samples": samples(trained, seed, 60 if quick else WORDS_COUNTED),
        "frequency": frequency(trained, source, counts),
        "position": position,
        "unigram_ppl": perplexity(float(word_losses(Unigram(counts), source, 35)[1].mean())),
        "first": {"carried": position["carried"][0], "zero": position["zero"][0]},
        "second_half": {
            "carried": float(np.exp(carried[middle:].mean())),
            "zero": float(np.exp(zero[middle:].mean())),
        },
        "ratio": np.exp(zero - carried).tolist(),
        "first_ratio": float(np.exp(zero - carried)[0]),
        "error": 100 * float(np.mean(position["error"])),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    if args.checkpoint is not None:
        show_text(read(args.checkpoint))
        return
    started = time.perf_counter()
    corpus = corpus_of(args.quick)
    settings = [settings_of(seed, True, args.quick) for seed in SEEDS]
    models = [trained(each, corpus, args.models) for each in settings]
    runs = [measure(m, corpus, s, args.quick) for m, s in zip(models, SEEDS, strict=True)]
    numbers = summaries(runs)
    numbers["seeds"] = {str(seed): run for seed, run in zip(SEEDS, runs, strict=True)}
    numbers["next"] = {p: next_words(models, p) for p in known(PREFIXES, models[0])}
    show(report(numbers))
    used = settings[0].as_dict()
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def known(prefixes: Sequence[str], model: Trained) -> list[str]:
    """The prefixes whose words the model knows."""
    return [p for p in prefixes if set(p.split()) <= model.dictionary.word2idx.keys()]


def show_text(model: Trained) -> None:
    """Print samples and next words of one model."""
    for name, sample in samples(model, model.settings.seed, WORDS_SHOWN).items():
        show(f"temperature {name.replace('_', '.')}: {sample['text']}\n")
    for prefix in known(PREFIXES, model):
        words = next_words([model], prefix)
        guesses = ", ".join(f"{word} {100 * p:.0f} %" for word, (p,) in words.items())
        show(f"{prefix} … {guesses}")


def sample_blocks(numbers: Mapping[str, Any]) -> str:
    """The samples of the first seed as Markdown: each an indented block, in lines that fit."""
    blocks = []
    for name, sample in numbers["seeds"][str(SEEDS[0])]["samples"].items():
        lines = [f"temperature {name.replace('_', '.')}:", ""]
        for sentence in sample["text"].splitlines():
            lines += textwrap.wrap(sentence, 72, subsequent_indent="  ")
        blocks.append(textwrap.indent("\n".join(lines), "    "))
    return "\n\n".join(blocks)


def report(numbers: Mapping[str, Any]) -> str:
    by_word, first, half = numbers["by_word"], numbers["first"], numbers["second_half"]
    lines = [f"validation perplexity {numbers['valid_ppl']['mean']:.1f}"]
    for gate in GATES:
        eos, other = by_word["eos"][gate]["mean"], by_word["other"][gate]["mean"]
        lines.append(f"{gate:6} gate at <eos> {eos:.2f}, elsewhere {other:.2f}")
    for name in ("carried", "zero"):
        lines.append(f"state {name}: perplexity of the first word of a chunk "
                     f"{first[name]['mean']:.1f}, of its second half "
                     f"{half[name]['mean']:.1f}")  # fmt: skip
    for name, bin in numbers["frequency"].items():
        lines.append(f"{name:18} {bin['words']['mean']:5.1f} % of words, perplexity "
                     f"{bin['ppl']['mean']:8.1f} ({bin['unigram_ppl']['mean']:8.1f} "
                     "without context)")  # fmt: skip
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    p = options("Look inside of a trained language model.")
    add_models(p)
    p.add_argument("--checkpoint", type=Path, metavar="FILE",
                   help="only print samples and next words of this model")  # fmt: skip
    return p


if __name__ == "__main__":
    run_command(main)
