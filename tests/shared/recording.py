"""The recording that the page in docs/watch shows, read as the page reads it."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

BUILT = Path(__file__).resolve().parents[2] / "docs" / "watch" / "built"


@functools.cache
def committed() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the page reads."""
    text = (BUILT / "recording.js").read_text(encoding="utf-8")
    shared = re.search(r"^globalThis.recording = (.*);$", text, re.MULTILINE)
    parts = re.findall(r"""^recording.nets\["(.*)"\] = '(.*)';$""", text, re.MULTILINE)
    assert shared
    return json.loads(shared[1]), {name: json.loads(part) for name, part in parts}


class Part:
    """One cell at one scale, decoded."""

    def __init__(self, shared: dict[str, Any], part: dict[str, Any]) -> None:
        self.shared, self.part = shared, part
        self.parts = [[number(x) for x in p.split(",")] for p in part["parts"].split(" ")]

    def array(self, index: int) -> np.ndarray:
        shape, *parts = self.part["arrays"][index]
        flat: list[float] = []
        for i, p in enumerate(parts):
            for k in [p] if p >= 0 else range(parts[i - 1] + 1, parts[i - 1] - p + 1):
                flat += self.parts[k] if 0 not in self.shared["shapes"][shape] else []
        return np.array(flat, float).reshape(self.shared["shapes"][shape])

    def named(self, key: str) -> dict[str, np.ndarray]:
        return {name: self.array(v) for name, v in self.part[key].items()}

    def events(self, cut: int) -> list[tuple[Any, ...]]:
        case = self.part["cases"][cut]
        values = iter(case["values"])
        return [
            (tuple(self.shared["sites"][site]), depth, t,
             {self.shared["names"][n]: self.array(next(values)) for n in names})
            for site, depth, t, *names in self.shared["courses"][case["course"]][0]
        ]  # fmt: skip

    def marks(self, cut: int) -> list[tuple[str, int, int, np.ndarray]]:
        case = self.part["cases"][cut]
        course = self.shared["courses"][case["course"]][1]
        return [(*mark, self.array(v)) for mark, v in zip(course, case["marks"], strict=True)]


def number(text: str) -> float:
    return float(text or "nan") / (1 if "e" in text else 1e7)


@functools.cache
def part(cell: str, scale: float) -> Part:
    shared, parts = committed()
    return Part(shared, parts[f"{cell} {scale}"])
