"""From one long text to columns, and from columns to chunks of `bptt` steps."""

from __future__ import annotations

import numpy as np


def batchify(ids: np.ndarray, batch_size: int) -> np.ndarray:
    """Cut a text into `batch_size` columns of consecutive words, the excess thrown away.

    ids (N,) to (N // batch_size, batch_size). With 26 letters and 4 columns:

        a g m s
        b h n t
        c i o u
        d j p v
        e k q w
        f l r x     (y and z are lost)

    The columns are independent sequences to the model: it can't learn that g follows f, but it
    can read four at a time.
    """
    rows = len(ids) // batch_size
    return np.ascontiguousarray(ids[: rows * batch_size].reshape(batch_size, rows).T)


def get_batch(source: np.ndarray, i: int, bptt: int) -> tuple[np.ndarray, np.ndarray]:
    """The chunk that starts at row i: what goes in, and the word that follows each.

    source (rows, B); returns data (T, B) and target (T·B,), with T = min(bptt, rows - 1 - i).
    """
    T = min(bptt, len(source) - 1 - i)
    return source[i : i + T], source[i + 1 : i + 1 + T].reshape(-1)


def count_batches(source: np.ndarray, bptt: int) -> int:
    """How many chunks `source` has, the last, shorter one included."""
    return -(-(len(source) - 1) // bptt)
