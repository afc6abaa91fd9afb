"""What the hidden state carries from chunk to chunk, and where the time of training goes.

python examples/course/language_model.py --out docs/results/course/language-model.json
python examples/course/language_model.py --quick

Three trained models (see small_lm.py) are evaluated on validation text in several ways: with the
state carried from chunk to chunk, as `lm.steps.evaluate` does it; from zero in every chunk; from
zero in every sentence; with the state of the column next to it; and with the text laid out row by
row, which is a common mistake. The models are trained first if they are missing.

The times are not measured here: `examples/profile_lm.py` did that. They are grouped, and set beside
the arithmetic that each part does.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import minigrad as mg  # before NumPy: sets how long OpenBLAS's threads busy-wait

# isort: split
import numpy as np
from experiment import ROOT, options, summary, write
from small_lm import SEEDS, Trained, add_models, corpus_of, settings_of, trained

from lm.batches import batchify, count_batches, get_batch
from lm.console import run_command, show
from lm.corpus import EOS, Corpus
from lm.model import as_tuple
from lm.results import read_result
from lm.settings import EVAL_BATCH_SIZE
from lm.steps import perplexity

State = tuple[mg.Tensor, ...]
Between = Callable[[State, np.ndarray], State]

WORDS = 20_000  # of the validation text
LENGTHS = (1, 2, 5, 10, 20, 35, 70, 140)  # of chunks, in steps
PROFILE = ROOT / "docs" / "results" / "profile"
VOCABULARY = 10_000  # words of Penn Treebank, on which the profile was measured
WIKITEXT = 33_278  # words of WikiText-2, which the exercise used
EXERCISE = {  # the profile of the exercise that this project grew out of; see the chapter
    "seconds": 1899.65,
    "batches": 2984,
    "forward": 46.4,
    "backward": 44.6,
    "loss": 6.3,
    "clipping": 1.0,
    "update": 1.0,
    "evaluation_seconds": 97,
    "evaluation_forward": 66.9,
    "evaluation_loss": 30.0,
    "batchify_copy": 98.9,
}
GROUPS = {
    "forward decoder + loss": "forward decoder + loss",
    "forward layers": "forward layer",
    "forward rest": "forward",
    "backward decoder + loss": "backward decoder + loss",
    "backward layers": "backward layer",
    "backward rest": "backward",
    "clipping": "clipping",
    "update": "update",
}  # a component belongs to the first group whose prefix its name has
TRAINING = ("get_batch", "repackage_hidden", "zero_grad", "forward", "backward", "clipping",
            "update")  # fmt: skip


# -------------------------------------------------------------------- the state


def carried(state: State, read: np.ndarray) -> State:
    """The state after a chunk is the state before the next one, column by column."""
    return state


def zero(state: State, read: np.ndarray) -> State:
    """Every chunk begins without a memory."""
    return tuple(mg.Tensor(np.zeros_like(s.data)) for s in state)


def neighbour(state: State, read: np.ndarray) -> State:
    """Each column gets the state of the column next to it: a bug that raises no error."""
    return tuple(mg.Tensor(np.roll(s.data, 1, axis=1)) for s in state)


def reset_at(word: int) -> Between:
    """No memory of what came before `word`; for chunks of one step."""

    def reset(state: State, read: np.ndarray) -> State:
        keep = (read[-1] != word)[None, :, None]  # (1, B, 1) beside the state's (layers, B, H)
        return tuple(mg.Tensor(s.data * keep) for s in state)

    return reset


@mg.no_grad()
def mean_loss(trained: Trained, source: np.ndarray, bptt: int, between: Between) -> float:
    """`lm.steps.evaluate`, with `between` applied to the state before each chunk.

    `between` gets the state and the words that the model is about to read, (T, B).
    """
    model = trained.model
    hidden = as_tuple(model.init_hidden(source.shape[1]))
    total, words = 0.0, 0
    for batch in range(count_batches(source, bptt)):
        data, target = get_batch(source, batch * bptt, bptt)
        loss, after = model.loss(data, target, between(hidden, data))
        hidden = as_tuple(after)
        total += loss.item() * target.size
        words += target.size
    return total / words


def row_by_row(ids: np.ndarray, batch_size: int) -> np.ndarray:
    """The mistake: an array of the right shape whose columns are not consecutive words."""
    rows = len(ids) // batch_size
    return ids[: rows * batch_size].reshape(rows, batch_size)


def measure_state(trained: Trained, ids: np.ndarray, lengths: Sequence[int]) -> dict[str, Any]:
    """Perplexities of one model, by how its state is treated."""
    source = batchify(ids, EVAL_BATCH_SIZE)
    eos = trained.dictionary.word2idx[EOS]

    def ppl(between: Between, bptt: int, source: np.ndarray = source) -> float:
        return perplexity(mean_loss(trained, source, bptt, between))

    bptt = trained.settings.bptt
    return {
        "carried": ppl(carried, bptt),
        "zero": ppl(zero, bptt),
        "neighbour": ppl(neighbour, bptt),
        "sentence": ppl(reset_at(eos), 1),
        "row_by_row": ppl(carried, bptt, row_by_row(ids, EVAL_BATCH_SIZE)),
        "carried_by_length": [ppl(carried, T) for T in lengths],
        "zero_by_length": [ppl(zero, T) for T in lengths],
    }


# -------------------------------------------------------------------- the board


def board(corpus: Corpus, batch_size: int, bptt: int, columns: int = 3) -> dict[str, Any]:
    """Words of the first columns: their beginnings, the end of the first chunk, their ends."""
    source = batchify(corpus.train, batch_size)
    words = corpus.dictionary.idx2word
    rows = len(source)
    shown = {"first": range(3), "seam": range(bptt - 3, bptt + 3), "last": range(rows - 3, rows)}
    return {
        "text": len(corpus.train),
        "rows": rows,
        "columns": batch_size,
        "bptt": bptt,
        "chunks": count_batches(source, bptt),
        "dropped": len(corpus.train) - source.size,
        "seams_of_columns": batch_size - 1,
        "seams_of_chunks": batch_size * (count_batches(source, bptt) - 1),
        "words": {
            part: [[words[i] for i in source[row, :columns]] for row in at]
            for part, at in shown.items()
        },
        "at": {part: list(at) for part, at in shown.items()},
    }


# -------------------------------------------------------------------- the profile


def multiplications(settings: Mapping[str, Any], V: int = VOCABULARY) -> dict[str, float]:
    """Multiply-adds of a training step in the matrix products, in millions."""
    N = settings["batch_size"] * settings["bptt"]
    E, H, layers = settings["emsize"], settings["nhid"], settings["nlayers"]
    recurrent = sum(N * 4 * H * ((H if layer else E) + H) for layer in range(layers))
    decoder = N * V * H
    return {
        "forward decoder + loss": decoder / 1e6,
        "forward layers": recurrent / 1e6,
        "backward decoder + loss": 2 * decoder / 1e6,
        "backward layers": 2 * recurrent / 1e6,
    }


def grouped(components: Mapping[str, Any]) -> dict[str, float]:
    """Percent of the training time (without reading, evaluation and saving) in each group."""
    seconds = {name: c["seconds"] for name, c in components.items() if name.startswith(TRAINING)}
    total = sum(seconds.values())
    shares = dict.fromkeys([*GROUPS, "other"], 0.0)
    for name, value in seconds.items():
        group = next((g for g, prefix in GROUPS.items() if name.startswith(prefix)), "other")
        shares[group] += 100 * value / total
    for direction in ("forward", "backward"):
        shares[direction] = sum(
            share for group, share in shares.items() if group.startswith(f"{direction} ")
        )
    return shares


LINE = re.compile(r"^ *\d+ +(\d+) +([\d.]+) +([\d.]+) +([\d.]+)  (.*)$")


def line_tables(text: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The lines that ran in each table of line_profiler, numbered from 1."""
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    for part in text.split("Function: ")[1:]:
        name = part.split(maxsplit=1)[0]
        rows = [match.groups() for line in part.splitlines() if (match := LINE.match(line))]
        tables[name] = {
            str(i): {"hits": int(h), "ms": float(ms), "per_hit": float(per),
                     "percent": float(share), "source": source.strip()}
            for i, (h, ms, per, share, source) in enumerate(rows, start=1)
        }  # fmt: skip
    return tables


