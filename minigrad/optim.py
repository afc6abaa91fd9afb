"""Optimisers, and clipping of the gradient's norm."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

from .backend import Array, array_module, place
from .gpu import optim as on_gpu
from .gpu.kernels import takes
from .tensor import Tensor
from .threads import Rows, by_rows


def _unique(params: Iterable[Tensor]) -> list[Tensor]:
    """Each parameter once: a shared one must not be stepped or counted twice."""
    return list({id(p): p for p in params}.values())


def _leaves(optimizer: str, params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters, each once; raises TypeError or ValueError if they can't be optimised."""
    if isinstance(params, Tensor):
        raise TypeError(f"{optimizer}: params is a single tensor; give a list of tensors")
    params = list(params)
    if not params:
        raise ValueError(
            f"{optimizer}: no parameters to optimise; a generator, such as model.parameters(), "
            "can be read only once"
        )
    for i, p in enumerate(params):
        if not isinstance(p, Tensor):
            raise TypeError(f"{optimizer}: parameter {i} is a {type(p).__name__}, not a tensor")
        if not p.is_leaf:
            raise ValueError(
                f"{optimizer}: parameter {i} is the result of an operation; only leaf tensors, "
                "which a graph begins with, can be optimised"
            )
    return _unique(params)


def _check_not_negative(optimizer: str, **numbers: Any) -> None:
    for name, value in numbers.items():
        if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
            raise ValueError(f"{optimizer}: {name} must be a number from 0 on, not {value!r}")


def _copied(arrays: Iterable[Array | None]) -> list[Array | None]:
    return [None if array is None else array.copy() for array in arrays]


def _beside(parameter: Tensor, array: Array | None) -> Array | None:
    """A copy of the array, on the backend where the parameter lives."""
    return None if array is None else place(array, array_module(parameter.data)).copy()


