"""Columns of consecutive text, and chunks with their shifted targets."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.batches import batchify, count_batches, get_batch

columns = st.integers(1, 12)
steps = st.integers(1, 40)


def letters(array: np.ndarray) -> list[str]:
    return ["".join(string.ascii_lowercase[i] for i in row) for row in array]


def test_the_alphabet_in_four_columns() -> None:
    source = batchify(np.arange(26), 4)
    assert letters(source) == ["agms", "bhnt", "ciou", "djpv", "ekqw", "flrx"]


def test_a_chunk_and_its_targets() -> None:
    data, target = get_batch(batchify(np.arange(26), 4), 1, 2)
    assert letters(data) == ["bhnt", "ciou"]
    assert letters(target.reshape(2, 4)) == ["ciou", "djpv"]


@given(st.integers(0, 300), columns)
def test_columns_are_consecutive_stretches_and_the_excess_is_lost(n: int, batch_size: int) -> None:
    source = batchify(np.arange(n), batch_size)
    rows = n // batch_size
    assert source.shape == (rows, batch_size)
    np.testing.assert_array_equal(source.T.reshape(-1), np.arange(rows * batch_size))


def test_batchify_keeps_the_dtype_and_leaves_the_text_alone() -> None:
    ids = np.arange(10, dtype=np.int32)
    source = batchify(ids, 3)
    assert source.dtype == np.int32
    source[...] = -1
    np.testing.assert_array_equal(ids, np.arange(10))


@given(st.integers(2, 60), columns, steps, st.data())
def test_target_is_the_word_after_each(
    rows: int, batch: int, bptt: int, data: st.DataObject
) -> None:
    source = np.arange(rows * batch).reshape(rows, batch) * 7
    i = data.draw(st.integers(0, rows - 2), label="i")
    given_words, target = get_batch(source, i, bptt)
    T = min(bptt, rows - 1 - i)
    assert given_words.shape == (T, batch)
    assert target.shape == (T * batch,)
    for t in range(T):
        for b in range(batch):
            assert given_words[t, b] == source[i + t, b]
            assert target[t * batch + b] == source[i + t + 1, b]


@given(st.integers(2, 80), columns, steps)
def test_an_epoch_predicts_every_word_but_the_first_row_once(
    rows: int, batch: int, bptt: int
) -> None:
    source = np.arange(rows * batch).reshape(rows, batch)
    chunks = [get_batch(source, k * bptt, bptt) for k in range(count_batches(source, bptt))]
    np.testing.assert_array_equal(np.concatenate([data for data, _ in chunks]), source[:-1])
    predicted = np.concatenate([target for _, target in chunks])
    np.testing.assert_array_equal(predicted, source[1:].reshape(-1))
    lengths = [len(data) for data, _ in chunks]
    assert set(lengths[:-1]) <= {bptt}
    assert 1 <= lengths[-1] <= bptt


def test_the_last_chunk_is_short() -> None:
    source = np.arange(10).reshape(10, 1)
    assert count_batches(source, 4) == 3
    data, target = get_batch(source, 8, 4)
    assert data.tolist() == [[8]]
    assert target.tolist() == [9]


@pytest.mark.parametrize("batch_size", [0, -2])
def test_batchify_needs_a_column(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, not {batch_size}"):
        batchify(np.arange(26), batch_size)
