"""What `find_the_bug.py` checks, and its hints. Reading this file spoils the hunt.

A check gets the names that a program defines. It raises `NotFixed` with what it saw: values, then
derivatives, on inputs of its own. It never looks at how the program is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad.bptt import unrolled
from minigrad.cells import CELLS

Names = Mapping[str, Any]


class NotFixed(Exception):
    """The program is still wrong; the message says what the check saw."""


class Bug(NamedTuple):
    """A program with one mistake."""

    file: str
    check: Callable[[Names], None]
    hints: tuple[str, str]  # the tool to take, then where to look
    lesson: str  # shown when it is fixed


# -------------------------------------------------------------------- tools of the checks


def named(program: Names, name: str) -> Any:
    if name not in program:
        raise NotFixed(f"the program no longer defines {name}, which the check uses")
    return program[name]


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> mg.Tensor:
    """Normal numbers in float64, for which finite differences are exact enough."""
    values = scale * np.random.default_rng(seed).standard_normal(shape)
    return mg.tensor(values, requires_grad=True)


def same_value(name: str, found: Any, wanted: np.ndarray, atol: float = 1e-6) -> None:
    """Raise NotFixed unless `found` is a tensor with these values."""
    if not isinstance(found, mg.Tensor):
        raise NotFixed(f"{name} should be a tensor, not {type(found).__name__}")
    if found.shape != wanted.shape:
        raise NotFixed(f"{name} has shape {found.shape}; it should be {wanted.shape}")
    difference = np.abs(found.data - wanted)
    if not difference.max() <= atol:
        at = np.unravel_index(np.argmax(difference), wanted.shape)
        place = tuple(int(i) for i in at)
        raise NotFixed(f"{name} is {found.data[at]:.6g} at {place}; it should be {wanted[at]:.6g}")


def right_derivative(name: str, fn: Callable[..., Any], inputs: Sequence[mg.Tensor]) -> None:
    try:
        mg.gradcheck(fn, inputs)
    except mg.GradcheckError as error:
        raise NotFixed(f"the derivative of {name} is wrong: {error}") from None
    except (TypeError, ValueError) as error:
        if not str(error).startswith("gradcheck:"):
            raise
        raise NotFixed(f"{name} can't be checked: {error}") from None


def gradients(loss: mg.Tensor, of: Sequence[mg.Tensor]) -> list[np.ndarray]:
    for x in of:
        x.zero_grad()
    if loss.requires_grad:
        loss.backward()
    return [np.zeros(x.shape) if x.grad is None else x.grad for x in of]


# -------------------------------------------------------------------- the checks


def gate(program: Names) -> None:
    gate = named(program, "gate")
    a_z, a_n, h_prev = (random(3, 4, seed=seed) for seed in range(3))
    z, n = 1 / (1 + np.exp(-a_z.data)), np.tanh(a_n.data)
    same_value("h", gate(a_z, a_n, h_prev), (1 - z) * n + z * h_prev.data)
    right_derivative("gate", gate, [a_z, a_n, h_prev])


def classes(program: Names) -> None:
    log_softmax = named(program, "log_softmax")
    x = random(3, 4, scale=3.0)
    same_value("log_softmax(x)", log_softmax(x), mg.log_softmax(x, dim=1).data)
    right_derivative("log_softmax", log_softmax, [x])


def dropout(program: Names) -> None:
    dropout = named(program, "dropout")
    for p in (0.25, 0.5):
        x, rng = random(100, 50), np.random.default_rng(1)
        first, second = dropout(x, p, rng), dropout(x, p, rng)
        kept = first.data != 0
        same_value(f"dropout(x, {p})", first, np.where(kept, x.data / (1 - p), 0))
        if not abs(kept.mean() - (1 - p)) < 0.03:
            raise NotFixed(f"dropout(x, {p}) zeroes {1 - kept.mean():.0%} of the elements")
        if ((second.data != 0) == kept).all():
            raise NotFixed("two calls with the same generator drop the same elements")
    x = random(3, 4)
    right_derivative("dropout", lambda x: dropout(x, 0.5, np.random.default_rng(1)), [x])


def normalise(program: Names) -> None:
    rng, scales, means = np.random.default_rng(1), np.array([1.0, 5.0, 20.0]), np.arange(3.0)
    layer = named(program, "Normalise")(3)
    origin, ones = mg.tensor(np.zeros((1, 3))), mg.tensor(np.ones((1, 3)))
    for batch in range(100):
        x = mg.tensor(rng.normal(size=(400, 3)) * scales + means)
        y = layer(x, True)
        normal = (x.data - x.data.mean(axis=0)) / np.sqrt(x.data.var(axis=0) + 1e-5)
        same_value("the output in training", y, normal, 1e-3)
        # Outside of training, y = (x - mean) / sigma, so that two outputs tell sigma and mean.
        at_0, at_1 = layer(origin, False).data[0], layer(ones, False).data[0]
        with np.errstate(all="ignore"):  # of a layer that gives the same for both
            var, mean = (at_1 - at_0) ** -2, -at_0 / (at_1 - at_0)
        if batch == 0:  # both ways to estimate a variance from 400 values are right enough
            first = 0.9 + 0.1 * x.data.var(axis=0)
            _close("variance", var, first, 0.01, "one batch (initially 1, momentum 0.9)")
    _close("variance", var, scales**2, 0.1, "100 batches")
    if not (np.abs(mean - means) < 0.2 * scales).all():
        raise NotFixed(f"after 100 batches the running mean is {_shown(mean)}, not {_shown(means)}")
    right_derivative("Normalise", lambda x: named(program, "Normalise")(3)(x, True), [random(5, 3)])


def _close(what: str, found: np.ndarray, wanted: np.ndarray, rtol: float, after: str) -> None:
    if not (np.abs(found - wanted) <= rtol * np.abs(wanted)).all():
        raise NotFixed(
            f"after {after}, features of variance 1, 25 and 400 are divided by the root of "
            f"{_shown(found)}; it should be about {_shown(wanted)}"
        )


def _shown(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


class Visits(mg.profile):
    """Counts the operations that `backward` visits."""

    count = 0

    def backward(self, *arguments: Any) -> None:
        self.count += 1
        super().backward(*arguments)


def chunks(program: Names) -> None:
    Model, train_chunk = named(program, "Model"), named(program, "train_chunk")
    mg.manual_seed(1)
    model, reference = Model(), Model()
    reference.load_state_dict(model.state_dict())
    columns = np.random.default_rng(1).integers(0, 26, (31, 4))
    hidden = expected = mg.tensor(np.zeros((1, 4, 32), np.float32))
    visits = []
    for k in range(6):
        letters = columns[5 * k : 5 * k + 6]
        with Visits() as counter:
            loss, hidden = train_chunk(model, letters, hidden)
        visits.append(counter.count)
        wanted, expected = _train_chunk(reference, letters, expected)
        if visits[-1] > visits[0]:
            raise NotFixed(
                f"backward visits {visits[0]} operations for chunk 1 and {visits[-1]} for chunk "
                f"{k + 1}; it should be as many for each"
            )
        same_value(f"the state after chunk {k + 1}", hidden, expected.data, 1e-4)
        if not abs(loss - wanted) < 1e-4:
            raise NotFixed(f"the loss of chunk {k + 1} is {loss:.4f}; it should be {wanted:.4f}")
    if visits[0] == 0:
        raise NotFixed("backward visits no operations")


def _train_chunk(model: Any, letters: np.ndarray, hidden: mg.Tensor) -> tuple[float, mg.Tensor]:
    """What `train_chunk` should do."""
    logits, hidden = model(letters[:-1], hidden)
    loss = F.cross_entropy(logits.reshape(-1, 26), letters[1:].reshape(-1))
    found = gradients(loss, list(model.parameters()))
    for p, dp in zip(model.parameters(), found, strict=True):
        p.data = p.data - 0.1 * dp
    return loss.item(), hidden.detach()


def layer(program: Names) -> None:
    lstm = named(program, "lstm")
    x, weights = random(4, 2, 3), [random(*s, seed=1) for s in ((20, 3), (20, 5), (20,), (20,))]
    zeros = [mg.tensor(np.zeros((2, 5)))] * 2
    wanted = unrolled(CELLS["LSTM"], x, zeros, *weights)[0]
    same_value("the output", lstm(x, *weights), wanted.data)
    right_derivative("lstm", lstm, [x, *weights])


def distances(program: Names) -> None:
    distances = named(program, "distances")
    points = random(5, 2)
    apart = points.data[None] - points.data[:, None]
    with np.errstate(all="ignore"):
        found = distances(points)
        same_value("distances", found, np.sqrt((apart**2).sum(axis=2)), 1e-3)
        weight = np.random.default_rng(1).normal(size=(5, 5))
        (dx,) = gradients((found * mg.tensor(weight)).sum(), [points])
    if not np.isfinite(dx).all():
        bad = (~np.isfinite(dx)).sum()
        raise NotFixed(f"{bad} of the {dx.size} numbers of the gradient are not finite")
    between = mg.tensor(1 - np.eye(5))
    right_derivative("distances", lambda x: distances(x) * between, [points])


def memory(program: Names) -> None:
    one_layer = named(program, "one_layer")
    for name in ("RNN_TANH", "LSTM"):
        cell = CELLS[name]
        G, H = cell.num_gates, 4
        x = random(5, 2, 3)
        state = [random(2, H, seed=k, scale=0.3) for k in range(cell.num_states)]
        weights = [random(*s, seed=2) for s in ((G * H, 3), (G * H, H), (G * H,), (G * H,))]
        found, wanted = (f(cell, x, state, *weights) for f in (one_layer, unrolled))
        for what, y, z in zip(("output", "last h", "last c"), found, wanted, strict=False):
            same_value(f"{name}: the {what}", y, z.data)
        upstream = random(5, 2, H, seed=3).detach()
        inputs = [x, *state, *weights]
        of = ["x", *("h", "c")[: len(state)], "W_ih", "W_hh", "b_ih", "b_hh"]
        grads = [gradients((outputs[0] * upstream).sum(), inputs) for outputs in (found, wanted)]
        for what, dx, dz in zip(of, *grads, strict=True):
            if not np.abs(dx - dz).max() <= 1e-6:
                raise NotFixed(
                    f"{name}: the gradient of {what} has norm {np.linalg.norm(dx):.4g}; that of "
                    f"`unrolled` has norm {np.linalg.norm(dz):.4g}"
                )


BUGS = {
    1: Bug(
        "1_gate.py",
        gate,
        (
            "The derivative is written by hand, so compare it with finite differences: "
            "gradcheck(gate, [a_z, a_n, h_prev]) with three float64 tensors of shape (3, 4). "
            "Which input is wrong, and by what factor?",
            "Only the gradient of a_z fails, and it is -1 times the right one. Differentiate "
            "h = (1 - z) n + z h_prev by z.",
        ),
        "dh/dz is h_prev - n: a larger z keeps more of the old state. With the sign reversed, the "
        "gate closed when it should open, while all else learned.",
    ),
    2: Bug(
        "2_classes.py",
        classes,
        (
            "Call gradcheck(log_softmax, [x]) for a float64 x of shape (3, 4). Then add up the "
            "gradient over each row of x: what should the sum be, if adding a constant to a row "
            "changes nothing?",
            "log Σ exp(x) is one number for each row, and it is subtracted from every element of "
            "the row: it is broadcast. So its gradient is the sum over what it was broadcast to.",
        ),
        "A value that is broadcast gets the sum of the gradients. The tape sums for operands; for "
        "a value inside of an operation, you have to do it.",
    ),
    3: Bug(
        "3_dropout.py",
        dropout,
        (
            "gradcheck wants the same output at every call: give each call a generator with the "
            "same seed, gradcheck(lambda x: dropout(x, 0.5, np.random.default_rng(1)), [x]). Which "
            "elements fail?",
            "Elements fail that were dropped but have a gradient, or were kept but have none. How "
            "often is scaled_mask called?",
        ),
        "The derivative of x · mask is the same mask, not another one from the same distribution. "
        "What forward draws, backward has to keep.",
    ),
    4: Bug(
        "4_normalise.py",
        normalise,
        (
            "gradcheck finds nothing here: every derivative is right. Training works, evaluation "
            "does not, so compare the two on one batch: the mean and the variance of each output.",
            "After training, the outputs of the features have different variances. Print "
            "running_var beside the variance of the data.",
        ),
        "A standard deviation went into the running variance. No gradient depends on it, so no "
        "check of gradients can find it; only evaluation shows it.",
    ),
    5: Bug(
        "5_chunks.py",
        chunks,
        (
            "Run batch 1 and batch 40 in `with minigrad.profile() as p:`, and compare p.table(). "
            "Which column has grown? What does retain_graph=True keep?",
            "The forward pass takes the same time for each batch, but backward visits the chunks "
            "before it too. The state that a chunk starts from still has its history.",
        ),
        "The state is carried over with its value alone: hidden.detach(). The error message that "
        "retain_graph=True had silenced was right.",
    ),
    6: Bug(
        "6_layer.py",
        layer,
        (
            "gradcheck finds nothing here: the derivative fits the function, but the function "
            "is another one. Compare it with the layer that it should be equal to: one step, the "
            "same weights, then each gate.",
            "Set the biases so that one gate is 0 and the others are 1, gate by gate. What does "
            "the docstring of minigrad.cells.LSTM say of the order of the blocks?",
        ),
        "The blocks are in the order i f g o. Other libraries have other orders, and a matrix does "
        "not say which it has.",
    ),
    7: Bug(
        "7_map.py",
        distances,
        (
            "Run the loop inside `with minigrad.detect_anomaly():`. It stops at the first "
            "operation with a value or gradient that is not finite, and names it.",
            "The derivative of a square root is infinite at 0, and infinity times 0 is NaN. Which "
            "distances are 0?",
        ),
        "The distance of a point to itself is 0, where the square root has no derivative. Add a "
        "tiny number under the root, or leave these pairs out.",
    ),
    8: Bug(
        "8_memory.py",
        memory,
        (
            "The loss at the end should depend on every step. Look at the ledger of this layer: "
            "python examples/course/find_the_bug.py ledger",
            "Only the diagonal of the ledger is not 0: the loss of a step reaches the weights "
            "through that step alone. Where does the state leave the tape?",
        ),
        "NumPy computes the same values as minigrad, but leaves no node on the tape: a new tensor "
        "from .data is a detach. minigrad.clip keeps the history.",
    ),
}
