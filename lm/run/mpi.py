"""Several processes that train one model, over MPI. A single process never imports mpi4py.

`Together` implements what `lm.run.ranks` describes. Arrays go through MPI as buffers; only small
values, and a checkpoint at the start, are pickled.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeVar

import numpy as np

from minigrad import Tensor
from minigrad.backend import Array, array_module
from minigrad.optim import clip_grads_with_norm_, get_total_norm

from ..console import UserError, complain, one_line_errors
from .launch import LAUNCHED
from .ranks import STARTED_AS, Alone, share
from .stopping import StopRequest

T = TypeVar("T")

LARGE = 1 << 15  # elements from which on an array is summed in place, without copying it


@contextlib.contextmanager
def joined(wanted: int, timeout: float) -> Iterator[Together]:
    """This process as one of the ranks that mpiexec has started, until the end of `with`.

    If they are not as many as wanted, they end. Inside, an error that all ranks raise is reported
    once; any other, on whatever rank, ends all of them. Raises UserError without MPI.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--ranks needs mpi4py and MPI ({reason}): pip install mpi4py mpich"
        ) from None
    if MPI.COMM_WORLD.size != wanted:
        _refuse(wanted)
    ranks = Together(MPI.COMM_WORLD, timeout)
    try:
        yield ranks
    except SharedError as error:
        if ranks.rank == 0:
            complain(f"error: {error}")
        _end(2)
    except BaseException as error:
        _abort(ranks, error)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _refuse(wanted: int) -> NoReturn:
    """End this rank, since there are not as many as wanted; the first one says so.

    Under the mpiexec of another MPI, each process is the only rank of a job of its own. Only
    that launcher's variables tell which of them is the first.
    """
    from mpi4py import MPI

    comm, hint = MPI.COMM_WORLD, ""
    started_as = next((int(os.environ[name]) for name in STARTED_AS if name in os.environ), 0)
    if comm.size == 1:
        library = MPI.Get_library_version().split("\n")[0].split(",")[0].strip(" \0")
        hint = f"; mpi4py uses {library}: start it with the mpiexec of that"
    if comm.rank == 0 and started_as == 0:
        complain(f"error: --ranks {wanted} does not fit: MPI has a job of {comm.size}{hint}")
    _end(2)


def _end(status: int) -> NoReturn:
    """End this rank, where all the others end too."""
    from mpi4py import MPI

    MPI.COMM_WORLD.Barrier()  # the first to leave may end the others before they report
    MPI.Finalize()  # else `python -m mpi4py` would take the status for a failure, and say so
    sys.exit(status)  # not os._exit: MPICH tells mpiexec at exit, which would kill the others


def _abort(ranks: Together, error: BaseException) -> None:
    """Report an error of this rank alone in one line, and end all ranks."""
    status: Any = 1
    try:
        with one_line_errors():
            raise _placed(error, ranks.rank)
        status = 0  # a closed pipe
    except SystemExit as exit_:
        status = exit_.code
    except BaseException:
        traceback.print_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        complain(f"error: on rank {ranks.rank}: {reason}")
    _flush()
    ranks.comm.Abort(status)


def _placed(error: BaseException, rank: int) -> BaseException:
    """The error, naming its rank if the user needs to know it."""
    if rank > 0 and isinstance(error, UserError | MemoryError):
        kind = MemoryError if isinstance(error, MemoryError) else UserError
        return kind(f"on rank {rank}: {error}")
    return error


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()


class SharedError(UserError):
    """An error that all ranks raise, so that one of them can report it for all."""


