"""Several ranks that map one file of ids."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lm.idfile import IDS_FILE

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "train_ptb.py"
SMALL = ("--emsize=8", "--nhid=8", "--batch-size=20", "--bptt=5", "--lr=1", "--epochs=2")
MPIEXEC = Path(sys.executable).with_name("mpiexec")
LIMIT = 150.0  # seconds for a whole run on a machine that is busy

Train = Callable[..., "subprocess.CompletedProcess[str]"]


def write_text(folder: Path, seed: int) -> Path:
    folder.mkdir()
    for split, sentences in (("train", 501), ("valid", 40), ("test", 40)):
        draw = random.Random(f"{split}{seed}")
        lines = (f"the {draw.choice('abcd')} {draw.choice('klm')} it\n" for _ in range(sentences))
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def train(mpi: None, tmp_path: Path) -> Train:
    """Runs train_ptb.py, or faulty.py, on a small text."""
    text = write_text(tmp_path / "text", 1)

    def train(*options: str, **env: str) -> subprocess.CompletedProcess[str]:
        program = HERE / "faulty.py" if env else EXAMPLE
        quiet = {"OMP_NUM_THREADS": "1", "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1"}
        return subprocess.run(
            [sys.executable, program, "--data", text, *SMALL, *options],
            cwd=tmp_path, env={**os.environ, **quiet, **env}, capture_output=True, text=True,
            timeout=LIMIT,
        )  # fmt: skip

    return train


def test_two_ranks_do_what_one_process_does_in_memory(train: Train, tmp_path: Path) -> None:
    both = train("--ranks=2", "--memory-map", "--save=both.safetensors")
    assert (tmp_path / "text" / IDS_FILE).exists()
    alone = train("--save=alone.safetensors")
    assert (both.returncode, both.stderr) == (alone.returncode, alone.stderr) == (0, "")

    def lines(output: str) -> list[str]:
        return re.sub(r"(ms/batch|time:) +[\d.]+s?", r"\1", output).splitlines()

    assert lines(both.stdout) == lines(alone.stdout)
    assert not list((tmp_path / "text").glob("*.tmp"))
    more = train("--ranks=3", "--memory-map", "--resume=both.latest.safetensors", "--epochs=3")
    assert (more.returncode, more.stderr) == (0, "")
    assert "| end of epoch   3 " in more.stdout


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
    print(resident() - before)
"""


def test_memory_is_flat_on_a_rank(mpi: None, tmp_path: Path) -> None:
    """MPICH keeps a note of each time that pages are given back."""
    text = write_text(tmp_path / "text", 1)
    done = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-c", EPOCHS, text],
        capture_output=True, text=True, check=True, timeout=LIMIT,
    )  # fmt: skip
    kilobytes = [int(line) for line in done.stdout.split()]
    assert len(kilobytes) == 2
    assert max(kilobytes) < 1000  # with a note of 150 bytes for each slice: 10,000


def test_another_text_on_one_rank_is_refused(train: Train, tmp_path: Path) -> None:
    other = write_text(tmp_path / "other", 2)
    done = train("--ranks=2", "--memory-map", FAULT="text:1:0", OTHER_TEXT=str(other))
    assert done.returncode == 2
    assert "error: the texts differ between the ranks: rank 1 has " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_file_that_cannot_be_written_is_one_line(train: Train, tmp_path: Path) -> None:
    (tmp_path / "text" / IDS_FILE).write_text("notes")
    done = train("--ranks=2", "--memory-map")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
    assert "corpus.ids is not a file of word ids" in done.stderr
    assert not list(tmp_path.glob("*.safetensors"))
