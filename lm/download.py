"""Download a file over HTTP, completely and verified, or not at all."""

from __future__ import annotations

import hashlib
import secrets
import time
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

CHUNK = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds without an answer
DEADLINE = 600.0  # seconds in total: a slow trickle of bytes would never time out


class DownloadError(Exception):
    """The download failed; the message is one line: the reason."""


def download(
    url: str, folder: Path, name: str, sha256: str, max_bytes: int, progress: bool = True
) -> None:
    """Download `url` to the file `name` in `folder`, and verify its SHA-256 sum first.

    The folder is created if necessary, and nothing is written outside it: `name` must be a plain
    name, and a link in its place is replaced, not followed. `progress` draws a bar on standard
    error if that is a terminal. Raises DownloadError if the file cannot be fetched or written,
    takes longer than `DEADLINE`, is larger than `max_bytes`, or has a different sum.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise DownloadError(f"{name!r} is not the name of a file in {folder}")
    # In the same folder, so that the rename is atomic; with a unique name.
    part = folder / f".{name}.{secrets.token_hex(8)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if _fetch(url, part, max_bytes, progress) != sha256:
                raise DownloadError("wrong SHA-256 sum")
            part.replace(folder / name)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).strip("<>").split())
        raise DownloadError(reason or type(error).__name__) from error


def _fetch(url: str, part: Path, max_bytes: int, progress: bool) -> str:
    """Download `url` to `part`; returns its SHA-256 sum in hexadecimal digits."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    shown = progress and console.is_terminal
    sha256 = hashlib.sha256()
    received, started = 0, time.monotonic()
    with (
        urlopen(url, timeout=TIMEOUT) as response,
        part.open("xb") as file,
        Progress(*columns, console=console, transient=True, disable=not shown) as bar,
    ):
        size = response.length  # None if the server does not say
        task = bar.add_task(url, total=size)
        while chunk := response.read1(CHUNK):  # what has arrived, without waiting for more
            received += len(chunk)
            if time.monotonic() - started > DEADLINE:
                raise DownloadError(f"not done after {DEADLINE:g} seconds")
            if received > max_bytes:
                raise DownloadError(f"larger than {max_bytes} bytes")
            file.write(chunk)
            sha256.update(chunk)
            bar.update(task, advance=len(chunk))
    if size is not None and received < size:
        raise DownloadError(f"connection cut after {received} of {size} bytes")
    return sha256.hexdigest()
