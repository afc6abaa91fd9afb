"""The names in CuPy 14.2 and their keywords; the fake device has only these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAMES: dict[str, Any] = json.loads(
    Path(__file__).with_name("manifest.json").read_text(encoding="utf-8")
)["names"]


def offers(name: str) -> bool:
    """Whether CuPy has "exp", "ndarray.sum", "random.default_rng"."""
    return name in NAMES


def complaint(name: str, positional: int, keywords: Any) -> str | None:
    """The error of a call with this number of arguments and these keywords, or None."""
    if name not in NAMES:
        return f"CuPy has no {name}"
    entry = NAMES[name]
    if entry is None:  # not a function, or its signature is unknown
        return None
    unknown = [k for k in keywords if k not in entry["kw"]]
    if unknown:
        return f"{name} of CuPy takes no {', '.join(map(repr, unknown))}"
    if entry["pos"] is not None and positional > entry["pos"]:
        return f"{name} of CuPy takes {entry['pos']} positional arguments, not {positional}"
    return None


def check_call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise TypeError for a call that CuPy would reject."""
    wrong = complaint(name, len(args), kwargs)
    if wrong:
        raise TypeError(wrong)
