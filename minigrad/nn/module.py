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
    """A tensor that a module learns."""

    __slots__ = ()

    def __init__(self, data: Array) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """The base of all layers: parameters and other modules are found among its attributes."""

    training = True

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to replace a parameter by something that would not be learned (TypeError)."""
        replaced = isinstance(self.__dict__.get(name), Parameter)
        if replaced and value is not None and not isinstance(value, Parameter):
            raise TypeError(
                f"{type(self).__name__}.{name} is a parameter and can't become a "
                f"{type(value).__name__}; change its values with .data[...] = ..., or assign an "
                "nn.Parameter or None"
            )
        super().__setattr__(name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module does."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def extra_repr(self) -> str:
        """What `repr` says of a layer between its brackets."""
        return ""

    def __repr__(self) -> str:
        """As in PyTorch: the name, what `extra_repr` says, and the modules inside, indented."""
        extra, inside = self.extra_repr(), [f"({k}): {child!r}" for k, child in self.children()]
        if inside:
            extra = "\n" + textwrap.indent("\n".join([extra] * bool(extra) + inside), "  ") + "\n"
        return f"{type(self).__name__}({extra})"

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, with their names."""
        return ((name, m) for name, m in vars(self).items() if isinstance(m, Module))

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def _named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every parameter and buffer under every name that it has."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._named_tensors(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, under the first of its names ("rnn.weight_ih_l0")."""
        seen = set()
        for name, tensor in self._named_tensors():
            if isinstance(tensor, Parameter) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once, also if two layers share it."""
        return (parameter for _, parameter in self.named_parameters())

    def buffers(self) -> Iterator[Tensor]:
        """Every tensor that is kept but not learned, as batch norm's running estimates."""
        return (t for _, t in self._named_tensors() if not isinstance(t, Parameter))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self: Self, mode: bool = True) -> Self:
        """Switch dropout on (or, with mode=False, off), here and in all modules inside."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Switch dropout off."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """The arrays of parameters and buffers, by name; a shared one under each of its names."""
        return {name: tensor.data for name, tensor in self._named_tensors()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values into parameters and buffers, in their own dtype.

        The values are arrays or tensors, PyTorch's too. Raises ValueError that names every missing
        and unexpected entry (unless strict=False) and every one that is not of the right shape or
        holds no numbers; nothing is then changed.
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
        """Convert every parameter to float32."""
        return self._convert(np.float32)

    def double(self: Self) -> Self:
        """Convert every parameter to float64."""
        return self._convert(np.float64)

    def _convert(self: Self, dtype: Any) -> Self:
        return self._replace(lambda data: data.astype(dtype) if data.dtype.kind == "f" else data)

    def to(self: Self, backend: str) -> Self:
        """Move every parameter and buffer to "numpy" or "cupy" (BackendError if that can't be)."""
        xp = load(backend)
        return self._replace(lambda data: xp.asarray(to_host(data)))

    def _replace(self: Self, change: Callable[[Array], Array]) -> Self:
        for tensor in {id(t): t for _, t in self._named_tensors()}.values():
            tensor.data = change(tensor.data)
            tensor.grad = None
        return self


def _numbers(value: Any) -> np.ndarray:
    """An entry of a state_dict as a NumPy array; TypeError if it is none, or not of numbers."""
    array = from_torch(value.data if isinstance(value, Tensor) else value)
    if not hasattr(array, "dtype"):
        raise TypeError(f"is a {type(value).__name__}, not an array or a tensor")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"has dtype {array.dtype}, which can't be copied; convert it to float32")
    return to_host(array)


class Numbered(Module):
    """The base of Sequential and ModuleList: modules named "0", "1", and so on, as in a list."""

    def append(self: Container, module: Module) -> Container:
        """Add a module at the end (TypeError for anything else)."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} takes modules, not {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def extend(self: Container, modules: Iterable[Module]) -> Container:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.children())

    def __getitem__(self, index: int | slice) -> Any:
        """A module, or for a slice several, in a container of their own with names from "0"."""
        chosen = list(self)[index]
        return chosen if isinstance(chosen, Module) else type(self)().extend(chosen)


class Sequential(Numbered):
    """Modules one after the other: each gets what the one before returns."""

    def __init__(self, *layers: Module) -> None:
        self.extend(layers)

    def forward(self, input: Any) -> Any:
        for layer in self:
            input = layer(input)
        return input


class ModuleList(Numbered):
    """Modules in a list, whose parameters are found; what calls them is up to its owner."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)
