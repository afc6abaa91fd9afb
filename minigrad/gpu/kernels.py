"""The kernels of the GPU path, in CUDA C++: what to compute for one element.

Each kernel computes the same as the NumPy code named above it. The name of a parameter is the
element of that array; a `raw` array is indexed, and `i` is the index of the element. `T` is float
or double.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, NamedTuple

from .. import cells
from ..backend import Array, array_module

ENABLED = True  # False: also on a GPU, run the NumPy code, operation by operation


class Text(NamedTuple):
    """Input parameters, output parameters, and the code for one element."""

    given: str
    written: str
    operation: str


FUNCTIONS = """
template <typename T> __device__ T sigmoid(T x) { return 1 / (1 + exp(-x)); }

// i / n. A GPU divides 32-bit integers several times faster than 64-bit ones.
__device__ ptrdiff_t quotient(ptrdiff_t i, int n) {
    return i <= 0x7FFFFFFF ? ptrdiff_t(int(i) / n) : i / n;
}

// Output k of SplitMix64 (Steele et al. 2014) with seed `start`; in NumPy: `masks.keep_bits`.
__device__ bool kept(unsigned long long start, unsigned long long k, unsigned int threshold) {
    unsigned long long z = start + (k + 1) * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return ((z ^ (z >> 31)) >> 40) >= threshold;  // 24 bits, as a float32 has
}
"""

# An element of a cell's step is unit j of sequence b. States and saved values of all steps are
# (T, B, H), states with the one before the first step: `now` is the element of step t, `next` that
# of step t + 1. Gates and dz are (T, B, G, H), and at(k) is the element of gate k in step t.


def _indices(num_gates: int) -> str:
    return f"""
        ptrdiff_t n = _ind.size(), b = quotient(i, H), j = i - b * H, now = t * n + i;
        ptrdiff_t next = now + n;
        auto unit = [&](int k) {{ return (b * {num_gates} + k) * H + j; }};
        auto at = [&](int k) {{ return t * n * {num_gates} + unit(k); }};"""


def step(num_gates: int, states: str, operation: str) -> Text:
    """The kernel of a step, from zx(k) and zh(k) of gate k; `gates` overwrites W_ih x."""
    return Text(
        "raw T product, raw T b_ih, raw T b_hh, int32 H, int32 t",
        f"raw T gates, {states}",
        f"""{_indices(num_gates)}
        auto zx = [&](int k) {{ return gates[at(k)] + b_ih[k * H + j]; }};
        auto zh = [&](int k) {{ return product[unit(k)] + b_hh[k * H + j]; }};
        {operation}""",
    )


def step_backward(num_gates: int, carried: str, states: str, dz: str, operation: str) -> Text:
    """The kernel of its derivative; `carried` is the gradient that does not go through zh."""
    later = f"T later_{carried}, " if carried else ""
    return Text(
        f"raw T dout, T back, {later}raw T gates, {states}, int32 H, int32 t",
        f"T {carried}, {dz}" if carried else dz,
        f"""{_indices(num_gates)}
        T dh = dout[now] + back;
        {operation}""",
    )


KERNELS: dict[str, Text] = {
    # ---------------------------------------------------------------- cells.TanhRNN
    "tanh_step": step(1, "raw T h", "h[next] = tanh(zx(0) + zh(0));"),
    "tanh_step_backward": step_backward(
        1, "", "raw T h", "raw T dz", "dz[at(0)] = dh * (1 - h[next] * h[next]);"
    ),
    # ---------------------------------------------------------------- cells.ReLURNN
    "relu_step": step(
        1,
        "raw T h",
        # NaN stays NaN, as in NumPy's maximum.
        "T z = zx(0) + zh(0); h[next] = z <= 0 ? T(0) : z;",
    ),
    "relu_step_backward": step_backward(
        1, "", "raw T h", "raw T dz", "dz[at(0)] = dh * T(h[next] > 0);"
    ),
    # ---------------------------------------------------------------- cells.LSTM
    "lstm_step": step(
        4,
        "raw T h, raw T c, raw T tanh_c",
        """
        T in     = sigmoid(zx(0) + zh(0));
        T forget = sigmoid(zx(1) + zh(1));
        T g      = tanh(zx(2) + zh(2));
        T out    = sigmoid(zx(3) + zh(3));
        T cell   = forget * c[now] + in * g;
        c[next] = cell;
        tanh_c[now] = tanh(cell);
        h[next] = out * tanh_c[now];
        gates[at(0)] = in; gates[at(1)] = forget; gates[at(2)] = g; gates[at(3)] = out;
        """,
    ),
    "lstm_step_backward": step_backward(
        4,
        "dc",
        "raw T h, raw T c, raw T tanh_c",
        "raw T dz",
        """
        T in = gates[at(0)], forget = gates[at(1)], g = gates[at(2)], out = gates[at(3)];
        T d = later_dc + dh * out * (1 - tanh_c[now] * tanh_c[now]);
        dz[at(0)] = d * g * in * (1 - in);
        dz[at(1)] = d * c[now] * forget * (1 - forget);
        dz[at(2)] = d * in * (1 - g * g);
        dz[at(3)] = dh * tanh_c[now] * out * (1 - out);
        dc = d * forget;
        """,
    ),
    # ---------------------------------------------------------------- cells.GRU
    "gru_step": step(
        3,
        "raw T h, raw T zh_n",
        """
        T r = sigmoid(zx(0) + zh(0));
        T z = sigmoid(zx(1) + zh(1));
        zh_n[now] = zh(2);
        T m = tanh(zx(2) + r * zh_n[now]);
        h[next] = m + z * (h[now] - m);
        gates[at(0)] = r; gates[at(1)] = z; gates[at(2)] = m;
        """,
    ),
    "gru_step_backward": step_backward(
        3,
        "direct",
        "raw T h, raw T zh_n",
        "raw T dzx, raw T dzh",
        """
        T r = gates[at(0)], z = gates[at(1)], m = gates[at(2)];
        dh += later_direct;
        T dm = dh * (1 - z) * (1 - m * m);
        dzx[at(0)] = dzh[at(0)] = dm * zh_n[now] * r * (1 - r);
        dzx[at(1)] = dzh[at(1)] = dh * (h[now] - m) * z * (1 - z);
        dzx[at(2)] = dm;
        dzh[at(2)] = dm * r;
        direct = dh * z;
        """,
    ),
    # ---------------------------------------------------------------- functional.dropout
    "keep_mask": Text(
        "uint64 start, uint32 threshold",
        "bool keep",
        "keep = kept(start, i, threshold);",
    ),
    "dropout": Text(
        "T x, uint64 start, uint32 threshold, float64 scale",
        "T y",
        "y = kept(start, i, threshold) ? x * T(scale) : T(0);",
    ),
    # ---------------------------------------------------------------- loss.linear_cross_entropy
    "exp_shifted": Text("T z, raw T top, int32 V", "T e", "e = exp(z - top[quotient(i, V)]);"),
    "row_losses": Text(
        "raw T z, T top, T total, int64 target, int32 V",
        "T loss",
        "loss = log(total) + top - z[i * V + target];",
    ),
    "d_logits": Text(
        "T e, raw T total, raw int64 target, raw T dy, int32 V, int32 N",
        "T dz",
        """ptrdiff_t row = quotient(i, V), column = i - row * V;
        dz = (e / total[row] - T(column == target[row])) * dy[0] / N;
        """,
    ),
}


def many(line: str, count: int) -> str:
    """`line` repeated for each of `count` tensors, with {k} replaced by its index."""
    return " ".join(line.format(k=k) for k in range(count))


def names(declaration: str, count: int) -> str:
    """A parameter declaration for each of `count` tensors."""
    return ", ".join(declaration.format(k=k) for k in range(count))


def square_sums(count: int) -> Text:
    """optim.clip_grad_norm_: each thread sums the squares of every size-th element."""
    return Text(
        names("raw T g{k}", count),
        "T sum",
        "sum = 0; "
        + many(
            "for (ptrdiff_t j = i; j < g{k}.size(); j += _ind.size()) sum += g{k}[j] * g{k}[j];",
            count,
        ),
    )


def clip(count: int) -> Text:
    """optim.clip_grad_norm_: scale every gradient if their norm is too large, but finite."""
    return Text(
        "raw T norm, float64 max_norm",
        names("raw T g{k}", count),
        "T scale = T(max_norm) / (norm[0] + T(1e-6)); if (scale < 1 && isfinite(norm[0])) { "
        + many("if (i < g{k}.size()) g{k}[i] *= scale;", count)
        + " }",
    )


def sgd(count: int) -> Text:
    """optim.SGD without momentum: p -= lr * g for every parameter."""
    return Text(
        names("raw T g{k}", count) + ", float64 lr",
        names("raw T p{k}", count),
        many("if (i < p{k}.size()) p{k}[i] -= T(lr) * g{k}[i];", count),
    )


# The cells that have kernels, with the prefix of their kernels' names.
CELLS = {cells.TanhRNN: "tanh", cells.ReLURNN: "relu", cells.LSTM: "lstm", cells.GRU: "gru"}

FAMILIES = {"square_sums": square_sums, "clip": clip, "sgd": sgd}


def takes(*arrays: Array, cell: type[cells.Cell] | None = None) -> bool:
    """Whether the kernels support these arrays and this cell.

    The arrays must be on a GPU, contiguous, not empty, and all float32 or all float64.
    """
    first = arrays[0]
    return (
        ENABLED
        and _compiles(array_module(first))
        and first.dtype.itemsize >= 4
        and all(a.dtype == first.dtype and a.flags.c_contiguous and a.size for a in arrays)
        and (cell is None or cell in CELLS)
    )


@functools.cache
def _compiles(xp: ModuleType) -> bool:
    return hasattr(xp, "ElementwiseKernel")


@functools.cache
def kernel(xp: ModuleType, name: str, count: int | None = None) -> Any:
    """The kernel `name`, compiled at its first call; with `count`, one for that many tensors."""
    text = KERNELS[name] if count is None else FAMILIES[name](count)
    suffix = "" if count is None else f"_{count}"
    return xp.ElementwiseKernel(*text, f"minigrad_{name}{suffix}", preamble=FUNCTIONS)
