"""Functions: gradients agree with finite differences, values and gradients with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers import (
    NONZERO,
    POSITIVE,
    arrays,
    assert_as_torch,
    assert_gradients_are_sound,
    distinct,
    floats,
    leaf,
    leaves,
    shapes,
)
from hypothesis import given
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal, host

import minigrad as mg
from minigrad import functional as F
from minigrad import gradcheck

pytestmark = pytest.mark.usefixtures("backend")

Draw = Callable[[st.SearchStrategy[Any]], Any]
SIDES = st.integers(1, 4)
CLASSES = st.integers(2, 4)  # with a single class the gradient is zero, up to 1e-17


class Case(NamedTuple):
    """A function, random inputs for it, and a function that makes PyTorch's from torch."""

    ours: Callable[..., Any]
    theirs: Callable[[Any], Callable[..., Any]]
    inputs: Sequence[Any]


def unary(name: str, elements: Any = None) -> Any:
    return lambda draw: Case(
        getattr(F, name), lambda torch: getattr(torch, name), [draw(arrays(shapes(), elements))]
    )


def along_axis(name: str) -> Any:
    def case(draw: Draw) -> Case:
        x = draw(arrays(shapes(min_dims=1).filter(any)))
        axis = draw(st.sampled_from([a for a in range(-x.ndim, x.ndim) if x.shape[a]]))
        return Case(
            lambda x: getattr(F, name)(x, dim=axis),
            lambda torch: lambda x: getattr(torch, name)(x, dim=axis),
            [x],
        )

    return case


def linear(draw: Draw) -> Case:
    """Any number of leading axes, also none; with and without bias."""
    lead, I, O = draw(shapes(max_dims=2)), draw(SIDES), draw(SIDES)
    bias = [draw(arrays(O))] if draw(st.booleans()) else []
    inputs = [draw(arrays((*lead, I))), draw(arrays((O, I))), *bias]
    return Case(F.linear, lambda torch: torch.nn.functional.linear, inputs)


def embedding(draw: Draw) -> Case:
    """Ids of any shape, with repetitions."""
    V, E = draw(SIDES), draw(SIDES)
    ids = draw(hnp.arrays(np.int64, shapes(), elements=st.integers(0, V - 1)))
    return Case(
        lambda W: F.embedding(ids, W),
        lambda torch: lambda W: torch.nn.functional.embedding(torch.tensor(ids), W),
        [draw(arrays((V, E)))],
    )


def targets(draw: Draw, N: int, V: int) -> np.ndarray:
    return draw(hnp.arrays(np.int64, N, elements=st.integers(0, V - 1)))


def cross_entropy(draw: Draw) -> Case:
    N, V = draw(SIDES), draw(CLASSES)
    target, reduction = targets(draw, N, V), draw(st.sampled_from(["mean", "sum"]))
    return Case(
        lambda z: F.cross_entropy(z, target, reduction=reduction),
        lambda torch: (
            lambda z: torch.nn.functional.cross_entropy(
                z, torch.tensor(target), reduction=reduction
            )
        ),
        [draw(arrays((N, V)))],
    )


def cross_entropy_ignoring(draw: Draw) -> Case:
    """Ignore some rows, but not all; ignore_index is class 0 or not a class."""
    N, V = draw(st.integers(2, 4)), draw(CLASSES)
    ignored = draw(st.sampled_from([-100, 0, V, 255]))
    target, ignore = targets(draw, N, V), draw(hnp.arrays(bool, N))
    target[ignore] = ignored
    target[0] = 1
    how = {"ignore_index": ignored, "reduction": draw(st.sampled_from(["mean", "sum"]))}

    def theirs(torch: Any) -> Callable[..., Any]:
        return lambda z: torch.nn.functional.cross_entropy(z, torch.tensor(target), **how)

    return Case(lambda z: F.cross_entropy(z, target, **how), theirs, [draw(arrays((N, V)))])


def mse_loss(draw: Draw) -> Case:
    """Not near zero loss, where rounding hides the slope."""
    x = draw(arrays(shapes(min_side=1)))
    reduction = draw(st.sampled_from(["mean", "sum"]))
    return Case(
        lambda x, t: F.mse_loss(x, t, reduction=reduction),
        lambda torch: lambda x, t: torch.nn.functional.mse_loss(x, t, reduction=reduction),
        [x, draw(arrays(x.shape, floats(2.5, 4)))],
    )


