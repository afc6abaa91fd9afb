"""NVIDIA's compiler accepts the source that CuPy generates for each kernel. Needs no GPU.

Needs pip install cupy-cuda12x nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad.gpu import kernels

pytestmark = pytest.mark.slow
cupy = pytest.importorskip("cupy")
pytest.importorskip("nvidia.cuda_nvrtc", reason="needs nvidia-cuda-nvrtc-cu12")

NDARRAY, INDEXER, SCALAR = 1, 2, 3  # CuPy's kinds of arguments
ALL = {name: (name, None) for name in kernels.KERNELS}
ALL |= {f"{name} {n}": (name, n) for name in kernels.FAMILIES for n in (1, 16)}


def argument(p: Any, dtype: Any, given: bool, strided: bool) -> Any:
    """An array argument of the kernel (broadcast ones not contiguous), or a number."""
    from cupy._core import _kernel, _scalar

    numbers = {"H", "t", "V", "N", "start", "threshold", "scale", "max_norm", "lr"}
    if given and p.name in numbers and p.dtype is not None:
        return _kernel._ArgInfo(SCALAR, _scalar.CScalar, np.dtype(p.dtype).type, 0, True, True)
    kind = np.dtype(p.dtype or dtype)
    plain = strided and not p.raw
    return _kernel._ArgInfo(NDARRAY, cupy.ndarray, kind, 2 if plain else 1, not plain, True)


def source(name: str, count: int | None, dtype: Any, strided: bool) -> str:
    """The source that CuPy would pass to NVRTC."""
    from cupy._core import _carray, _kernel

    kernel = kernels.kernel(cupy, name, count)
    given, written = kernel.in_params, kernel.out_params
    infos = [argument(p, dtype, True, strided) for p in given]
    infos += [argument(p, dtype, False, strided) for p in written]
    dims = 2 if strided else 1
    infos.append(_kernel._ArgInfo(INDEXER, _carray.Indexer, None, dims, True, True))
    types = _kernel._TypeMap((("T", np.dtype(dtype)),))
    return _kernel._get_elementwise_kernel_code(
        tuple(infos), types, kernel.params, kernel.operation, kernel.name, kernel.preamble
    )


def compiled(code: str, arch: str) -> str:
    import nvidia.cuda_runtime
    from cupy.cuda import compiler

    headers = Path(cupy.__file__).parent / "_core" / "include"
    runtime = Path(next(iter(nvidia.cuda_runtime.__path__))) / "include"
    cccl = headers / "cupy" / "_cccl"
    folders = [headers, runtime, *(cccl / part for part in ("libcudacxx", "cub", "thrust"))]
    options = ("-std=c++17", f"-arch=compute_{arch}", *(f"-I{folder}" for folder in folders))
    full = "#include <cupy/complex.cuh>\n#include <cupy/carray.cuh>\n" + code
    ptx, _ = compiler._NVRTCProgram(full, "kernel.cu", method="ptx").compile(options)
    return ptx.decode() if isinstance(ptx, bytes) else ptx


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kernel_compiles(name: str, dtype: Any) -> None:
    for arch in ("75", "80", "90"):
        for strided in (False, True):
            code = source(*ALL[name], dtype, strided)
            ptx = compiled(code, arch)
            assert f".target sm_{arch}" in ptx
            assert ".entry minigrad_" in ptx


def test_a_wrong_text_does_not_compile() -> None:
    code = source("tanh_step", None, np.float32, False).replace("tanh(", "tanhh(")
    with pytest.raises(Exception, match="tanhh"):
        compiled(code, "80")
