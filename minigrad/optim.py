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
from .modes import mode
from .rows import RowGradient, numbers
from .tensor import Tensor
from .threads import Rows, by_rows


def _unique(params: Iterable[Tensor]) -> list[Tensor]:
    """Each parameter once, so that a shared one is updated and counted only once."""
    return list({id(p): p for p in params}.values())


def _leaves(optimizer: str, params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters, each once; raises TypeError or ValueError if any is not a leaf tensor."""
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
                f"{optimizer}: parameter {i} is the result of an operation; give leaf tensors, "
                "such as model.parameters()"
            )
    return _unique(params)


def _check_not_negative(optimizer: str, **numbers: Any) -> None:
    for name, value in numbers.items():
        if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
            raise ValueError(
                f"{optimizer}: {name} must be a finite number of at least 0, not {value!r}"
            )


def _copied(arrays: Iterable[Array | None]) -> list[Array | None]:
    return [None if array is None else array.copy() for array in arrays]


def _copy_for(parameter: Tensor, array: Array | None) -> Array | None:
    """A copy of the array, on the backend of the parameter."""
    return None if array is None else place(array, array_module(parameter.data)).copy()


class Optimizer:
    """The base of all optimisers: parameters, a learning rate, and arrays kept between steps.

    `lr` may change between steps. Parameters without a gradient are skipped.

    Raises TypeError for a single tensor or for parameters that are not tensors; ValueError for an
    empty list, for tensors that are not leaves, and for a negative or infinite setting.
    """

    slots: tuple[str, ...] = ()  # names of the arrays kept for each parameter

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        name = type(self).__name__
        self.params = _leaves(name, params)
        _check_not_negative(name, lr=lr, weight_decay=weight_decay)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = [0] * len(self.params)  # per parameter: some steps may skip it
        # For each slot, one array per parameter, allocated at its first step.
        self.kept: dict[str, list[Any]] = {slot: [None] * len(self.params) for slot in self.slots}

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self._step()
        if mode.watch is not None:
            mode.watch.off_tape(f"{type(self).__name__}.step")

    def _step(self) -> None:
        for i, p in enumerate(self.params):
            if p._grad is None:
                continue
            self.steps[i] += 1
            if self.slots and self.kept[self.slots[0]][i] is None:
                for arrays in self.kept.values():
                    arrays[i] = array_module(p.data).zeros_like(p.data)
            self._apply(i, p)
            p.mark_changed()

    def _apply(self, i: int, p: Tensor) -> None:
        by_rows(functools.partial(self._move, i, p.data, p.grad), p.data)

    def _move(self, i: int, data: Array, grad: Array, rows: Rows) -> None:
        p, g = data[rows], grad[rows]
        if self.weight_decay:
            g = g + self.weight_decay * p
        p -= self.update(g, self.steps[i], *(self.kept[slot][i][rows] for slot in self.slots))

    def update(self, g: Array, step: int, *kept: Array) -> Array:
        """The amount to subtract from some rows of a parameter; g is their gradient.

        `step` counts from 1. `kept` are these rows of the arrays in `slots`: they start at zero
        and are updated in place.
        """
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for p in self.params:
            p.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The learning rate, and the step count and kept arrays of each parameter, in order."""
        kept = {slot: _copied(arrays) for slot, arrays in self.kept.items()}
        return {"lr": self.lr, "steps": list(self.steps), **kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; arrays are copied to their parameters' backend.

        Raises ValueError for the state of another kind of optimiser or of other parameters.
        """
        if "lr" not in state:
            raise ValueError(
                f"{type(self).__name__}: the state has no lr; give an optimiser's state_dict()"
            )
        _check_not_negative(type(self).__name__, lr=state["lr"])
        for slot in ("steps", *self.slots):
            if len(state.get(slot, ())) != len(self.params):
                raise ValueError(
                    f"{type(self).__name__}: the state has {len(state.get(slot, ()))} entries "
                    f"in {slot}, but there are {len(self.params)} parameters"
                )
        for slot in self.slots:
            for array, p in zip(state[slot], self.params, strict=True):
                if array is not None and array.shape != p.shape:
                    raise ValueError(
                        f"{type(self).__name__}: {slot} of shape {array.shape} does not fit a "
                        f"parameter of shape {p.shape}"
                    )
        kept = {
            slot: [_copy_for(p, array) for array, p in zip(state[slot], self.params, strict=True)]
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

    def _step(self) -> None:
        params = [p for p in self.params if p._grad is not None]
        arrays = [p.data for p in params] + [numbers(p._grad) for p in params]
        if self.momentum or self.weight_decay or not params or not takes(*arrays):
            return super()._step()
        self.steps = [
            n + (p._grad is not None) for n, p in zip(self.steps, self.params, strict=True)
        ]
        on_gpu.sgd(arrays[: len(params)], arrays[len(params) :], self.lr)
        for p in params:
            p.mark_changed()

    def _apply(self, i: int, p: Tensor) -> None:
        gradient = p._grad
        if isinstance(gradient, RowGradient) and not (self.momentum or self.weight_decay):
            p.data[gradient.rows] -= self.lr * gradient.values
        else:
            super()._apply(i, p)

    def update(self, g: Array, step: int, *kept: Array) -> Array:
        if not self.momentum:
            return self.lr * g
        (v,) = kept
        v *= self.momentum
        v += g
        return self.lr * v


class Adam(Optimizer):
    """Adam, which scales steps by running moments (Kingma & Ba 2015, algorithm 1).

    m = β₁ m + (1 - β₁) g and v = β₂ v + (1 - β₂) g², both divided by 1 - β^step because they
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
            raise ValueError(f"Adam: betas must be two numbers in [0, 1), not {betas}")
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
    """Scale all gradients in place so that their total norm is at most max_norm.

    Returns the total norm before clipping, a scalar. If it is infinite or NaN, no scale helps:
    the gradients stay unchanged; the caller can test the returned norm. (Pascanu et al. 2013,
    algorithm 1)
    """
    grads = _gradients(params)
    if not grads:
        return 0.0
    norm = get_total_norm(grads)
    _clip_anywhere(grads, max_norm, norm)
    if mode.watch is not None:
        mode.watch.off_tape("clip_grad_norm_")
    return norm


def get_total_norm(tensors: Iterable[Array]) -> Array:
    """The norm of all elements of these arrays together, a scalar."""
    arrays = list(tensors)
    if takes(*arrays):
        return on_gpu.get_total_norm(arrays)
    # As a dot product, BLAS sums the squares on all cores, without an array of squares.
    return array_module(arrays[0]).sqrt(sum(array_module(a).vdot(a, a) for a in arrays))


def clip_grads_with_norm_(
    params: Tensor | Iterable[Tensor], max_norm: float, total_norm: Array
) -> None:
    """`clip_grad_norm_` with a total norm that the caller has computed."""
    _clip_anywhere(_gradients(params), max_norm, total_norm)
    if mode.watch is not None:
        mode.watch.off_tape("clip_grad_norm_")


def _gradients(params: Tensor | Iterable[Tensor]) -> list[Array]:
    params = [params] if isinstance(params, Tensor) else params
    return [numbers(p._grad) for p in _unique(params) if p._grad is not None]


def _clip_anywhere(grads: list[Array], max_norm: float, norm: Array) -> None:
    (on_gpu.clip if grads and takes(*grads) else _clip)(grads, max_norm, norm)


def _clip(grads: list[Array], max_norm: float, norm: Array) -> None:
    scale = max_norm / (norm + 1e-6)  # as in PyTorch, for equal results
    if scale < 1 and math.isfinite(norm):
        for g in grads:
            by_rows(functools.partial(_scale, g, scale), g)
