"""Weight tying: what one matrix for embedding and decoder saves, and the gradients that it gets.

python examples/course/tying.py --out docs/results/course/tying.json
python examples/course/tying.py --quick
python examples/course/tying.py --checkpoint model.safetensors

Small models, tied and untied, with three seeds each, are trained first if they are missing (see
small_lm.py). With --checkpoint, only the neighbours of words in that model are printed.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import minigrad as mg  # before NumPy: sets how long OpenBLAS's threads busy-wait

# isort: split
import numpy as np
from experiment import options, summaries, write
from small_lm import SEEDS, Trained, add_models, corpus_of, read, settings_of, trained

from lm.batches import batchify, get_batch
from lm.checkpoint import load_checkpoint
from lm.console import run_command, show
from lm.corpus import EOS, UNK, Corpus, Dictionary
from lm.model import Hidden, RNNModel, as_tuple
from lm.settings import EVAL_BATCH_SIZE, Settings, build_model
from lm.steps import evaluate, perplexity, train_step
from minigrad.nn import Module
from minigrad.optim import SGD

BATCHES = 20  # of which the gradients are averaged
STEPS = 12  # timed, for each model in turn
NEAREST = 10  # neighbours, to compare two matrices
COMMON = 1000  # most frequent words, whose neighbours are compared
QUERIES = ("company", "million", "president", "london", "monday", "rose", "could", "he")
# Words for the picture; each group is a kind of word that the text often has.
REGION = {
    "months": "january february march april june july august september october november december",
    "days": "monday tuesday wednesday thursday friday",
    "places": "london paris tokyo california texas washington boston chicago",
    "movement": "rose fell dropped gained climbed declined jumped slipped",
    "modal verbs": "will would could can may might should must",
}
BINS = (1, 4, 16, 64, 256, 1024, 4096, 16384)  # occurrences in the training text


# -------------------------------------------------------------------- two gradients


def two_streams(
    model: RNNModel, data: np.ndarray, target: np.ndarray, hidden: Hidden
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of a tied matrix through the embedding, and through the decoder.

    Each use gets a copy of the matrix of its own. The copies are equal, so the loss is the same,
    and the sum of the two gradients is the gradient of the tied matrix.
    """
    apart = copy.deepcopy(model)
    apart.decoder.weight = mg.nn.Parameter(apart.encoder.weight.data.copy())
    apart.zero_grad()
    apart.loss(data, target, hidden)[0].backward()
    return apart.encoder.weight.grad, apart.decoder.weight.grad


def tied_gradient(
    model: RNNModel, data: np.ndarray, target: np.ndarray, hidden: Hidden
) -> np.ndarray:
    """The gradient of the tied matrix itself."""
    model.zero_grad()
    model.loss(data, target, hidden)[0].backward()
    return model.encoder.weight.grad.copy()


