"""The same seed gives the same random numbers, independently in each thread."""

from __future__ import annotations

import itertools
import json
import random as python_random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import leaf
from on_both import assert_array_equal, host

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, random
from minigrad.backend import current_backend

pytestmark = pytest.mark.usefixtures("backend")

DRAWS: dict[str, Callable[[], np.ndarray]] = {
    "dropout": lambda: F.dropout(leaf(np.ones(50))).data,
    "linear": lambda: nn.Linear(5, 10).bias.data,
    "embedding": lambda: nn.Embedding(5, 10).weight.data,
    "recurrent": lambda: nn.LSTM(2, 3).weight_hh_l0.data,
    "cell": lambda: nn.GRUCell(2, 3).weight_ih.data,
    "uniform": lambda: random.uniform(-1, 1, (50,)),
    "normal": lambda: random.normal((50,)),
    "mask": lambda: random.keep_mask((50,), 0.5),
}
each_draw = pytest.mark.parametrize("name", DRAWS)


@each_draw
def test_a_seed_repeats_every_draw(name: str) -> None:
    mg.manual_seed(7)
    first, second = DRAWS[name](), DRAWS[name]()
    mg.manual_seed(7)
    assert_array_equal(DRAWS[name](), first)
    assert_array_equal(DRAWS[name](), second)
    assert (first != second).any()
    mg.manual_seed(8)
    assert (DRAWS[name]() != first).any()


@each_draw
def test_other_generators_are_neither_asked_nor_moved(name: str) -> None:
    mg.manual_seed(7)
    first = DRAWS[name]()
    np.random.seed(1)
    python_random.seed(1)
    expected = np.random.random(), python_random.random()
    np.random.seed(1)
    python_random.seed(1)
    mg.manual_seed(7)
    assert_array_equal(DRAWS[name](), first)
    assert (np.random.random(), python_random.random()) == expected


@each_draw
def test_a_state_kept_as_text_goes_on_where_it_was(name: str) -> None:
    mg.manual_seed(7)
    DRAWS[name]()
    text = json.dumps(random.get_state())
    expected = DRAWS[name]()
    mg.manual_seed(8)
    random.set_state(json.loads(text))
    assert_array_equal(DRAWS[name](), expected)


def test_a_state_is_a_snapshot() -> None:
    state = random.get_state()
    before = json.dumps(state)
    random.normal((3,))
    assert json.dumps(state) == before


def test_each_thread_has_a_generator_of_its_own() -> None:
    """Two threads that alternate get the same numbers as each alone."""
    meeting = threading.Barrier(2)

    name = current_backend()  # the backend is per thread

    def draw(seed: int) -> list[np.ndarray]:
        mg.use(name)
        mg.manual_seed(seed)
        draws = []
        for _ in range(20):
            meeting.wait(10)
            draws.append(DRAWS["dropout"]())
        return draws

    mg.manual_seed(3)
    mine = random.normal((5,))
    mg.manual_seed(3)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(draw, [1, 2]))
    assert_array_equal(random.normal((5,)), mine)
    for seed, draws in zip([1, 2], together, strict=True):
        mg.manual_seed(seed)
        for drawn in draws:
            assert_array_equal(DRAWS["dropout"](), drawn)


@pytest.mark.parametrize("draw", [lambda s: random.uniform(-1, 1, s), random.normal])
def test_draws_in_blocks_are_those_of_one_call(
    draw: Callable[[tuple[int, ...]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mg.manual_seed(3)
    whole, after = draw((5, 3)), random.get_state()
    monkeypatch.setattr(random, "BLOCK", 4)
    mg.manual_seed(3)
    assert_array_equal(draw((5, 3)), whole)
    assert random.get_state() == after


def test_draws_have_the_range_and_the_dtype_asked_for() -> None:
    drawn = host(random.uniform(-2.0, 3.0, (100, 100)))
    assert drawn.dtype == np.float32
    assert -2 <= drawn.min() < -1.9
    assert 2.9 < drawn.max() <= 3
    assert host(random.normal((100, 100))).std() == pytest.approx(1, abs=0.05)
    mg.set_default_dtype(np.float64)
    assert random.uniform(0.0, 1.0, (2,)).dtype == random.normal((2,)).dtype == np.float64


@pytest.mark.parametrize(("p", "kept"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)])
def test_a_mask_keeps_the_share_that_is_not_dropped(p: float, kept: float) -> None:
    mask = host(random.keep_mask((200, 100), p))
    assert mask.dtype == bool
    assert mask.mean() == pytest.approx(kept, abs=0.02 if 0 < p < 1 else 0)


@pytest.mark.parametrize(
    "shape", [(5, 7, 3), (4, 6, 10), (1, 5, 9), (3, 7), (2, 3, 1, 5), (0, 4, 2)]
)
@pytest.mark.parametrize("cuts", [(), (1,), (2, 3), (1, 2)])
def test_columns_of_a_mask_are_those_of_the_whole_and_move_the_generator_as_far(
    shape: tuple[int, ...], cuts: tuple[int, ...]
) -> None:
    """Also where a draw of two numbers lies across two columns or two rows."""
    mg.manual_seed(7)
    random.generator().integers(0, 9, dtype=np.uint32)  # leaves half of a draw in the generator
    start = random.get_state()
    assert start["has_uint32"] == 1
    masks = [random.keep_mask(shape, 0.4) for _ in range(3)]
    end = random.get_state()
    edges = [0, *cuts, shape[1]]
    for first, stop in itertools.pairwise(edges):
        random.set_state(start)
        part = (shape[0], stop - first, *shape[2:])
        with random.columns(first, stop, shape[1]):
            for mask in masks:
                assert_array_equal(random.keep_mask(part, 0.4), mask[:, first:stop])
        assert random.get_state() == end
    random.keep_mask(shape, 0.4)  # again of the whole


def test_a_mask_without_its_columns_is_an_error() -> None:
    with random.columns(2, 5, 9):
        with pytest.raises(ValueError, match=r"\(4, 2, 3\) does not have the columns 2 to 5"):
            random.keep_mask((4, 2, 3), 0.5)
        with pytest.raises(ValueError, match="does not have the columns"):
            random.keep_mask((3,), 0.5)
