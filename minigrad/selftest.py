"""Check that minigrad computes correctly on this machine, and measure how fast.

    python -m minigrad.selftest --backend cupy
    python -m minigrad.selftest --backend numpy

Checks gradients against finite differences, compares a training run with NumPy's, and times a
training step, also PyTorch's if torch is installed. Prints one block of text that you can paste
into an issue. The exit status is 0 if all checks pass, 1 if one fails, 2 if the backend is not
available.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from . import functional as F
from . import nn, optim, random
from .backend import BACKENDS, BackendError, array_module, current_module, to_host, use
from .cells import CELLS
from .creation import tensor
from .gpu import kernels
from .gradcheck import GradcheckError, gradcheck
from .tensor import Tensor

TOLERANCE = 1e-3  # between the losses of two backends in float32, after many steps
SIZES = {"small": (50, 8, 4, 5), "full": (10_000, 200, 20, 35)}  # classes, units, columns, steps


class Model(nn.Module):
    """A language model: embedding, recurrent layers, decoder and loss."""

    def __init__(self, kind: str, classes: int, units: int, dropout: float = 0.0) -> None:
        self.encoder = nn.Embedding(classes, units)
        self.rnn = nn.Recurrent(CELLS[kind], units, units, 2, dropout=dropout)
        self.decoder = nn.Linear(units, classes)

    def loss(self, ids: np.ndarray, target: np.ndarray) -> Tensor:
        output, _ = self.rnn(self.encoder(ids))
        features = output.reshape(target.size, output.shape[2])
        decoder = self.decoder
        return F.linear_cross_entropy(features, decoder.weight, decoder.bias, target)


def gradients(kind: str) -> str:
    """Compare the gradients of two stacked layers with finite differences."""
    random.manual_seed(1)
    layer = nn.Recurrent(CELLS[kind], 3, 4, 2).double()
    x = tensor(np.random.default_rng(1).uniform(0.1, 1, (3, 2, 3)), requires_grad=True)
    gradcheck(lambda *_: layer(x)[0], [x, *layer.parameters()])
    return "as finite differences"


def loss_gradients() -> str:
    """Compare the gradients of decoder and loss with finite differences."""
    rng = np.random.default_rng(1)
    shapes = ((6, 3), (5, 3), (5,))
    inputs = [tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    target = np.array([0, 4, 2, 2, 1, 0])
    gradcheck(lambda x, W, b: F.linear_cross_entropy(x, W, b, target), inputs)
    return "as finite differences"


def losses(kind: str, steps: int, dropout: float = 0.0) -> list[float]:
    """The losses of a training run; the initial weights are the same on both backends."""
    random.manual_seed(1)
    model = Model(kind, *SIZES["small"][:2], dropout)
    step = training_step(model, *SIZES["small"])
    return [float(step().data) for _ in range(steps)]


def training_step(model: Model, classes: int, units: int, B: int, T: int) -> Callable[[], Tensor]:
    """A function that runs one training step and returns its loss, without synchronizing."""
    optimizer = optim.SGD(model.parameters(), 1.0)
    text = np.random.default_rng(1).integers(0, classes, (T + 1, B))

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = model.loss(text[:-1], text[1:].reshape(-1))
        loss.backward()
        optim.clip_grad_norm_(optimizer.params, 0.25)
        optimizer.step()
        return loss

    return step


def agreement(kind: str, steps: int) -> str:
    """Compare the losses of the same training run here and on NumPy."""
    here = losses(kind, steps)
    with use("numpy"):
        there = losses(kind, steps)
    apart = max(abs(a - b) for a, b in zip(here, there, strict=True))
    if not apart <= TOLERANCE:
        raise AssertionError(f"the losses of {steps} steps differ by up to {apart:.2g}")
    return f"losses of {steps} steps within {apart:.1e} of NumPy's"


def products_apart(kind: str, steps: int) -> str:
    """The checks of gradients and training, with the kernels for large layers."""
    usual, kernels.PRODUCT_INSIDE = kernels.PRODUCT_INSIDE, 0
    try:
        return f"gradients {gradients(kind)}; {agreement(kind, steps)}"
    finally:
        kernels.PRODUCT_INSIDE = usual


def masks() -> str:
    """Dropout masks repeat from a saved state, and keep a fraction 1 - p."""
    x = tensor(np.ones((200, 100), np.float32))
    state = random.get_state()
    first = to_host(F.dropout(x, 0.3).data)
    random.set_state(state)
    if (to_host(F.dropout(x, 0.3).data) != first).any():
        raise AssertionError("a mask drawn again from the same state differs")
    kept = float((first != 0).mean())
    if abs(kept - 0.7) > 0.02:
        raise AssertionError(f"a mask for p = 0.3 keeps {kept:.3f} of the elements")
    return "masks repeat from a saved state"


def synchronization(size: str) -> str:
    """Whether a training step synchronizes with the GPU, as far as CuPy can tell.

    CuPy's `allow_synchronize` is deprecated, and sees `ndarray.get` and `Device.synchronize` only.
    """
    model = Model("LSTM", *SIZES[size][:2], dropout=0.2)
    step = training_step(model, *SIZES[size])
    step()
    xp = current_module()
    if xp is np:
        return "does not apply to NumPy"
    try:
        allow = importlib.import_module("cupyx").allow_synchronize
    except (ImportError, AttributeError):
        return "not checked: this CuPy has no allow_synchronize"
    try:
        with allow(False):
            step()
    except RuntimeError as error:  # slow, but the results are still correct
        return f"a training step synchronizes with the device ({error})"
    return "no synchronization seen in a training step"


def milliseconds(step: Callable[[], Any], wait: Callable[[], object], repeats: int) -> float:
    """The median time of a step."""
    step()
    wait()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        wait()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def speed(kind: str, size: str, repeats: int) -> str:
    """The time of a whole training step, and of PyTorch's."""
    classes, units, B, T = SIZES[size]
    random.manual_seed(1)
    model = Model(kind, classes, units)
    array = model.decoder.weight.data
    xp = array_module(array)
    wait = (lambda: None) if xp is np else xp.cuda.Device().synchronize
    here = milliseconds(training_step(model, *SIZES[size]), wait, repeats)
    sizes = f"{classes:,} classes, {units} units, {B} columns, {T} steps"
    there = time_of_pytorch(kind, classes, units, B, T, xp is not np, repeats)
    return f"{here:.2f} ms a step ({sizes}); PyTorch {there}"