class Together(Alone):
    """One of several ranks. `timeout` is the longest time in seconds that a step may take.

    All ranks must make the same calls in the same order.
    """

    def __init__(self, comm: Any, timeout: float = 600.0) -> None:
        from mpi4py import MPI

        self.mpi, self.comm, self.timeout = MPI, comm, timeout
        self.rank, self.size = comm.rank, comm.size
        self._armed = -np.inf

    def on(self, backend: str) -> Alone:
        if backend == "cupy":
            from .nccl import OnGPUs

            return OnGPUs(self.comm, self.timeout)
        return super().on(backend)

    def clip_grad_norm_(self, params: Iterable[Tensor], max_norm: float) -> Array:
        params, grads = list(params), []
        xp = array_module(params[0].data)
        for p in params:
            missing = p.grad is None  # on this rank it did not count, on others it may
            grads.append(xp.zeros_like(p.data) if missing else xp.ascontiguousarray(p.grad))
        grads = self._totals(grads)
        for p, total in zip(params, grads, strict=True):
            p.grad = total
        # BLAS adds in another order on another processor: with norms of their own, the ranks'
        # weights would drift apart.
        norm = xp.asarray(get_total_norm(grads))
        self.copy_first([norm])
        clip_grads_with_norm_(params, max_norm, norm[()])
        return norm[()]

    def _totals(self, arrays: list[Array]) -> list[Array]:
        """The sum of each array over all ranks, in place: the small ones as one message."""
        small = [a for a in arrays if a.size < LARGE]
        if small:
            whole = np.concatenate([a.reshape(-1) for a in small])
            self.comm.Allreduce(self.mpi.IN_PLACE, whole)
            ends = np.cumsum([a.size for a in small])
            for a, total in zip(small, np.split(whole, ends[:-1]), strict=True):
                a[...] = total.reshape(a.shape)
        for a in arrays:
            if a.size >= LARGE:
                self.comm.Allreduce(self.mpi.IN_PLACE, a)
        return arrays

    def sum(self, values: list[float]) -> list[float]:
        total = np.array(values, np.float64)
        self.comm.Allreduce(self.mpi.IN_PLACE, total)
        found: list[float] = total.tolist()
        return found

    def any(self, *flags: bool) -> tuple[bool, ...]:
        highest = np.array(flags, np.uint8)
        self.comm.Allreduce(self.mpi.IN_PLACE, highest, self.mpi.MAX)
        return tuple(highest.astype(bool).tolist())

    def gather(self, columns: np.ndarray, total: int) -> np.ndarray:
        layers, _, H = columns.shape
        by_column = np.empty((total, layers, H), columns.dtype)
        mine = np.ascontiguousarray(columns.swapaxes(0, 1))
        shares = (share(rank, self.size, total) for rank in range(self.size))
        counts = [(s.stop - s.start) * layers * H for s in shares]
        self.comm.Allgatherv(mine, (by_column, counts))
        return by_column.swapaxes(0, 1)

    def first(self, function: Callable[[], T]) -> T:
        result, error = self.comm.bcast(_attempt(function) if self.rank == 0 else None)
        if error is not None:
            raise SharedError(error)
        return result

    def each(self, function: Callable[[], T]) -> T:
        if self.rank > 0:
            self.comm.Barrier()
        result, error = _attempt(function)
        if self.rank == 0:
            self.comm.Barrier()
        errors = self.comm.allgather(error)
        for rank, error in enumerate(errors):
            if error is not None:
                raise SharedError(error if rank == 0 else f"on rank {rank}: {error}")
        return result

    def must_be_equal(self, what: str, value: Callable[[], Any]) -> None:
        values = self.comm.allgather(value())
        for rank, other in enumerate(values):
            if other != values[0]:
                theirs, ours = _differences(other, values[0])
                raise SharedError(
                    f"{what} differ between the ranks: rank {rank} has {theirs}, rank 0 {ours}"
                )

    def copy_first(self, arrays: Iterable[Array]) -> None:
        for array in arrays:
            self.comm.Bcast(array)

    def listen(self, stop: StopRequest) -> None:
        """On rank 0, let the program that has started mpiexec ask for a stop, through the input.

        Its first byte, or its end if the program is gone, requests a stop; a second one ends all
        ranks at once. Signals would not do, since not every mpiexec passes them on.
        """

        def read() -> None:
            first = os.read(0, 1)
            stop.requested = True
            if first and os.read(0, 1):
                self.comm.Abort(2)

        if self.rank == 0 and LAUNCHED in os.environ:
            threading.Thread(target=read, daemon=True).start()

    def alive(self) -> None:
        # Each call starts a thread, which costs as much as a small step: once a second is enough.
        now = time.monotonic()
        if now - self._armed >= min(1.0, self.timeout / 10):
            self._armed = now
            faulthandler.dump_traceback_later(self.timeout, exit=True)


def _attempt(function: Callable[[], T]) -> tuple[Any, str | None]:
    """What the function returns, and the message of its UserError."""
    try:
        return function(), None
    except UserError as error:
        return None, str(error)


def _differences(a: Any, b: Any) -> tuple[Any, Any]:
    """Two values that differ; of dicts, only what differs."""
    if not isinstance(a, dict):
        return a, b
    names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    first, second = (", ".join(f"{n} {d.get(n)}" for n in names) for d in (a, b))
    return first, second
