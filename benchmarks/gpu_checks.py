"""The stages of gpu.py that check results: each yields lines with their numbers."""

from __future__ import annotations

import contextlib
import importlib
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gpu_times import product_inside, training_step

import minigrad as mg
from minigrad import cells, random, selftest
from minigrad import functional as F
from minigrad.backend import current_module, to_host
from minigrad.gpu import functional as on_gpu
from minigrad.gpu import kernels, masks

Finding = tuple[str, dict[str, Any]]
TOLERANCE = 1e-3  # as in the self-test
WAYS = {"products apart": 0, "products inside": 9**9}  # the limit for products inside kernels


def available() -> Iterator[Finding]:
    """A line only if CuPy can't be used."""
    try:
        mg.use("cupy")
    except mg.BackendError as error:
        yield f"error: {error}", {"failed": str(error)}


def versions() -> Iterator[Finding]:
    mg.use("cupy")
    for number, line in enumerate(selftest.machine("cupy")):
        yield line, {f"machine {number}": line}
    with contextlib.suppress(ImportError):
        torch = importlib.import_module("torch")
        line = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
        yield line, {"torch": line}
    fields = "name,memory.total,clocks.max.sm,power.limit"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        yield done.stdout.strip(), {"nvidia-smi": done.stdout.strip()}


def self_test(quick: bool) -> Iterator[Finding]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = selftest.main(["--backend", "cupy", *["--quick"] * quick])
    lines = [line for line in said.getvalue().splitlines() if "`" not in line]
    for line in lines:
        yield line, {"result": line}  # the last line remains
    if status:
        raise AssertionError(lines[-1])


# -------------------------------------------------------------------- agreement with NumPy


@contextlib.contextmanager
def masks_of_the_gpu() -> Iterator[None]:
    """Let NumPy draw the dropout masks that the GPU draws."""
    usual = random.keep_mask
    random.keep_mask = lambda shape, p: masks.keep_bits(shape, *masks.count_mask(p))
    try:
        yield
    finally:
        random.keep_mask = usual


def agreement(steps: int) -> Iterator[Finding]:
    """Training runs with dropout, of each cell and with each kind of kernel."""
    for cell in kernels.CELLS:
        kind = next(kind for kind, known in cells.CELLS.items() if known is cell)
        with mg.use("numpy"), masks_of_the_gpu():
            expected = selftest.losses(kind, steps, dropout=0.2)
        for way, limit in WAYS.items():
            with mg.use("cupy"), product_inside(limit):
                found = selftest.losses(kind, steps, dropout=0.2)
            apart = float(np.max(np.abs(np.subtract(found, expected))))
            if not apart <= TOLERANCE:  # also for NaN
                raise AssertionError(f"{kind}, {way}: losses differ by up to {apart:.2g}")
            line = f"{kind}, {way}: losses of {steps} steps within {apart:.1e}"
            yield line, {f"{kind}, {way}": apart}


def large_step(quick: bool) -> Iterator[Finding]:
    """The gradients of one step at the size of a language model, compared with NumPy's."""
    units, words = (8, 50) if quick else (200, 10_000)
    with mg.use("numpy"), masks_of_the_gpu():
        expected = _gradients(units, words)
    for way, limit in WAYS.items():
        with mg.use("cupy"), product_inside(limit):
            found = _gradients(units, words)
        apart = max(
            float(np.abs(found[name] - g).max() / np.abs(g).max()) for name, g in expected.items()
        )
        if not apart <= TOLERANCE:
            raise AssertionError(f"{way}: gradients differ by up to {apart:.2g} of the largest")
        yield f"{way}: within {apart:.1e} of the largest element of each", {way: apart}


def _gradients(units: int, words: int) -> dict[str, np.ndarray]:
    model, step = training_step(units, words)
    step()
    return {name: to_host(p.grad) for name, p in model.named_parameters()}


def resume_and_masks(quick: bool) -> Iterator[Finding]:
    mg.use("cupy")
    model, step = training_step(8, 50)
    for _ in range(5):
        step()
    weights, state = {k: w.copy() for k, w in model.state_dict().items()}, random.get_state()
    hidden = step.hidden
    runs = []
    for _ in range(2):
        model.load_state_dict(weights)
        random.set_state(state)
        step.hidden, step.chunk = hidden, 5
        runs.append([float(step()) for _ in range(10)])
    apart = float(np.max(np.abs(np.subtract(*runs))))
    if not apart <= 1e-4:  # atomic additions change the last bits
        raise AssertionError(f"losses after a resume differ by up to {apart:.2g}")
    yield f"losses after a resume within {apart:.1e}", {"resume": apart}

    shape = (3, 5, 7) if quick else (35, 20, 1500)
    drawn = masks.count_mask(0.3)
    device = to_host(on_gpu.keep_mask(current_module(), shape, *drawn))
    wrong = int((device != masks.keep_bits(shape, *drawn)).sum())
    if wrong:
        raise AssertionError(f"{wrong} of {device.size} bits of a mask differ from NumPy's")
    yield f"all {device.size:,} bits of a mask as in NumPy", {"mask_bits": device.size}


# -------------------------------------------------------------------- compute-sanitizer


def small_steps() -> None:
    """A training step of every cell, kind of kernel and odd shape, for compute-sanitizer."""
    mg.use("cupy")
    xp = current_module()
    # Without CuPy's memory pool: every array then is an allocation of its own, with known bounds.
    with contextlib.suppress(AttributeError):
        xp.cuda.set_allocator(None)
    for cell in kernels.CELLS:
        kind = next(kind for kind, known in cells.CELLS.items() if known is cell)
        for limit in WAYS.values():
            for sizes in ((5, 3, 1, 1), (33, 7, 3, 4)):  # classes, units, columns, steps
                random.manual_seed(1)
                model = selftest.Model(kind, *sizes[:2], dropout=0.2)
                with product_inside(limit):
                    selftest.training_step(model, *sizes)()
    F.dropout(mg.tensor(np.ones((3, 5), np.float32)), 0.5, shared=(0,))


def sanitizer(tool: str) -> Iterator[Finding]:
    """Run `small_steps` under compute-sanitizer, which checks every access to memory."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        yield "compute-sanitizer is not installed", {}
        return
    command = [sys.executable, str(Path(__file__).with_name("gpu.py")), "--small-steps"]
    done = subprocess.run(
        [program, "--tool", tool, "--error-exitcode", "9", *command],
        capture_output=True,
        text=True,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    summary = next((line for line in said if "SUMMARY" in line), (said or ["no output"])[-1])
    summary = summary.strip("= ")
    yield summary, {"summary": summary}
    if done.returncode:
        first = next((line.strip("= ") for line in said if "Invalid" in line or "Race" in line), "")
        failure = f"exit status {done.returncode} {first}".strip()
        yield f"FAILED: {failure}", {"failed": failure}
