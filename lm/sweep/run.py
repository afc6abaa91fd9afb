"""Run the trials of a sweep, each in a process of its own, started by threads here or by Dask."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures import ThreadPoolExecutor as Threads
from contextlib import contextmanager
from pathlib import Path

from ..console import UserError, need
from ..datasets import load_corpus
from ..results import cores
from ..run.stopping import StopRequest
from ..settings import Settings
from .progress import SweepProgress
from .table import gather
from .trial import STOP, Trial, result_of, settings_text, write_trial

ATTEMPTS = 3
PATIENCE = 10  # seconds to wait for a scheduler
LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def sweep(
    trials: Sequence[Trial],
    folder: Path,
    workers: int = 1,
    scheduler: str | None = None,
    progress: SweepProgress | None = None,
    threads: int | None = None,
) -> bool:
    """Run the trials that are not done, `workers` at a time; whether all are done now.

    Each has a folder of its name in `folder`. With `scheduler`, the address of a Dask scheduler,
    its workers run them; they must see `folder` under the same path. BLAS has so many `threads` in
    each trial, by default the cores divided by the workers, or what a Dask worker's environment
    says. At Ctrl-C the running trials save and stop, and False is returned. Raises UserError if a
    folder holds another trial, the cluster can't be reached, or the text is not available.
    """
    progress = progress or SweepProgress()
    folder = folder.resolve()
    named = {trial.name: trial for trial in trials}
    paths = {trial: folder / name for name, trial in named.items()}
    try:
        for path in paths.values():
            path.mkdir(parents=True, exist_ok=True)
        (folder / STOP).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"can't write to {folder}: {error.strerror}; name another") from None
    finished = {done.trial: done.numbers for done in gather(trials, folder)}
    todo = {trial: path for trial, path in paths.items() if trial not in finished}
    if not todo:
        return True
    _must_have_text(todo)
    if threads is None and scheduler is None:
        threads = max(1, cores() // workers)
    with StopRequest() as stop, executor(workers, scheduler) as pool, contextlib.ExitStack() as end:
        end.callback(progress.close)
        progress.start(todo, finished)
        futures = {
            pool.submit(
                launch, str(path), settings_text(trial.settings), threads, os.getcwd()
            ): trial
            for trial, path in todo.items()
        }
        end.callback(_stop_all, folder, futures)  # does nothing after a sweep without a fault
        pending, stopping = set(futures), False
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                trial = futures[future]
                _must_have_ended(future, trial, todo[trial], stopping, scheduler)
                if (numbers := result_of(todo[trial], trial.as_dict())) is not None:
                    progress.ended(trial, numbers)
            progress.look()
            if stop.requested and not stopping:
                stopping = True
                progress.note("stopping: the running trials save their state")
                _stop_all(folder, futures)
        complete = all(result_of(p, t.as_dict()) is not None for t, p in todo.items())
        if not complete:
            progress.note("stopped; the same command continues")
    return complete


def _must_have_text(trials: Iterable[Trial]) -> None:
    """Raise UserError if no trial has its text, which would be recorded as a failure of each."""
    for data in dict.fromkeys(trial.settings.data for trial in trials):
        try:
            load_corpus(data)
            return
        except UserError as error:
            reason = error
    raise reason


def _stop_all(folder: Path, futures: dict[Future[None], Trial]) -> None:
    if not all(future.done() for future in futures):
        (folder / STOP).touch()
        for future in futures:
            future.cancel()


def _must_have_ended(
    future: Future[None], trial: Trial, path: Path, stopping: bool, scheduler: str | None
) -> None:
    """Raise UserError for a fault of the sweep; one of the trial is written as its result."""
    try:
        future.result()
    except CancelledError:
        if not stopping:
            raise UserError(
                f"the scheduler {scheduler} gave up {trial.name}; the same command continues"
            ) from None
    except UserError:
        raise
    except Exception as error:
        if type(error).__name__ == "KilledWorker":
            reason = f"its worker was killed {ATTEMPTS} times"
            write_trial(path, trial, status="failed", reason=reason)
            return
        if stopping:
            return
        reason = " ".join(str(error).split())
        raise UserError(f"{trial.name} could not be run: {type(error).__name__} {reason}") from None


def launch(folder: str, settings: str, threads: int | None, cwd: str) -> None:
    """Run a trial in a new process and wait for it, with so many threads for BLAS (None: as here).

    A process that dies without a result is started again, `ATTEMPTS` times in all. A process for
    each trial makes its memory and CPU time its own.
    """
    path, trial = Path(folder), Trial(Settings(**json.loads(settings)))
    path.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **{name: str(threads) for name in LIBRARIES if threads}}
    reason = ""
    for _ in range(ATTEMPTS):
        if (path.parent / STOP).exists():
            return
        with tempfile.TemporaryFile() as errors:
            # The pipe to its standard input closes if this process dies, and the child then ends.
            # In a session of its own, Ctrl-C does not reach it: it stops when it is told to.
            with subprocess.Popen(
                [sys.executable, "-m", "lm.sweep.trial", folder, settings],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
                env=environment, cwd=cwd, start_new_session=True,
            ) as child:  # fmt: skip
                # `wait` and not `communicate`, which would close the pipe.
                status = child.wait()
            if status == 0:
                return
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        reason = f"its worker was killed {ATTEMPTS} times"
        if status > 0:
            reason = f"its process ended {ATTEMPTS} times: {said[-1] if said else status}"
    write_trial(path, trial, status="failed", reason=reason)


@contextmanager
def executor(workers: int, scheduler: str | None) -> Iterator[Executor]:
    """Threads that wait for processes here, or the workers of a Dask cluster."""
    if scheduler is None:
        with Threads(workers) as pool:
            yield pool
        return
    if not re.fullmatch(r"(\w+://)?\S+:\d+", scheduler):
        raise UserError(f"{scheduler} is no address of a scheduler; give one as tcp://host:8786")
    distributed = need("distributed", "'.[sweep]'")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are ours to report
    try:
        client = distributed.Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"can't reach the scheduler {scheduler}: {reason}") from None
    with client:
        yield client.get_executor(pure=False)
