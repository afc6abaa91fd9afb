"""Start on a GPU: errors say what is missing, and a run can be resumed."""

from __future__ import annotations

import importlib.machinery
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import fake_cupy
import numpy as np
import pytest
from on_both import host

import minigrad as mg
from lm.checkpoint import load_checkpoint
from lm.corpus import Corpus
from lm.run.trainer import Trainer
from lm.settings import Settings, build_model
from minigrad import BackendError, backend, nn, optim, random
from minigrad import functional as F

ROOT = Path(__file__).parents[2]


class BrokenArray:
    """An array whose operations fail because a part of CUDA is missing."""

    def __init__(self, product: Exception | None) -> None:
        self.product = product

    def __matmul__(self, other: Any) -> Any:
        if self.product:
            raise self.product
        return self

    def get(self) -> None:
        pass


@pytest.fixture
def cupy_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a fake CuPy whose kernels or matrix products raise an error."""

    def install(kernel: Exception | None = None, product: Exception | None = None) -> None:
        def run(_: Any) -> BrokenArray:
            if kernel:
                raise kernel
            return BrokenArray(product)

        cupy = ModuleType("cupy")
        cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
        cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: 1))
        cupy.ElementwiseKernel = lambda *_: run
        cupy.ones = lambda *_, **__: None
        monkeypatch.setitem(sys.modules, "cupy", cupy)

    backend._load_cupy.cache_clear()
    yield install
    mg.use("numpy")
    backend._load_cupy.cache_clear()


def test_a_missing_nvrtc_is_named(cupy_with: Callable[..., None]) -> None:
    cupy_with(kernel=RuntimeError("CuPy failed to load libnvrtc.so.12:\nOSError: no such file"))
    with pytest.raises(BackendError, match=r"NVRTC.*libnvrtc.so.12:; pip install 'cupy.*ctk") as e:
        mg.use("cupy")
    assert "\n" not in str(e.value)


def test_a_missing_cublas_is_named(cupy_with: Callable[..., None]) -> None:
    cupy_with(product=ImportError("libcublas.so.12: cannot open shared object file"))
    with pytest.raises(BackendError, match=r"cuBLAS.*libcublas.so.12"):
        mg.use("cupy")


def test_a_cupy_that_cannot_be_imported_is_told_in_one_line(tmp_path: Path) -> None:
    """As CuPy's own __init__ does: a long message, whose cause names what is missing."""
    (tmp_path / "cupy.py").write_text(
        "try:\n"
        "    raise ImportError('libnvrtc.so.12: cannot open shared object file')\n"
        "except ImportError as e:\n"
        "    raise ImportError('=' * 60 + '\\nFailed to import CuPy.\\n') from e\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "minigrad.selftest", "--backend", "cupy"],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: backend 'cupy': CuPy is installed, but can't be imported "
        "(libnvrtc.so.12: cannot open shared object file)\n"
    )


def test_where_nothing_is_missing_it_starts(cupy_with: Callable[..., None]) -> None:
    cupy_with()
    mg.use("cupy")
    assert backend.current_backend() == "cupy"


