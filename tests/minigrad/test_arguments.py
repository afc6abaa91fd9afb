"""Wrong arguments raise an error of one sentence and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import leaf
from on_both import assert_allclose, assert_array_equal, here

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, ops, optim

pytestmark = pytest.mark.usefixtures("backend")

# -------------------------------------------------------------------- ids of small types


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64])
def test_small_ids_find_their_rows(dtype: type) -> None:
    """In the dtype of the ids, ids · E overflowed: the gradient went to a wrong row."""
    ids = np.array([100, 3, 100, 119], dtype)
    weight = leaf(np.arange(120 * 9.0).reshape(120, 9))
    F.embedding(here(ids), weight).sum().backward()
    expected = np.zeros((120, 9))
    np.add.at(expected, ids.astype(int), 1.0)
    assert_array_equal(weight.grad, expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint16])
def test_small_targets_find_their_classes(dtype: type) -> None:
    rng = np.random.default_rng(1)
    target = np.array([90, 2, 127, 90], dtype)
    logits, x, W = (rng.standard_normal(s) for s in ((4, 128), (4, 3), (128, 3)))

    def gradients(target: np.ndarray) -> list[Any]:
        inputs = [leaf(logits), leaf(x), leaf(W)]
        F.cross_entropy(inputs[0], target).backward()
        F.linear_cross_entropy(inputs[1], inputs[2], None, target).backward()
        return [leaf.grad for leaf in inputs]

    for small, large in zip(gradients(target), gradients(target.astype(np.int64)), strict=True):
        assert_array_equal(small, large)


def test_small_indices_find_their_elements() -> None:
    x = leaf(np.zeros((130, 300)))
    x[here(np.array([120, 7, 120], np.int8))].sum().backward()
    assert float(x.grad[120].sum()) == 600 and float(x.grad.sum()) == 900


def test_ids_may_be_lists() -> None:
    weight = leaf(np.arange(6.0).reshape(3, 2))
    assert_array_equal(F.embedding([[2, 0]], weight).data, [[[4.0, 5.0], [0.0, 1.0]]])
    assert F.embedding([], weight).shape == (0, 2)
    layer = nn.Embedding(3, 2)
    assert layer([1]).shape == (1, 2)


@pytest.mark.parametrize("ids", [np.array([0.0, 1.0]), [0.5], np.array([True, False])])
def test_ids_are_integers(ids: Any) -> None:
    with pytest.raises(TypeError, match=r"embedding: ids must be integers, not (float64|bool)"):
        F.embedding(ids, leaf(np.ones((3, 2))))


# -------------------------------------------------------------------- numbers of NumPy


@pytest.mark.parametrize("number", [np.float64(2), np.float32(2), np.int64(2), np.float16(2), 2])
def test_a_numpy_scalar_is_a_number(number: Any) -> None:
    for dtype in (np.float32, np.float64):
        x = mg.tensor(np.array([1.5, 3.0], dtype))
        for y in (x * number, number * x, x + number, number - x, x / number, x**number):
            assert y.dtype == dtype
        assert_array_equal((x * number).data, [3.0, 6.0])


def test_an_empty_list_is_an_index() -> None:
    x = leaf(np.ones((3, 2)))
    assert x[[]].shape == (0, 2)
    assert x[:, []].shape == (3, 0)
    x[[]].sum().backward()
    assert_array_equal(x.grad, np.zeros((3, 2)))


# -------------------------------------------------------------------- positional arguments

KEYWORD_ONLY: dict[str, Callable[[], object]] = {
    "LSTM: bias": lambda: nn.LSTM(3, 4, 2, True),
    "GRU: bias": lambda: nn.GRU(3, 4, 2, True),
    "RNN: bias": lambda: nn.RNN(3, 4, 2, "tanh", True),
    "RNNCell: bias": lambda: nn.RNNCell(3, 4, True),
    "Conv2d: dilation": lambda: nn.Conv2d(3, 2, 3, 2, 1, 2),
    "dropout: inplace": lambda: F.dropout(leaf(1.0), 0.5, True, True),
    "dropout1d: inplace": lambda: F.dropout1d(leaf(np.ones((1, 1, 1))), 0.5, True, True),
    "dropout2d: inplace": lambda: F.dropout2d(leaf(np.ones((1, 1, 1, 1))), 0.5, True, True),
    "Dropout: inplace": lambda: nn.Dropout(0.5, True),
    "BatchNorm1d: momentum": lambda: nn.BatchNorm1d(3, 1e-5, 0.1),
    "batch_norm: momentum": lambda: F.batch_norm(
        leaf(np.ones((2, 2))), None, None, None, None, True, 0.1
    ),
    "cross_entropy: weight": lambda: F.cross_entropy(leaf(np.ones((1, 2))), [0], "sum"),
    "SGD: dampening": lambda: optim.SGD([leaf(1.0)], 0.1, 0.9, 0.5),
    "tensor: requires_grad": lambda: mg.tensor([1.0], True),
    "gradcheck: raise_exception": lambda: mg.gradcheck(
        ops.tanh, [leaf(1.0)], 1e-6, 1e-5, 1e-4, True
    ),
}


@pytest.mark.parametrize("name", KEYWORD_ONLY)
def test_an_argument_that_pytorch_has_not_there_needs_its_name(name: str) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        KEYWORD_ONLY[name]()


# -------------------------------------------------------------------- what is no tensor

X = np.ones((2, 3), np.float32)
LAYERS: dict[str, Callable[[Any], object]] = {
    "Linear": lambda x: nn.Linear(3, 2)(x),
    "LSTM": lambda x: nn.LSTM(3, 2)(x[None]),
    "GRUCell": lambda x: nn.GRUCell(3, 2)(x),
    "Dropout": lambda x: nn.Dropout()(x),
    "Dropout1d": lambda x: nn.Dropout1d()(x[None]),
    "Dropout2d": lambda x: nn.Dropout2d()(x[None, None]),
    "BatchNorm1d": lambda x: nn.BatchNorm1d(3)(x),
    "Conv2d": lambda x: nn.Conv2d(1, 1, 1)(x[None, None]),
    "MaxPool2d": lambda x: nn.MaxPool2d(1)(x[None, None]),
    "softmax": lambda x: F.softmax(x),
    "log_softmax": lambda x: F.log_softmax(x),
    "linear_cross_entropy": lambda x: F.linear_cross_entropy(x, leaf(X), None, [0, 1]),
    "cross_entropy": lambda x: F.cross_entropy(x, [0, 1]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_array_is_refused_and_the_cure_named(name: str) -> None:
    with pytest.raises(TypeError, match=r"must be a tensor, not a numpy.ndarray; make one with"):
        LAYERS[name](X)


def test_a_hidden_state_that_is_an_array() -> None:
    with pytest.raises(TypeError, match="LSTM, hidden state: the input must be a tensor"):
        nn.LSTM(3, 2)(mg.tensor(X[None]), (np.zeros((1, 2, 2)), np.zeros((1, 2, 2))))


def test_what_is_no_array_at_all() -> None:
    for wrong in ("text", None, {}, memoryview(b"a")):
        with pytest.raises(TypeError, match="expected a tensor, an array or a number, not a"):
            mg.backend.array_module(wrong)


@pytest.mark.parametrize("padding", ["same", (1, 2, 3), 1.5])
def test_padding_is_a_number_or_two(padding: Any) -> None:
    for make in (lambda: nn.Conv2d(1, 1, 3, padding=padding), lambda: nn.MaxPool2d(2, 2, padding)):
        with pytest.raises(TypeError, match="an integer or a pair of them, not"):
            make()


def test_a_pair_may_be_a_list_or_numpys() -> None:
    layer = nn.Conv2d(1, 1, [3, 3], padding=(np.int64(1), 1))
    assert layer(mg.tensor(X[None, None])).shape == (1, 1, 2, 3)


# -------------------------------------------------------------------- PyTorch's tensors


def test_the_values_of_pytorchs_tensors_are_taken() -> None:
    torch = pytest.importorskip("torch")
    values = torch.tensor([[1.5, 2.0]], requires_grad=True)
    x = mg.tensor(values)
    assert x.dtype == np.float32
    assert_array_equal(x.data, [[1.5, 2.0]])
    assert_array_equal(mg.tensor(values.to(torch.bfloat16)).data, [[1.5, 2.0]])
    layer = nn.Linear(2, 1)
    theirs = torch.nn.Linear(2, 1)
    layer.load_state_dict(theirs.state_dict())
    assert_array_equal(layer.weight.data, theirs.weight.detach().numpy())
    layer.load_state_dict({n: p.to(torch.bfloat16) for n, p in theirs.named_parameters()})
    assert_allclose(layer.weight.data, theirs.weight.detach().numpy(), atol=0.01)
    ids = F.embedding(torch.tensor([0]), layer.weight)
    assert ids.shape == (1, 2)


# -------------------------------------------------------------------- modules


def test_a_parameter_is_replaced_by_a_parameter_only() -> None:
    layer = nn.Linear(2, 3)
    for value in (layer.weight - 0.1, layer.weight.data, 1.0):
        with pytest.raises(TypeError, match=r"is a parameter and can't be replaced by a"):
            layer.weight = value
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    layer.bias = None
    layer.weight = nn.Parameter(layer.weight.data)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


class Unusual:
    def __init__(self, dtype: Any) -> None:
        self.dtype, self.shape = np.dtype(dtype), (3,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "bias is a str, not an array or a tensor"),
        (None, "bias is a NoneType, not an array"),
        ([0.0, 0.0, 0.0], "bias is a list, not an array"),
        (np.array([None] * 3), "bias has dtype object"),
        (np.ones(3, "V2"), r"bias has dtype \|V2, which can't be copied; convert it to float32"),
        (np.ones(4), r"bias has shape \(4,\), not \(3,\)"),
    ],
)
def test_one_bad_entry_and_nothing_is_loaded(value: Any, message: str) -> None:
    layer = nn.Linear(2, 3)
    before = {name: array.copy() for name, array in layer.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        layer.load_state_dict({"weight": np.ones((3, 2)), "bias": value})
    for name, array in layer.state_dict().items():
        assert_array_equal(array, before[name])


# -------------------------------------------------------------------- optimisers


def used_up() -> Any:
    parameters = nn.Linear(2, 3).parameters()
    list(parameters)
    return parameters


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (lambda: leaf(X), TypeError, "params is a single tensor; give a list"),
        (lambda: [leaf(X) * 2.0], ValueError, "parameter 0 is the result of an operation"),
        (list, ValueError, "no parameters to optimise"),
        (used_up, ValueError, "can be read only once"),
        (lambda: [leaf(X), X], TypeError, "parameter 1 is a ndarray, not a tensor"),
        (lambda: {"weight": leaf(X)}, TypeError, "parameter 0 is a str"),
    ],
)
def test_optimisers_take_lists_of_leaves(
    make: Any, params: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(params(), 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda w: optim.SGD(w, -0.1), "SGD: lr must be a finite number of at least 0, not -0.1"),
        (lambda w: optim.SGD(w, float("nan")), "SGD: lr must be .* not nan"),
        (lambda w: optim.SGD(w, float("inf")), "SGD: lr must be .* not inf"),
        (lambda w: optim.SGD(w, "fast"), "SGD: lr must be .* not 'fast'"),
        (lambda w: optim.SGD(w, 0.1, -1), "SGD: momentum must be"),
        (lambda w: optim.SGD(w, 0.1, weight_decay=-1), "SGD: weight_decay must be"),
        (lambda w: optim.Adam(w, -0.1), "Adam: lr must be"),
        (lambda w: optim.Adam(w, eps=-1e-8), "Adam: eps must be"),
        (lambda w: optim.Adam(w, betas=(0.9, 1.0)), "Adam: betas must be two numbers"),
        (lambda w: optim.Adam(w, betas=(-0.1, 0.9)), "Adam: betas must be two numbers"),
        (lambda w: optim.Adam(w, betas=(float("nan"), 0.9)), "Adam: betas must be two numbers"),
        (lambda w: optim.Adam(w, betas=(0.9,)), "Adam: betas must be two numbers"),
    ],
)
def test_optimisers_take_numbers_that_can_be(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make([leaf(X)])


def test_a_learning_rate_may_be_zero_or_numpys() -> None:
    for lr in (0, np.float32(0.5)):
        w = leaf(X)
        w.grad = w.data.copy()
        optim.SGD([w], lr).step()
        assert_allclose(w.data, (1 - float(lr)) * X)


@pytest.mark.parametrize("state", [{}, {"lr": 0.1}, {"lr": 0.1, "steps": [0, 0]}])
def test_a_state_of_another_optimiser_changes_nothing(state: dict[str, Any]) -> None:
    optimizer = optim.Adam([leaf(X)], 0.3)
    with pytest.raises(ValueError, match="Adam"):
        optimizer.load_state_dict(state)
    assert optimizer.lr == 0.3 and optimizer.steps == [0]


# -------------------------------------------------------------------- shapes, axes and dtypes

CUBE = mg.tensor(np.ones((2, 3, 4), np.float32))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: nn.Linear(3, 4)(CUBE), ValueError, r"linear: .*\(\.\.\., 3\), not \(2, 3, 4\)"),
        (lambda: nn.Linear(3, 4)(CUBE.sum()), ValueError, r"linear: .*, not \(\)"),
        (lambda: F.dropout(mg.tensor([1, 2]), 0.2), TypeError, "dropout: .*not int64"),
        (lambda: mg.cat([]), TypeError, "concatenate: .*an empty list"),
        (lambda: mg.cat([CUBE, CUBE.data]), TypeError, "concatenate: .*something else"),
        (lambda: mg.stack([CUBE.data, CUBE]), TypeError, "stack: .*something else"),
        (
            lambda: nn.ModuleList([nn.Tanh()])(CUBE),
            NotImplementedError,
            "ModuleList has no forward",
        ),
        (lambda: nn.Parameter([1.0, 2.0]), TypeError, r"a list; .*minigrad\.tensor"),
        (lambda: CUBE.permute([1, 0, 3]), IndexError, "axis 3 is out of range"),
    ],
)
def test_the_error_says_what_is_wrong(
    call: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_axes_may_be_a_list() -> None:
    assert CUBE.permute([2, 0, 1]).shape == (4, 2, 3)
    assert (
        CUBE.sum(dim=[0, 1]).shape == CUBE.mean([0, 1]).shape == CUBE.max(axis=[0, 1]).shape == (4,)
    )
    assert mg.var(CUBE, dim=[-1, 0], keepdim=True).shape == (1, 3, 1)


def test_a_parameter_of_a_tensor() -> None:
    values = mg.tensor([1.0, 2.0])
    p = nn.Parameter(values)
    (p * 2.0).sum().backward()
    assert p.data is values.data and p.grad is not None and p.grad.tolist() == [2.0, 2.0]
    frozen = nn.Parameter(values.data, requires_grad=False)
    assert not frozen.requires_grad and (frozen * 2.0).is_leaf


# -------------------------------------------------------------------- cells


@pytest.mark.parametrize("make", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells_check_shapes(make: type[nn.Module]) -> None:
    """A state with one row was once broadcast to the five rows of the input."""
    cell = make(3, 2)
    x = mg.tensor(np.ones((5, 3), np.float32))

    def state(*shape: int) -> Any:
        one = mg.tensor(np.zeros(shape, np.float32))
        return (one, one) if make is nn.LSTMCell else one

    for shape in ((1, 2), (5, 1), (5, 3), (2,), (1, 5, 2)):
        pair = r"a pair \(h, c\), each" if make is nn.LSTMCell else "a tensor"
        wanted = rf"the hidden state must be {pair} of shape \(5, 2\), not"
        with pytest.raises(ValueError, match=wanted):
            cell(x, state(*shape))
    for shape in ((3,), (5, 2), (1, 5, 3)):
        with pytest.raises(ValueError, match=r"the input must be \(B, 3\), not"):
            cell(mg.tensor(np.ones(shape, np.float32)))
    with pytest.raises(ValueError, match="the hidden state must be"):
        cell(x, [] if make is nn.LSTMCell else (state(5, 2), state(5, 2)))
    with pytest.raises(TypeError, match="parameters are float32"):
        cell(mg.tensor(np.ones((5, 3))))
    cell(x, state(5, 2))


# -------------------------------------------------------------------- gradcheck


def test_gradcheck_says_what_its_function_may_return() -> None:
    for wrong in (lambda x: x.data, lambda x: None, lambda x: 1.0):
        with pytest.raises(TypeError, match="fn must return a tensor, or a tuple of them, not a"):
            mg.gradcheck(wrong, [leaf(X)])


def test_gradcheck_refuses_what_is_drawn_anew() -> None:
    with pytest.raises(ValueError, match="gives other outputs when called again"):
        mg.gradcheck(lambda x: F.dropout(x, 0.5), [leaf(np.ones(50))])


def test_a_learning_rate_in_a_state_is_checked_too() -> None:
    optimizer = optim.SGD([leaf(X)], 0.3)
    with pytest.raises(ValueError, match="SGD: lr must be"):
        optimizer.load_state_dict({"lr": "fast", "steps": [0]})
    assert optimizer.lr == 0.3


def test_a_batch_that_fails_is_not_counted() -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="one value per channel"):
        layer(leaf(np.ones((1, 3)), np.float32))
    assert int(layer.num_batches_tracked) == 0
