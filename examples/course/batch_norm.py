"""What batch normalisation changes: learning rates, activations, and training against evaluation.

python examples/course/batch_norm.py --out docs/results/course/batch-norm.json
python examples/course/batch_norm.py --quick

Five measurements with a deep fully connected network on handwritten digits:

- the spread of the activations by depth, before and after training;
- the test errors over learning rates, with and without batch normalisation;
- the running mean of one unit during training, for several values of momentum;
- the errors in evaluation, and in training mode with batches of random digits or of one class;
- the length of the gradient when the weights of a layer are multiplied by a factor.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from digits_training import accuracy, descend, digits, shuffled
from experiment import options, summary, write

import minigrad as mg
from lm.arguments import at_least_one
from lm.console import run_command, show
from minigrad import functional as F
from minigrad import nn, optim

SEEDS = (1, 2, 3, 4, 5)
DEPTH, HIDDEN = 8, 64
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# Without batch norm: the usual initial weights, or larger ones. With it: gamma at the start.
KINDS = ("without", "he", "uniform", "ones")
MOMENTA = (0.5, 0.9, 0.99)
BATCH_SIZES = (2, 4, 16, 64)
FACTORS = (0.25, 1.0, 4.0, 16.0)


def network(kind: str, momentum: float = 0.9) -> nn.Sequential:
    """Eight times linear, batch norm (for "uniform" and "ones") and ReLU; then the ten classes.

    With "he", weights are uniform in ±√(6/in), so that a ReLU layer keeps the mean square of its
    inputs (He et al. 2015, equation 10). Those of `Linear` are √6 times smaller.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (64, *[HIDDEN] * (DEPTH - 1)):
        layers.append(nn.Linear(inputs, HIDDEN))
        if kind == "he":
            layers[-1].weight.data *= 6**0.5
        if kind in ("uniform", "ones"):
            layers.append(nn.BatchNorm1d(HIDDEN, momentum=momentum, init=kind))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(HIDDEN, 10))


