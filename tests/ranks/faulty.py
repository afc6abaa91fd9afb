"""train_ptb.py with something that goes wrong on one rank, as the environment variable FAULT says.

    FAULT=kill:1:20 python tests/ranks/faulty.py --ranks 2 ...

is killed on rank 1 after batch 20 of epoch 2, or of the one that a fourth field names.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

from lm.console import run_command

RANK = int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "-1")))


def fail(kind: str) -> None:
    """In the middle of training, on one rank."""
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "memory":
        raise MemoryError("Unable to allocate 8.00 EiB")
    if kind == "bug":
        raise RuntimeError("a bug")
    if kind == "exit":
        sys.exit(3)
    if kind == "sleep":  # what can only be ended by force
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        Path("asleep").touch()
        while True:
            signal.pause()


def prepare(kind: str, batch: int, epoch: int) -> None:
    """Let this rank fail; versions, texts and settings differ from the start."""
    import lm.run.saving
    import lm.run.start
    import lm.run.trainer

    if kind == "version":
        lm.run.start.versions = lambda: {"minigrad": "0.0.0"}
    elif kind == "text":
        folder = os.environ["OTHER_TEXT"]
        right = lm.run.start.load_corpus
        lm.run.start.load_corpus = lambda data, *more: right(folder, *more)
    elif kind == "settings":
        sys.argv.append("--seed=7")
    elif kind == "disk":

        def replace_file(path: Any, contents: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        import lm.checkpoint

        lm.checkpoint.replace_file = replace_file
    else:
        step = lm.run.trainer.Trainer._step

        def faulty(trainer: Any) -> int:
            words = step(trainer)
            position = trainer.state.position
            if (position.batch, position.epoch) == (batch, epoch):
                fail(kind)
            return words

        lm.run.trainer.Trainer._step = faulty  # type: ignore[method-assign]


if __name__ == "__main__":
    kind, rank, batch, epoch = [*os.environ["FAULT"].split(":"), "2"][:4]
    Path(f"pid-{RANK}").write_text(str(os.getpid()))
    if int(rank) == RANK:
        prepare(kind, int(batch), int(epoch))
    run_command("train")
