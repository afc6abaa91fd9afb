"""What the processes of a run do together; a single process does the same alone.

A run may be shared by several processes, the ranks, each with some columns of every batch. The rest
of the program asks these questions: which columns are mine, what do the gradients of all ranks sum
to, what do all ranks decide. `Alone` answers them for a single process, where each is trivial, and
`lm.run.mpi.Together` for several. Two kinds of state are never mixed: weights, optimiser, random
state and position are equal on all ranks; the hidden state belongs to the columns of each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad.backend import Array
from minigrad.optim import clip_grad_norm_

from ..console import UserError
from .stopping import StopRequest

T = TypeVar("T")

# Set by the launchers of MPI.
STARTED_AS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")


def is_rank() -> bool:
    """Whether MPI has started this process, as one of several or with `python -m mpi4py`."""
    return "mpi4py" in sys.modules or any(name in os.environ for name in STARTED_AS)


def must_be_alone() -> None:
    """Raise UserError if mpiexec has started several processes that don't know of each other."""
    size = next((int(os.environ[name]) for name in SIZES if name in os.environ), 1)
    if size > 1:
        raise UserError(
            f"mpiexec has started {size} processes, which would each train alone and overwrite "
            f"each other's files; add --ranks {size}"
        )


def share(rank: int, size: int, columns: int) -> slice:
    """The columns of one rank: consecutive, all ranks together cover them, none twice."""
    return slice(rank * columns // size, (rank + 1) * columns // size)


class Alone:
    """A single process: all columns are its own, and it decides everything."""

    rank, size = 0, 1

    def columns(self, total: int) -> slice:
        """Those of this rank. UserError if there are fewer columns than ranks."""
        if self.size > total:
            raise UserError(
                f"--ranks {self.size} is more than the {total} columns of --batch-size; "
                "each rank needs one"
            )
        return share(self.rank, self.size, total)

    def on(self, backend: str) -> Alone:
        """These ranks on a backend, which it selects. UserError if there are too few GPUs."""
        mg.use(backend)
        return self

    def clip_grad_norm_(self, params: Iterable[Tensor], max_norm: float) -> Array:
        """Sum the gradients over all ranks and clip the sum; returns its norm before clipping."""
        return clip_grad_norm_(params, max_norm)

    def sum(self, values: list[float]) -> list[float]:
        """The sum over all ranks of each number, in float64."""
        return values

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set on any rank."""
        return flags

    def gather(self, columns: np.ndarray, total: int) -> np.ndarray:
        """(layers, columns of this rank, H) to (layers, total, H): the columns of all ranks."""
        return columns

    def first(self, function: Callable[[], T]) -> T:
        """What the function returns on rank 0, the only one to call it. Its UserError is raised on
        all ranks."""
        return function()

    def each(self, function: Callable[[], T]) -> T:
        """What the function returns on this rank; a UserError on one of them is raised on all.

        Rank 0 calls it before the others, who may need a file that it makes.
        """
        return function()

    def must_be_equal(self, what: str, value: Callable[[], Any]) -> None:
        """Raise UserError on all ranks if a value is not the same on all; `what` names it, in the
        plural."""

    def copy_first(self, arrays: Iterable[Array]) -> None:
        """Copy the contents of arrays from rank 0 to all others."""

    def listen(self, stop: StopRequest) -> None:
        """Let the program that has started the ranks request a stop."""

    def alive(self) -> None:
        """Tell the watch for frozen ranks that this one has not stopped; see `mpi.Together`."""


ALONE = Alone()