def measure_streams(model: RNNModel, source: np.ndarray, bptt: int) -> dict[str, Any]:
    """The two gradients over a few batches: rows, norms, angle, and the norm of each row."""
    model.eval()  # no dropout: the same loss each time
    hidden = model.init_hidden(source.shape[1])
    rows: dict[str, list[float]] = {"embedding": [], "decoder": [], "targets": []}
    norms: dict[str, list[float]] = {"embedding": [], "decoder": [], "sum": []}
    cosines, errors, of_targets = [], [], []
    squares = {"embedding": np.zeros(len(model.encoder.weight)), "decoder": 0.0}
    for batch in range(BATCHES):
        data, target = get_batch(source, batch * bptt, bptt)
        streams = dict(
            zip(("embedding", "decoder"), two_streams(model, data, target, hidden), strict=True)
        )
        whole = tied_gradient(model, data, target, hidden)
        with mg.no_grad():
            hidden = model.loss(data, target, hidden)[1]
        sizes = {name: (d.astype(float) ** 2).sum(axis=1) for name, d in streams.items()}
        for name, d in streams.items():
            rows[name].append(int(d.any(axis=1).sum()))
            norms[name].append(float(np.linalg.norm(d)))
            squares[name] = squares[name] + sizes[name]
        rows["targets"].append(len(set(target.tolist())))
        norms["sum"].append(float(np.linalg.norm(whole)))
        cosines.append(float(np.vdot(*streams.values()) / np.prod([norms[n][-1] for n in streams])))
        errors.append(float(abs(sum(streams.values()) - whole).max() / abs(whole).max()))
        of_targets.append(float(sizes["decoder"][np.unique(target)].sum() / sizes["decoder"].sum()))
    return {
        "rows": {name: statistics.fmean(found) for name, found in rows.items()},
        "norms": {name: statistics.fmean(found) for name, found in norms.items()},
        "cosine": statistics.fmean(cosines),
        "worst_error": max(errors),
        "share_of_targets": 100 * statistics.fmean(of_targets),
        "row_norms": {name: np.sqrt(s / BATCHES) for name, s in squares.items()},
    }


def by_frequency(values: np.ndarray, counts: np.ndarray) -> list[float | None]:
    """The mean of `values`, one for each word, in each bin of frequency."""
    at = np.digitize(counts, BINS)
    return [float(values[at == i].mean()) if (at == i).any() else None
            for i in range(1, len(BINS) + 1)]  # fmt: skip


def moved(model: Trained, name: str) -> np.ndarray:
    """How far each row of a matrix has moved in training, relative to its norm at the start."""
    states = [load_checkpoint(model.snapshots[at]).model[name]
              for at in (min(model.snapshots), max(model.snapshots))]  # fmt: skip
    start, end = states
    return np.linalg.norm(end - start, axis=1) / np.linalg.norm(start, axis=1).mean()


# -------------------------------------------------------------------- time


def measure_time(corpus: Corpus, base: Settings, seed: int, steps: int) -> dict[str, Any]:
    """CPU seconds of training steps, tied and untied in turns."""
    states = {}
    for name in ("tied", "untied"):
        mg.manual_seed(seed)
        settings = Settings(**{**base.as_dict(), "tied": name == "tied"})
        model = build_model(settings, len(corpus.dictionary))
        optimizer = SGD(model.parameters(), settings.first_lr)
        states[name] = (model, optimizer, as_tuple(model.init_hidden(settings.batch_size)))
    source = batchify(corpus.train, base.batch_size)
    seconds: dict[str, list[float]] = {"tied": [], "untied": []}
    for step in range(steps + 2):
        data, target = get_batch(source, step * base.bptt, base.bptt)
        for name, (model, optimizer, hidden) in states.items():
            started = time.process_time()
            _, _, hidden = train_step(model, optimizer, data, target, hidden, base.clip)
            seconds[name].append(time.process_time() - started)
            states[name] = (model, optimizer, as_tuple(hidden))
    kept = {name: found[2:] for name, found in seconds.items()}  # the first two warm up
    ratios = [a / b for a, b in zip(kept["tied"], kept["untied"], strict=True)]
    return {"ratio": statistics.median(ratios),
            "ms": {name: 1000 * statistics.median(found) for name, found in kept.items()},
            "parameters": {"lstm": parameters(states["tied"][0].rnn),
                           **{name: parameters(state[0]) for name, state in states.items()}},
            }  # fmt: skip


def parameters(module: Module) -> int:
    return sum(p.size for p in module.parameters())


# -------------------------------------------------------------------- neighbours


