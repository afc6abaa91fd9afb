"""The self-test: what it prints, and that it detects errors.

`test_benchmark.py` runs all of it on the fake device: it is a stage of the benchmark.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fake_cupy
import pytest

import minigrad as mg
from minigrad import backend, cells, selftest
from minigrad.gpu import kernels

ALL = 15


def test_all_is_well_on_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    assert selftest.main(["--backend", "numpy", "--quick"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("```\nminigrad self-test, backend numpy")
    assert out.endswith(f"{ALL} of {ALL} ok\n```\n")
    assert "ms a step" in out
    assert backend.current_backend() == "numpy"


def test_a_wrong_derivative_is_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "speed", lambda *_: "")
    right = cells.TanhRNN.local_derivatives
    wrong = staticmethod(lambda *args: tuple(1.01 * d for d in right(*args)))
    monkeypatch.setattr(cells.TanhRNN, "local_derivatives", wrong)
    assert selftest.main(["--quick"]) == 1
    out = capsys.readouterr().out
    assert "gradients, RNN_TANH  FAILED  GradcheckError" in out
    assert "gradients, LSTM      ok" in out


@pytest.mark.skipif(not fake_cupy.COMPILER, reason="needs g++")
@pytest.mark.parametrize(
    ("name", "check"),
    [("gru_step_with_product", "training, GRU        "), ("gru_step", "large layers, GRU    ")],
)
def test_a_wrong_kernel_is_found(
    name: str,
    check: str,
    device: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selftest, "speed", lambda *_: "")
    monkeypatch.setattr(selftest, "CELLS", {k: cells.CELLS[k] for k in ("LSTM", "GRU")})
    # The comparison with NumPy has to find it; the finite differences would take seconds.
    monkeypatch.setattr(selftest, "gradients", lambda kind: "not checked")
    text = kernels.KERNELS[name]
    wrong = text._replace(operation=text.operation.replace("h[now] - m", "h[now] + m"))
    assert wrong != text
    monkeypatch.setitem(kernels.KERNELS, name, wrong)
    kernels.kernel.cache_clear()
    assert selftest.main(["--backend", "cupy", "--quick"]) == 1
    kernels.kernel.cache_clear()
    out = capsys.readouterr().out
    assert f"{check}FAILED" in out
    assert "training, LSTM       ok" in out
    assert backend.current_backend() == "numpy"


def test_a_backend_that_cannot_be_used_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise mg.BackendError("backend 'cupy': no GPU")

    monkeypatch.setattr(backend, "_load_cupy", missing)
    assert selftest.main(["--backend", "cupy"]) == 2
    assert capsys.readouterr().err == "error: backend 'cupy': no GPU\n"


@pytest.mark.parametrize(("set_to", "expected"), [(None, False), ("0", False), ("1", True)])
def test_pytorch_is_timed_with_the_precision_of_cupy(
    set_to: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUPY_TF32", raising=False)
    if set_to is not None:
        monkeypatch.setenv("CUPY_TF32", set_to)
    cudnn, matmul = SimpleNamespace(allow_tf32=True), SimpleNamespace(allow_tf32=False)
    backends = SimpleNamespace(cudnn=cudnn, cuda=SimpleNamespace(matmul=matmul))
    assert selftest.same_precision(SimpleNamespace(backends=backends)) is expected
    assert cudnn.allow_tf32 is matmul.allow_tf32 is expected
