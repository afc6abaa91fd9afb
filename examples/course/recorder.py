"""Record the execution of functions: each statement, and the arrays that it changed.

    with Recorder([through_time, TanhRNN.step]) as recorder:
        ...
    recorder.events

Python calls a trace function before each line of a frame (`sys.settrace`). The arrays that a
statement changed are known when the next one begins: those that differ from the copies made
before it. If a statement calls another recorded function, it gets a second event after that
function has returned.

While a recorder is active, `np.empty` fills its result with NaN, so that an element that no
statement has written yet can be told from one that has.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import mock

import numpy as np

from minigrad import Tensor

ROOT = Path(__file__).resolve().parents[2]
OF_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


@dataclass(frozen=True)
class Site:
    """A statement of a recorded function, or the head of a loop; its lines are those of the file.

    function  the outermost one, such as "through_time" for a statement of the `backward` in it
    inner     the one that contains it
    loop      the variable of the innermost loop around it, or of its own head
    """

    function: str
    inner: str
    first: int
    last: int
    text: str
    loop: str | None


@dataclass
class Event:
    """A statement that was executed. `changes` are the new values, each a copy."""

    site: Site
    depth: int
    loop: dict[str, int]  # the loop variables of this frame and its callers
    changes: dict[str, Any] = field(default_factory=dict)


class Function:
    """A recorded function: its source, its statements by line, and its variables by code object."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.code = function.__code__
        self.name = function.__qualname__
        self.file = Path(self.code.co_filename).resolve().relative_to(ROOT).as_posix()
        lines, self.first = inspect.getsourcelines(function)
        self.lines = [line.rstrip("\n") for line in lines]
        tree = ast.parse(textwrap.dedent("".join(lines)))
        self.definition = tree.body[0]
        assert isinstance(self.definition, ast.FunctionDef)
        self.docstring = _docstring_lines(self.definition, self.first)
        self.sites: dict[int, Site] = {}
        self._map(self.definition, "", None)

    def _map(self, node: ast.AST, inner: str, loop: str | None) -> None:
        """Find the statement of each line: the innermost one, of a compound one only its head."""
        for child in ast.iter_child_nodes(node):
            self._map_one(child, inner, loop)

    def _map_one(self, node: ast.AST, inner: str, loop: str | None) -> None:
        if isinstance(node, ast.FunctionDef):
            inner = f"{inner}.{node.name}".strip(".")
            self._site(node, node.lineno, node.body[0].lineno - 1, inner, None)
            loop = None
        elif isinstance(node, (ast.For, ast.While, ast.If, ast.With)):
            if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
                loop = node.target.id
            self._site(node, node.lineno, node.body[0].lineno - 1, inner, loop)
        elif isinstance(node, ast.stmt):
            self._site(node, node.lineno, node.end_lineno or node.lineno, inner, loop)
            return
        self._map(node, inner, loop)

    def _site(self, node: ast.stmt, first: int, last: int, inner: str, loop: str | None) -> None:
        text = "\n".join(self.lines[first - 1 : last])
        if isinstance(node, (ast.FunctionDef, ast.For, ast.While, ast.If, ast.With)):
            last = first if first == node.lineno and last < first else last
            text = self.lines[first - 1]
        shift = self.first - 1
        site = Site(self.name, inner, first + shift, last + shift, textwrap.dedent(text), loop)
        for line in range(site.first, site.last + 1):
            self.sites[line] = site

    def head(self) -> Site:
        """The first line of its definition, where the arguments get their values."""
        assert isinstance(self.definition, ast.FunctionDef)
        line = self.definition.lineno + self.first - 1
        return Site(self.name, "", line, line, self.lines[self.definition.lineno - 1].strip(), None)


class Recorder:
    """Record all calls of these functions inside the block."""

    def __init__(self, functions: Sequence[Callable[..., Any]]) -> None:
        self.functions = [Function(f) for f in functions]
        self.events: list[Event] = []
        self._of_code = {
            code: function for function in self.functions for code in _codes(function.code)
        }
        self._loops: list[dict[str, int]] = []  # one for each recorded frame on the stack

    def __enter__(self) -> Recorder:
        self._patches = [mock.patch.object(np, name, _unset(getattr(np, name)))
                         for name in ("empty", "empty_like")]  # fmt: skip
        for patch in self._patches:
            patch.start()
        self._previous = sys.gettrace()
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._previous)
        for patch in self._patches:
            patch.stop()

    def _on_call(self, frame: FrameType, kind: str, _: Any) -> Callable[..., Any] | None:
        function = self._of_code.get(frame.f_code)
        if function is None or kind != "call":
            return None
        return _Frame(self, function, frame).on_event