def linear_cross_entropy(draw: Draw) -> Case:
    N, H, V = draw(SIDES), draw(SIDES), draw(CLASSES)
    target = targets(draw, N, V)
    bias = [draw(arrays(V))] if draw(st.booleans()) else []

    def theirs(torch: Any) -> Callable[..., Any]:
        T = torch.nn.functional
        return lambda x, W, b=None: T.cross_entropy(T.linear(x, W, b), torch.tensor(target))

    return Case(
        lambda x, W, b=None: F.linear_cross_entropy(x, W, b, target),
        theirs,
        [draw(arrays((N, H))), draw(arrays((V, H))), *bias],
    )


def dropout(draw: Draw) -> Case:
    """A fixed mask. PyTorch multiplies by this mask: its own masks would differ."""
    x, p, seed = draw(arrays(shapes())), draw(st.floats(0, 1)), draw(st.integers(0, 99))

    def seeded(x: Any) -> Any:
        mg.manual_seed(seed)
        return F.dropout(x, p)

    factor = seeded(leaf(np.ones(x.shape))).data
    return Case(seeded, lambda torch: lambda x: x * torch.tensor(host(factor)), [x])


def dropout_without_chance(draw: Draw) -> Case:
    """PyTorch's own dropout, in cases without randomness."""
    p, training = draw(st.sampled_from([(0, True), (1, True), (0, False), (1, False)]))
    return Case(
        lambda x: F.dropout(x, p, training),
        lambda torch: lambda x: torch.nn.functional.dropout(x, p, training),
        [draw(arrays(shapes()))],
    )


def feature_dropout(name: str, dims: int) -> Any:
    """Whole feature maps; PyTorch again multiplies by our mask."""

    def case(draw: Draw) -> Case:
        x, p = draw(arrays(shapes(min_dims=dims, max_dims=dims))), draw(st.floats(0, 1))

        def seeded(x: Any) -> Any:
            mg.manual_seed(0)
            return getattr(F, name)(x, p)

        factor = seeded(leaf(np.ones(x.shape))).data
        assert (factor == factor[(..., *[slice(1)] * (dims - 2))]).all()
        return Case(seeded, lambda torch: lambda x: x * torch.tensor(host(factor)), [x])

    return case


def images(draw: Draw) -> np.ndarray:
    """(N, C, H, W), large enough for a window of 3, all values different."""
    N, C, H, W = (draw(st.integers(low, low + 1)) for low in (1, 1, 3, 3))
    return draw(distinct((N, C, H, W)))


def batch_norm(draw: Draw) -> Case:
    """Training and evaluation; PyTorch's momentum is 1 minus ours."""
    C, rest = draw(SIDES), draw(shapes(max_dims=2, min_side=1))
    x = draw(distinct((3, C, *rest))) / 8
    mean, var = draw(arrays(C)), draw(arrays(C, POSITIVE))
    training, momentum = draw(st.booleans()), draw(st.floats(0, 1))

    def ours(x: Any, *affine: Any) -> Any:
        running = (mg.tensor(a, dtype=x.dtype) for a in (mean, var))
        return F.batch_norm(x, *running, *affine, training=training, momentum=momentum)

    def theirs(torch: Any) -> Callable[..., Any]:
        how = {"training": training, "momentum": 1 - momentum}
        return lambda x, *affine: torch.nn.functional.batch_norm(
            x, torch.tensor(mean), torch.tensor(var), *affine, **how
        )

    affine = [draw(arrays(C)), draw(arrays(C))] if draw(st.booleans()) else []
    return Case(ours, theirs, [x, *affine])


