"""Several ranks compute what one process does, and stay equal to each other.

Starting processes takes long, so each test makes many runs in one job; see jobs.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lm.console import UserError
from lm.run.ranks import ALONE, share

Found = dict[str, list[dict[str, Any]]]  # for each group, what each of its ranks has returned
Job = Callable[..., dict[str, Found]]


def assert_as_alone(run: dict[str, Any], alone: dict[str, Any], case: str) -> None:
    for name in ("losses", "norms", "valid", "test", "hidden"):
        np.testing.assert_allclose(
            run[name], alone[name], rtol=0, atol=1e-9, err_msg=f"{case}: {name}"
        )
    assert run["random"] == alone["random"], case


def assert_table(found: Found, batches: int) -> None:
    """Two ranks with 10 columns each, and three with 6, 7 and 7, against one with 20."""
    (alone,) = found["alone"]
    for case, expected in alone.items():
        assert len(expected["losses"]) == batches
        assert min(expected["norms"]) > 0.05, "each step must clip"
        assert expected["losses"][-1] < expected["losses"][0]
        for group in ("2", "3"):
            first, *others = [run[case] for run in found[group]]
            assert_as_alone(first, expected, f"{case} on {group} ranks")
            for other in others:
                assert {**other, "files": first["files"]} == first  # bit for bit
                assert other["files"] == []  # only rank 0 writes
            assert first["files"] == expected["files"]


def test_ranks_share_a_run(job: Job) -> None:
    """The four kinds of job together: equality, broken rules, decisions, resuming."""
    found = job("quick", "broken", "rules", "saved", "resumed")
    assert_table(found["quick"], 60)
    assert_broken_rules_show(found["broken"])
    assert_rules(found["rules"])
    assert_resumed(found["saved"], found["resumed"])


@pytest.mark.slow
def test_all_cells_with_and_without_tying_and_dropout(job: Job) -> None:
    assert_table(job("table")["table"], 200)


def assert_broken_rules_show(found: Found) -> None:
    """A tolerance of 1e-9 tells each broken rule from the right run."""
    right = found["alone"][0]["right"]
    for group in ("2", "3"):
        run = found[group][0]
        off = {name: np.abs(np.subtract(losses, right)).max() for name, losses in run.items()}
        assert off.pop("right") < 1e-9
        evenly = off.pop("EvenlyScaled")
        assert evenly < 1e-9 if group == "2" else evenly > 1e-4  # 3 does not divide 20
        assert off.keys() == {"ClipsFirst", "SumsTwice", "Unscaled", "SeededPerRank"}
        assert min(off.values()) > 1e-4, off


def assert_rules(found: Found) -> None:
    for size, runs in ((2, found["2"]), (3, found["3"])):
        last, ranks = size - 1, range(size)
        # Rule 5: a missing gradient counts as zeros, whatever the size and layout of the others.
        total = size * (size + 1) // 2
        values = np.arange(20.0).reshape(4, 5) + 2
        for run in (run["sums"] for run in runs):
            assert run["missing"] == ((total - 1) * np.arange(3.0)).tolist()
            assert run["large"] == total * (np.arange(60000.0) + 1).sum()
            assert run["turned"] == (total * values).tolist()
            assert run["norm"][0] == pytest.approx(run["norm"][1], rel=1e-12)
            columns = [r for r in ranks for _ in range(7)[share(r, size, 7)]]
            assert run["gathered"] == [columns, columns]
        # Rule 6: the norm of rank 0 counts.
        assert len({run["norm"] for run in runs}) == 1
        # Rule 10: all stop after the batch in which the last rank was asked to, and save when rank
        # 0's clock says so.
        for rank, run in enumerate(runs):
            assert run["stop"] == {"batch": 7, "stopping": True}
            assert run["save"]["saved"] == [1, 2, 3, 0, 0], rank
        # Rule 11: a difference in the last digit ends the run at the next report, on all ranks.
        for run in runs:
            assert run["differ"]["batch"] == 8
            message = "the weights after batch 8 of epoch 1 with lr 2 differ between the ranks"
            assert f"{message}: rank {last} has" in run["differ"]["error"]
        # Rule 10: divergence is an error of all ranks, with what rank 0 says.
        for run in runs:
            assert "the loss is " in run["diverge"]["error"]
            saved = runs[0]["diverge"]["saved"]
            assert f"the last good checkpoint is {saved}" in run["diverge"]["error"]
        for run in runs:
            first, each, equal, columns = run["errors"]
            assert first == "no such file"
            assert each == f"on rank {last}: no such file"
            assert equal == "the texts differ between the ranks: rank 1 has hash 1, rank 0 hash 0"
            assert f"--ranks {size} is more than the {last} columns" in columns


def assert_resumed(saved: Found, resumed: Found) -> None:
    """Saved on one or two ranks; resumed on one, two and three."""
    (whole,) = saved["alone"]
    for group, runs in resumed.items():
        for run in runs:
            assert run["alone"]["hash"] == runs[0]["alone"]["hash"]
            for start, end in run.items():
                assert len(end["losses"]) == 18
                expected = {**whole, **{n: whole[n][12:] for n in ("losses", "norms")}}
                assert_as_alone(end, expected, f"from {start} to {group}")
    # On as many ranks as before: bit for bit.
    assert resumed["alone"][0]["alone"]["hash"] == whole["hash"]
    for run, before in zip(resumed["2"], saved["2"], strict=True):
        assert run["2"]["hash"] == before["hash"]
        assert run["2"]["losses"] == before["losses"][12:]
        assert run["2"]["random"] == before["random"]


@pytest.mark.parametrize(("size", "columns"), [(1, 1), (1, 20), (2, 20), (3, 20), (7, 20), (7, 7)])
def test_the_shares_cover_all_columns_and_differ_by_one_at_most(size: int, columns: int) -> None:
    shares = [range(columns)[share(rank, size, columns)] for rank in range(size)]
    assert [c for part in shares for c in part] == list(range(columns))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_single_process_does_not_load_mpi() -> None:
    code = (
        "import sys, lm.commands.train, lm.run.start, lm.sweep.trial;"
        "assert not any(name.startswith('mpi4py') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_alone_every_answer_is_its_own() -> None:
    with pytest.raises(UserError, match="more than the 0 columns"):
        ALONE.columns(0)
    assert ALONE.any(True, False) == (True, False)
    assert ALONE.columns(5) == slice(0, 5)
