"""In the whole source, every call on an array or its module exists in CuPy."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_cupy import manifest
from static import findings

ROOT = Path(__file__).parents[2]
FILES = sorted(p for folder in ("minigrad", "lm") for p in (ROOT / folder).rglob("*.py"))
# Files that compute on the host: backends, random numbers, checks, forms for NumPy, lm's texts.
ON_HOST = {
    "minigrad/backend.py", "minigrad/random.py", "minigrad/gradcheck.py", "minigrad/testing.py",
    "minigrad/gpu/masks.py", "minigrad/methods.py", "minigrad/creation.py",
    "minigrad/tensor.py", "minigrad/selftest.py", "lm/batches.py", "lm/checkpoint.py",
    "lm/corpus.py", "lm/sampling.py", "lm/steps.py", "lm/run/divergence.py",
    "lm/interchange.py", "minigrad/memory.py", "lm/frequency.py", "lm/run/webpage.py",
    "lm/run/mpi.py", "lm/run/start.py", "lm/run/state.py", "lm/idfile.py", "minigrad/rows.py",
    "minigrad/chunked_loss.py", "minigrad/fast_lstm.py",
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_source_calls_only_what_cupy_has(path: Path) -> None:
    on_host = path.relative_to(ROOT).as_posix() in ON_HOST
    assert findings(path.read_text(encoding="utf-8"), on_host) == []


def test_the_walk_sees_the_calls() -> None:
    """Otherwise the check could pass because it sees no calls."""
    assert findings("xp.tanh(x, out=y)\nx.sum(axis=0)\nxp.add.at(a, b, c)") == []
    assert len(FILES) > 25
    assert all((ROOT / name).exists() for name in ON_HOST)


@pytest.mark.slow
def test_the_manifest_is_cupys() -> None:
    """If CuPy is installed: it has each name, and each keyword that can be checked."""
    cupy = pytest.importorskip("cupy")
    import inspect

    assert cupy.__version__.startswith("14.")
    for name, entry in manifest.NAMES.items():
        if name.startswith("testing"):
            continue
        owner = cupy
        for part in name.split("."):
            if part not in ("annotations", "disable_experimental_feature_warning"):
                owner = getattr(owner, part, None)
        if owner is None:
            continue  # a NumPy 1 name that CuPy removed, or a submodule not yet imported
        try:
            signature = inspect.signature(owner)
        except (ValueError, TypeError):
            continue
        if entry and not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            missing = set(entry["kw"]) - set(signature.parameters)
            assert not missing, f"{name} has no {missing}"


@pytest.mark.slow
def test_the_names_in_use_are_cupys() -> None:
    """The installed CuPy has all functions and methods that the source calls."""
    cupy = pytest.importorskip("cupy")
    import ast

    from static import is_module

    used = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and is_module(node.value):
                used.add(node.attr)
    assert len(used) > 20
    assert not {name for name in used if not hasattr(cupy, name)}
