"""`backward` raises an error if a saved tensor was changed in place after the forward pass.

Otherwise the gradients would silently be wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import leaf
from on_both import assert_array_equal

import minigrad as mg
from minigrad import Tensor, nn, optim
from minigrad import functional as F

pytestmark = pytest.mark.usefixtures("backend")

X = np.arange(6.0).reshape(3, 2) + 0.5
SAVED = "changed in place after an operation had saved it"


def both(w: Tensor, loss: Callable[[], Tensor], change: Callable[[], object]) -> None:
    """One backward pass through a graph, a change, and a second backward pass."""
    y = loss()
    y.backward(retain_graph=True)
    change()
    y.backward()


def step(w: Tensor) -> Callable[[], None]:
    return optim.SGD([w], 0.1).step


# Operations of w whose derivative reads the value of w, and some where it does not.
READ: dict[str, Callable[[Tensor], Tensor]] = {
    "mul": lambda w: w * w,
    "div": lambda w: mg.tensor(X) / w,
    "pow": lambda w: w**3,
    "pow, exponent": lambda w: 2.0**w * w,
    "log": lambda w: mg.ops.log(w),
    "max": lambda w: w.max(axis=0),
    "matmul": lambda w: w @ w.T,
    "linear": lambda w: F.linear(w, w),
    "loss": lambda w: F.linear_cross_entropy(w, w, None, np.array([0, 1, 0])),
}
NOT_READ: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda w: w + 1.0,
    "sub": lambda w: 1.0 - w,
    "a constant factor": lambda w: w * mg.tensor(X),
    "linear of a constant": lambda w: F.linear(mg.tensor(X), w),
    "exp": lambda w: w.exp(),
    "tanh": lambda w: w.tanh(),
    "embedding": lambda w: F.embedding(np.array([0, 2, 2]), w),
    "getitem": lambda w: w[1:],
    "softmax": lambda w: F.softmax(w)[0],
}


@pytest.mark.parametrize("name", READ)
def test_a_step_between_two_walks_is_an_error(name: str) -> None:
    w = leaf(X)
    with pytest.raises(RuntimeError, match=SAVED):
        both(w, lambda: READ[name](w).sum(), step(w))


@pytest.mark.parametrize("name", NOT_READ)
def test_what_no_derivative_reads_may_change(name: str) -> None:
    w = leaf(X)
    y = NOT_READ[name](w).sum()
    y.backward(retain_graph=True)
    first = w.grad
    step(w)()
    w.grad = None
    y.backward()
    assert_array_equal(w.grad, first)


@pytest.mark.parametrize("cell", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bptt", ["manual", "autograd"])
def test_a_recurrent_layer(cell: type[nn.Module], bptt: str) -> None:
    layer = cell(2, 3, bptt=bptt)
    x = mg.tensor(np.ones((4, 2, 2), np.float32))
    optimizer = optim.SGD(layer.parameters(), 0.1)
    with pytest.raises(RuntimeError, match=SAVED):
        both(x, lambda: layer(x)[0].sum(), optimizer.step)


def test_two_losses_of_one_forward_pass() -> None:
    """The original bug: the gradient of the second loss used weights after the first step."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = optim.SGD(model.parameters(), 0.1)
    y = model(mg.tensor(X.astype(np.float32)))
    first, second = y.mean(), (y * y).mean()
    first.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match=SAVED):
        second.backward()


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}])
def test_every_optimiser_marks_what_it_moves(make: type, options: dict[str, float]) -> None:
    w = leaf(X)
    with pytest.raises(RuntimeError, match=SAVED):
        both(w, lambda: (w * w).sum(), make([w], 0.1, **options).step)


def test_momentum_and_load_state_dict_too() -> None:
    w = leaf(X)
    with pytest.raises(RuntimeError, match=SAVED):
        both(w, lambda: (w * w).sum(), optim.SGD([w], 0.1, 0.9).step)
    layer = nn.Linear(2, 2).double()
    x = leaf(X)
    with pytest.raises(RuntimeError, match=SAVED):
        both(x, lambda: layer(x).sum(), lambda: layer.load_state_dict(layer.state_dict()))


def test_a_parameter_without_a_gradient_has_not_changed() -> None:
    w, v = leaf(X), leaf(X)
    y = (w * w).sum()
    y.backward(retain_graph=True)
    v.grad = v.data.copy()
    w.grad = None
    optim.SGD([w, v], 0.1).step()  # changes v only
    y.backward()


