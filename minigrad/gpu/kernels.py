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
# Up to this many units, the kernel of a step computes its matrix product too: one launch less, but
# slower arithmetic. An estimate; `benchmarks/gpu.py` measures both.
PRODUCT_INSIDE = 256


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


class CellText(NamedTuple):
    """The code of a step and of its derivative, for unit j of sequence b."""

    num_gates: int
    states: str  # and saved values: (T, B, H), states with the one before the first step
    step: str  # from zx(k) and zh(k), for each gate k
    carried: str  # the gradient of a state that does not go through zh
    dz: str
    step_backward: str  # from dh, and later_carried of the step after this


# In an array (T, B, H), `now` is the element of step t and `next` that of step t + 1. Gates and dz
# are (T, B, G, H), and at(k) is the element of gate k in step t.
STEPS = {
    # ---------------------------------------------------------------- cells.TanhRNN
    "tanh": CellText(
        1,
        "raw T h",
        "h[next] = tanh(zx(0) + zh(0));",
        "",
        "raw T dz",
        "dz[at(0)] = dh * (1 - h[next] * h[next]);",
    ),
    # ---------------------------------------------------------------- cells.ReLURNN
    "relu": CellText(
        1,
        "raw T h",
        # NaN stays NaN, as in NumPy's maximum.
        "T z = zx(0) + zh(0); h[next] = z <= 0 ? T(0) : z;",
        "",
        "raw T dz",
        "dz[at(0)] = dh * T(h[next] > 0);",
    ),
    # ---------------------------------------------------------------- cells.LSTM
    "lstm": CellText(
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
        "dc",
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
    "gru": CellText(
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
        "direct",
        "raw T dzx, raw T dz",
        """
        T r = gates[at(0)], z = gates[at(1)], m = gates[at(2)];
        dh += later_direct;
        T dm = dh * (1 - z) * (1 - m * m);
        dzx[at(0)] = dz[at(0)] = dm * zh_n[now] * r * (1 - r);
        dzx[at(1)] = dz[at(1)] = dh * (h[now] - m) * z * (1 - z);
        dzx[at(2)] = dm;
        dz[at(2)] = dm * r;
        direct = dh * z;
        """,
    ),
}


def _indices(num_gates: int) -> str:
    return f"""
        ptrdiff_t n = _ind.size(), b = quotient(i, H), j = i - b * H, now = t * n + i;
        ptrdiff_t next = now + n, G = {num_gates};
        auto unit = [&](int k) {{ return (b * G + k) * H + j; }};
        auto at = [&](int k) {{ return t * n * G + unit(k); }};"""


def step(cell: CellText, with_product: bool) -> Text:
    """The kernel of one step. `gates` overwrites W_ih x.

    `weighted` is W_hh h (B, G, H), or `with_product` the matrix W_hh.T, (H, G·H): then the kernel
    computes the product too, and neighbouring threads read neighbouring weights.
    """
    zh = "return weighted[unit(k)] + b_hh[k * H + j];"
    if with_product:
        zh = """T sum = b_hh[k * H + j];
            for (int m = 0; m < H; ++m) sum += h[now - j + m] * weighted[(m * G + k) * H + j];
            return sum;"""
    return Text(
        "raw T weighted, raw T b_ih, raw T b_hh, int32 H, int32 t",
        f"raw T gates, {cell.states}",
        f"""{_indices(cell.num_gates)}
        auto zx = [&](int k) {{ return gates[at(k)] + b_ih[k * H + j]; }};
        auto zh = [&](int k) {{ {zh} }};
        {cell.step}""",
    )


def step_backward(cell: CellText, with_product: bool) -> Text:
    """The kernel of the derivative of one step.

    `back` (B, H) is the gradient of h that comes from the next step. `with_product`, it is that of
    the last step only, and the kernel computes the others: dz[t + 1] W_hh.
    """
    later = f"T later_{cell.carried}, " if cell.carried else ""
    back = "dh += back;"
    if with_product:
        back = """if (next * G >= dz.size()) dh += back;
        else for (int m = 0; m < G * H; ++m) dh += dz[(next - j) * G + m] * W[m * H + j];"""
    return Text(
        f"raw T dout, T back, {later}raw T W, raw T gates, {cell.states}, int32 H, int32 t",
        (f"T {cell.carried}, " if cell.carried else "") + cell.dz,
        f"""{_indices(cell.num_gates)}
        T dh = dout[now];
        {back}
        {cell.step_backward}""",
    )


# The index k of a mask's element in the whole mask, as `random.position` says. A whole mask is one
# row, which needs no division.
PLACE = "long long k = (i < width ? i : i / width * stride + i % width) + offset;"

KERNELS: dict[str, Text] = {
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

for _name, _cell in STEPS.items():
    for _suffix, _inside in (("", False), ("_with_product", True)):
        KERNELS[f"{_name}_step{_suffix}"] = step(_cell, _inside)
        KERNELS[f"{_name}_step_backward{_suffix}"] = step_backward(_cell, _inside)

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
