"""ElementwiseKernel, compiled by g++ and run on the CPU, element by element.

As in CuPy, the name of a parameter is a reference to its element, so that an in-place kernel sees
what it has written. The loop variable is `i`; no parameter may have this name. Stricter than CuPy:
a `raw` array must be contiguous, and an index out of range is an error.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .array import SCALARS, Undefined, ndarray, same_memory
from .counts import counts

COMPILER = shutil.which("g++")

C_TYPES = {
    "float32": "float", "float64": "double", "int32": "int", "int64": "long long",
    "uint32": "unsigned int", "uint64": "unsigned long long", "bool": "bool",
}  # fmt: skip

SHIM = """
#include <math.h>
#include <stddef.h>
#define __device__
struct Index { long long n; long long size() const { return n; } };
template <typename E> struct Raw {
    E* data; long long n; int* outside;
    E& operator[](long long k) const {
        if (k < 0 || k >= n) { *outside = 1; return data[0]; }
        return data[k];
    }
    long long size() const { return n; }
};
"""


class Parameter(NamedTuple):
    raw: bool
    type: str  # a letter, derived from the arguments, or a dtype
    name: str


def parameters(text: str) -> list[Parameter]:
    """The parameters of "raw T x, int32 n"."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        *raw, type_, name = part.split()
        found.append(Parameter(raw == ["raw"], type_, name))
    return found


