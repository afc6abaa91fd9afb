"""A cell that nothing in lm knows trains a language model by its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from minimal_gated_unit import MinimalGatedUnit

from lm.checkpoint import load_checkpoint
from lm.commands import evaluate, generate, info, train
from lm.interchange import describe
from minigrad import cells


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cells.CELLS, "MGU", MinimalGatedUnit)


def test_it_trains_saves_resumes_and_generates(
    corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best, latest = (tmp_path / f"m{kind}.safetensors" for kind in ("", ".latest"))
    small = ["--emsize=8", "--nhid=8", "--nlayers=1", "--dropout=0", "--batch-size=4", "--bptt=7"]
    text = ["--data", str(corpus_folder)]
    train.main(["--model", "MGU", *text, *small, "--epochs=3", "--save", str(best)])
    start, *_ = first = capsys.readouterr().out.splitlines()
    assert "| MGU |" in start and f"| lr {MinimalGatedUnit.sgd_lr:g} |" in start
    train.main(["--resume", str(latest), "--epochs=6"])
    lines = [*first, *capsys.readouterr().out.splitlines()]

    found = (re.search(r"valid ppl +([\d.]+)", line) for line in lines)
    perplexities = [float(match[1]) for match in found if match]
    assert len(perplexities) == 6
    assert perplexities == sorted(perplexities, reverse=True)
    assert perplexities[-1] < 0.8 * perplexities[0]

    checkpoint = load_checkpoint(best)
    assert checkpoint.settings["model"] == "MGU"
    assert describe(checkpoint.model, best).model == "MGU"  # the only cell of two gates
    evaluate.main(["--checkpoint", str(best)])
    assert "| test ppl" in capsys.readouterr().out
    info.main([str(latest)])
    assert "MGU, 1 layer of 8 units" in capsys.readouterr().out
    generate.main(["--checkpoint", str(best), "--words=20"])
    assert set(capsys.readouterr().out.split()) <= set(checkpoint.vocabulary)


def test_the_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(r"--model \{[\w,]*MGU\}", shown)
    assert "10 for GRU, 1 for MGU" in shown
