"""The runs on a page: what they are, and how to read them from metrics files."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..console import UserError
from ..run.metrics import read_record

Points = list[tuple[float, float | None]]


@dataclass
class Run:
    """One run: its name, the header of its metrics, and the other lines of it.

    `extras` is what only a running training can tell: samples, and perplexity by word frequency.
    """

    name: str
    id: str | None = None
    header: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def add(self, record: dict[str, Any]) -> None:
        """Append a line. What a resumed run reports again replaces what it had reported."""
        while self.records and place(self.records[-1]) >= place(record):
            self.records.pop()
        self.records.append(record)

    def cut(self, epoch: int, batch: int) -> None:
        """Remove what was reported after so many batches of an epoch."""
        self.records = [r for r in self.records if place(r) <= (epoch, batch)]
        if (number(self.extras.get("epoch")) or 0) >= epoch:
            self.extras = {}

    def points(self, name: str) -> Points:
        """A number over the epochs: (1.5, y) is in the middle of the second epoch."""
        kind = "valid_loss" if name.startswith("valid") else "batch"
        batches = self.batches
        points: Points = []
        for record in self.records:
            epoch, batch = number(record.get("epoch")), number(record.get("batch"))
            if kind in record and name in record and epoch is not None:
                x = epoch if batch is None else epoch - 1 + batch / batches
                points.append((x, number(record[name])))
        return points

    def last(self, name: str) -> float | None:
        values = (number(r.get(name)) for r in reversed(self.records))
        return next((value for value in values if value is not None), None)

    def best(self) -> tuple[float, float] | None:
        """The lowest validation loss and its epoch."""
        found = [(y, x) for x, y in self.points("valid_loss") if y is not None]
        return min(found, default=None)

    @property
    def batches(self) -> float:
        """The batches of an epoch; what earlier versions did not record is read off the lines."""
        given = number(self.header.get("batches"))
        if given:
            return given
        return max([1.0, *filter(None, (number(r.get("batch")) for r in self.records))])

    @property
    def settings(self) -> dict[str, Any]:
        """As the run began, but with all epochs of one that was resumed with more."""
        settings = _dict(self.header.get("settings"))
        planned, done = number(settings.get("epochs")), self.epochs_done
        return settings if planned is None or done <= planned else {**settings, "epochs": done}

    @property
    def epochs_done(self) -> int:
        return max((int(x) for x, _ in self.points("valid_loss")), default=0)

    def made_with(self) -> dict[str, Any]:
        """Versions and machine, by name."""
        machine, blas = _dict(self.header.get("machine")), self.header.get("blas")
        found = {**_dict(self.header.get("versions")), **machine}
        if isinstance(blas, list) and blas:
            found["BLAS"] = "; ".join(map(str, blas))
        if self.header.get("commit"):
            found["commit"] = self.header["commit"]
        return found


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:  # JSON allows integers that no float can hold
            return None
    return None


def place(record: dict[str, Any]) -> tuple[float, float]:
    """Where in a run a line was written; what ends an epoch or the run comes after all of it."""
    epoch, batch = (number(record.get(key)) for key in ("epoch", "batch"))
    infinity = math.inf
    return infinity if epoch is None else epoch, infinity if batch is None else batch


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# -------------------------------------------------------------------- files


def read_runs(paths: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """The runs in metrics files, in order. Raises UserError for a file that is not one.

    Lines with the id of a run belong together, also in two files. In the files of earlier
    versions, which have no ids, a run begins where the epochs begin again. A run is named after
    its file; if several files have one name, as the trials of a sweep do, after its folder.
    """
    runs: list[Run] = []
    files = Counter(Path(path).stem for path in paths)
    for path in paths:
        name = Path(path).stem
        if files[name] > 1:
            name = Path(path).resolve().parent.name
        runs += _read(path, name, {run.id: run for run in runs if run.id is not None})
    if not runs:
        raise UserError(f"no run is in {', '.join(map(str, paths))} yet")
    counts = Counter(run.name for run in runs)
    seen: Counter[str] = Counter()
    for run in runs:
        if counts[name := run.name] > 1:
            seen[name] += 1
            run.name = f"{name} {seen[name]}"
    return runs


def _read(path: str | os.PathLike[str], name: str, known: dict[str | None, Run]) -> list[Run]:
    new: list[Run] = []
    nameless: Run | None = None
    for record in _records(path):
        id = record.get("run")
        if id is None:
            if nameless is None or _last(nameless) >= place(record):
                nameless = Run(name)
                new.append(nameless)
            run = nameless
        else:
            if str(id) not in known:
                known[str(id)] = Run(name, str(id))
                new.append(known[str(id)])
            run = known[str(id)]
        if record.get("event") == "start":
            run.header = record
        else:
            run.add(record)
    return new


def _last(run: Run) -> tuple[float, float]:
    return place(run.records[-1]) if run.records else (0.0, 0.0)


def _records(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            for line_number, line in enumerate(file, start=1):
                record = read_record(line)
                if record is None:
                    raise UserError(f"{path} is not a metrics file (see its line {line_number})")
                if record:  # else a kill has cut it
                    yield record
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
