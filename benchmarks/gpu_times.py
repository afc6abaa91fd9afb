"""The stages of gpu.py that measure times."""

from __future__ import annotations

import contextlib
import importlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg
from lm import RNNModel, train_step
from minigrad import random, selftest
from minigrad.backend import current_module
from minigrad.gpu import kernels
from minigrad.optim import SGD

Finding = tuple[str, dict[str, Any]]
B, T, LAYERS, DROPOUT, LR, CLIP = 20, 35, 2, 0.2, 1.0, 0.25


@contextlib.contextmanager
def product_inside(limit: int) -> Iterator[None]:
    """Let kernels compute the products of layers of up to `limit` units."""
    usual, kernels.PRODUCT_INSIDE = kernels.PRODUCT_INSIDE, limit
    try:
        yield
    finally:
        kernels.PRODUCT_INSIDE = usual


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    kernels.ENABLED = False
    try:
        yield
    finally:
        kernels.ENABLED = True


class Step:
    """Call it for one training step of a language model; returns the loss, unsynchronized."""

    def __init__(self, model: RNNModel, words: int) -> None:
        self.model, self.optimizer = model, SGD(model.parameters(), LR)
        self.hidden, self.chunk, self.text = model.init_hidden(B), 0, text(words)

    def __call__(self) -> Any:
        data, target = chunk(self.text, self.chunk)
        self.chunk += 1
        loss, _, self.hidden = train_step(
            self.model, self.optimizer, data, target, self.hidden, CLIP
        )
        return loss.data


def training_step(units: int, words: int) -> tuple[RNNModel, Step]:
    """A model on the current backend, and its training step."""
    random.manual_seed(1)
    model = RNNModel("LSTM", words, units, units, LAYERS, DROPOUT)
    return model, Step(model, words)


def text(words: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, words, (8 * T + 1, B))


def chunk(ids: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    start = number % 8 * T
    return ids[start : start + T], ids[start + 1 : start + T + 1].reshape(-1)


# -------------------------------------------------------------------- whole steps


class Clock:
    """Events and synchronization, of CuPy or PyTorch."""

    def __init__(self, module: Any) -> None:
        if hasattr(module, "ElementwiseKernel"):
            self.event, self.elapsed = module.cuda.Event, module.cuda.get_elapsed_time
            self.wait = module.cuda.Device().synchronize
        else:
            self.event = lambda: module.cuda.Event(enable_timing=True)
            self.elapsed = lambda start, end: start.elapsed_time(end)
            self.wait = module.cuda.synchronize

    def measure(self, step: Callable[[], Any], quick: bool) -> dict[str, float]:
        """Milliseconds of a step: by events, by wall clock, and until the host has launched it."""
        for _ in range(2):  # kernels are compiled at their first call
            step()
        self.wait()
        once = _seconds(lambda: (step(), self.wait()))
        launched = []
        for _ in range(3 if quick else 9):
            launched.append(1000 * _seconds(step))
            self.wait()
        count = 2 if quick else int(min(200, max(5, 0.5 / once)))
        events, wall = [], []
        for _ in range(3):
            start, end = self.event(), self.event()
            began = time.perf_counter()
            start.record()
            for _ in range(count):
                step()
            end.record()
            self.wait()
            wall.append(1000 * (time.perf_counter() - began) / count)
            events.append(self.elapsed(start, end) / count)
        return {
            "events_ms": statistics.median(events),
            "wall_ms": statistics.median(wall),
            "host_ms": statistics.median(launched),
        }


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def steps(units: int, words: int, tf32: bool, quick: bool) -> Iterator[Finding]:
    """The times of a training step with each kind of kernel, without them, and PyTorch's."""
    os.environ["CUPY_TF32"] = str(int(tf32))  # CuPy reads it at its first product
    mg.use("cupy")
    clock = Clock(current_module())
    _, step = training_step(units, words)
    for name, settings in {
        "products apart": product_inside(0),
        "products inside": product_inside(9**9),
        "without our kernels": without_kernels(),
    }.items():
        if name == "products inside" and (units > 650 or tf32):
            continue  # too slow to be of use, or the same products as without TF32
        with settings:
            yield _finding(name, clock.measure(step, quick))
    step.optimizer.zero_grad()
    del step
    current_module().get_default_memory_pool().free_all_blocks()
    yield pytorch(units, words, tf32, quick)


def _finding(name: str, times: dict[str, float]) -> Finding:
    line = "{:20} {events_ms:8.3f} ms by events, {wall_ms:8.3f} by wall clock, host {host_ms:.3f}"
    return line.format(name, **times), {name: times}


def pytorch(units: int, words: int, tf32: bool, quick: bool) -> Finding:
    """PyTorch's training step of the same model, whose LSTM runs in cuDNN."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return "PyTorch is not installed", {}
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU", {}
    import torch_model

    assert selftest.same_precision(torch) is tf32
    torch.manual_seed(1)
    model = torch_model.RNNModel("LSTM", words, units, units, LAYERS, DROPOUT).to("cuda")
    hidden, ids, number = model.init_hidden(B), text(words), 0

    def step() -> None:
        nonlocal hidden, number
        data, target = (torch.from_numpy(a).to("cuda") for a in chunk(ids, number))
        number += 1
        _, hidden = torch_model.train_step(model, LR, data, target, hidden, CLIP)

    return _finding("PyTorch", Clock(torch).measure(step, quick))


# -------------------------------------------------------------------- single calls


def host_costs(quick: bool) -> Iterator[Finding]:
    """Microseconds that one call takes the host, without waiting for the GPU."""
    mg.use("cupy")
    xp, repeats = current_module(), 20 if quick else 500
    H = 200
    one = {shape: xp.ones(shape, dtype=np.float32) for shape in ((T, B, H), (H, 4 * H), (B, H))}
    states, weights, state = one.values()
    product = xp.empty((B, 4 * H), np.float32)
    gates, bias = xp.ones((T * B, 4 * H), dtype=np.float32), xp.ones(4 * H, dtype=np.float32)
    h, c = (xp.ones((T + 1, B, H), dtype=np.float32) for _ in range(2))
    run = kernels.kernel(xp, "lstm_step")
    calls: dict[str, Callable[[], Any]] = {
        "a slice": lambda: states[3],
        "a product": lambda: xp.matmul(state, weights, out=product),
        "a ufunc": lambda: xp.add(state, state, out=state),
        "a kernel": lambda: run(product, bias, bias, H, 3, gates, h, c, states, size=B * H),
    }
    wait = xp.cuda.Device().synchronize
    for name, call in calls.items():
        call()
        wait()
        times = []
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(repeats):
                call()
            times.append(1e6 * (time.perf_counter() - started) / repeats)
            wait()
        cost = statistics.median(times)
        yield f"{name:10} {cost:6.1f} µs", {f"{name}, us": cost}
