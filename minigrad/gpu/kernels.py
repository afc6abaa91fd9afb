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

# An element is one unit of one sequence; states are (H, B). zx and zh (G, H, B) have one block of
# n = H·B elements per gate, the bias b (G, H) one of H = n / B. `gates` overwrites zx.
PRE = "int n = _ind.size(); auto pre = [&](int k) { return gates[i + k * n] + zh[i + k * n]; };"
BIAS = "auto bias = [&](int k) { return b[i / B + k * (n / B)]; };"

KERNELS: dict[str, Text] = {
    # ---------------------------------------------------------------- cells.TanhRNN
    "tanh_step": Text(
        "raw T zh, raw T b, int32 B",
        "raw T gates, T h",
        f"{PRE} {BIAS} h = tanh(pre(0) + bias(0));",
    ),
    "tanh_step_backward": Text(
        "T dout, T back, T h",
        "raw T dz",
        "dz[i] = (dout + back) * (1 - h * h);",
    ),
    # ---------------------------------------------------------------- cells.ReLURNN
    "relu_step": Text(
        "raw T zh, raw T b, int32 B",
        "raw T gates, T h",
        # NaN stays NaN, as in NumPy's maximum.
        f"{PRE} {BIAS} T z = pre(0) + bias(0); h = z <= 0 ? T(0) : z;",
    ),
    "relu_step_backward": Text(
        "T dout, T back, T h",
        "raw T dz",
        "dz[i] = (dout + back) * T(h > 0);",
    ),
    # ---------------------------------------------------------------- cells.LSTM
    "lstm_step": Text(
        "raw T zh, raw T b, int32 B, T c_prev",
        "raw T gates, T h, T c, T tanh_c",
        f"""{PRE} {BIAS}
        T in     = sigmoid(pre(0) + bias(0));
        T forget = sigmoid(pre(1) + bias(1));
        T g      = tanh(pre(2) + bias(2));
        T out    = sigmoid(pre(3) + bias(3));
        c = forget * c_prev + in * g;
        tanh_c = tanh(c);
        h = out * tanh_c;
        gates[i] = in; gates[i + n] = forget; gates[i + 2 * n] = g; gates[i + 3 * n] = out;
        """,
    ),
    "lstm_step_backward": Text(
        "T dout, T back, raw T gates, T c_prev, T tanh_c",
        "T dc, raw T dz",
        """int n = _ind.size();
        T in = gates[i], forget = gates[i + n], g = gates[i + 2 * n], out = gates[i + 3 * n];
        T dh = dout + back;
        dc += dh * out * (1 - tanh_c * tanh_c);
        dz[i]         = dc * g * in * (1 - in);
        dz[i + n]     = dc * c_prev * forget * (1 - forget);
        dz[i + 2 * n] = dc * in * (1 - g * g);
        dz[i + 3 * n] = dh * tanh_c * out * (1 - out);
        dc *= forget;
        """,
    ),
    # ---------------------------------------------------------------- cells.GRU
    "gru_step": Text(
        "raw T zh, raw T b, int32 B, T h_prev",
        "raw T gates, T h, T nh",
        f"""{PRE} {BIAS}
        T r = sigmoid(pre(0) + bias(0));
        T z = sigmoid(pre(1) + bias(1));
        nh = zh[i + 2 * n] + bias(2);
        T m = tanh(gates[i + 2 * n] + r * nh);
        h = m + z * (h_prev - m);
        gates[i] = r; gates[i + n] = z; gates[i + 2 * n] = m;
        """,
    ),
    "gru_step_backward": Text(
        "T dout, T back, raw T gates, T h_prev, T nh",
        "T carried, raw T dzx, raw T dzh",
        """int n = _ind.size();
        T r = gates[i], z = gates[i + n], m = gates[i + 2 * n];
        T dh = dout + back + carried;
        T dm = dh * (1 - z) * (1 - m * m);
        dzx[i]         = dzh[i]     = dm * nh * r * (1 - r);
        dzx[i + n]     = dzh[i + n] = dh * (h_prev - m) * z * (1 - z);
        dzx[i + 2 * n] = dm;
        dzh[i + 2 * n] = dm * r;
        carried = dh * z;
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
