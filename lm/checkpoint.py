"""A run in one file: weights, where training stands, settings and vocabulary.

The file is safetensors: arrays, and text metadata in JSON. Loading it runs no code.

    model.<name>         the weights, as state_dict names them
    hidden.<i>           the state carried from chunk to chunk
    metadata             format, settings, vocabulary, run
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError

FORMAT = "minigrad-lm-1"
TEXTS = ("settings", "vocabulary", "run")
ARRAYS = ("model", "hidden")


@dataclass
class Checkpoint:
    """What a checkpoint file holds."""

    settings: dict[str, Any]
    vocabulary: list[str]
    model: dict[str, np.ndarray]
    run: dict[str, Any] = field(default_factory=dict)  # position, lr, best result, random state
    hidden: dict[str, np.ndarray] = field(default_factory=dict)


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file at `path` is at every moment the old one or the new one.

    Raises UserError if it can't be written; what was there stays.
    """
    from safetensors.numpy import save

    arrays = {
        f"{group}.{name}": np.ascontiguousarray(array)
        for group in ARRAYS
        for name, array in getattr(checkpoint, group).items()
    }
    texts = {name: json.dumps(getattr(checkpoint, name)) for name in TEXTS}
    contents = save(arrays, metadata={"format": FORMAT, **texts})
    path = Path(path)
    # The temporary file lies beside the other, since only within one file system a rename is
    # atomic; the process id keeps two runs apart.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(f"can't write the checkpoint {path}: {error.strerror}") from error


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint. Raises UserError if there is none at `path` or it is not one."""
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):
        raise UserError(f"no checkpoint {path}; train a model first, with --save {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path} is not a checkpoint of this program (format {FORMAT})")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a checkpoint, or a damaged one: {error}") from error
    with must_fit(path):
        parts: dict[str, Any] = {name: json.loads(metadata[name]) for name in TEXTS}
        parts |= {group: _group(arrays, group) for group in ARRAYS}
        return Checkpoint(**parts)


@contextlib.contextmanager
def must_fit(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong with the contents of the checkpoint at `path` into a UserError."""
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise UserError(
            f"{path} is a damaged checkpoint, or one of another version ({reason})"
        ) from error


def _group(arrays: Mapping[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `group.`, without that."""
    prefix = group + "."
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
