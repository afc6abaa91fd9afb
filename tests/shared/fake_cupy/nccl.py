"""cupy.cuda.nccl for the fake device; MPI moves the numbers between the processes.

It raises `Undefined` where NCCL would use other memory, hang, or leave a result undefined: at a
pointer that is not the device's, a count or dtype that does not fit the array, a stream other than
the current one, and if the ranks do not all ask for the same.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import numpy as np

from .array import Undefined, at_address
from .counts import counts
from .module import Device, get_current_stream

available = os.environ.get("FAKE_NCCL", "1") == "1"

NCCL_FLOAT16, NCCL_FLOAT32, NCCL_FLOAT64 = 6, 7, 8  # as in nccl.h
NCCL_SUM, NCCL_MAX = 0, 2
DTYPES = {NCCL_FLOAT16: "float16", NCCL_FLOAT32: "float32", NCCL_FLOAT64: "float64"}
ID_BYTES = 128

world: Any = None  # the ranks among which to communicate, by default all of MPI's

calls: list[tuple[str, int, int]] = []  # name, count and datatype of each operation


class NcclError(RuntimeError):
    pass


def get_version() -> int:
    return 22501


def get_unique_id() -> tuple[int, ...]:
    return tuple(byte - 128 for byte in os.urandom(ID_BYTES))  # signed, as C's char


class NcclCommunicator:
    def __init__(self, ndev: int, commId: tuple[int, ...], rank: int) -> None:
        from mpi4py import MPI

        assert isinstance(commId, tuple) and len(commId) == ID_BYTES
        self._comm: Any = (world or MPI.COMM_WORLD).Dup()
        place = (socket.gethostname(), Device().pci_bus_id)
        self._device = Device().id
        said = self._comm.allgather((ndev, commId, rank, place))
        if [n for n, *_ in said] != [len(said)] * len(said) or len({i for _, i, *_ in said}) > 1:
            raise Undefined("NCCL waits for ever: another number of ranks, or another id")
        if [r for _, _, r, _ in said] != list(range(len(said))):
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
        if len({p for *_, p in said}) < len(said):  # Duplicate GPU detected
            raise NcclError("NCCL_ERROR_INVALID_USAGE: invalid usage")

    def allReduce(
        self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int
    ) -> None:
        self._begin("allReduce", count, datatype, op, stream)
        send, receive = (_memory(p, count, datatype) for p in (sendbuf, recvbuf))
        if sendbuf != recvbuf and np.may_share_memory(send, receive):
            raise Undefined("the buffers overlap")
        parts = self._comm.allgather(send.copy())
        # The same order on all ranks: NCCL too gives all of them the same bits.
        receive[:] = sum(parts[1:], parts[0]) if op == NCCL_SUM else np.max(parts, axis=0)

    def bcast(self, buff: int, count: int, datatype: int, root: int, stream: int) -> None:
        self._begin("bcast", count, datatype, root, stream)
        memory = _memory(buff, count, datatype)
        memory[:] = self._comm.bcast(memory.copy(), root)

    def destroy(self) -> None:
        if self._comm is not None:
            self._comm.Free()
            self._comm = None

    def _begin(self, name: str, count: int, datatype: int, how: int, stream: int) -> None:
        if self._comm is None:
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
        for number in (count, datatype, how, stream):
            if type(number) is not int:
                raise TypeError(f"an integer is required, not {type(number).__name__}")
        if Device().id != self._device:
            raise Undefined("the current device is not that of the communicator")
        if stream != get_current_stream().ptr:
            raise Undefined("on another stream than the work before and after")
        asked = self._comm.allgather((name, count, datatype, how))
        if len(set(asked)) > 1:
            raise Undefined(f"the ranks do not ask for the same: {asked}")
        counts.launches += 1
        calls.append((name, count, datatype))


def _memory(pointer: int, count: int, datatype: int) -> np.ndarray:
    """The elements at an address of the device."""
    array = at_address(pointer)
    if array is None:
        raise Undefined(f"{pointer:#x} is no address of the device, or was freed")
    if array.dtype.name != DTYPES.get(datatype):
        raise Undefined(f"datatype {datatype} for an array of {array.dtype}")
    if not array._host.flags.c_contiguous or count > array._host.size:
        raise Undefined(f"{count} elements of a {array._host.flags} array of {array.shape}")
    return array._host.reshape(-1)[:count]