def normalised(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def nearest(matrix: np.ndarray, k: int) -> np.ndarray:
    """The k nearest other rows of each row, by cosine, nearest first: (N, k)."""
    unit = normalised(matrix)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    return np.argsort(-cosine, axis=1, kind="stable")[:, :k]


def overlap(a: np.ndarray, b: np.ndarray, k: int = NEAREST) -> float:
    """Percent of the k nearest neighbours that a row has in both matrices, on average."""
    pairs = zip(nearest(a, k), nearest(b, k), strict=True)
    return 100 * statistics.fmean(len(set(x) & set(y)) / k for x, y in pairs)


def neighbours(
    matrix: np.ndarray, dictionary: Dictionary, common: np.ndarray, queries: Sequence[str], k: int
) -> dict[str, list[str]]:
    """The nearest of the common words to each query."""
    rows = nearest(matrix[common], k)
    place = {dictionary.idx2word[word]: i for i, word in enumerate(common)}
    return {q: [dictionary.idx2word[common[i]] for i in rows[place[q]]] for q in queries}


def most_common(counts: np.ndarray, dictionary: Dictionary, number: int) -> np.ndarray:
    """The ids of the most frequent words, without the two that are no words."""
    order = np.argsort(-counts, kind="stable")
    odd = {dictionary.word2idx.get(word) for word in (EOS, UNK)}
    return np.array([i for i in order if i not in odd][:number])


def region(matrix: np.ndarray, dictionary: Dictionary) -> dict[str, Any]:
    """The words of REGION in the plane of their two principal components."""
    kind = {w: name for name, words in REGION.items() for w in words.split()
            if w in dictionary.word2idx}  # fmt: skip
    if len(kind) < 3:
        return {}
    rows = normalised(matrix[[dictionary.word2idx[word] for word in kind]])
    centred = rows - rows.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    own = [
        100 * statistics.fmean(same)
        for name in REGION
        if (same := [kind[list(kind)[j]] == name
                     for i, j in enumerate(nearest(rows, 1)[:, 0]) if kind[list(kind)[i]] == name])
    ]  # fmt: skip
    return {
        "words": list(kind),
        "kinds": list(kind.values()),
        "xy": (centred @ axes[:2].T).tolist(),
        "explained": 100 * float((sizes[:2] ** 2).sum() / (sizes**2).sum()),
        "nearest_of_own_kind": statistics.fmean(own),
    }


# -------------------------------------------------------------------- the command


def matrices(model: Trained) -> dict[str, np.ndarray]:
    """The matrices of words of a model, by their roles."""
    if model.settings.tied:
        return {"tied": model.model.encoder.weight.data}
    return {"input": model.model.encoder.weight.data, "output": model.model.decoder.weight.data}


def measure_seed(corpus: Corpus, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """All that is measured of the pair of models of one seed."""
    pair = {tied: trained(settings_of(seed, tied, args.quick), corpus, args.models)
            for tied in (True, False)}  # fmt: skip
    tied, untied = pair[True], pair[False]
    counts = np.bincount(corpus.train, minlength=len(corpus.dictionary))
    common = most_common(counts, corpus.dictionary, COMMON)
    words = matrices(tied) | matrices(untied)
    queries = [q for q in QUERIES if corpus.dictionary.word2idx.get(q) in common]
    queries = queries or [corpus.dictionary.idx2word[i] for i in common[:3]]
    train = batchify(corpus.train, tied.settings.batch_size)
    valid = batchify(corpus.valid, EVAL_BATCH_SIZE)
    bptt = tied.settings.bptt
    streams = {}
    for when, at in (("start", min(tied.snapshots)), ("end", max(tied.snapshots))):
        model = read(tied.snapshots[at]).model
        streams[when] = measure_streams(model, train, bptt)
        rows = streams[when].pop("row_norms")
        streams[when]["by_frequency"] = {n: by_frequency(r, counts) for n, r in rows.items()}
    base = Settings() if not args.quick else tied.settings
    return {
        "valid_ppl": {
            name: perplexity(evaluate(model.model, valid, bptt))
            for name, model in (("tied", tied), ("untied", untied))
        },
        "parameters": {"tied": parameters(tied.model), "untied": parameters(untied.model)},
        "streams": streams,
        "moved": {
            "tied": by_frequency(moved(tied, "encoder.weight"), counts),
            "input": by_frequency(moved(untied, "encoder.weight"), counts),
            "output": by_frequency(moved(untied, "decoder.weight"), counts),
        },
        "overlap": {
            f"{a} and {b}": overlap(words[a][common], words[b][common])
            for a, b in (("input", "output"), ("tied", "input"), ("tied", "output"))
        },
        "neighbours": {name: neighbours(matrix, corpus.dictionary, common, queries, 5)
                       for name, matrix in words.items()},
        "region": {name: region(matrix, corpus.dictionary) for name, matrix in words.items()},
        "time": measure_time(corpus, base, seed, 3 if args.quick else STEPS),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    corpus = corpus_of(args.quick)
    if args.checkpoint is not None:
        show_neighbours(read(args.checkpoint), corpus)
        return
    started = time.perf_counter()
    runs = [measure_seed(corpus, seed, args) for seed in SEEDS]
    numbers = summaries(runs)
    numbers["seeds"] = {str(seed): run for seed, run in zip(SEEDS, runs, strict=True)}
    numbers["bins"] = list(BINS)
    show(report(numbers))
    used = settings_of(SEEDS[0], True, args.quick).as_dict()
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def show_neighbours(model: Trained, corpus: Corpus) -> None:
    """Print the neighbours of the queries in each matrix of a model of the same corpus."""
    counts = np.bincount(corpus.train, minlength=len(corpus.dictionary))
    common = most_common(counts, model.dictionary, COMMON)
    known = [q for q in QUERIES if model.dictionary.word2idx.get(q) in common]
    for name, matrix in matrices(model).items():
        for query, found in neighbours(matrix, model.dictionary, common, known, 5).items():
            show(f"{name:8} {query:10} {' '.join(found)}")


def neighbour_table(numbers: Mapping[str, Any]) -> str:
    """The neighbours in the models of the first seed, as a table in Markdown."""
    found = numbers["seeds"][str(SEEDS[0])]["neighbours"]
    names = [name for name in ("tied", "output", "input") if name in found]
    lines = [" | ".join(["", "word", *(f"{name} matrix" for name in names), ""]).strip(),
             "| --- " * (1 + len(names)) + "|"]  # fmt: skip
    for query in found[names[0]]:
        cells = [" ".join(found[name][query][:4]) for name in names]
        lines.append(" | ".join(["", query, *cells, ""]).strip())
    return "\n".join(lines)


def report(numbers: Mapping[str, Any]) -> str:
    ppl, streams, ratio = numbers["valid_ppl"], numbers["streams"], numbers["time"]["ratio"]
    lines = [f"validation perplexity: tied {ppl['tied']['mean']:.1f}, "
             f"untied {ppl['untied']['mean']:.1f}; time of a step, tied / untied: "
             f"{ratio['mean']:.3f}"]  # fmt: skip
    for when, found in streams.items():
        rows, norms = found["rows"], found["norms"]
        lines.append(
            f"gradient at the {when}: embedding {rows['embedding']['mean']:.0f} rows, norm "
            f"{norms['embedding']['mean']:.3f}; decoder {rows['decoder']['mean']:.0f} rows, norm "
            f"{norms['decoder']['mean']:.3f}; cosine {found['cosine']['mean']:.3f}"
        )
    lines += [f"shared neighbours, {k}: {v['mean']:.1f} %" for k, v in numbers["overlap"].items()]
    return "\n".join([*lines, neighbour_table(numbers)])


def parser() -> argparse.ArgumentParser:
    p = options("What weight tying saves, and the two gradients that one matrix gets.")
    add_models(p)
    p.add_argument("--checkpoint", type=Path, metavar="FILE",
                   help="only print the neighbours of words in this model")  # fmt: skip
    return p


if __name__ == "__main__":
    run_command(main)
