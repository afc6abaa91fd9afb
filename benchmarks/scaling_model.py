"""What a training step costs on N ranks: a model of its computation and of the all-reduce.

Each rank computes the gradient of its own columns; then all ranks sum their gradients:

    step(N)       = compute + all-reduce(N)
    compute       = max(flops / rate, host)
    all-reduce(N) = 2 (N - 1) / N · bytes / bandwidth + 2 (N - 1) · latency

The last line is the ring algorithm: 2 (N - 1) messages of bytes / N each, one after the other.
Its first term is the least that any algorithm needs (Patarasuk and Yuan, "Bandwidth optimal
all-reduce algorithms for clusters of workstations", J. Parallel Distrib. Comput. 69, 2009). The
second is the ring's; MPI libraries have algorithms with 2 log2 N instead (Thakur, Rabenseifner and
Gropp, "Optimization of collective communication operations in MPICH", 2005), so that the model is
on the safe side for small models on many ranks. Computation and all-reduce do not overlap, as in
`lm.run.mpi`. The columns per rank are the same for each N (weak scaling): the whole batch grows.

Measured: the rate of the matrix products with all that surrounds them, by table.py in
docs/results/speed.json and again by scaling_out.py; and, by the latter, the bandwidth and latency
of shared memory between two ranks.

Assumed, not measured:

ETHERNET_10    10 GbE carries 1.25 GB/s; TCP is assumed to reach 1.1 GB/s, with 30 µs per message.
ETHERNET_100   The same share of 12.5 GB/s is 11 GB/s. 5 µs per message, for network cards that MPI
               reaches past the kernel (RDMA): on 40 GbE such cards measured 1.9 µs back to back
               (https://news-blogs.cisco.com/performance/mpi-over-40gb-ethernet).
NVLINK         200 GB/s is the "bus bandwidth" that NCCL's own test printed for 8 A100 GPUs in one
               server (https://github.com/NVIDIA/nccl-tests/issues/149); it is defined such that
               the formula above holds. 2 µs per message: https://github.com/NVIDIA/nccl-tests
               /issues/331 shows 10 µs for the smallest all-reduce in a server of 4 such GPUs.
GPU            10 TFLOP/s, half of an A100's peak of 19.5 in float32 without TF32 (NVIDIA's data
               sheet). The host needs 20 µs for each of the launches of an LSTM's step, 193 up to
               256 units and 329 above: docs/gpu.md, where the launches are counted and the 20 µs
               are an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sizes:
    """An LSTM language model and the columns of one rank."""

    units: int = 200  # of the embedding and of each layer
    words: int = 10_000
    columns: int = 20
    layers: int = 2
    steps: int = 35  # of a chunk

    @property
    def tokens(self) -> int:
        """The words that one rank trains on in a step."""
        return self.columns * self.steps

    @property
    def parameters(self) -> int:
        """Of embedding, decoder and layers; not tied."""
        H, V = self.units, self.words
        return 2 * V * H + V + self.layers * (8 * H * H + 8 * H)

    @property
    def bytes(self) -> int:
        """What the all-reduce sums: a float32 for each parameter."""
        return 4 * self.parameters

    @property
    def flops(self) -> int:
        """Of a step's matrix products. The backward pass has twice those of the forward pass."""
        H = self.units
        forward = self.layers * 2 * (4 * H) * (H + H) + 2 * H * self.words
        return 3 * self.tokens * forward


@dataclass(frozen=True)
class Node:
    """What one rank computes on: flops per second, and the host's time that each step takes."""

    rate: float
    host: float = 0.0

    def seconds(self, sizes: Sizes) -> float:
        return max(sizes.flops / self.rate, self.host)


@dataclass(frozen=True)
class Network:
    """Bytes per second that a rank sends while it receives as many, and seconds per message."""

    bandwidth: float
    latency: float

    def all_reduce(self, size: float, ranks: int) -> float:
        """Seconds to sum `size` bytes over the ranks, as a ring."""
        sent = 2 * (ranks - 1) / ranks * size
        return sent / self.bandwidth + 2 * (ranks - 1) * self.latency


ETHERNET_10 = Network(1.1e9, 30e-6)
ETHERNET_100 = Network(11e9, 5e-6)
NVLINK = Network(200e9, 2e-6)


def gpu(sizes: Sizes) -> Node:
    launches = 193 if sizes.units <= 256 else 329
    return Node(10e12, host=launches * 20e-6)


def step(sizes: Sizes, node: Node, network: Network, ranks: int) -> float:
    """Seconds of a training step."""
    return node.seconds(sizes) + network.all_reduce(sizes.bytes, ranks)


def tokens_per_second(sizes: Sizes, node: Node, network: Network, ranks: int) -> float:
    """Of all ranks together."""
    return ranks * sizes.tokens / step(sizes, node, network, ranks)


def efficiency(sizes: Sizes, node: Node, network: Network, ranks: int) -> float:
    """The speed of N ranks divided by N times the speed of one."""
    return node.seconds(sizes) / step(sizes, node, network, ranks)


def fitted_network(seconds: Mapping[int, float]) -> Network:
    """The network that explains the times of all-reduces between 2 ranks, by bytes.

    For N = 2 the formula is bytes / bandwidth + 2 latency. Least squares of the relative errors,
    so that small messages count as much as large ones.
    """
    rows = [[size / t, 2 / t] for size, t in seconds.items()]
    (per_byte, latency), *_ = np.linalg.lstsq(np.array(rows), np.ones(len(rows)), rcond=None)
    return Network(float(1 / per_byte), float(latency))


def fitted_node(seconds: Mapping[Sizes, float]) -> Node:
    """The rate with the least relative errors (squared) over the steps of a single process."""
    ratios = np.array([sizes.flops / t for sizes, t in seconds.items()])
    return Node(float((ratios**2).sum() / ratios.sum()))
