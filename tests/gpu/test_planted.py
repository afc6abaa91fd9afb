"""Common errors when porting from NumPy to CuPy, and which tests (guards) catch them.

static   the check of the source against the manifest
device   the fake device raises an error
counts   the fake device counts a synchronization or a copy, which a training step must not have
kernel   g++, or the check of the array bounds in a kernel
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_cupy
import numpy as np
import pytest
from static import findings

import minigrad as mg
from minigrad import cells, selftest
from minigrad.gpu import kernels

# name: (code, the guards that catch it). x (3, 4), v (4,), ids (2,) and z (4, 6) are the
# device's, h (3, 4) is the host's.
PLANTED: dict[str, tuple[str, set[str]]] = {
    "a function that CuPy lacks": ("xp.block([[x, x]])", {"static", "device"}),
    "errstate": ("with xp.errstate(all='ignore'): x + 1", {"static", "device"}),
    "insert": ("xp.insert(v, 0, 1.0)", {"static", "device"}),
    "where= of a ufunc": ("xp.tanh(x, where=x > 0)", {"static", "device"}),
    "out= of einsum": ("xp.einsum('ij->i', x, out=v)", {"static", "device"}),
    "mode= of take": ("xp.take(x, ids, axis=0, mode='clip')", {"static", "device"}),
    "min= and max= of clip": ("xp.clip(x, min=0, max=1)", {"static", "device"}),
    "device= of zeros_like": ("xp.zeros_like(x, device='cpu')", {"static", "device"}),
    "where= of a method": ("x.sum(where=x > 0)", {"static", "device"}),
    "a method that CuPy lacks": ("x.resize((4, 3))", {"static", "device"}),
    "too many arguments": ("x.max(0, None, True, 0.0)", {"static", "device"}),
    "a ufunc without .at": ("xp.multiply.at(v, ids, v[:2])", {"static", "device"}),
    "a ufunc without .reduce": ("xp.maximum.reduce(x)", {"static", "device"}),
    "floats into subtract.at": ("xp.subtract.at(v, ids, v[:2])", {"device"}),
    "integers into add.at": ("xp.add.at(ids, ids % 2, ids)", {"device"}),
    "a NumPy array as an operand": ("x * h", {"device"}),
    "the device's array as NumPy's operand": ("h * x", {"device"}),
    "a function of NumPy": ("np.tanh(x)", {"static", "device"}),
    "a product with NumPy's": ("x @ h.T", {"device"}),
    "a NumPy array written into": ("x[...] = h", {"device"}),
    "implicit conversion": ("np.asarray(x)", {"static", "device"}),
    "a list as index": ("x[[0, 2]]", {"device"}),
    "a NumPy array as index": ("x[np.array([0, 2])]", {"static", "device"}),
    "an overlapping copy": ("v[1:] = v[:-1]", {"device"}),
    "an output that overlaps": ("xp.add(v[1:], 1, out=v[:-1])", {"device"}),
    "a product into a part of a row": ("xp.matmul(x, z[:, :3], out=z[:3, :3])", {"device"}),
    "a product into a non-contiguous out": (
        "xp.matmul(x, x.T, out=xp.empty((3, 6))[:, ::2])", {"device"},
    ),
    "a set with duplicates": ("v[xp.asarray([1, 1])] = v[:2]", {"device", "counts"}),
    "an index out of range": ("v[ids + 9]", {"device"}),
    "values of empty": ("assert (xp.empty(3) * 0).sum() == 0", {"device", "counts"}),
    "a 0-d array in range": ("range(ids.max())", {"device"}),
    "`in`": ("1.0 in v", {"device"}),
    "@=": ("x @= x.T", {"static", "device"}),
    "a pickle": ("import pickle; pickle.dumps(x)", {"static", "device"}),
    "an alias": ("from numpy import tanh", {"static"}),
    "getattr of the module": ("getattr(xp, 'tanh')(x)", {"static"}),
    "float() in a step": ("float(x.sum())", {"counts"}),
    "if on a device's value": ("y = 1 if x.sum() > 0 else 2", {"counts"}),
    "item()": ("x.max().item()", {"counts"}),
    "printing": ("f'{x.sum()}'", {"counts"}),
    "a boolean mask": ("x[x > 0]", {"counts"}),
    "unique": ("xp.unique(ids)", {"counts"}),
    "nonzero": ("xp.nonzero(x)", {"counts"}),
    "a mask from the host": ("x * xp.asarray(h > 0)", {"counts"}),
}  # fmt: skip


def guards(code: str) -> set[str]:
    """The guards that catch this code."""
    caught = {"static"} if findings(code) else set()
    xp = fake_cupy.module
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {"xp": xp, "np": np, "h": rng.standard_normal((3, 4))}
    shapes = {"x": (3, 4), "v": (4,), "z": (4, 6)}
    given |= {name: xp.asarray(rng.standard_normal(shape)) for name, shape in shapes.items()}
    given["ids"] = xp.asarray(np.array([0, 2]))
    with fake_cupy.counted() as counts:
        try:
            exec(code, given)
        except Exception:
            caught.add("device")
    if counts.syncs or counts.uploads:
        caught.add("counts")
    return caught


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_caught(name: str) -> None:
    code, expected = PLANTED[name]
    assert expected, "not caught by anything"
    assert guards(code) == expected


RIGHT = (
    "xp.tanh(x, out=x)",
    "x += 1",
    "xp.matmul(x, x.T, out=xp.empty((3, 3)))",
    "v[ids] = v[:2]",
    "xp.add.at(v, ids, v[:2] * 1)",
    "x[1:] = x[:-1].copy()",
    "x.sum(axis=0, keepdims=True)",
    "xp.concatenate([x, x], axis=1)",
    "z[:3, :4] + x",
    "x[ids]",
)


@pytest.mark.parametrize("code", RIGHT)
def test_what_is_right_passes_all_guards(code: str) -> None:
    assert guards(code) == set()


def test_the_table_in_the_docs_is_this_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8")
    for name, (_, expected) in PLANTED.items():
        assert f"| {name} | {', '.join(sorted(expected))} |" in text


# -------------------------------------------------------------------- in the kernels' texts

WRONG_TEXTS = {
    "a parameter named like the loop's variable": ("T i", "T y", "y = i;"),
    "a function that CUDA lacks": ("T x", "T y", "y = expit(x);"),
    "an input written to": ("T x", "T y", "x = 1; y = x;"),
    "an index outside": ("raw T x", "T y", "y = x[i + 3];"),
    "a raw array that is not contiguous": ("raw T x", "T y", "y = x[i];"),
}


@pytest.mark.skipif(not fake_cupy.COMPILER, reason="needs g++")
@pytest.mark.parametrize("name", WRONG_TEXTS)
def test_a_wrong_text_is_caught(name: str) -> None:
    kernel = fake_cupy.module.ElementwiseKernel(*WRONG_TEXTS[name], "wrong")
    x = fake_cupy.module.asarray(np.ones((4, 3)))
    given = x.T if "contiguous" in name else x
    with pytest.raises((SyntaxError, fake_cupy.Undefined)):
        kernel(given, fake_cupy.module.empty(given.shape))


@pytest.mark.skipif(not fake_cupy.COMPILER, reason="needs g++")
@pytest.mark.parametrize("inside", [0, 256])
@pytest.mark.parametrize("cell", kernels.CELLS, ids=lambda cell: cell.__name__)
def test_a_wrong_sign_in_a_kernel_is_found_by_finite_differences(
    cell: Any, inside: int, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mg.use("cupy")
    monkeypatch.setattr(kernels, "PRODUCT_INSIDE", inside)
    name = f"{kernels.CELLS[cell]}_step_backward{'_with_product' if inside else ''}"
    text = kernels.KERNELS[name]
    wrong = text._replace(operation=text.operation.replace("dh += ", "dh -= "))
    assert wrong != text
    monkeypatch.setitem(kernels.KERNELS, name, wrong)
    kernels.kernel.cache_clear()
    kind = next(kind for kind, known in cells.CELLS.items() if known is cell)
    with pytest.raises(mg.GradcheckError):
        selftest.gradients(kind)
    kernels.kernel.cache_clear()
