"""Ranks that each train on a GPU of their own: gradients go from GPU to GPU, over NCCL.

MPI starts the ranks and carries what is on the host: decisions, losses, checkpoints. It never gets
an array of a GPU. (The design is that of ChainerMN's communicator pure_nccl.)
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import warnings
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import minigrad as mg
from minigrad.backend import Array, array_module, current_module

from ..console import UserError
from .metrics import versions
from .mpi import Together


class OnGPUs(Together):
    """One of several ranks, on a GPU that it selects here for its process, as the backend CuPy.

    Raises UserError if there is no such GPU for each rank of a machine, or no NCCL.
    """

    def __init__(self, comm: Any, timeout: float) -> None:
        super().__init__(comm, timeout)
        machine = comm.Split_type(self.mpi.COMM_TYPE_SHARED)  # the ranks that share its memory
        self.each(lambda: _use_gpu(machine.rank))
        xp = current_module()
        gpus = machine.allgather(xp.cuda.Device().pci_bus_id)
        self.each(lambda: _must_differ(gpus))
        nccl = self.each(_load_nccl)
        found = {**versions(xp), "nccl": nccl.get_version()}
        self.must_be_equal("the versions", lambda: found)
        self._types = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}
        self._sum = nccl.NCCL_SUM
        meeting = self.first(nccl.get_unique_id)
        try:
            self._nccl = nccl.NcclCommunicator(self.size, meeting, self.rank)
        except RuntimeError as error:
            raise UserError(
                f"NCCL can't connect the GPUs ({error}); with NCCL_DEBUG=INFO in the environment "
                "it says why"
            ) from error
        atexit.register(self._nccl.destroy)  # while CUDA is still there

    def _totals(self, arrays: list[Array]) -> list[Array]:
        """The sum of each array over all ranks, as a part of one array."""
        xp = array_module(arrays[0])
        flat = xp.concatenate([a.ravel() for a in arrays])
        self._nccl.allReduce(
            flat.data.ptr, flat.data.ptr, flat.size, self._types[flat.dtype.name], self._sum,
            xp.cuda.get_current_stream().ptr,
        )  # fmt: skip
        *ends, _ = accumulate(a.size for a in arrays)
        return [part.reshape(a.shape) for a, part in zip(arrays, xp.split(flat, ends), strict=True)]

    def copy_first(self, arrays: Iterable[Array]) -> None:
        for a in arrays:
            stream = array_module(a).cuda.get_current_stream().ptr
            self._nccl.bcast(a.data.ptr, a.size, self._types[a.dtype.name], 0, stream)


def _use_gpu(number: int) -> None:
    """Select CuPy, and for this process the GPU `number`, or the only one that it can see."""
    # First the GPU: otherwise each rank would also take some memory of the first one.
    with contextlib.suppress(ImportError, RuntimeError):  # `use` says what is missing
        cuda = importlib.import_module("cupy").cuda
        cuda.Device(number % cuda.runtime.getDeviceCount()).use()
    try:
        mg.use("cupy")
    except mg.BackendError as error:
        raise UserError(str(error)) from error


def _must_differ(gpus: list[str]) -> None:
    if len(set(gpus)) < len(gpus):
        raise UserError(
            f"each rank needs a GPU of its own, but {len(gpus)} ranks of this machine share "
            f"{len(set(gpus))}"
        )


def _load_nccl() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's has many lines
        nccl = importlib.import_module("cupy.cuda.nccl")
    if not nccl.available:
        raise UserError(
            "--ranks on GPUs needs NCCL: pip install nvidia-nccl-cu12 (CUDA 12) or "
            "nvidia-nccl-cu13 (CUDA 13)"
        )
    return nccl
