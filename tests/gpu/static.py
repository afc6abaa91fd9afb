"""Check source code against the manifest, without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import numpy as np
from fake_cupy import manifest

# Functions that return an array module; variables that hold one are named `xp`.
MODULES = {"array_module", "current_module", "load"}
ARRAY_METHODS = {name for name in dir(np.ndarray) if not name.startswith("_")}
OPERATIONS = {"at", "reduce", "accumulate", "outer", "reduceat"}
# In CuPy, ufunc.at and ufunc.reduce exist only for these.
UFUNC_METHODS = {
    "at": {"add", "subtract", "maximum", "minimum"},
    "reduce": {"add", "multiply"},
}
# What code may use from NumPy even if its arrays may be on the device: dtypes and settings.
ABOUT_DTYPES = {"dtype", "finfo", "float32", "float64", "uint32", "uint64", "int64", "errstate"}


def is_module(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id == "xp"
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Name) and called.id in MODULES


def findings(source: str, on_host: bool = False) -> list[str]:
    """What CuPy would reject, with line numbers. Files that are `on_host` may use NumPy."""
    return [f"line {line}: {what}" for line, what in _found(ast.parse(source), on_host)]


def _found(tree: ast.AST, on_host: bool) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        named = isinstance(node, ast.Attribute) and is_module(node.value)
        if named and not manifest.offers(node.attr):
            yield node.lineno, f"CuPy has no {node.attr}"
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.MatMult):
            yield node.lineno, "@= makes a new array in CuPy"
        if isinstance(node, ast.ImportFrom) and node.module == "numpy":
            yield node.lineno, "a function of NumPy, imported by name"
        if isinstance(node, ast.Call):
            wrong = _call(node, on_host)
            if wrong:
                yield node.lineno, wrong


def _call(node: ast.Call, on_host: bool) -> str | None:
    function = node.func
    if isinstance(function, ast.Name) and function.id == "getattr" and is_module(node.args[0]):
        return "getattr of an array module, which can't be checked"
    if not isinstance(function, ast.Attribute):
        return None
    owner, name = function.value, function.attr
    if is_module(owner):
        return _signature(name, node)
    if isinstance(owner, ast.Attribute) and is_module(owner.value) and name in OPERATIONS:
        if owner.attr not in UFUNC_METHODS.get(name, ()):
            return f"CuPy has no {owner.attr}.{name}"
        return None
    if isinstance(owner, ast.Name) and owner.id == "np":
        if on_host or name in ABOUT_DTYPES:
            return None
        return f"np.{name} rejects device arrays"
    if isinstance(owner, ast.Name) and owner.id in ("ops", "F", "on_gpu", "json", "math"):
        return None
    if name in ARRAY_METHODS:
        return _signature(f"ndarray.{name}", node)
    return None


def _signature(name: str, node: ast.Call) -> str | None:
    if any(k.arg is None for k in node.keywords):
        return f"{name} with keywords that can't be checked"
    starred = any(isinstance(a, ast.Starred) for a in node.args)
    positional = 0 if starred else len(node.args)
    return manifest.complaint(name, positional, [k.arg for k in node.keywords])