def test_a_new_graph_after_the_step_is_as_good_as_ever() -> None:
    w = leaf(X)
    optimizer = optim.SGD([w], 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (w * w).sum().backward()
        assert_array_equal(w.grad, 2 * w.data)
        optimizer.step()


def test_an_operation_of_ones_own() -> None:
    def square(x: Tensor) -> Tensor:
        return mg.record(x.data**2, (x, lambda dy: dy * 2 * x.data, x))

    w = leaf(X)
    with pytest.raises(RuntimeError, match=SAVED):
        both(w, lambda: square(w).sum(), w.mark_changed)


VIEWS: dict[str, Callable[[Any], Any]] = {
    "T": lambda w: w.T,
    "reshape": lambda w: w.reshape(6),
    "a row": lambda w: w[1],
    "a slice": lambda w: w[1:],
    "chunk": lambda w: w.chunk(2, -1)[1],
    "unbind": lambda w: w.unbind(0)[2],
    "detach": lambda w: w.detach(),
    "a view of a view": lambda w: w.T[0].reshape(1, 3),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_changes_with_the_tensor(name: str) -> None:
    """As in PyTorch. `x * w.T` saves w.T, whose values a step of w changes too."""
    w = leaf(X)
    seen = VIEWS[name](w)
    x = leaf(seen.numpy())
    with pytest.raises(RuntimeError, match=SAVED):
        both(w, lambda: (x * seen).sum() + (w * 1.0).sum(), step(w))
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(X, requires_grad=True)
    y = (torch.ones(x.shape, requires_grad=True) * VIEWS[name](theirs)).sum()
    with torch.no_grad():
        theirs -= 1
    with pytest.raises(RuntimeError, match=r"modified (by an )?inplace"):
        y.backward()


@pytest.mark.parametrize("shape", [(6,), (3, 2)])
def test_so_does_a_view_of_memory_that_numpy_does_not_own(shape: tuple[int, ...]) -> None:
    w = nn.Parameter(np.frombuffer(bytearray(X.tobytes())).reshape(shape))
    seen, x = w[1:], nn.Parameter(np.ones_like(w.data[1:]))
    with pytest.raises(RuntimeError, match=SAVED):
        both(w, lambda: (x * seen).sum() + (w * 1.0).sum(), step(w))


@pytest.mark.parametrize("copy", [lambda w: w[[1, 0]], lambda w: w.T.reshape(6), lambda w: w + 0.0])
def test_a_copy_does_not(copy: Callable[[Tensor], Tensor]) -> None:
    w = leaf(X)
    seen = copy(w)
    x = leaf(seen.numpy())
    (x * seen).sum().backward(retain_graph=True)
    step(w)()
    x.zero_grad()
    (x * seen.detach()).sum().backward()
    assert_array_equal(x.grad, seen.data)
    y = (x * copy(w)).sum()
    step(w)()
    y.backward()


def test_a_changed_view_changes_the_tensor() -> None:
    w = leaf(X)
    with pytest.raises(RuntimeError, match=SAVED):
        both(w, lambda: (w * w).sum(), w.detach()[0].mark_changed)


@pytest.mark.parametrize("name", [*READ, *NOT_READ])
def test_as_pytorch(name: str) -> None:
    """PyTorch rejects the same graphs and accepts the others."""
    torch = pytest.importorskip("torch")
    theirs: dict[str, Callable[[object], object]] = {
        "div": lambda w: torch.tensor(X) / w,
        "pow": lambda w: w**3,
        "log": lambda w: w.log(),
        "matmul": lambda w: w @ w.T,
        "mul": lambda w: w * w,
        "linear": lambda w: torch.nn.functional.linear(w, w),
        "add": lambda w: w + 1.0,
        "sub": lambda w: 1.0 - w,
        "a constant factor": lambda w: w * torch.tensor(X),
        "linear of a constant": lambda w: torch.nn.functional.linear(torch.tensor(X), w),
        "exp": lambda w: w.exp(),
        "tanh": lambda w: w.tanh(),
        "embedding": lambda w: torch.nn.functional.embedding(torch.tensor([0, 2, 2]), w),
        "getitem": lambda w: w[1:],
        "softmax": lambda w: torch.nn.functional.softmax(w, dim=-1)[0],
    }
    if name not in theirs:
        pytest.skip("not the same operation there")
    w = torch.tensor(X, requires_grad=True)
    y = theirs[name](w).sum()
    y.backward(retain_graph=True)
    with torch.no_grad():
        w.sub_(0.1)
    if name in READ:
        with pytest.raises(RuntimeError, match="inplace operation"):
            y.backward()
    else:
        y.backward()