def conv2d(draw: Draw) -> Case:
    x, O, kernel = images(draw), draw(SIDES), draw(st.tuples(*[st.integers(1, 3)] * 2))
    stride, padding = draw(st.integers(1, 2)), draw(st.tuples(*[st.integers(0, 1)] * 2))
    bias = [draw(arrays(O))] if draw(st.booleans()) else []
    return Case(
        lambda x, W, *b: F.conv2d(x, W, *b, stride=stride, padding=padding),
        lambda torch: (
            lambda x, W, *b: torch.nn.functional.conv2d(x, W, *b, stride=stride, padding=padding)
        ),
        [x / 8, draw(arrays((O, x.shape[1], *kernel))), *bias],
    )


def max_pool2d(draw: Draw) -> Case:
    how = (draw(st.integers(2, 3)), draw(st.none() | st.integers(1, 3)), draw(st.integers(0, 1)))
    return Case(
        lambda x: F.max_pool2d(x, *how),
        lambda torch: lambda x: torch.nn.functional.max_pool2d(x, *how),
        [images(draw)],
    )


# The first word is the function's name, the rest distinguishes its cases.
CASES = {
    "relu": unary("relu", NONZERO),
    "tanh": unary("tanh"),
    "sigmoid": unary("sigmoid"),
    "exp": unary("exp"),
    "log": unary("log", POSITIVE),
    "softmax": along_axis("softmax"),
    "log_softmax": along_axis("log_softmax"),
    "linear": linear,
    "embedding": embedding,
    "cross_entropy": cross_entropy,
    "cross_entropy ignoring": cross_entropy_ignoring,
    "mse_loss": mse_loss,
    "linear_cross_entropy": linear_cross_entropy,
    "dropout": dropout,
    "dropout without chance": dropout_without_chance,
    "dropout1d": feature_dropout("dropout1d", 3),
    "dropout2d": feature_dropout("dropout2d", 4),
    "batch_norm": batch_norm,
    "conv2d": conv2d,
    "max_pool2d": max_pool2d,
}

each_case = pytest.mark.parametrize("name", CASES)


def test_every_function_is_in_the_table() -> None:
    assert set(F.__all__) == {case.split()[0] for case in CASES}


@each_case
@given(data=st.data())
def test_gradient_is_the_finite_difference(name: str, data: st.DataObject) -> None:
    case = CASES[name](data.draw)
    assert gradcheck(case.ours, leaves(case.inputs))