class _Frame:
    """What is known about one call of a recorded function."""

    def __init__(self, recorder: Recorder, function: Function, frame: FrameType) -> None:
        self.recorder, self.function = recorder, function
        self.names = _variables(frame.f_code)
        self.depth = len(recorder._loops)
        recorder._loops.append({})
        self.known: dict[str, Any] = {}
        head = function.sites.get(frame.f_code.co_firstlineno)  # of a function inside it
        if frame.f_code is function.code:
            head = function.head()
        self.event: Event | None = None
        if head is not None:
            self._begin(head)

    def on_event(self, frame: FrameType, kind: str, value: Any) -> Callable[..., Any]:
        if kind == "line":
            site = self.function.sites.get(frame.f_lineno)
            if site is None or (self.event and self.event.site == site and self._is_last()
                                and not _is_loop(site)):  # fmt: skip
                return self.on_event
            self._finish(frame)
            self._begin(site)
        elif kind == "return":
            self._finish(frame, value)
            self.recorder._loops.pop()
        return self.on_event

    def _is_last(self) -> bool:
        return bool(self.recorder.events) and self.recorder.events[-1] is self.event

    def _begin(self, site: Site) -> None:
        if site.loop is None:
            self.recorder._loops[self.depth].clear()
        self.event = Event(site, self.depth, self._loop())
        self.recorder.events.append(self.event)

    def _loop(self) -> dict[str, int]:
        return {k: v for loops in self.recorder._loops for k, v in loops.items()}

    def _finish(self, frame: FrameType, returned: Any = None) -> None:
        """Complete the last statement's event with what it changed."""
        assert self.event is not None
        values = dict(_arrays({name: frame.f_locals.get(name) for name in self.names}))
        values.update(_arrays({"return": returned}))
        changes = {}
        for name, value in values.items():
            if name not in self.known or not _same(self.known[name], value):
                changes[name] = self.known[name] = np.array(value)
        site = self.event.site
        if site.loop is not None and isinstance(frame.f_locals.get(site.loop), int):
            self.recorder._loops[self.depth][site.loop] = frame.f_locals[site.loop]
            if _is_loop(site):
                self.event.loop = self._loop()
        if self._is_last():
            self.event.changes = changes
        elif changes:
            self.event = Event(site, self.depth, self._loop(), changes)
            self.recorder.events.append(self.event)


# -------------------------------------------------------------------- helpers


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions inside it."""
    if code.co_name not in OF_COMPREHENSIONS:
        yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _variables(code: CodeType) -> list[str]:
    """The names of a frame, those of enclosing functions included."""
    return [*code.co_varnames, *code.co_cellvars, *code.co_freevars]


def _arrays(variables: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The variables that are arrays or tensors, and the elements of short sequences of them."""
    for name, value in variables.items():
        if isinstance(value, Tensor):
            yield name, value.data
        elif isinstance(value, (np.ndarray, np.generic)):
            yield name, np.asarray(value)
        elif isinstance(value, (list, tuple)) and len(value) <= 8:
            arrays = all(isinstance(v, (np.ndarray, Tensor, type(None))) for v in value)
            if arrays:
                yield from _arrays({f"{name}[{i}]": v for i, v in enumerate(value)})


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _is_loop(site: Site) -> bool:
    return site.text.startswith(("for ", "while "))


def _docstring_lines(definition: ast.FunctionDef, first: int) -> tuple[int, int] | None:
    """The first and last line of its docstring in the file."""
    if ast.get_docstring(definition) is None:
        return None
    text = definition.body[0]
    return text.lineno + first - 1, (text.end_lineno or text.lineno) + first - 1


def _unset(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`np.empty` or `np.empty_like` with NaN in every element."""

    def with_nan(*args: Any, **options: Any) -> np.ndarray:
        array = make(*args, **options)
        if array.dtype.kind == "f":
            array.fill(np.nan)
        return array

    return with_nan
