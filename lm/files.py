"""Writing a file so that it is at every moment the old one or the new one, and whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

LEFT_BEHIND = 3600.0  # seconds after which a temporary file is that of a run that was killed


def replace_file(path: str | os.PathLike[str], contents: bytes | bytearray) -> None:
    """Put `contents` at `path`, on disk when this returns.

    They are written to a temporary file, flushed and renamed. Whatever happens on the way, to
    this process or to the machine, `path` keeps what it had. Temporary files that a kill left
    there are removed an hour later. Raises OSError, also for what is no file, as a device.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    if path.exists() and not path.is_file():
        raise OSError(None, "it is there and is not a file")
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _flush_folder(path.parent)
    _remove_left_behind(path)


def try_to_write(path: Path) -> None:
    """Raise OSError if `replace_file` could not even begin to write to `path`."""
    temporary = _temporary(Path(os.path.realpath(path)))
    temporary.touch(exist_ok=False)
    temporary.unlink()


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, also through links, and also before it exists."""
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):  # one of them is not there
        return os.path.realpath(a) == os.path.realpath(b)


def _temporary(path: Path) -> Path:
    """A file beside the other, since only within one file system a rename is atomic.

    Its name is drawn, so that no two runs, nor two threads of one, ever write to the same.
    """
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")


def _flush_folder(folder: Path) -> None:
    """Put the rename itself on disk, where the system can (Windows can't open a folder)."""
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
