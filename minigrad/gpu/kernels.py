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

# The index k of a mask's element in the whole mask, as `random.position` says. A whole mask is one
# row, which needs no division.
PLACE = "long long k = (i < width ? i : i / width * stride + i % width) + offset;"

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
        "uint64 start, uint32 threshold, int64 width, int64 stride, int64 offset",
        "bool keep",
        f"{PLACE} keep = kept(start, k, threshold);",
    ),
    "dropout": Text(
        "T x, uint64 start, uint32 threshold, int64 width, int64 stride, int64 offset, "
        "float64 scale",
        "T y",
        f"{PLACE} y = kept(start, k, threshold) ? x * T(scale) : T(0);",
    ),
    # ---------------------------------------------------------------- loss.linear_cross_entropy
    "exp_shifted": Text("T z, T top", "T e", "e = exp(z - top);"),
    "row_losses": Text(
        "raw T z, T top, T total, int64 target, int64 V",
        "T loss",
        "loss = log(total) + top - z[i * V + target];",
    ),
    "d_logits": Text(
        "T e, T total, int64 target, T dy, int64 V, int64 N",
        "T dz",
        "dz = (e / total - T(i % V == target)) * dy / N;",
    ),
}


def many(line: str, count: int) -> str:
    """`line` repeated for each of `count` tensors, with {k} replaced by its index."""
    return " ".join(line.format(k=k) for k in range(count))


def names(declaration: str, count: int) -> str:
    """A parameter declaration for each of `count` tensors."""
    return ", ".join(declaration.format(k=k) for k in range(count))


def clip_scale(count: int) -> Text:
    """optim.clip_grad_norm_: total norm and scale, from the squared norm of each gradient."""
    return Text(
        names("T square{k}", count) + ", float64 max_norm",
        "T norm, T scale",
        f"""norm = sqrt({" + ".join(f"square{k}" for k in range(count))});
        T s = T(max_norm) / (norm + T(1e-6));
        scale = s < 1 && isfinite(norm) ? s : T(1);
        """,
    )


def scale_all(count: int) -> Text:
    """optim.clip_grad_norm_: multiply every gradient by one scale."""
    return Text(
        "raw T scale",
        names("raw T g{k}", count),
        many("if (i < g{k}.size()) g{k}[i] *= scale[0];", count),
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

FAMILIES = {"clip_scale": clip_scale, "scale_all": scale_all, "sgd": sgd}


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
