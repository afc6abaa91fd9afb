"""Write a file so that at every moment it is either the old or the new one, and complete."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .console import UserError

LEFT_BEHIND = 3600.0  # seconds after which a temporary file is assumed to be of a killed run


def replace_file(path: str | os.PathLike[str], contents: bytes | bytearray) -> None:
    """Write `contents` to `path`, as `replacing` does."""
    with replacing(path) as file:
        file.write(contents)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write the new contents of `path` to; they are on disk when the block ends.

    It is a temporary file, which is flushed and renamed. If the block raises, or the process or the
    machine fails, `path` keeps its old contents. Temporary files of killed runs are removed after
    an hour. Raises OSError, also if `path` is not a regular file but, for example, a device.
    """
    path = Path(os.path.realpath(path))  # keep a link
    if path.exists() and not path.is_file():
        raise OSError(None, "it exists and is not a file")
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _flush_folder(path.parent)
    _remove_left_behind(path)


def make_folder(path: Path) -> Path:
    """Create a folder, with those above it, if it is missing; UserError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't create the folder {path}: {error.strerror}; name another") from None
    return path


def try_to_write(path: Path) -> None:
    """Raise OSError if `replace_file` could not create its temporary file for `path`."""
    temporary = _temporary(Path(os.path.realpath(path)))
    temporary.touch(exist_ok=False)
    temporary.unlink()


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to the same file, also through links or before it exists."""
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):  # one of them does not exist
        return os.path.realpath(a) == os.path.realpath(b)


def _temporary(path: Path) -> Path:
    """A file in the same folder, since a rename is atomic only within a file system.

    Its name is random, so that two runs or threads never write to the same file.
    """
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")


def _flush_folder(folder: Path) -> None:
    """Flush the rename itself to disk, where possible (Windows can't open a folder)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_left_behind(path: Path) -> None:
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            ours = entry.name.startswith(path.name + ".") and entry.name.endswith(".tmp")
            if ours and time.time() - entry.stat().st_mtime > LEFT_BEHIND:
                os.unlink(entry.path)
