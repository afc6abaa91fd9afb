"""benchmarks/gpu.py on the fake device: it finishes, whatever happens in a stage."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_cupy
import gpu
import gpu_checks
import pytest

from minigrad.gpu import kernels

pytestmark = pytest.mark.skipif(not fake_cupy.COMPILER, reason="needs g++")


def test_every_stage_runs_on_the_fake_device(
    device: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    tool = tmp_path / "compute-sanitizer"
    tool.write_text("#!/bin/sh\necho '========= ERROR SUMMARY: 0 errors'\n")
    tool.chmod(0o755)
    out = tmp_path / "gpu.json"
    assert gpu.main(["--quick", "--minutes", "5", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    live, block, _ = printed.split("\n```\n", 2)[0], *printed.split("```")[1:]
    assert block.rstrip().endswith("stages succeeded")
    result = json.loads(out.read_text())
    assert set(result["numbers"]) == {name for name, *_ in gpu.stages(quick=True)}
    for name, numbers in result["numbers"].items():
        assert numbers and "failed" not in numbers
        assert name in live and name in block
    assert result["numbers"]["self-test"]["result"] == "19 of 19 ok"
    assert result["numbers"]["racecheck"]["summary"] == "ERROR SUMMARY: 0 errors"
    times = result["numbers"]["LSTM, 8 units, 50 words"]
    assert set(times) == {"products apart", "products inside", "without our kernels"}
    for measured in times.values():
        assert set(measured) == {"events_ms", "wall_ms", "host_ms"}
        assert 0 < measured["events_ms"] <= measured["wall_ms"]


def test_without_a_gpu_it_says_why_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing() -> None:
        raise gpu_checks.mg.BackendError("backend 'cupy': no GPU")

    monkeypatch.setattr(gpu_checks.mg.backend, "_load_cupy", missing)
    assert gpu.main(["--out", str(tmp_path / "gpu.json")]) == 2
    assert capsys.readouterr() == ("", "error: backend 'cupy': no GPU\n")
    assert not list(tmp_path.iterdir())


def good() -> Iterator[gpu.Finding]:
    yield "all is well", {"figure": 1}


def broken() -> Iterator[gpu.Finding]:
    yield "the first part", {"first": 1}
    raise RuntimeError("an illegal address\nwas read")


def killed() -> Iterator[gpu.Finding]:
    yield "before", {"first": 1}
    os.kill(os.getpid(), 9)


def hanging() -> Iterator[gpu.Finding]:
    yield "before", {"first": 1}
    subprocess.run(["sleep", "60"])


@pytest.mark.parametrize(
    ("stage", "failure"),
    [
        (broken, "RuntimeError: an illegal address"),
        (killed, "its process ended with status -9"),
        (hanging, "stopped after 2 s"),
    ],
)
def test_it_goes_on_when_a_stage_fails(
    stage: gpu.Stage, failure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    done = gpu.run([("one", stage, 0.5), ("two", good, 0.5)], 4 / 60)
    assert time.monotonic() - started < 10
    assert done["one"][0][1] == {"first": 1}  # what it had found is kept
    assert done["one"][1][1] == {"failed": failure}
    assert done["two"] == [("all is well", {"figure": 1})]
    assert f"    FAILED: {failure}\ntwo\n    all is well\n" in capsys.readouterr().out


def test_it_keeps_to_its_time() -> None:
    def slow() -> Iterator[gpu.Finding]:
        time.sleep(1.5)
        yield "slow", {}

    done = gpu.run([("one", slow, 1), ("two", good, 1)], 2 / 60)
    assert done["one"] == [("slow", {})]
    assert done["two"][0][1] == {"failed": "the time is up"}


@pytest.mark.parametrize(("name", "way"), [("lstm_step", "apart"), ("gru_step_with_product", "in")])
def test_a_wrong_kernel_fails_the_agreement(
    name: str, way: str, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = kernels.KERNELS[name]
    wrong = text._replace(operation=text.operation.replace("sigmoid(zx(1)", "sigmoid(-zx(1)"))
    assert wrong != text
    monkeypatch.setitem(kernels.KERNELS, name, wrong)
    kernels.kernel.cache_clear()
    with pytest.raises(AssertionError, match=f"products {way}"):
        list(gpu_checks.agreement(20))
    kernels.kernel.cache_clear()


def test_an_error_of_the_sanitizer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        "#!/bin/sh\necho '========= Invalid __global__ read of size 4 bytes'\n"
        "echo '========= ERROR SUMMARY: 1 error'\nexit 9\n"
    )
    tool.chmod(0o755)
    (summary, _), (_, failed) = gpu_checks.sanitizer("memcheck")
    assert summary == "ERROR SUMMARY: 1 error"
    assert failed == {"failed": "exit status 9 Invalid __global__ read of size 4 bytes"}


def test_the_small_steps_use_every_kernel(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    used = set()
    usual = kernels.kernel

    def watched(xp: Any, name: str, count: int | None = None) -> Any:
        used.add(name)
        return usual(xp, name, count)

    for module in ("bptt", "functional", "optim"):
        monkeypatch.setattr(f"minigrad.gpu.{module}.kernel", watched)
    assert gpu.main(["--small-steps"]) == 0
    assert used == {*kernels.KERNELS, *kernels.FAMILIES}