class ElementwiseKernel:
    """Replaces cupy.ElementwiseKernel."""

    def __init__(
        self,
        in_params: str,
        out_params: str,
        operation: str,
        name: str = "kernel",
        reduce_dims: bool = True,
        preamble: str = "",
        no_return: bool = False,
        return_tuple: bool = False,
    ) -> None:
        self.inputs, self.outputs = parameters(in_params), parameters(out_params)
        self.operation, self.preamble, self.name = operation, preamble, name
        self._compiled: dict[tuple[tuple[str, np.dtype], ...], Any] = {}

    def __call__(self, *args: Any, size: int | None = None) -> Any:
        every = self.inputs + self.outputs
        if len(args) not in (len(self.inputs), len(every)):
            raise TypeError(f"{self.name}: {len(args)} arguments for {len(every)} parameters")
        for x in args:
            if not isinstance(x, (ndarray, *SCALARS)):
                raise TypeError(f"{self.name}: Unsupported type {type(x)}")
            if isinstance(x, int) and not -(2**63) <= x < 2**63:
                raise OverflowError(f"{self.name}: {x} is no int64; give a NumPy uint64")
        types = self._types(args)
        n = len(self.inputs)
        plain = [
            x.shape
            for p, x in zip(every, args, strict=False)
            if not p.raw and isinstance(x, ndarray)
        ]
        if not plain and size is None:
            raise ValueError(f"{self.name}: all arguments are raw or scalars, so it needs a size")
        shape = np.broadcast_shapes(*plain) if plain else (size,)
        if len(args) == n:
            args += tuple(ndarray(np.empty(shape, types[p.type])) for p in self.outputs)
        for p, x in zip(self.outputs, args[n:], strict=True):
            if not isinstance(x, ndarray) or (not p.raw and x.shape != shape):
                raise ValueError(f"{self.name}: out {p.name} must be a device array of {shape}")
        self._refuse_overlaps(args)
        self._refuse_too_many(args)
        counts.launches += 1
        self._run(args, types, shape, math.prod(shape))
        results = args[n:]
        return results[0] if len(results) == 1 else results

    def _types(self, args: tuple[Any, ...]) -> dict[str, np.dtype]:
        types: dict[str, np.dtype] = {}
        for p, x in zip(self.inputs + self.outputs, args, strict=False):
            if p.type in C_TYPES:
                types[p.type] = np.dtype(p.type)
                if isinstance(x, ndarray) and x.dtype != p.type:
                    raise TypeError(f"{self.name}: {p.name} is {x.dtype}, not {p.type}")
            elif isinstance(x, ndarray) and types.setdefault(p.type, x.dtype) != x.dtype:
                raise TypeError(f"{self.name}: {p.name} is {x.dtype}, not {types[p.type]}")
        return types

    def _refuse_overlaps(self, args: tuple[Any, ...]) -> None:
        arrays = [(p, x._host) for p, x in zip(self.inputs + self.outputs, args, strict=True)
                  if isinstance(x, ndarray)]  # fmt: skip
        for p, out in arrays:
            if p not in self.outputs:
                continue
            for q, other in arrays:
                if p is q or not (out.size and other.size and np.may_share_memory(out, other)):
                    continue
                if p.raw or q.raw or not same_memory(out, other):
                    raise Undefined(f"{self.name}: {p.name} overlaps {q.name}")

    def _refuse_too_many(self, args: tuple[Any, ...]) -> None:
        """CUDA takes 4 KB of arguments; CuPy passes an array with its size, shape and strides."""
        needed = sum(16 + 16 * x.ndim if isinstance(x, ndarray) else 8 for x in args)
        if needed > 4096:
            raise ValueError(f"{self.name}: {needed} bytes of arguments, more than CUDA's 4096")

    def source(self, types: dict[str, np.dtype]) -> str:
        """The C++ source that runs the kernel for every element."""
        every = self.inputs + self.outputs
        lines = [SHIM]
        lines += [f"typedef {C_TYPES[t.name]} {n};" for n, t in types.items() if n not in C_TYPES]
        lines += [self.preamble]
        lines += [
            'extern "C" int run(long long size, int ndim, const long long* shape, char** data,'
            " const long long* strides, const long long* lengths) {",
            "int outside = 0; Index _ind = {size};",
        ]
        for k, p in enumerate(every):
            if p.raw:
                const = "const " if p in self.inputs else ""
                element = const + C_TYPES[types[p.type].name]
                lines.append(
                    f"Raw<{element}> {p.name} = {{({element}*)data[{k}], lengths[{k}], &outside}};"
                )
        lines.append("for (long long i = 0; i < size; ++i) {")
        for k, p in enumerate(every):
            if not p.raw:
                const = "const " if p in self.inputs else ""
                element = const + C_TYPES[types[p.type].name]
                lines += [
                    f"long long _at{k} = 0; {{ long long rest = i;"
                    " for (int d = ndim - 1; d >= 0; --d) {"
                    f" _at{k} += rest % shape[d] * strides[{k} * ndim + d];"
                    " rest /= shape[d]; } }",
                    f"{element}& {p.name} = *({element}*)(data[{k}] + _at{k});",
                ]
        lines += [self.operation, "}", "return outside;", "}"]
        return "\n".join(lines)

    def _run(
        self, args: tuple[Any, ...], types: dict[str, np.dtype], shape: tuple[int, ...], size: int
    ) -> None:
        every, ndim = self.inputs + self.outputs, len(shape)
        arrays, strides, lengths = [], [], []
        for p, x in zip(every, args, strict=True):
            array = x._host if isinstance(x, ndarray) else np.asarray(x, types[p.type])
            if p.raw and not array.flags.c_contiguous:
                raise Undefined(f"{self.name}: raw {p.name} is not contiguous")
            spread = array if p.raw else np.broadcast_to(array, shape)
            strides += [0] * ndim if p.raw else list(spread.strides)
            lengths.append(array.size)
            arrays.append(array)
        key = tuple(types.items())
        if key not in self._compiled:
            self._compiled[key] = compiled(self.source(types))
        run = self._compiled[key]
        # No ctypes arrays: each creates a type that only the garbage collector frees.
        pointers = [a.ctypes.data for a in arrays]
        numbers = [np.array(n, np.int64) for n in (shape, pointers, strides, lengths)]
        if run(ctypes.c_longlong(size), ndim, *(ctypes.c_void_p(n.ctypes.data) for n in numbers)):
            raise Undefined(f"{self.name}: an index is outside of its raw array")


@functools.cache
def compiled(source: str) -> Any:
    """The C++ function `run`, from a shared library that later test runs reuse."""
    folder = Path(tempfile.gettempdir()) / f"minigrad-kernels-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.so"
    if not library.exists():
        text = library.with_suffix(f".{os.getpid()}.cpp")
        text.write_text(source)
        made = text.with_suffix(".so")
        # Without contraction into fused multiply-adds, as NumPy computes.
        options = ["-O1", "-ffp-contract=off", "-shared", "-fPIC"]
        assert COMPILER is not None
        done = subprocess.run(
            [COMPILER, *options, "-o", made, text], capture_output=True, text=True
        )
        text.unlink()
        if done.returncode:
            raise SyntaxError(f"g++ rejects a kernel:\n{done.stderr}\n{source}")
        os.replace(made, library)
    return ctypes.CDLL(str(library)).run
