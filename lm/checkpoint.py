"""A run in one file: weights, optimiser, position, settings and vocabulary.

The file is safetensors: arrays, and text metadata in JSON. Loading it executes no code.

    model.<name>                  the weights, as state_dict names them
    optimizer.<slot>.<parameter>  the arrays that the optimiser keeps
    hidden.<i>                    the state carried from chunk to chunk
    vocabulary.utf8               all words concatenated, in UTF-8 (uint8)
    vocabulary.offsets            word i is the bytes from offsets[i] to offsets[i + 1] (int64)
    metadata                      format, settings, run, optimizer, sha256

The words are arrays, since safetensors limits the metadata to 100 MB; in format 2, which is still
read, they were the text `vocabulary`. `sha256` is the checksum of the whole file with zeros in its
own place, so that any changed byte is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.backend import to_host

from .console import UserError
from .files import replace_file

PROGRAM = "minigrad-lm-"
FORMAT = PROGRAM + "3"  # raised when what the file holds changes
OLDER = PROGRAM + "2"  # with the vocabulary as text
TEXTS = {"settings": dict, "run": dict, "optimizer": dict}
ARRAYS = ("model", "hidden", "optimizer", "vocabulary")

SEAL = b'"sha256":"'  # before the checksum; unique, since quotation marks in the texts are escaped
UNSEALED = "0" * 64


@dataclass
class Checkpoint:
    """What a checkpoint file holds."""

    settings: dict[str, Any]
    vocabulary: list[str]
    model: dict[str, np.ndarray]
    run: dict[str, Any] = field(default_factory=dict)  # position, best result, random state
    hidden: dict[str, np.ndarray] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)  # its state_dict, with the lr
    path: Path | None = field(default=None, compare=False)  # where it was loaded from


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; at every moment the file at `path` is either the old or the new one.

    Raises UserError if it can't be written; the old file remains.
    """
    with must_be_written(f"the checkpoint {path}"):
        state, kept = _separate(checkpoint.optimizer)
        groups = {
            "model": checkpoint.model,
            "hidden": checkpoint.hidden,
            "optimizer": kept,
            "vocabulary": _as_arrays(checkpoint.vocabulary),
        }
        arrays = {f"{g}.{name}": array for g in ARRAYS for name, array in groups[g].items()}
        texts = {"settings": checkpoint.settings, "run": checkpoint.run, "optimizer": state}
        replace_file(path, sealed(arrays, {name: json.dumps(texts[name]) for name in TEXTS}))


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint. Raises UserError if there is no file, or it is not a valid checkpoint."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not os.path.isfile(path):
        if os.path.exists(path):
            raise UserError(f"{path} is not a file; name a checkpoint, such as model.safetensors")
        raise UserError(f"no checkpoint {path}; train a model first, with --save {path}")
    try:
        contents = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"can't read the checkpoint {path}: {error.strerror}") from error
    metadata = _metadata(contents, path)
    if not _is_intact(contents):
        raise UserError(
            f"{path} is damaged: it has changed since it was written (its SHA-256 sum differs); "
            "use another checkpoint"
        )
    with must_fit(path):
        try:
            arrays = load(contents)
        except SafetensorError as error:
            raise ValueError(error) from error
        parts: dict[str, Any] = {name: json.loads(metadata[name]) for name in TEXTS}
        for name, kind in TEXTS.items():
            if not isinstance(parts[name], kind):
                raise TypeError(f"{name} is not a {kind.__name__}")
        parts |= {group: _group(arrays, group) for group in ("model", "hidden")}
        parts["optimizer"] = _joined(parts["optimizer"], _group(arrays, "optimizer"))
        if metadata["format"] == OLDER:
            parts["vocabulary"] = _checked(json.loads(metadata["vocabulary"]))
        else:
            parts["vocabulary"] = _checked(_words(**_group(arrays, "vocabulary")))
        return Checkpoint(**parts, path=Path(path))


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` claims to be a checkpoint of this program, of any version."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("format", "").startswith(PROGRAM)
    except (SafetensorError, OSError):
        return False


@contextlib.contextmanager
def must_be_written(what: str) -> Iterator[None]:
    """Turn errors of assembling and writing `what` into a UserError."""
    from safetensors import SafetensorError

    try:
        yield
    except OSError as error:
        raise UserError(f"can't write {what}: {error.strerror}") from error
    except (SafetensorError, ValueError, TypeError, MemoryError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"can't write {what} ({reason}); the old file remains") from error


@contextlib.contextmanager
def must_fit(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Turn errors caused by the contents of the checkpoint at `path` into a UserError."""
    try:
        yield
    except (LookupError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"{path} is a damaged checkpoint, or one of another version ({reason})"
        raise UserError(message) from error


# -------------------------------------------------------------------- the file


def sealed(arrays: Mapping[str, Any], texts: Mapping[str, str]) -> bytearray:
    """The contents of a checkpoint file."""
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(to_host(array)) for name, array in arrays.items()}
    metadata = {"format": FORMAT, **texts, "sha256": UNSEALED}
    contents = bytearray(save(whole, metadata=metadata))
    start = contents.index(SEAL) + len(SEAL)
    contents[start : start + len(UNSEALED)] = hashlib.sha256(contents).hexdigest().encode()
    return contents


def _is_intact(contents: bytes) -> bool:
    """Whether the checksum in the file is correct."""
    start = contents.find(SEAL) + len(SEAL)
    end = start + len(UNSEALED)
    whole = memoryview(contents)
    actual = hashlib.sha256(whole[:start])
    actual.update(UNSEALED.encode())
    actual.update(whole[end:])
    return actual.hexdigest().encode() == contents[start:end]


def _metadata(contents: bytes, path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a safetensors file (UserError if it is not a checkpoint of this version).

    The file begins with the length of its header in eight bytes, and the header in JSON.
    """
    length = int.from_bytes(contents[:8], "little")
    try:
        header = json.loads(contents[8 : 8 + length])
        metadata = dict(header.get("__metadata__", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is not a checkpoint, or a damaged one; give a file that --save wrote. A model "
            "of PyTorch's (a pickle, which is never loaded) must be saved as safetensors there, "
            "and converted with `python -m lm convert`"
        ) from error
    if (version := str(metadata.get("format"))) not in (FORMAT, OLDER):
        if version.startswith(PROGRAM):
            raise UserError(
                f"{path} is a checkpoint of another version ({version}, and this program reads "
                f"{FORMAT} and {OLDER}); load it with the version that wrote it, or train again"
            )
        raise UserError(f"{path} is not a checkpoint of this program (format {FORMAT})")
    return metadata


def _group(arrays: Mapping[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `group.`, without that prefix."""
    prefix = group + "."
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


# -------------------------------------------------------------------- the vocabulary


def _as_arrays(words: Sequence[str]) -> dict[str, np.ndarray]:
    """The words concatenated in UTF-8, and the offsets where each begins and ends."""
    encoded = [word.encode() for word in words]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(word) for word in encoded], out=offsets[1:])
    return {"utf8": np.frombuffer(b"".join(encoded), dtype=np.uint8), "offsets": offsets}


def _words(utf8: np.ndarray, offsets: np.ndarray) -> list[str]:
    """The inverse of `_as_arrays`."""
    if utf8.dtype != np.uint8 or offsets.dtype != np.int64:
        raise ValueError(f"the vocabulary has dtypes {utf8.dtype} and {offsets.dtype}")
    whole = offsets[:1].tolist() == [0] and offsets[-1] == utf8.size
    if utf8.ndim != 1 or offsets.ndim != 1 or not whole or (np.diff(offsets) < 0).any():
        raise ValueError("the vocabulary has invalid offsets")
    encoded, ends = utf8.tobytes(), offsets.tolist()
    return [encoded[start:end].decode() for start, end in itertools.pairwise(ends)]


def _checked(words: Any) -> list[str]:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise TypeError("the vocabulary is not a list of words")
    if len(set(words)) < len(words):
        raise ValueError("the vocabulary has a word twice")
    return words


# -------------------------------------------------------------------- the optimiser


def _separate(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Split an optimiser's state into values for JSON and arrays named `<slot>.<parameter>`."""
    texts: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for slot, value in state.items():
        texts[slot] = value
        if isinstance(value, list):
            found = {i: to_host(x) for i, x in enumerate(value) if hasattr(x, "shape")}
            arrays |= {f"{slot}.{i}": x for i, x in found.items()}
            texts[slot] = [None if i in found else x for i, x in enumerate(value)]
    return texts, arrays


def _joined(texts: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `_separate`."""
    for name, array in arrays.items():
        slot, _, parameter = name.rpartition(".")
        texts[slot][int(parameter)] = array
    return texts
