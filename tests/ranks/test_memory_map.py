"""Several ranks that map one file of ids."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from started import LIMIT, MPIEXEC, PYTHON, Run, environment, write_text

from lm.idfile import IDS_FILE

Train = Callable[..., Run]


def test_two_ranks_do_what_one_process_does_in_memory(train: Train, tmp_path: Path) -> None:
    both = train("--ranks=2", "--memory-map", "--epochs=2", "--save=both.safetensors").wait()
    assert (tmp_path / "text" / IDS_FILE).exists()
    alone = train("--epochs=2", "--save=alone.safetensors").wait()
    assert (both.status, both.err) == (alone.status, alone.err) == (0, "")

    def lines(output: str) -> list[str]:
        return re.sub(r"(ms/batch|time:) +[\d.]+s?", r"\1", output).splitlines()

    assert lines(both.out) == lines(alone.out)
    assert not list((tmp_path / "text").glob("*.tmp"))
    more = train("--ranks=3", "--memory-map", "--resume=both.latest.safetensors", "--epochs=3")
    more.wait()
    assert (more.status, more.err) == (0, "")
    assert "| end of epoch   3 " in more.out


EPOCHS = """if True:
    import sys
    from mpi4py import MPI
    from lm.batches import columns, count_batches, get_batch
    from lm.idfile import MappedCorpus

    def resident():  # kilobytes
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    source = columns("train", MappedCorpus(sys.argv[1]).train, 20)[:, MPI.COMM_WORLD.rank * 10 :]
    for epoch in range(301):
        if epoch == 1:
            before = resident()
        for batch in range(count_batches(source, 1)):
            data, target = get_batch(source, batch, 1)
            data.sum()
    # One process prints: the lines of two may be mixed.
    print(*MPI.COMM_WORLD.gather(resident() - before) or ())
"""


def test_memory_is_flat_on_a_rank(mpi: None, text: Path) -> None:
    """MPICH keeps a note of each time that pages are given back."""
    done = subprocess.run(
        [MPIEXEC, "-n", "2", PYTHON, "-c", EPOCHS, text],
        env=environment(), capture_output=True, text=True, check=True, timeout=LIMIT,
    )  # fmt: skip
    kilobytes = [int(line) for line in done.stdout.split()]
    assert len(kilobytes) == 2
    assert max(kilobytes) < 1000  # with a note of 150 bytes for each slice: 10,000


def test_another_text_on_one_rank_is_refused(train: Train, tmp_path: Path) -> None:
    other = write_text(tmp_path / "other", 2)
    run = train("--ranks=2", "--memory-map", fault="text:1:0", OTHER_TEXT=str(other)).wait()
    assert run.status == 2
    assert "error: the texts differ between the ranks: rank 1 has " in run.err
    assert run.err.count("\n") == 1
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_file_that_cannot_be_written_is_one_line(train: Train, tmp_path: Path) -> None:
    (tmp_path / "text" / IDS_FILE).write_text("notes")
    run = train("--ranks=2", "--memory-map").wait()
    assert (run.status, run.err.count("\n")) == (2, 1), run.err
    assert "corpus.ids is not a file of word ids" in run.err
    assert not list(tmp_path.glob("*.safetensors"))