@pytest.mark.parametrize(
    ("name", "said"), [("numpy", "numpy\n"), ("", "numpy\n"), ("torch", "error: unknown backend")]
)
def test_the_environment_names_the_backend(name: str, said: str) -> None:
    code = (
        "import minigrad as mg; from lm.settings import Settings\n"
        "try: mg.tensor(1.0); print(Settings().backend)\n"
        "except mg.BackendError as e: print('error:', e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"MINIGRAD_BACKEND": name, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(said), done.stderr


def test_a_model_moves_to_the_device_and_back(device: Any) -> None:
    model = nn.LSTM(3, 4, 2)
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    expected = model(mg.tensor(x))[0].numpy()
    model.to("cupy")
    assert all(backend.array_module(p.data) is device for p in model.parameters())
    with mg.use("cupy"):
        there = model(mg.tensor(x))[0]
    np.testing.assert_allclose(there.numpy(), expected, atol=1e-6)
    back = model.to("numpy")(mg.tensor(x))[0]
    np.testing.assert_array_equal(back.data, expected)


def test_both_backends_begin_with_the_same_weights(device: Any) -> None:
    mg.manual_seed(3)
    here = nn.GRU(3, 4).state_dict()
    mg.manual_seed(3)
    with mg.use("cupy"):
        there = nn.GRU(3, 4).state_dict()
    for name, array in here.items():
        np.testing.assert_array_equal(host(there[name]), array)


def test_ids_outside_are_refused_before_the_device_sees_them(device: Any) -> None:
    mg.use("cupy")
    weight = mg.tensor(np.ones((3, 2)), requires_grad=True)
    with fake_cupy.counted() as counts:
        with pytest.raises(IndexError, match="3 rows"):
            F.embedding(np.array([0, 3]), weight)
        with pytest.raises(IndexError, match="3 classes"):
            F.linear_cross_entropy(weight, mg.tensor(np.ones((3, 2))), None, np.array([0, 1, 3]))
    assert counts.uploads == 1  # the tensor of ones
    assert counts.syncs == 0


# -------------------------------------------------------------------- going on


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    text = "the cat saw the dog and the dog saw the cat\n" * 20
    corpus = Corpus.from_text(text, text, text)

    def make(name: str, where: str, epochs: int, kind: str = "standard") -> Trainer:
        mg.use(name)
        mg.manual_seed(1)
        settings = Settings(
            emsize=6, nhid=6, batch_size=4, bptt=7, epochs=epochs, lr=2.0, dropout=0.5,
            dropout_kind=kind, backend=name,
        )  # fmt: skip
        model = build_model(settings, len(corpus.dictionary))
        return Trainer(model, corpus, settings, tmp_path / f"{where}.safetensors")

    return make


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return load_checkpoint(trainer.latest_path).model


@pytest.mark.parametrize("kind", ["standard", "variational"])
def test_a_resumed_run_gets_the_masks_that_it_would_have_got(
    trainer: Callable[..., Trainer], device: Any, kind: str
) -> None:
    whole = trainer("cupy", "whole", 2, kind)
    whole.fit()
    half = trainer("cupy", "half", 1, kind)
    half.fit()
    mg.manual_seed(99)  # as in another process
    rest = trainer("cupy", "half", 2, kind)
    mg.manual_seed(99)
    rest.resume(load_checkpoint(half.latest_path))
    rest.fit()
    for name, array in weights(whole).items():
        np.testing.assert_array_equal(weights(rest)[name], array)


@pytest.mark.parametrize(("first", "then"), [("numpy", "cupy"), ("cupy", "numpy")])
def test_a_run_moves_between_backends(
    trainer: Callable[..., Trainer], device: Any, first: str, then: str
) -> None:
    half = trainer(first, "half", 1)
    half.fit()
    rest = trainer(then, "half", 3)
    rest.resume(load_checkpoint(half.latest_path))
    assert rest.state.position.epoch == 2
    before = rest.state.position.best_loss
    rest.fit()
    assert rest.state.position.best_loss < before
    assert isinstance(host(rest.model.decoder.bias.data), np.ndarray)


def test_a_state_of_an_older_version_is_taken() -> None:
    mg.manual_seed(4)
    state = random.get_state()
    fresh = dict(state)
    del state["masks"]
    mg.manual_seed(5)
    random.set_state(json.loads(json.dumps(state)))
    assert random.get_state() == fresh


def test_numpys_stream_is_untouched_by_masks_by_count(device: Any) -> None:
    mg.manual_seed(4)
    expected = random.normal((3,))
    mg.manual_seed(4)
    with mg.use("cupy"):
        F.dropout(mg.tensor(np.ones(10)), 0.5)
    np.testing.assert_array_equal(random.normal((3,)), expected)


def test_adam_and_momentum_work_there_too(device: Any) -> None:
    mg.use("cupy")
    for make in (optim.Adam, lambda ps: optim.SGD(ps, 0.1, momentum=0.9, weight_decay=0.01)):
        x = mg.tensor(np.ones(3), requires_grad=True)
        optimiser = make([x])
        for _ in range(3):
            optimiser.zero_grad()
            (x * x).sum().backward()
            optim.clip_grad_norm_([x], 0.5)
            optimiser.step()
        assert (host(x.data) < 1).all()
