"""Mutation testing: make small changes to the code, and check that the tests detect them.

    python tests/mutate.py                      all files below
    python tests/mutate.py minigrad/bptt.py     one file

Each mutant is one change to one expression or statement of one file. It is caught if a test fails,
raises an error or hangs. The others (survivors) are printed with their line: for each, a test is
missing, or the change has no effect.
"""

from __future__ import annotations

import ast
import copy
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 300  # seconds; a mutant that hangs is caught

# The tests that are most likely to catch a mutant come first.
TESTS = {
    "minigrad/ops.py": ["test_ops.py", "test_tensor.py"],
    "minigrad/functional.py": ["test_functional.py", "test_dropout.py"],
    "minigrad/loss.py": ["test_loss.py"],
    "minigrad/bptt.py": ["test_bptt.py"],
    "minigrad/cells.py": ["test_cells.py", "test_bptt.py"],
    "minigrad/batch_norm.py": ["test_batch_norm.py", "test_functional.py"],
    "minigrad/tensor.py": ["test_tensor.py", "test_changed.py", "test_ops.py"],
    "minigrad/optim.py": ["test_optim.py", "test_arguments.py", "test_changed.py"],
    "minigrad/checks.py": ["test_arguments.py", "test_functional.py", "test_loss.py"],
}

SWAPPED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The mutants of one node: a description, and the new node."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
        yield "operator", _with(node, op=SWAPPED[type(node.op)]())
        yield "right term dropped", node.left
        yield "left term dropped", node.right
    elif isinstance(node, ast.AugAssign):
        yield "operator", _with(node, op=SWAPPED[type(node.op)]())
        yield "statement dropped", ast.Pass()
    elif isinstance(node, ast.Compare):
        first, *others = node.ops
        yield "comparison", _with(node, ops=[SWAPPED[type(first)](), *others])
    elif isinstance(node, ast.BoolOp):
        yield "and/or", _with(node, op=SWAPPED[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "sign or not dropped", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "flipped", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "one more", ast.Constant(node.value + 1)
    elif isinstance(node, ast.If | ast.IfExp):
        yield "condition negated", _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
        names = node.targets[0].elts
        for i in range(len(names) - 1):
            swapped = [*names[:i], names[i + 1], names[i], *names[i + 2 :]]
            if not any(isinstance(n, ast.Starred) for n in names):
                target = ast.Tuple(swapped, ast.Store())
                yield f"names {i} and {i + 1} swapped", _with(node, targets=[target])
    elif _writes_in_place(node):
        yield "statement dropped", ast.Pass()
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "range":
            *begin, end = node.args
            less = ast.BinOp(end, ast.Sub(), ast.Constant(1))
            yield "last step left out", _with(node, args=[*begin, less])
            if not begin:
                yield "first step left out", _with(node, args=[ast.Constant(1), end])
        elif node.func.id == "reversed":
            yield "not reversed", node.args[0]


def _writes_in_place(node: ast.AST) -> bool:
    """Whether the node is `x[...] = value`, or a call whose result is not used."""
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Subscript)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    """A copy of the node with some fields replaced."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, description, changed source) for every possible change."""
    count = sum(1 for _ in _sites(ast.parse(source)))
    for index in range(count):
        tree = ast.parse(source)
        node, replace = list(_sites(tree))[index]
        before = ast.unparse(node).splitlines()[0]
        for what, changed in changes(node):
            replace(changed)
            text = ast.unparse(ast.fix_missing_locations(tree))
            after = ast.unparse(ast.fix_missing_locations(changed)).splitlines()[0]
            yield node.lineno, f"{what}: {before}  ->  {after}", text  # type: ignore[attr-defined]
            replace(node)


def _sites(tree: ast.AST) -> Iterator[tuple[ast.AST, Callable[[ast.AST], None]]]:
    """Every node that has mutants, with a function that replaces it."""
    for name, value in ast.iter_fields(tree):
        # Error messages, docstrings and type hints do not affect behaviour.
        if isinstance(tree, ast.Raise) or name in ("annotation", "returns", "decorator_list"):
            continue
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST):
                continue
            if next(changes(child), None):

                def replace(
                    new: ast.AST, tree: ast.AST = tree, name: str = name, i: int = i
                ) -> None:
                    if isinstance(getattr(tree, name), list):
                        getattr(tree, name)[i] = new
                    else:
                        setattr(tree, name, new)

                yield child, replace
            yield from _sites(child)


def survives(tree: Path, tests: list[str]) -> bool:
    """Whether all tests pass with the package in `tree`, in a separate process."""
    child = os.fork()
    if child == 0:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        signal.alarm(TIMEOUT)
        sys.path.insert(0, str(tree))
        os.chdir(ROOT)
        import pytest

        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])
        os._exit(0 if status == 0 else 1)
    _, status = os.waitpid(child, 0)
    return status == 0


def main() -> None:
    files = sys.argv[1:] or list(TESTS)
    # Import these once, for all child processes. Not minigrad, because it changes.
    import hypothesis.extra.numpy
    import numpy
    import pytest  # noqa: F401

    assert hypothesis and numpy
    for file in files:
        first = [f"tests/minigrad/{name}" for name in TESTS.get(file, [])]
        tests = [name for name in first if (ROOT / name).exists()] + ["tests/minigrad"]
        started, caught, survivors = time.time(), 0, []
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder)
            shutil.copytree(ROOT / "minigrad", tree / "minigrad")
            shutil.copytree(ROOT / "lm", tree / "lm")
            if not survives(tree, tests):
                raise SystemExit(f"the tests fail on {file} as it is")
            for line, what, text in mutants((ROOT / file).read_text(encoding="utf-8")):
                (tree / file).write_text(text, encoding="utf-8")
                if survives(tree, tests):
                    survivors.append(f"{file}:{line}: {what}")
                    print(survivors[-1], flush=True)
                else:
                    caught += 1
        total = caught + len(survivors)
        print(
            f"{file}: {caught} of {total} mutants caught ({caught / total:.1%}), "
            f"{time.time() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
