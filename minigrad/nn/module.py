"""Module: a named tree of parameters."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..backend import Array, array_module, from_torch, load, to_host
from ..tensor import Tensor

Self = TypeVar("Self", bound="Module")
Container = TypeVar("Container", bound="Numbered")


class Parameter(Tensor):
    """A tensor that an optimiser updates: a trainable attribute of a module.

    `data` is an array or a tensor, whose memory it shares (TypeError for anything else).
    """

    __slots__ = ()

    def __init__(self, data: Array | Tensor, requires_grad: bool = True) -> None:
        changes = None
        if isinstance(data, Tensor):
            data, changes = data.data, data._changes
        if not hasattr(data, "dtype"):
            raise TypeError(
                f"Parameter: data must be an array or a tensor, not a {type(data).__name__}; make "
                "one with minigrad.tensor(x)"
            )
        super().__init__(data, requires_grad, changes=changes)


class Module:
    """The base class of all layers. Its parameters and submodules are its attributes.

    An attribute that is a tensor, but not a Parameter, is a buffer: it is saved and not trained.
    """

    training = True

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. TypeError if a parameter would become neither a parameter nor None."""
        replaced = isinstance(self.__dict__.get(name), Parameter)
        if replaced and value is not None and not isinstance(value, Parameter):
            raise TypeError(
                f"{type(self).__name__}.{name} is a parameter and can't be replaced by a "
                f"{type(value).__name__}; change its values with .data[...] = ..., or assign an "
                "nn.Parameter or None"
            )
        super().__setattr__(name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; calling the module calls this."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def extra_repr(self) -> str:
        """The text that `repr` puts between the parentheses."""
        return ""

    def __repr__(self) -> str:
        """As in PyTorch: the class name, `extra_repr`, and the submodules, indented."""
        extra, inside = self.extra_repr(), [f"({k}): {child!r}" for k, child in self.children()]
        if inside:
            extra = "\n" + textwrap.indent("\n".join([extra] * bool(extra) + inside), "  ") + "\n"
        return f"{type(self).__name__}({extra})"

    def children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules, with their names."""
        return ((name, m) for name, m in vars(self).items() if isinstance(m, Module))

    def modules(self) -> Iterator[Module]:
        """This module and all its submodules."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def _named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every parameter and buffer, a shared one under each of its names."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._named_tensors(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, under its first name ("rnn.weight_ih_l0")."""
        seen = set()
        for name, tensor in self._named_tensors():
            if isinstance(tensor, Parameter) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter; one that layers share only once."""
        return (parameter for _, parameter in self.named_parameters())

    def buffers(self) -> Iterator[Tensor]:
        """Every tensor that is saved but not trained, such as batch norm's running estimates."""
        return (t for _, t in self._named_tensors() if not isinstance(t, Parameter))

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode (or, with mode=False, evaluation mode) in this module and all inside.

        Dropout is active in training mode only; batch norm uses the statistics of the batch there.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode in this module and all inside."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """The arrays of all parameters and buffers by name; a shared one has several names."""
        return {name: tensor.data for name, tensor in self._named_tensors()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values into the parameters and buffers, whose dtype does not change.

        The values are arrays or tensors, also PyTorch's. Raises ValueError that lists every missing
        and unexpected entry (unless strict=False), every wrong shape and every non-numeric entry;
        the module is then unchanged.
        """
        own = dict(self._named_tensors())
        arrays: dict[str, np.ndarray] = {}
        wrong = []
        for name, value in state.items():
            if name not in own:
                continue
            try:
                arrays[name] = _numbers(value)
            except TypeError as error:
                wrong.append(f"{name} {error}")
                continue
            if arrays[name].shape != own[name].shape:
                wrong.append(f"{name} has shape {arrays[name].shape}, not {own[name].shape}")
        if strict:
            wrong += [f"{name} is missing" for name in own if name not in state]
            wrong += [f"{name} is unexpected" for name in state if name not in own]
        if wrong:
            raise ValueError("load_state_dict: " + "; ".join(wrong))
        for name, array in arrays.items():
            data = own[name].data
            data[...] = array_module(data).asarray(array)
            own[name].mark_changed()

    def float(self: Self) -> Self:
        """Convert all floating parameters and buffers to float32."""
        return self._convert(np.float32)

    def double(self: Self) -> Self:
        """Convert all floating parameters and buffers to float64."""
        return self._convert(np.float64)

    def _convert(self: Self, dtype: Any) -> Self:
        return self._replace(lambda data: data.astype(dtype) if data.dtype.kind == "f" else data)

    def to(self: Self, backend: str) -> Self:
        """Move all parameters and buffers to "numpy" or "cupy" (BackendError if not available)."""
        xp = load(backend)
        return self._replace(lambda data: xp.asarray(to_host(data)))

    def _replace(self: Self, change: Callable[[Array], Array]) -> Self:
        for tensor in {id(t): t for _, t in self._named_tensors()}.values():
            tensor.data = change(tensor.data)
            tensor.grad = None
        return self


def _numbers(value: Any) -> np.ndarray:
    """An entry of a state_dict as a NumPy array; TypeError if it is not numeric."""
    array = from_torch(value.data if isinstance(value, Tensor) else value)
    if not hasattr(array, "dtype"):
        raise TypeError(f"is a {type(value).__name__}, not an array or a tensor")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"has dtype {array.dtype}, which can't be copied; convert it to float32")
    return to_host(array)


class Numbered(Module):
    """The base class of Sequential and ModuleList: a list of modules, named "0", "1", ..."""

    def append(self: Container, module: Module) -> Container:
        """Append a module (TypeError for anything else)."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} takes modules, not {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def extend(self: Container, modules: Iterable[Module]) -> Container:
        """Append several modules."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.children())

    def __getitem__(self, index: int | slice) -> Any:
        """One module; for a slice, a new container, with names from "0"."""
        chosen = list(self)[index]
        return chosen if isinstance(chosen, Module) else type(self)().extend(chosen)


class Sequential(Numbered):
    """A chain of modules: the output of each is the input of the next."""

    def __init__(self, *layers: Module) -> None:
        self.extend(layers)

    def forward(self, input: Any) -> Any:
        for layer in self:
            input = layer(input)
        return input


class ModuleList(Numbered):
    """A list of modules whose parameters are registered; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)