def profile(folder: Path = PROFILE) -> dict[str, Any]:
    """What the committed profile says, in the groups of the chapter."""
    result = read_result(folder / "profile.json")
    numbers, arithmetic = result["numbers"], multiplications(result["settings"])
    batches = numbers["batches"]["train"]
    found = {}
    for library, measured in (("ours", numbers), ("torch", numbers["torch"])):
        parts = measured["components"]
        training = sum(c["seconds"] for name, c in parts.items() if name.startswith(TRAINING))
        found[library] = {
            "shares": grouped(parts),
            "ms_per_batch": 1000 * training / batches,
            "training_seconds": training,
            "evaluation_seconds": parts["validation"]["seconds"] + parts["test"]["seconds"],
        }
    ours = found["ours"]
    whole = sum(arithmetic.values())
    of_exercise = sum(multiplications(result["settings"], WIKITEXT).values())
    ms = 1000 * EXERCISE["seconds"] / EXERCISE["batches"]
    decoder = sum(ours["shares"][f"{way} decoder + loss"] for way in ("forward", "backward"))
    return {
        **found,
        "exercise": {
            **EXERCISE,
            "forward_and_loss": EXERCISE["forward"] + EXERCISE["loss"],
            "ms_per_batch": ms,
            "times_the_arithmetic": of_exercise / whole,
            "times_the_time": ms / ours["ms_per_batch"],
        },
        "arithmetic": {
            "millions": arithmetic,
            "total": whole,
            "shares": {name: 100 * value / whole for name, value in arithmetic.items()},
            "billions_per_second": {
                name: value / (ours["shares"][name] / 100 * ours["ms_per_batch"])
                for name, value in arithmetic.items()
            },
        },
        "decoder": decoder,
        "speedup_without_decoder": 100 / (100 - decoder),
        "lines": line_tables((folder / "profile.txt").read_text(encoding="utf-8")),
    }


# -------------------------------------------------------------------- the command


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    started = time.perf_counter()
    corpus = corpus_of(args.quick)
    ids = corpus.valid[:WORDS]
    lengths = (1, 5, 35) if args.quick else LENGTHS
    runs = {}
    for seed in SEEDS:
        settings = settings_of(seed, tied=True, quick=args.quick)
        runs[seed] = measure_state(trained(settings, corpus, args.models), ids, lengths)
        show(f"seed {seed}: " + ", ".join(f"{k} {v:.1f}" for k, v in runs[seed].items()
                                          if isinstance(v, float)))  # fmt: skip
    single = [name for name, value in runs[SEEDS[0]].items() if isinstance(value, float)]
    numbers = {
        "seeds": {str(seed): run for seed, run in runs.items()},
        "lengths": list(lengths),
        **{name: summary([run[name] for run in runs.values()]) for name in single},
        "board": board(corpus, 20, settings.bptt),
        "profile": profile(),
    }
    write(args.out, settings.as_dict(), SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    p = options("What the hidden state carries, and where the time of training goes.")
    add_models(p)
    return p


if __name__ == "__main__":
    run_command(main)