@np.errstate(all="ignore")  # too high a learning rate gives infinities, which is a result here
def trained(kind: str, lr: float, seed: int, epochs: int, size: int = 64) -> nn.Sequential:
    """The network after SGD on the training digits."""
    x, labels, *_ = digits(seed)
    mg.manual_seed(seed)
    model = network(kind)
    optimizer = optim.SGD(model.parameters(), lr)
    batches = shuffled(len(x), size, np.random.default_rng(seed))
    for _ in descend(
        model, optimizer, x, labels, itertools.islice(batches, epochs * (len(x) // size))
    ):
        pass
    return model


@np.errstate(all="ignore")
def errors(model: nn.Module, seed: int) -> float:
    """Percent of the test images that the network gets wrong in evaluation."""
    *_, x, labels = digits(seed)
    return 100 * (1 - accuracy(model, x, labels))


# -------------------------------------------------------------------- activations by depth


@mg.no_grad()
def spread_by_depth(model: nn.Sequential, images: np.ndarray) -> list[float]:
    """After each ReLU, the standard deviation over the images (root mean square over the units)."""
    model.train()
    x, spread = mg.tensor(images), []
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            spread.append(float(np.sqrt(x.numpy().var(axis=0).mean())))
    return spread


def depth(seeds: Sequence[int], epochs: int) -> dict[str, Any]:
    """The spread by depth at the start and after training, for each kind of network."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        for moment, length in (("start", 0), ("trained", epochs)):
            spread = np.array(
                [
                    spread_by_depth(trained(kind, 0.1, seed, length), digits(seed)[0][:512])
                    for seed in seeds
                ]
            )
            found.setdefault(moment, {})[kind] = {
                "spread": spread.tolist(),
                "first": summary(spread[:, 0]),
                "last": summary(spread[:, -1]),
            }
            cells = " ".join(f"{s:.4f}" for s in spread.mean(axis=0))
            show(f"{kind:8} {moment:8} spread by depth: {cells}")
    return found


# -------------------------------------------------------------------- learning rates


def rates(seeds: Sequence[int], rates: Sequence[float], epochs: int) -> dict[str, Any]:
    """The test errors of each kind of network, for each learning rate."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        rows = {}
        for lr in rates:
            runs = [errors(trained(kind, lr, seed, epochs), seed) for seed in seeds]
            rows[f"{lr:g}".replace(".", ",")] = {"lr": lr, "runs": runs, **summary(runs)}
        usable = [row["lr"] for row in rows.values() if row["max"] < 20]
        found[kind] = {
            "rates": rows,
            "best": min(rows.values(), key=lambda row: float(row["mean"])),
            "usable": {"least": min(usable), "most": max(usable)} if usable else None,
        }
        cells = [f"{row['mean']:.1f}" for row in rows.values()]
        show(f"{kind:8} test errors by learning rate, %: {'  '.join(cells)}")
    return found


# -------------------------------------------------------------------- running statistics


def running(seed: int, steps: int) -> dict[str, Any]:
    """The mean of one unit of the first layer: of each batch, running, and of all images."""
    x, labels, *_ = digits(seed)
    estimates: dict[str, list[float]] = {}
    of_batches, of_all = [], []
    for momentum in MOMENTA:
        mg.manual_seed(seed)
        model = network("ones", momentum)
        _, linear, norm, *_ = model
        optimizer = optim.SGD(model.parameters(), 0.1)
        batches = list(itertools.islice(shuffled(len(x), 32, np.random.default_rng(seed)), steps))
        row = estimates.setdefault(f"{100 * momentum:.0f}", [])
        for batch in batches:
            if momentum == MOMENTA[0]:
                with mg.no_grad():
                    unit = linear(mg.tensor(x.reshape(len(x), -1))).numpy()[:, 0]
                of_batches.append(float(unit[batch].mean()))
                of_all.append(float(unit.mean()))
            next(descend(model, optimizer, x, labels, [batch]))
            row.append(float(norm.running_mean.data[0]))
    return {"batch": of_batches, "all": of_all, "running": estimates}


def running_statistics(seeds: Sequence[int], steps: int) -> dict[str, Any]:
    """The curves of the first seed, and how far each estimate is off in the second half."""
    found: dict[str, Any] = {"off": {}}
    for seed in seeds:
        run = running(seed, steps)
        if seed == seeds[0]:
            found["curves"] = run
        half, of_all = steps // 2, np.array(run["all"])
        for name, values in {"batch": run["batch"], **run["running"]}.items():
            off = np.sqrt(np.mean((np.array(values) - of_all)[half:] ** 2))
            found["off"].setdefault(name, []).append(float(off))
    found["off"] = {name: summary(values) for name, values in found["off"].items()}
    for name, off in found["off"].items():
        show(f"running mean, momentum {name:>5}: off by {off['mean']:.4f} ± {off['spread']:.4f}")
    return found


# -------------------------------------------------------------------- training or evaluation


@mg.no_grad()
def errors_in_training_mode(
    model: nn.Sequential, x: np.ndarray, labels: np.ndarray, size: int, order: np.ndarray
) -> float:
    """Percent of errors if each batch of `size` is normalised with its own statistics."""
    model.train()
    pieces = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
    wrong = [
        (model(mg.tensor(x[piece])).numpy().argmax(axis=1) != labels[piece]).mean()
        for piece in pieces
    ]
    return 100 * float(np.mean(wrong))


def modes(seeds: Sequence[int], epochs: int) -> dict[str, Any]:
    found: dict[str, Any] = {"evaluation": []}
    for seed in seeds:
        model = trained("ones", 0.1, seed, epochs)
        found["evaluation"].append(errors(model, seed))
        *_, x, labels = digits(seed)
        orders = {
            "random": np.random.default_rng(seed).permutation(len(x)),
            "one class": np.argsort(labels, kind="stable"),
        }
        for name, order in orders.items():
            for size in BATCH_SIZES:
                wrong = errors_in_training_mode(model, x, labels, size, order)
                found.setdefault(name, {}).setdefault(str(size), []).append(wrong)
    result: dict[str, Any] = {"evaluation": _summary(found["evaluation"])}
    show(f"errors in evaluation: {result['evaluation']['mean']:.1f} %")
    for name in ("random", "one class"):
        result[name] = {size: _summary(runs) for size, runs in found[name].items()}
        cells = [f"{size}: {row['mean']:.1f} %" for size, row in result[name].items()]
        show(f"errors in training mode, {name}, by batch size: {'  '.join(cells)}")
    return result


def _summary(runs: Sequence[float]) -> dict[str, Any]:
    return {"runs": list(runs), **summary(runs)}


# -------------------------------------------------------------------- scale of the weights


def scaled(kind: str, factor: float, seed: int) -> tuple[float, float]:
    """The loss, and the norm of the gradient of a layer, if its weights are `factor` as large."""
    x, labels, *_ = digits(seed)
    mg.manual_seed(seed)
    model = network(kind)
    layer = [m for m in model if isinstance(m, nn.Linear)][2]
    layer.weight.data *= factor
    loss = F.cross_entropy(model(mg.tensor(x[:256])), labels[:256])
    loss.backward()
    return loss.item(), float(np.linalg.norm(layer.weight.grad))


def scale(seeds: Sequence[int]) -> dict[str, Any]:
    """Loss and gradient by factor, relative to those at factor 1."""
    found: dict[str, Any] = {}
    for kind in ("he", "ones"):
        for factor in FACTORS:
            losses, gradients = [], []
            for seed in seeds:
                loss, norm = scaled(kind, factor, seed)
                loss_1, norm_1 = scaled(kind, 1.0, seed)
                losses.append(loss / loss_1)
                gradients.append(norm / norm_1)
            row = {"loss": summary(losses), "gradient": summary(gradients)}
            found.setdefault(kind, {})[f"{100 * factor:.0f}"] = row
            show(
                f"{kind:8} weights times {factor:5g}: loss times {row['loss']['mean']:.4f}, "
                f"gradient times {row['gradient']['mean']:.4f}"
            )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    seeds, epochs, steps, lrs = SEEDS, args.epochs, 200, RATES
    if args.quick:
        seeds, epochs, steps, lrs = SEEDS[:3], 3, 60, (1.0,)
    started = time.perf_counter()
    numbers = {
        "depth": depth(seeds, epochs),
        "scale": scale(seeds),
        "running": running_statistics(seeds, steps),
        "modes": modes(seeds, epochs),
        "rates": rates(seeds, lrs, epochs),
    }
    used = {"depth": DEPTH, "hidden": HIDDEN, "epochs": epochs, "steps": steps, "rates": lrs}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    p = options("What batch normalisation changes.")
    p.add_argument("--epochs", type=at_least_one, default=10, help="passes over the digits")
    return p


if __name__ == "__main__":
    run_command(main)
