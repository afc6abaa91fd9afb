"""Ranks on GPUs, of the fake device: they compute what one process does, on a GPU or on NumPy.

The fake NCCL refuses what is not in the memory of a GPU, and MPI can't read what is.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_cupy
import numpy as np
import pytest
from started import HERE, Run, assert_intact, assert_nothing_left

import minigrad as mg
from lm.console import UserError

sys.path.append(str(HERE.parents[1] / "benchmarks"))
import two_gpus

pytestmark = pytest.mark.skipif(not fake_cupy.COMPILER, reason="needs g++")

STEPS = 30
FLOAT64 = fake_cupy.nccl.NCCL_FLOAT64


def test_ranks_on_gpus_share_a_run(job: Callable[..., Any]) -> None:
    found = job("gpus", program="gpu_jobs.py")["gpus"]
    (alone,) = found["alone"]
    np.testing.assert_allclose(alone["tied"]["losses"], alone["numpy"]["losses"], rtol=0, atol=1e-9)
    for size, runs in ((2, found["2"]), (3, found["3"])):
        for run in runs:
            for case in ("tied", "dropout", "variational", "pieces"):
                expected = alone["dropout" if case == "pieces" else case]
                for name in ("losses", "norms", "valid", "test", "hidden"):
                    np.testing.assert_allclose(run[case][name], expected[name], rtol=0, atol=1e-9)
                assert run[case]["random"] == expected["random"]
                assert min(run[case]["norms"]) > 0.05, "each step must clip"
                assert run[case]["hash"] == runs[0][case]["hash"]
            # A step sums all gradients at once and copies the norm of rank 0; there is no more.
            assert Counter(map(tuple, run["calls"])) == {
                ("allReduce", run["parameters"], FLOAT64): STEPS,
                ("bcast", 1, FLOAT64): STEPS,
            }
            # The gradients as one array, their sum and the norm, and the loss weighted by its
            # columns, forward and backward. The host waits for none of it.
            here, one = run["counts"], alone["counts"]
            assert here["syncs"] == 0
            assert (here["uploads"], here["launches"]) == (one["uploads"], one["launches"] + 5)
            assert run["norm"] == runs[0]["norm"]
            assert run["differ"]["batch"] == 8
            assert f"differ between the ranks: rank {size - 1} has" in run["differ"]["error"]
            total = size * (size + 1) // 2
            assert run["sums"]["missing"] == ((total - 1) * np.arange(3.0)).tolist()
            assert run["sums"]["large"] == total * (np.arange(60000.0) + 1).sum()
            assert run["sums"]["turned"] == (total * (np.arange(20.0).reshape(4, 5) + 2)).tolist()
            assert run["refused"] == 2 * ["TypeError"] + 5 * ["Undefined"]


@pytest.fixture
def train_on_gpus(train: Callable[..., Run]) -> Callable[..., Run]:
    def train_on_gpus(*options: str, **env: str) -> Run:
        return train("--backend=cupy", *options, program=HERE / "fake_gpus.py", **env).wait()

    return train_on_gpus


def test_the_command_trains_on_two_gpus(train_on_gpus: Callable[..., Run], tmp_path: Path) -> None:
    run = train_on_gpus("--ranks=2", FAKE_GPUS="2")
    assert (run.status, run.err) == (0, "")
    assert_intact(tmp_path, epoch=3)
    assert_nothing_left(tmp_path)
    # On one GPU, and on two whose processes see one each, as some schedulers arrange it.
    more = train_on_gpus("--resume=model.latest.safetensors", "--epochs=4", FAKE_GPUS="1")
    assert (more.status, more.err) == (0, "")
    seen = train_on_gpus("--ranks=2", FAKE_GPUS="1", FAKE_BUS="own")
    assert (seen.status, seen.err) == (0, "")
    assert seen.out.splitlines()[-1] == run.out.splitlines()[-1]


def test_what_is_missing_is_told_in_one_line(
    train_on_gpus: Callable[..., Run], train: Callable[..., Run], tmp_path: Path
) -> None:
    few = train_on_gpus("--ranks=3", FAKE_GPUS="2").error()
    assert few == "error: each rank needs a GPU of its own, but 3 ranks of this machine share 2"
    no_nccl = train_on_gpus("--ranks=2", FAKE_GPUS="2", FAKE_NCCL="0").error()
    assert no_nccl.startswith("error: --ranks on GPUs needs NCCL: pip install nvidia-nccl-cu12")
    none = train("--ranks=2", "--backend=cupy").wait().error()
    assert "backend 'cupy': CuPy " in none
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_check_for_people_with_two_gpus(mpi: None, tmp_path: Path) -> None:
    """benchmarks/two_gpus.py prints one block, also where something fails."""
    quick = [HERE / "fake_gpus.py", "--quick", "--out=found.json"]
    run = Run(quick, tmp_path, FAKE_GPUS="2", FAKE_PROGRAM="two_gpus").wait()
    assert (run.status, run.err) == (0, "")
    live, block, rest = run.out.split("```\n")
    assert block.startswith(f"minigrad {mg.__version__} on 2 GPUs, quick\n")
    assert block.endswith("all stages succeeded\n")
    assert rest == "\nThe numbers are in found.json.\n"
    for line in live.strip().splitlines():
        assert line in block
    assert re.search(r"rank 1 on \S+, GPU 0000:02:00.0", block)
    numbers = json.loads((tmp_path / "found.json").read_text())["numbers"]
    assert max(numbers["20 steps on 2 GPUs and on one"].values()) < 1e-5
    assert "topology" in numbers

    run = Run(quick, tmp_path, FAKE_GPUS="1", FAKE_PROGRAM="two_gpus").wait()
    assert run.status == 2
    reason = "each rank needs a GPU of its own, but 2 ranks of this machine share 1"
    assert run.err == f"error: {reason}\n"
    assert f"FAILED: {reason}\n```\n" in run.out


@pytest.mark.parametrize("apart", [two_gpus.TOLERANCE * 1.01, float("nan")])
def test_the_check_fails_if_the_losses_differ(apart: float) -> None:
    two_gpus.must_be_small(two_gpus.TOLERANCE, "on one and two")
    with pytest.raises(UserError, match="the losses on one and two differ by up to"):
        two_gpus.must_be_small(apart, "on one and two")