@each_case
@given(data=st.data())
def test_value_and_gradients_are_pytorchs(name: str, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    case = CASES[name](data.draw)
    assert_as_torch(case.ours, case.theirs(torch), case.inputs)


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_gradients_are_sound(name: str, dtype: Any, data: st.DataObject) -> None:
    case = CASES[name](data.draw)
    assert_gradients_are_sound(case.ours, leaves(case.inputs, dtype))


# -------------------------------------------------------------------- softmax


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_does_not_overflow(dtype: Any) -> None:
    x = leaf([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, log_y = F.softmax(x), F.log_softmax(x)
        (y * log_y).sum().backward()
    assert_allclose(y.data, [[1, 0, 0], [1 / 3] * 3, [1 / 3] * 3], rtol=1e-6)
    assert_allclose(log_y.data[0], [0, -2e4, -1e4])
    assert np.isfinite(host(x.grad)).all()


@given(x=arrays((3, 4)), shift=st.integers(-100, 100))
def test_softmax_does_not_see_a_shift(x: np.ndarray, shift: int) -> None:
    for function in (F.softmax, F.log_softmax):
        assert_allclose(
            function(mg.tensor(x + shift)).data, function(mg.tensor(x)).data, atol=1e-12
        )


@given(x=arrays((3, 4)))
def test_softmax_sums_to_one_and_its_gradient_to_zero(x: np.ndarray) -> None:
    """Adding a constant to all logits changes nothing, so the gradient sums to zero."""
    for function in (F.softmax, F.log_softmax):
        logits = leaf(x)
        y = function(logits)
        p = y.numpy() if function is F.softmax else np.exp(y.numpy())
        assert_allclose(p.sum(axis=-1), 1)
        y.backward(np.random.default_rng(0).standard_normal(x.shape))
        assert_allclose(logits.grad.sum(axis=-1), 0, atol=1e-12)


# -------------------------------------------------------------------- embedding


@pytest.mark.parametrize("ids", [[3], [0, -1], [[1, 2], [0, 7]]])
def test_embedding_refuses_ids_that_have_no_row(ids: list[Any]) -> None:
    wrong = str(next(i for i in np.ravel(ids) if not 0 <= i < 3))
    with pytest.raises(IndexError, match=rf"{wrong}\b.*3 rows"):
        F.embedding(np.array(ids), leaf(np.ones((3, 2))))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_embedding_takes_any_integers_as_array_or_tensor(dtype: Any) -> None:
    rows, ids = np.arange(6.0).reshape(3, 2), np.array([[2, 0], [2, 1]], dtype)
    for given_ids in (ids, mg.tensor(ids), ids.T.copy().T):
        weight = leaf(rows)
        y = F.embedding(given_ids, weight)
        assert y.data.tolist() == rows[ids].tolist()
        y.sum().backward()
        assert weight.grad.tolist() == [[1, 1], [1, 1], [2, 2]]


def test_embedding_of_no_ids_is_empty() -> None:
    weight = leaf(np.ones((3, 2)))
    y = F.embedding(np.zeros((0, 4), np.int64), weight)
    assert y.shape == (0, 4, 2)
    y.sum().backward()
    assert not weight.grad.any()


def test_embedding_adds_the_gradients_of_a_repeated_word() -> None:
    """Compare with a product with one-hot rows; most ids occur several times."""
    rng = np.random.default_rng(0)
    ids, dy = rng.zipf(1.3, (30, 20)) % 50, rng.standard_normal((30, 20, 8))
    weight = leaf(rng.standard_normal((50, 8)))
    F.embedding(ids, weight).backward(dy)
    expected = np.eye(50)[ids.ravel()].T @ dy.reshape(-1, 8)
    assert_allclose(weight.grad, expected, rtol=0, atol=1e-12)


# -------------------------------------------------------------------- linear


def test_linear_names_both_dtypes_when_they_differ() -> None:
    with pytest.raises(TypeError, match=r"float64.*float32"):
        F.linear(mg.tensor(np.ones((2, 3))), mg.tensor(np.ones((4, 3), np.float32)))
    with pytest.raises(TypeError, match=r"int64.*float32"):
        F.linear(mg.tensor([[1, 2, 3]]), mg.tensor(np.ones((4, 3), np.float32)))


@pytest.mark.parametrize(("rows", "inputs"), [(0, 3), (2, 0)])
def test_linear_takes_empty_axes(rows: int, inputs: int) -> None:
    x, weight, bias = leaf(np.ones((rows, inputs))), leaf(np.ones((2, inputs))), leaf(np.ones(2))
    y = F.linear(x, weight, bias)
    assert y.data.tolist() == [[1.0, 1.0]] * rows
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert weight.grad.shape == weight.shape
    assert bias.grad.tolist() == [rows, rows]


# -------------------------------------------------------------------- dropout


def test_dropout_drops_a_share_p_and_scales_the_others() -> None:
    x = leaf(np.ones(20_000), np.float32)
    y = F.dropout(x, 0.2)
    assert set(np.unique(y.numpy()).tolist()) == {0, 1.25}
    assert abs((y.data == 0).mean() - 0.2) < 0.01
    y.sum().backward()
    assert_array_equal(x.grad, y.data)  # the same units in both directions


def test_dropout_draws_anew_at_every_call() -> None:
    x = leaf(np.ones(100))
    assert (F.dropout(x).data != F.dropout(x).data).any()


def test_dropout_of_everything_is_zero_with_zero_gradient() -> None:
    x = leaf([1.0, -2.0, 3.0])
    y = F.dropout(x, 1.0)
    y.sum().backward()
    assert not y.data.any()
    assert not x.grad.any()


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_refuses_what_is_no_probability(p: float, training: bool) -> None:
    with pytest.raises(ValueError, match="probability"):
        F.dropout(leaf([1.0]), p, training)


@pytest.mark.parametrize("fn", [F.softmax, lambda x: F.log_softmax(x).exp()])
def test_softmax_is_along_the_last_axis_unless_said_otherwise(fn: Any) -> None:
    x = leaf(np.random.default_rng(0).standard_normal((2, 3, 4)))
    assert_allclose(fn(x).data.sum(axis=-1), 1, rtol=1e-12)
