"""Training frees each chunk's graph at once, by reference counting alone."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from lm.model import RNN_TYPES, RNNModel
from lm.training import train_step
from minigrad.optim import SGD

STEPS = 2000

PROGRAM = f"""if True:
    import gc, os
    import numpy as np
    import minigrad as mg
    from lm.batches import get_batch
    from lm.model import RNNModel
    from lm.training import train_step
    from minigrad.optim import SGD

    def resident():  # bytes
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    gc.disable()
    mg.manual_seed(0)
    model = RNNModel("LSTM", 50, 8, 8, 2, dropout=0.2)
    optimizer = SGD(model.parameters(), 1.0)
    source = np.random.default_rng(0).integers(0, 50, (6 * 100 + 1, 8))
    hidden = model.init_hidden(8)
    for step in range({STEPS}):
        data, target = get_batch(source, 6 * (step % 100), 6)
        loss, norm, hidden = train_step(model, optimizer, data, target, hidden, 0.25)
        if step + 1 in ({STEPS // 2}, {STEPS}):
            print(len(gc.get_objects()), resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_is_flat_over_2000_steps_without_the_garbage_collector() -> None:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    half, end = (map(int, line.split()) for line in output.splitlines())
    objects_at_half, bytes_at_half = half
    objects_at_end, bytes_at_end = end
    # One graph kept would be some 100 objects and 50,000 bytes, and 1,000 times that here.
    assert objects_at_end - objects_at_half < 20
    assert bytes_at_end - bytes_at_half < 1_000_000


@pytest.mark.parametrize("bptt", ["manual", "autograd"])
@pytest.mark.parametrize("rnn_type", RNN_TYPES)
def test_a_step_leaves_nothing_to_the_garbage_collector(rnn_type: str, bptt: str) -> None:
    mg.manual_seed(0)
    model = RNNModel(rnn_type, 20, 6, 6, 2, dropout=0.2, bptt=bptt)
    optimizer = SGD(model.parameters(), 1.0)
    words = np.random.default_rng(0).integers(0, 20, (6, 3))
    hidden = model.init_hidden(3)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            _, _, hidden = train_step(
                model, optimizer, words[:-1], words[1:].reshape(-1), hidden, 0.25
            )
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_graph_dies_with_its_last_reference() -> None:
    mg.manual_seed(0)
    model = RNNModel("LSTM", 20, 6, 6, 2)
    words = np.random.default_rng(0).integers(0, 20, (6, 3))
    embedded = []
    model.encoder.forward, forward = (
        lambda ids: embedded.append(weakref.ref((x := forward(ids)).data)) or x,
        model.encoder.forward,
    )
    gc.disable()
    try:
        loss, hidden = model.loss(words[:-1], words[1:].reshape(-1), model.init_hidden(3))
        assert embedded[0]() is not None  # backward needs it
        del loss, hidden  # never differentiated
        assert embedded[0]() is None
    finally:
        gc.enable()