def time_of_pytorch(
    kind: str, classes: int, units: int, B: int, T: int, gpu: bool, repeats: int
) -> str:
    """The time of the same step in PyTorch, whose recurrent layers use cuDNN on a GPU."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return "is not installed"
    if gpu and not torch.cuda.is_available():
        return "finds no GPU"
    precision = f", both with{'' if same_precision(torch) else 'out'} TF32" if gpu else ""
    device = torch.device("cuda" if gpu else "cpu")
    layers = {
        "LSTM": torch.nn.LSTM,
        "GRU": torch.nn.GRU,
        "RNN_TANH": torch.nn.RNN,
        "RNN_RELU": partial(torch.nn.RNN, nonlinearity="relu"),
    }
    if kind not in layers:
        return "has no such cell"
    encoder = torch.nn.Embedding(classes, units).to(device)
    rnn, decoder = (
        layers[kind](units, units, 2).to(device),
        torch.nn.Linear(units, classes).to(device),
    )
    parameters = [*encoder.parameters(), *rnn.parameters(), *decoder.parameters()]
    text = torch.randint(0, classes, (T + 1, B))

    def step() -> None:
        for p in parameters:
            p.grad = None
        ids, target = text[:-1].to(device), text[1:].reshape(-1).to(device)
        logits = decoder(rnn(encoder(ids))[0].reshape(T * B, units))
        torch.nn.functional.cross_entropy(logits, target).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.25)
        with torch.no_grad():
            for p in parameters:
                p.add_(p.grad, alpha=-1.0)

    wait = torch.cuda.synchronize if gpu else lambda: None
    return f"{torch.__version__} {milliseconds(step, wait, repeats):.2f} ms{precision}"


def same_precision(torch: Any) -> bool:
    """Make PyTorch use TF32 if and only if CuPy does; returns whether they do.

    TF32 rounds the operands of float32 products to 10 bits of mantissa. CuPy uses it if CUPY_TF32=1
    in the environment; by default, PyTorch uses it in cuDNN's layers, but not in other products.
    """
    tf32 = int(os.environ.get("CUPY_TF32", "0")) > 0
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    return tf32


def machine(name: str) -> Iterator[str]:
    """Lines that describe the machine and the versions."""
    yield f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.platform()}"
    if name == "cupy":
        xp = current_module()
        runtime = xp.cuda.runtime
        with contextlib.suppress(Exception):  # must not stop the test
            properties = runtime.getDeviceProperties(xp.cuda.get_device_id())
            versions = f"CUDA {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}"
            version = importlib.import_module("cupy").__version__
            yield f"CuPy {version}, {properties['name'].decode()}, {versions}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m minigrad.selftest", description="Check gradients, training and speed."
    )
    parser.add_argument("--backend", choices=BACKENDS, default="numpy", help="what to test")
    parser.add_argument("--quick", action="store_true", help="small sizes, in a few seconds")
    args = parser.parse_args(argv)
    try:
        chosen = use(args.backend)
    except BackendError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with chosen:
        return 1 if run(args.backend, args.quick) else 0


def run(backend: str, quick: bool) -> int:
    """Run every check and print one line for each; returns how many failed."""
    steps, size, repeats = (20, "small", 3) if quick else (200, "full", 20)
    checks: list[tuple[str, Callable[[], str]]] = []
    checks += [(f"gradients, {k}", partial(gradients, k)) for k in CELLS]
    checks += [("gradients, loss", loss_gradients)]
    checks += [(f"training, {k}", partial(agreement, k, steps)) for k in CELLS]
    if backend == "cupy":  # layers of these sizes compute their products inside the kernels
        checks += [(f"large layers, {k}", partial(products_apart, k, steps)) for k in CELLS]
    checks += [("dropout", masks), ("synchronization", partial(synchronization, size))]
    checks += [(f"speed, {k}", partial(speed, k, size, repeats)) for k in CELLS]

    print(f"```\nminigrad self-test, backend {backend}{', quick' * quick}")
    for line in machine(backend):
        print(line)
    failed = 0
    for name, check in checks:
        try:
            result = f"ok    {check()}"
        except (GradcheckError, AssertionError, RuntimeError, TypeError, ValueError) as error:
            failed += 1
            first = (str(error).splitlines() or [""])[0]
            result = f"FAILED  {type(error).__name__}: {first}"
        print(f"{name:20} {result}", flush=True)
    print(f"{len(checks) - failed} of {len(checks)} ok\n```")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
