"""Each planted mistake is found, each solution passes, and what only looks like one does not."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import find_the_bug
import pytest
from bug_checks import BUGS

from lm.console import UserError

# For each program: what the solution replaces, and by what.
SOLUTIONS = {
    1: [("dh * (n - h_prev.data)", "dh * (h_prev.data - n)")],
    2: [("np.exp(y) * dy", "np.exp(y) * dy.sum(axis=1, keepdims=True)")],
    3: [
        ("    def scaled_mask():\n        return ", "    scaled_mask = "),
        ("scaled_mask()", "scaled_mask"),
    ],
    4: [("x.data.std(axis=0)", "x.data.var(axis=0)")],
    5: [("loss.backward(retain_graph=True)", "loss.backward()"),
        ("return loss.item(), hidden", "return loss.item(), hidden.detach()")],
    6: [("a_i, a_f, a_o, a_g", "a_i, a_f, a_g, a_o")],
    7: [("(difference * difference).sum(axis=2)", "(difference * difference).sum(axis=2) + 1e-12")],
    8: [("mg.tensor(np.clip(state[0].data, -5, 5))", "mg.clip(state[0], -5, 5)")],
}  # fmt: skip
ALSO_RIGHT = {
    2: [("dy - np.exp(y) * dy", "dy - np.exp(y) * np.sum(dy, 1)[:, None]")],
    4: [("x.data.std(axis=0)", "x.data.var(axis=0, ddof=1)")],
    5: [("    logits, hidden = model(letters[:-1], hidden)",
         "    logits, hidden = model(letters[:-1], hidden.detach())")],
    7: [("mg.sqrt((difference * difference).sum(axis=2))",
         "mg.sqrt(mg.maximum((difference * difference).sum(axis=2), 1e-12))")],
    8: [("mg.tensor(np.clip(state[0].data, -5, 5))", "state[0]")],
}  # fmt: skip
# Changes that make the symptom go away, or look like a solution, with what the check says of them.
WRONG = [
    (1, [("h = (1 - z) * n + z * h_prev.data", "h = z * n + (1 - z) * h_prev.data")], "h is"),
    (1, [("z * (1 - z)", "0 * z")], "derivative of gate is wrong: gradcheck: input 0"),
    (2, [("np.exp(y) * dy", "np.exp(y) * dy.sum()")], "derivative of log_softmax"),
    (2, [("np.exp(y) * dy", "np.exp(y) * dy.mean(axis=1, keepdims=True)")], "derivative of log"),
    (2, [("return mg.record(y, (x, dx))", "return mg.Tensor(y)")], "derivative of log_softmax"),
    (3, [("lambda dy: dy * scaled_mask()", "lambda dy: dy")], "derivative of dropout"),
    (3, [("rng.random(x.shape)", "np.random.default_rng(0).random(x.shape)")], "same elements"),
    (3, [("x.data * scaled_mask()", "x.data"), ("dy * scaled_mask()", "dy")], "dropout"),
    (3, [(">= p", ">= p / 2")], "dropout"),
    (4, [("m * self.running_var + (1 - m) * x.data.std", "x.data.var")], "one batch"),
    (4, [("x.data.std(axis=0)", "x.data.var()")], "one batch"),
    (4, [("if training:", "if True:")], "one batch"),
    (5, [("return loss.item(), hidden", "return loss.item(), hidden * 0")], "state after chunk 1"),
    (5, [("hidden = model(letters[:-1], hidden)", "hidden = model(letters[:-1], None)"),
         ("return loss.item(), hidden", "return loss.item(), hidden.detach()")], "after chunk 2"),
    (5, [("retain_graph=True", "")], "RuntimeError"),
    (5, [("    loss.backward(retain_graph=True)", "    with mg.no_grad():\n        pass"),
         ("p.data -= lr * p.grad", "pass")], "state after chunk 2|the loss of chunk"),
    (6, [("a_i, a_f, a_o, a_g", "a_f, a_i, a_g, a_o")], "the output is"),
    (7, [("mg.sqrt(", "(")], "distances is"),
    (7, [("(difference * difference).sum(axis=2))",
          "(difference * difference).sum(axis=2) + 0.1)")], "distances is"),
    (8, [("state[0].data, -5, 5", "state[0].data, -99, 99")], "gradient of x"),
    (8, [("mg.tensor(np.clip(state[0].data, -5, 5))", "state[0] * 0")], "the output is"),
    (8, [("mg.tensor(np.clip(state[0].data, -5, 5))", "mg.clip(state[0], -0.01, 0.01)")], "output"),
]  # fmt: skip
# What the check says of each program as it was planted.
PLANTED = {
    1: r"derivative of gate is wrong: gradcheck: input 0 at .* analytic 0.004\d*, numeric -0.004",
    2: "derivative of log_softmax is wrong",
    3: "derivative of dropout is wrong",
    4: "after one batch .* divided by the root of",
    5: "backward visits 5 operations for chunk 1 and 9 for chunk 2",
    6: "the output is .* it should be",
    7: "10 of the 10 numbers of the gradient are not finite",
    8: "RNN_TANH: the gradient of x has norm",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    find_the_bug.main(["start", "--folder", str(tmp_path)])
    return tmp_path


def change(folder: Path, number: int, replacements: list[tuple[str, str]]) -> None:
    path = folder / BUGS[number].file
    text = path.read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def run(folder: Path, *words: str) -> int:
    """The exit status of the command."""
    try:
        find_the_bug.main([*words, "--folder", str(folder)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("number", BUGS)
def test_a_planted_mistake_is_found_for_the_right_reason(
    number: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "check", str(number)) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"{BUGS[number].file}: not yet: ")
    assert re.search(PLANTED[number], said)


@pytest.mark.parametrize("number", BUGS)
@pytest.mark.parametrize("solutions", [SOLUTIONS, ALSO_RIGHT], ids=["solution", "another"])
def test_a_solution_passes(
    number: int,
    solutions: dict[int, list[tuple[str, str]]],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if number not in solutions:
        pytest.skip("there is one solution only")
    change(folder, number, solutions[number])
    assert run(folder, "check", str(number)) == 0
    assert BUGS[number].lesson in capsys.readouterr().out


@pytest.mark.parametrize(("number", "replacements", "said"), WRONG)
def test_what_only_looks_like_a_solution_fails(
    number: int,
    replacements: list[tuple[str, str]],
    said: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(folder, number, replacements)
    assert run(folder, "check", str(number)) == 1
    assert re.search(said, capsys.readouterr().out)


@pytest.mark.parametrize("number", BUGS)
def test_the_hints(number: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = BUGS[number].hints
    run(folder, "check", str(number), "--hint")
    out = capsys.readouterr().out
    assert f"Hint 1 of 2: {first}" in out and second not in out
    run(folder, "check", str(number), "--hint", "2")
    assert f"Hint 2 of 2: {second}" in capsys.readouterr().out


def test_every_program_has_a_check_and_a_solution() -> None:
    files = sorted(path.name for path in find_the_bug.PROGRAMS.glob("*.py"))
    assert files == [bug.file for bug in BUGS.values()]
    assert set(BUGS) == set(SOLUTIONS) == set(PLANTED) == {number for number, *_ in WRONG}


def test_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, 1, SOLUTIONS[1])
    change(folder, 2, [("def log_softmax(x):", "def log_softmax(x):\n    print('debugging')")])
    capsys.readouterr()
    assert run(folder, "status") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["1_gate.py", "right"]
    assert lines[1].startswith("2_classes.py     not yet: the derivative")
    assert lines[2].split() == ["3_dropout.py", "unchanged"]
    assert len(lines) == len(BUGS) + 1 and lines[-1] == f"1 of {len(BUGS)} are right"
    for number in range(2, len(BUGS) + 1):
        change(folder, number, SOLUTIONS[number])
    assert run(folder, "status") == 0
    assert capsys.readouterr().out.endswith(f"{len(BUGS)} of {len(BUGS)} are right\n")


def test_start_overwrites_nothing(folder: Path) -> None:
    change(folder, 3, SOLUTIONS[3])
    mine = (folder / BUGS[3].file).read_text(encoding="utf-8")
    (folder / BUGS[1].file).unlink()
    with pytest.raises(UserError, match="exists, and nothing was copied"):
        find_the_bug.main(["start", "--folder", str(folder)])
    assert (folder / BUGS[3].file).read_text(encoding="utf-8") == mine
    assert not (folder / BUGS[1].file).exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dh_prev = dh * z", "dh_prev = dh * zz", r"line 24: NameError: .*\[dh_prev = dh \* zz\]"),
        ("def backward(dh):", "def backward(dh:", r"line 21: SyntaxError"),
        ("return mg.record_joint", "return None and mg.record", "should be a tensor, not NoneType"),
        ("def gate(", "def door(", "no longer defines gate"),
        ("def gate(a_z, a_n, h_prev)", "def gate(a_z, a_n)", "TypeError"),
        ('if __name__ == "__main__"', "if 1 / 0", "line 51: ZeroDivisionError"),
        ('if __name__ == "__main__"', 'if exit("ended") or __name__', "line 51: SystemExit: ended"),
        ("dh_prev = dh * z", "dh_prev = dh[0]", "derivative|can't use|Error"),
    ],
)
def test_an_unfinished_program_gets_one_line(
    old: str, new: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder, 1, [(old, new)])
    capsys.readouterr()
    assert run(folder, "check", "1") == 1
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.startswith("1_gate.py: not yet: ")
    assert re.search(said, out)


def test_a_program_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="copy the programs with `start`"):
        find_the_bug.main(["check", "1", "--folder", str(tmp_path)])
    with pytest.raises(UserError, match="which program"):
        find_the_bug.main(["check"])


def test_the_ledger_of_program_8(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(folder, "ledger") == 0
    _, planted, right = re.split(r".*:\n", capsys.readouterr().out.partition("\n")[2])
    off_diagonal = [row.split()[1:-1] for row in planted.splitlines()]
    assert all(float(share) == 0 for row in off_diagonal for share in row)
    change(folder, 8, SOLUTIONS[8])
    run(folder, "ledger")
    assert capsys.readouterr().out.count(right) == 2


# What the docstring of a program says of its output: the last number that it prints.
@pytest.mark.parametrize(
    ("number", "planted", "solved"),
    [
        (1, (0.6, 0.8), (0, 0.1)),
        (3, (0.004, 1), (0, 0.002)),
        (4, (50, 85), (93, 100)),
        (6, (1, 9), (0, 0.01)),
        (7, None, (0, 0.001)),
        (8, (0.4, 0.8), (0, 0.1)),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_symptom(
    number: int,
    planted: tuple[float, float] | None,
    solved: tuple[float, float],
    folder: Path,
) -> None:
    last = printed(folder, number)[-1].split()[-2 if number == 4 else -1]
    if planted is None:
        assert last == "nan"
    else:
        assert planted[0] <= float(last.rstrip("%")) <= planted[1]
    change(folder, number, SOLUTIONS[number])
    last = printed(folder, number)[-1].split()[-2 if number == 4 else -1]
    assert solved[0] <= float(last.rstrip("%")) <= solved[1]


def test_the_symptom_of_program_2(folder: Path) -> None:
    losses = [float(line.split()[3]) for line in printed(folder, 2)]
    assert losses[-1] > losses[-2] > losses[-3]
    page = (find_the_bug.PROGRAMS.parents[2] / "docs/course/find-the-bug.md").read_text("utf-8")
    shown = [
        float(loss) for loss in re.findall(r"^    step +\d+  loss ([\d.]+)", page, re.MULTILINE)
    ]
    assert shown == pytest.approx(losses, abs=0.002)
    change(folder, 2, SOLUTIONS[2])
    losses = [float(line.split()[3]) for line in printed(folder, 2)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.17


def printed(folder: Path, number: int) -> list[str]:
    """The lines that a program prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        runpy.run_path(str(folder / BUGS[number].file), run_name="__main__")
    return out.getvalue().splitlines()
