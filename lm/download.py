"""One file over HTTP, whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

CHUNK = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds without an answer


class DownloadError(Exception):
    """The file could not be had; the message is one line: the reason."""


def download(url: str, path: Path, sha256: str, max_bytes: int, progress: bool = True) -> None:
    """Fetch `url` into `path`, which appears only once its SHA-256 sum has been verified.

    The folder is made if need be. `progress` draws a bar on standard error if that is a
    terminal. Raises DownloadError if the file cannot be fetched or written, is larger than
    `max_bytes`, or has another sum.
    """
    # In the same folder, so that the rename is atomic; a name of its own for each process.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if _fetch(url, part, max_bytes, progress) != sha256:
                raise DownloadError("wrong SHA-256 sum")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).strip("<>").split())
        raise DownloadError(reason or type(error).__name__) from error


def _fetch(url: str, part: Path, max_bytes: int, progress: bool) -> str:
    """Write what `url` gives to `part`; the SHA-256 sum of it, in hexadecimal digits."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    shown = progress and console.is_terminal
    sha256 = hashlib.sha256()
    received = 0
    with (
        urlopen(url, timeout=TIMEOUT) as response,
        part.open("wb") as file,
        Progress(*columns, console=console, transient=True, disable=not shown) as bar,
    ):
        size = response.length  # None if the server does not say
        task = bar.add_task(url, total=size)
        while chunk := response.read(CHUNK):
            received += len(chunk)
            if received > max_bytes:
                raise DownloadError(f"larger than {max_bytes} bytes")
            file.write(chunk)
            sha256.update(chunk)
            bar.update(task, advance=len(chunk))
    if size is not None and received < size:
        raise DownloadError(f"connection cut after {received} of {size} bytes")
    return sha256.hexdigest()
