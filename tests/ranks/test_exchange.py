"""benchmarks/exchange.py: the ways to sum in 16 bits give the sum, and none pays on one machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from started import HERE, PYTHON, Run

ROOT = HERE.parents[1]


def test_each_way_gives_the_sum(mpi: None, tmp_path: Path) -> None:
    if sys.executable != PYTHON:
        pytest.skip("needs an MPI that sums float16, as MPICH does")
    out = tmp_path / "found.json"
    run = Run([ROOT / "benchmarks" / "exchange.py", "--quick", "--out", out], tmp_path).wait()
    assert (run.status, run.err) == (0, "")
    numbers = json.loads(out.read_text())["numbers"]
    errors = {name: found["error"] for name, found in numbers.items() if "error" in str(found)}
    assert errors.pop("float32") == 0
    assert errors.pop("bfloat16_gathered") < 2**-8
    assert max(errors.values()) < 2**-11
    assert set(errors) == {"float16_summed_by_MPI", "float16_gathered"}


def test_sixteen_bits_do_not_pay() -> None:
    """What docs/many-machines.md says, by the committed measurement."""
    numbers = json.loads((ROOT / "docs" / "results" / "exchange.json").read_text())["numbers"]
    for name in ("float16_summed_by_MPI", "float16_gathered", "bfloat16_gathered"):
        assert numbers[name]["ratio"] > 2, name
        assert numbers[name]["pays_below_GB_s"] < 1.1, "it would pay on 10 GbE"
