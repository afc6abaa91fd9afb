"""Whatever happens at whatever moment: all ranks end in time, and the last save is whole."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from started import STEP_TIMEOUT, Run, assert_nothing_left

from lm.checkpoint import load_checkpoint

BATCHES = 25  # of an epoch
SAVE_EVERY = 3
KINDS = ("kill", "freeze", "terminate", "Ctrl-C", "error")
MOMENTS = 40


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(MOMENTS))
def test_the_end_is_quick_and_nothing_is_lost_since_the_last_save(
    train: Callable[..., Run], tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    kind, rank, wait = KINDS[seed % len(KINDS)], draw.randrange(2), draw.uniform(0, 3)
    fault = "none:0:0"
    if kind == "error":
        what = draw.choice(["bug", "memory", "exit", "crash"])
        fault = f"{what}:{rank}:{draw.randint(1, BATCHES)}:{draw.randint(2, 40)}"
    options = ("--epochs=5000", f"--save-every={SAVE_EVERY}", "--log-interval=10")
    run = train("--ranks=2", *options, fault=fault)
    said = run.read_until("batches")
    if kind != "error":
        time.sleep(wait)
        number = {
            "kill": signal.SIGKILL, "freeze": signal.SIGSTOP,
            "terminate": signal.SIGTERM, "Ctrl-C": signal.SIGINT,
        }[kind]  # fmt: skip
        if kind == "Ctrl-C" or (kind == "terminate" and draw.random() < 0.5):
            run.process.send_signal(number)
        else:
            os.kill(int((tmp_path / f"pid-{rank}").read_text()), number)
    started = time.monotonic()
    run.wait()
    if kind != "error":  # which comes at its batch, not now
        assert time.monotonic() - started < 30 + STEP_TIMEOUT * (kind == "freeze")
    assert_nothing_left(tmp_path)
    if kind in ("terminate", "Ctrl-C"):
        assert (run.status, run.err) == (0, "")
    elif fault.startswith("bug"):
        assert run.status == 1
        assert run.err.endswith(f"error: on rank {rank}: RuntimeError: a bug\n")
    else:
        run.error()

    position = load_checkpoint(tmp_path / "model.latest.safetensors").run["position"]
    saved = (position["epoch"] - 1) * BATCHES + position["batch"]
    reports = re.findall(r"\| epoch +(\d+) \| +(\d+)/ +(\d+) batches", said + run.out)
    epoch, batch, batches = map(int, reports[-1])
    assert batches == BATCHES
    done = (epoch - 1) * BATCHES + batch
    assert saved >= done - SAVE_EVERY
    more = train(
        f"--ranks={draw.choice([1, 2])}",
        f"--epochs={position['epoch']}",
        "--resume=model.latest.safetensors",
    ).wait()
    assert more.status == 0, more.err
