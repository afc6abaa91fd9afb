"""Set up all tests: hypothesis, a clean state before each test, the fake device, the site."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

import lm.builtin
import minigrad as mg

sys.path.append(str(Path(__file__).parent / "shared"))  # `on_both` and `fake_cupy`
import fake_cupy

# The same examples on every run, so that only a change of the code makes a test fail.
settings.register_profile("tests", derandomize=True, deadline=None, max_examples=15)
settings.load_profile("tests")

# Reading the documentation of Python takes seconds, and many tests train on it.
lm.builtin.documentation = functools.cache(lm.builtin.documentation)


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Seed the library's generator; restore the default dtype after the test."""
    mg.manual_seed(0)
    dtype = mg.get_default_dtype()
    yield
    mg.set_default_dtype(dtype)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_cupy.FakeCupy]:
    """Make the fake device the backend "cupy"; the current backend stays NumPy."""
    monkeypatch.setattr(mg.backend, "_load_cupy", lambda: fake_cupy.module)
    yield fake_cupy.module
    mg.use("numpy")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Let each of several processes compute with one thread: they share the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let hypothesis draw fewer examples on the fake device, which is slow."""
    test = getattr(item, "obj", None)
    drawn = getattr(test, "_hypothesis_internal_use_settings", None)
    on_device = getattr(item, "callspec", None) and item.callspec.params.get("backend") == "cupy"
    if drawn is None or not on_device:
        return (yield)
    test._hypothesis_internal_use_settings = settings(
        drawn, max_examples=3, phases=[Phase.explicit, Phase.generate]
    )
    try:
        return (yield)
    finally:
        test._hypothesis_internal_use_settings = drawn


@pytest.fixture(params=["numpy", "cupy"])
def backend(request: pytest.FixtureRequest) -> str:
    """Run the test once on NumPy and once on the fake device.

    A file enables it with `pytestmark = pytest.mark.usefixtures("backend")`.
    """
    if request.param == "cupy":
        request.getfixturevalue("device")
        mg.use("cupy")
    return request.param


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew: a warning is an error."""
    pytest.importorskip("sphinx", reason="needs Sphinx: pip install '.[docs]'")
    out = tmp_path_factory.mktemp("site") / "docs"
    docs = Path(__file__).resolve().parent.parent / "docs"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(docs), str(out)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium that Playwright controls."""
    reason = "needs Playwright: pip install '.[browser]'"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("needs Chromium: install it, or name the program in the variable CHROMIUM")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program)
        yield chromium
        chromium.close()
