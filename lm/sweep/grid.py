"""A grid around some settings: one parameter changes at a time, the others stay as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..settings import Settings

Grid = Mapping[str, Sequence[int]]
NOUNS = {"nhid": "units", "nlayers": "layers", "bptt": "steps"}


def changed(base: Settings, name: str, value: int) -> Settings:
    """The settings with another value; the embedding has as many columns as there are units."""
    new: dict[str, Any] = {"nhid": value, "emsize": value} if name == "nhid" else {name: value}
    return dataclasses.replace(base, **new)


def variants(base: Settings, grid: Grid) -> dict[str, Settings]:
    """The settings as "default", and with each other value of the grid, as in "nhid-400"."""
    return {"default": base} | {
        f"{name}-{value}": changed(base, name, value)
        for name, values in grid.items()
        for value in values
        if value != getattr(base, name)
    }


def name_of(base: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The name that these settings have among the `variants` of the base."""
    differ = [name for name in NOUNS if settings[name] != base[name]]
    return f"{differ[0]}-{settings[differ[0]]}" if differ else "default"


def label(base: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """In words, how the settings differ from the base; the base itself in full."""
    differ = [name for name in NOUNS if settings[name] != base[name]]
    return ", ".join(_worded(name, settings[name]) for name in differ or NOUNS)


def _worded(name: str, value: int) -> str:
    return f"{value} {NOUNS[name] if value != 1 else NOUNS[name][:-1]}"
