"""Cut one long text into columns, and the columns into chunks of `bptt` steps."""

from __future__ import annotations

import numpy as np

from .console import UserError
from .idfile import MappedIds, mapped_columns


def batchify(ids: np.ndarray, batch_size: int) -> np.ndarray:
    """Cut a text into `batch_size` columns of consecutive words and drop the excess.

    ids (N,) to (N // batch_size, batch_size). With 26 letters and 4 columns:

        a g m s
        b h n t
        c i o u
        d j p v
        e k q w
        f l r x     (y and z are dropped)

    The model reads the four columns in parallel, as independent sequences: it can't learn that
    g follows f.
    """
    if batch_size < 1:
        raise ValueError(f"batchify: batch_size must be at least 1, not {batch_size}")
    rows = len(ids) // batch_size
    return np.ascontiguousarray(ids[: rows * batch_size].reshape(batch_size, rows).T)


def get_batch(source: np.ndarray, i: int, bptt: int) -> tuple[np.ndarray, np.ndarray]:
    """The chunk that starts at row i: the input words, and the word that follows each.

    source (rows, B); returns data (T, B) and target (T·B,), with T = min(bptt, rows - 1 - i).
    """
    T = min(bptt, len(source) - 1 - i)
    return source[i : i + T], source[i + 1 : i + 1 + T].reshape(-1)


def count_batches(source: np.ndarray, bptt: int) -> int:
    """The number of chunks in `source`, including a shorter last one."""
    return -(-(len(source) - 1) // bptt)


def columns(split: str, ids: np.ndarray, batch_size: int) -> np.ndarray:
    """A split as columns of at least two rows: a word and the one that follows.

    Ids in a mapped file stay there. Raises UserError if the text is too short.
    """
    if len(ids) < 2 * batch_size:
        smaller = " or a smaller --batch-size or --accumulate" if split == "train" else ""
        raise UserError(
            f"the {split} text has {len(ids)} words, fewer than the {2 * batch_size} that "
            f"{batch_size} columns need; give more text{smaller}"
        )
    return (mapped_columns if isinstance(ids, MappedIds) else batchify)(ids, batch_size)
