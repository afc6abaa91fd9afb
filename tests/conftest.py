"""What holds for all tests: how hypothesis draws, and a clean state before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

import minigrad as mg

# The same examples on every run: a failure is then the change's, not the draw's.
settings.register_profile("tests", derandomize=True, deadline=None, max_examples=15)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Seed the library's generator, and undo what a test did to the default dtype."""
    mg.manual_seed(0)
    dtype = mg.get_default_dtype()
    yield
    mg.set_default_dtype(dtype)