class Optimizer:
    """The base of all optimisers: parameters, a learning rate, and arrays kept between steps.

    `lr` may be changed between steps. Parameters without a gradient are left alone.

    Raises TypeError for parameters that are not tensors (or are a single one), ValueError for an
    empty list, for tensors that are results of operations, and for a negative or infinite number.
    """

    slots: tuple[str, ...] = ()  # names of the arrays kept for each parameter

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        name = type(self).__name__
        self.params = _leaves(name, params)
        _check_not_negative(name, lr=lr, weight_decay=weight_decay)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = [0] * len(self.params)  # each parameter's own: it may lack a gradient
        # For each slot one array a parameter, made at its first step.
        self.kept: dict[str, list[Any]] = {slot: [None] * len(self.params) for slot in self.slots}

    def step(self) -> None:
        """Move every parameter against its gradient."""
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            self.steps[i] += 1
            if self.slots and self.kept[self.slots[0]][i] is None:
                for arrays in self.kept.values():
                    arrays[i] = array_module(p.data).zeros_like(p.data)
            by_rows(functools.partial(self._move, i, p.data, p.grad), p.data)
            p.mark_changed()

    def _move(self, i: int, data: Array, grad: Array, rows: Rows) -> None:
        p, g = data[rows], grad[rows]
        if self.weight_decay:
            g = g + self.weight_decay * p
        p -= self.update(g, self.steps[i], *(self.kept[slot][i][rows] for slot in self.slots))

    def update(self, g: Array, step: int, *kept: Array) -> Array:
        """How far some rows of a parameter, whose gradient is g, move back at its step `step`.

        `kept`, the same rows of the arrays of `slots`, start at zero and are changed in place.
        """
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The learning rate, and in the parameters' order step counts and kept arrays."""
        kept = {slot: _copied(arrays) for slot, arrays in self.kept.items()}
        return {"lr": self.lr, "steps": list(self.steps), **kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was called; arrays move to their parameters' backend.

        Raises ValueError if that was for another optimiser, or other parameters.
        """
        if "lr" not in state:
            raise ValueError(f"{type(self).__name__}: a state without lr is not an optimiser's")
        for slot in ("steps", *self.slots):
            if len(state.get(slot, ())) != len(self.params):
                raise ValueError(
                    f"{type(self).__name__}: a state with {len(state.get(slot, ()))} entries "
                    f"in {slot}, for {len(self.params)} parameters"
                )
        for slot in self.slots:
            for array, p in zip(state[slot], self.params, strict=True):
                if array is not None and array.shape != p.shape:
                    raise ValueError(
                        f"{type(self).__name__}: {slot} of shape {array.shape} for a parameter "
                        f"of shape {p.shape}"
                    )
        kept = {
            slot: [_beside(p, array) for array, p in zip(state[slot], self.params, strict=True)]
            for slot in self.slots
        }
        self.lr, self.steps, self.kept = state["lr"], list(state["steps"]), kept


class SGD(Optimizer):
    """Gradient descent: v = momentum · v + g and p -= lr · v, with g = grad + weight_decay · p."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        _check_not_negative("SGD", momentum=momentum)
        self.slots = ("velocity",) if momentum else ()
        self.momentum = momentum
        super().__init__(params, lr, weight_decay)

    def step(self) -> None:
        params = [p for p in self.params if p.grad is not None]
        arrays = [p.data for p in params] + [p.grad for p in params]
        if self.momentum or self.weight_decay or not params or not takes(*arrays):
            return super().step()
        self.steps = [
            n + (p.grad is not None) for n, p in zip(self.steps, self.params, strict=True)
        ]
        on_gpu.sgd(arrays[: len(params)], arrays[len(params) :], self.lr)
        for p in params:
            p.mark_changed()

    def update(self, g: Array, step: int, *kept: Array) -> Array:
        if not self.momentum:
            return self.lr * g
        (v,) = kept
        v *= self.momentum
        v += g
        return self.lr * v


class Adam(Optimizer):
    """Steps scaled by running moments of the gradient (Kingma & Ba 2015, algorithm 1).

    m = β₁ m + (1 - β₁) g and v = β₂ v + (1 - β₂) g², both divided by 1 - β^steps since they
    start at zero; then p -= lr · m / (√v + eps), with g = grad + weight_decay · p.
    """

    slots = ("mean", "square")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        _check_not_negative("Adam", eps=eps)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"Adam: betas are two numbers from 0 to below 1, not {betas}")
        self.betas = betas
        self.eps = eps

    def update(self, g: Array, step: int, *kept: Array) -> Array:
        (b1, b2), (m, v) = self.betas, kept
        m *= b1
        m += (1 - b1) * g
        v *= b2
        v += (1 - b2) * g * g
        root = array_module(g).sqrt(v / (1 - b2**step))
        return self.lr / (1 - b1**step) * m / (root + self.eps)


def _scale(array: Array, factor: Array, rows: Rows) -> None:
    array[rows] *= factor


def clip_grad_norm_(params: Tensor | Iterable[Tensor], max_norm: float) -> Array:
    """Scale all gradients, in place, so that together their norm is at most max_norm.

    Returns the total norm before clipping, a scalar array. Where it is infinite or NaN no scale
    can mend it: the gradients stay as they are, and the norm returned says so. (Pascanu et al.
    2013, algorithm 1)
    """
    params = [params] if isinstance(params, Tensor) else params
    grads = [p.grad for p in _unique(params) if p.grad is not None]
    if not grads:
        return 0.0
    if takes(*grads):
        return on_gpu.clip_grad_norm_(grads, max_norm)
    xp = array_module(grads[0])
    # A dot product: BLAS sums the squares on every core, without an array of squares.
    norm = xp.sqrt(sum(xp.vdot(g, g) for g in grads))
    scale = max_norm / (norm + 1e-6)  # PyTorch's formula, so that the numbers agree
    if scale < 1 and xp.isfinite(norm):
        for g in grads:
            by_rows(functools.partial(_scale, g, scale), g)
    return norm
