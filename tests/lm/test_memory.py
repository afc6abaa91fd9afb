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
from lm.model import RNNModel
from lm.steps import train_step
from minigrad.cells import CELLS
from minigrad.optim import SGD

STEPS = 2000


def printed_by(program: str, *arguments: str) -> list[str]:
    """The lines that a program prints, alone in a process, with one thread."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


PROGRAM = f"""if True:
    import gc, os
    import numpy as np
    import minigrad as mg
    from lm.batches import get_batch
    from lm.model import RNNModel
    from lm.steps import train_step
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
    half, end = (map(int, line.split()) for line in printed_by(PROGRAM))
    objects_at_half, bytes_at_half = half
    objects_at_end, bytes_at_end = end
    # One graph kept would be some 100 objects and 50,000 bytes, and 1,000 times that here.
    assert objects_at_end - objects_at_half < 20
    assert bytes_at_end - bytes_at_half < 1_000_000


LONG_RUN = """if True:
    import os, sys
    from pathlib import Path
    import minigrad as mg
    from lm.corpus import Corpus
    from lm.run.metrics import MetricsFile
    from lm.run.observer import Observer
    from lm.arguments import Every
    from lm.settings import Settings, build_model
    from lm.run.trainer import Trainer

    steps, folder = int(sys.argv[1]), Path(sys.argv[2])

    class Memory(Observer):
        done = 0

        def batch(self, *_):
            self.done += 1
            if self.done % (steps // 10) == 0:
                with open("/proc/self/statm") as file:
                    print(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"), flush=True)

    mg.manual_seed(0)
    settings = Settings(emsize=2, nhid=2, nlayers=1, batch_size=1, bptt=1, epochs=2, lr=0.1)
    corpus = Corpus.from_text("a b c d\\n" * (steps // 10), "a b\\n" * 10, "a b\\n" * 10)
    model = build_model(settings, len(corpus.dictionary))
    every = Every(batches=steps // 40)
    trainer = Trainer(model, corpus, settings, folder / "model", save_every=every)
    trainer.observers += [Memory(), MetricsFile(folder / "metrics.jsonl")]
    trainer.fit()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("steps", [2000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_memory_is_flat_over_a_whole_run(tmp_path: Path, steps: int) -> None:
    """With reports, checkpoints, metrics, validation, and the garbage collector as it is."""
    resident = [int(line) for line in printed_by(LONG_RUN, str(steps), str(tmp_path))]
    print(f"{steps} steps; resident megabytes:", [round(n / 1e6, 1) for n in resident])
    assert len(resident) >= 9
    # Both in the second epoch, when all has happened once. A graph kept at each step would be
    # some 10,000 bytes, a number kept 32.
    assert resident[-1] - resident[5] < 2_000_000


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("bptt", ["manual", "autograd"])
@pytest.mark.parametrize("rnn_type", CELLS)
def test_a_step_leaves_nothing_to_the_garbage_collector(rnn_type: str, bptt: str) -> None:
    gc.collect()
    gc.freeze()  # what earlier tests have left, and what may end meanwhile, is not counted
    mg.manual_seed(0)
    model = RNNModel(rnn_type, 20, 6, 6, 2, dropout=0.2, bptt=bptt)
    optimizer = SGD(model.parameters(), 1.0)
    words = np.random.default_rng(0).integers(0, 20, (6, 3))
    hidden = model.init_hidden(3)
    gc.disable()
    try:
        for _ in range(3):
            _, _, hidden = train_step(
                model, optimizer, words[:-1], words[1:].reshape(-1), hidden, 0.25
            )
        assert gc.collect() == 0
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.usefixtures("backend")
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
