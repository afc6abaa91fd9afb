"""The progress of a run as a file of JSON lines."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import platform
import re
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad.backend import array_module

from ..console import UserError, warn
from ..steps import perplexity
from .observer import EpochEnd, Observer, Report
from .state import RunState


def header(state: RunState, batches: int) -> dict[str, Any]:
    """The settings, versions and sizes of a run, and its batches per epoch; fits JSON."""
    parameters = list(state.model.parameters())
    return {
        "settings": state.settings.as_dict(),
        "seed": state.settings.seed,
        "versions": versions(array_module(parameters[0].data)),
        "parameters": sum(p.size for p in parameters),
        "words": len(state.vocabulary),
        "batches": batches,
    }


def versions(xp: Any = np) -> dict[str, str]:
    """The versions of this program, Python, NumPy, and of CuPy if `xp` is CuPy."""
    found = {
        "minigrad": minigrad.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    return found if xp is np else {**found, "cupy": vars(xp).get("__version__", "unknown")}


def peak_memory() -> int | None:
    """The most memory that this process has had at once, in bytes; None where it can't be known."""
    # On Linux, `getrusage` also counts what the parent had when it started this process.
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
            return 1024 * int(found[1])
    try:
        resource = importlib.import_module("resource")  # not on Windows
    except ImportError:
        return None
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def report_record(report: Report) -> dict[str, Any]:
    """A report as numbers by name."""
    return {
        "epoch": report.epoch,
        "batch": report.batch,
        "lr": report.lr,
        "loss": report.loss,
        "perplexity": perplexity(report.loss),
        "grad_norm": report.grad_norm,
        "tokens_per_second": report.words / report.seconds,
        "seconds": report.seconds,
    }


def epoch_record(end: EpochEnd) -> dict[str, Any]:
    """The end of an epoch as numbers by name."""
    return {
        "epoch": end.epoch,
        "valid_loss": end.valid_loss,
        "valid_perplexity": perplexity(end.valid_loss),
        "seconds": end.seconds,
        "train_seconds": end.train_seconds,
        "cpu_seconds": end.cpu_seconds,
        "tokens_per_second": end.words / end.train_seconds if end.train_seconds else None,
        "peak_memory": peak_memory(),
    }


def end_record(test_loss: float) -> dict[str, Any]:
    """The test at the end as numbers by name."""
    return {"test_loss": test_loss, "test_perplexity": perplexity(test_loss)}


def finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with None for infinity and NaN, which JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }


class MetricsFile(Observer):
    """One JSON object per line for every report, appended and flushed.

    Each line has the id of its run, `run`. The first line of a run in a file has
    `"event": "start"` and the `header`; a resumed run adds one only to a file that has none of it.

    A checkpoint keeps the file's length and checksum, here `resumed`. Lines written after that,
    which the resumed run will write again, are cut off. A line that can't be written is left out
    with a warning. Raises UserError if the file has foreign lines (it is not changed then), or if
    it can't be opened for appending, or the first line can't be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        resumed: Mapping[str, Any] | None = None,
        run: str | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.run, self.header = path, run, header
        self.written = self.failed = False
        try:
            headers = _headers(path) if os.path.isfile(path) else {}
            self.file = open(path, "ab")  # noqa: SIM115 (see close)
            self.length, self.checksum = self._continue(resumed or {})
        except OSError as error:
            raise UserError(f"can't write the metrics to {path}: {error.strerror}") from error
        if run in headers and headers[run] < self.length:
            self.header = None

    def _continue(self, resumed: Mapping[str, Any]) -> tuple[int, int]:
        """Cut the file where the resumed run left it, if it is that run's file.

        Returns its length in bytes and its checksum.
        """
        if not os.path.isfile(self.path):  # a pipe or a device can only be written to
            return 0, 0
        contents = Path(self.path).read_bytes()
        length = resumed.get("bytes")
        if length is not None and zlib.crc32(contents[:length]) == resumed.get("crc32"):
            self.file.truncate(length)
            contents = contents[:length]
        elif contents and not contents.endswith(b"\n"):  # a kill cut the last line
            self.file.write(b"\n")
            self.file.flush()
            contents += b"\n"
        return len(contents), zlib.crc32(contents)

    def start(self, text: str) -> None:
        if self.header is not None:
            self.write(event="start", **self.header)

    def write(self, **record: Any) -> None:
        first = {} if self.run is None else {"run": self.run}
        record = finite({**first, **record, "time": time.time()})
        line = (json.dumps(record) + "\n").encode()
        try:
            self._append(line)
        except OSError as error:
            reason = f"can't write the metrics to {self.path}: {error.strerror}"
            if not self.written:
                raise UserError(reason) from error
            if not self.failed:
                warn(f"{reason}; training continues, and the next report tries again")
            self.failed = True
        else:
            self.written, self.failed = True, False
            self.length += len(line)
            self.checksum = zlib.crc32(line, self.checksum)

    def _append(self, line: bytes) -> None:
        """Write the whole line or nothing."""
        try:
            written = os.write(self.file.fileno(), line)
            while written < len(line):
                written += os.write(self.file.fileno(), line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self.file.truncate(self.length)
            raise

    def state(self) -> dict[str, Any]:
        return {"metrics": {"bytes": self.length, "crc32": self.checksum}}

    def report(self, report: Report) -> None:
        self.write(**report_record(report))

    def epoch_end(self, end: EpochEnd) -> None:
        self.write(**epoch_record(end))

    def end(self, test_loss: float) -> None:
        self.write(**end_record(test_loss))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # write errors were reported before
            self.file.close()


# Every line of ours, also without `run` as in earlier versions, has a time and one of these names.
# A line cut by a kill starts like one of ours.
NAMES = {"event", "batch", "valid_loss", "test_loss"}
BEGINNINGS = (b'{"run": "', b'{"epoch": ', b'{"test_loss": ')


def _headers(path: str | os.PathLike[str]) -> dict[str, int]:
    """The offset of each run's header in a metrics file; UserError if it is another file."""
    headers: dict[str, int] = {}
    place = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            record = read_record(line)
            if record is None:
                raise UserError(
                    f"{path} exists and is not a metrics file (see its line {number}); "
                    "give --metrics another file"
                )
            if record.get("event") == "start":
                headers.setdefault(str(record.get("run")), place)
            place += len(line)
    return headers


def read_record(line: bytes) -> dict[str, Any] | None:
    """The contents of a line of metrics: empty if it is cut, None if it is not ours."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        start = line[:10].rstrip()
        cut = len(start) > 1 and any(start.startswith(b) or b.startswith(start) for b in BEGINNINGS)
        return {} if cut else None
    ours = isinstance(record, dict) and "time" in record and not NAMES.isdisjoint(record)
    return record if ours else None
