"""Every page of the site in Chromium: wide and narrow, light and dark, as a file and over HTTP.

    pip install '.[browser]'
    pytest -m browser

A page must load without an error, a failed request or a request to another host, be no wider than
the window, and have text with a contrast of at least 4.5 to what is behind it.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent
SIZES = {"wide": (1440, 900), "narrow": (360, 640)}
SAMPLE = ("source/minigrad/cells.py.html", "source/lm/steps.py.html")  # the others are alike
CONTRAST = Path(__file__).parent / "shared" / "contrast.js"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def addresses(site: Path) -> Iterator[dict[str, str]]:
    """Where the site is, as files and over HTTP."""
    handler = functools.partial(QuietHandler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"file": site.as_uri(), "http": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheme", ["file", "http"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page(
    site: Path, addresses: dict[str, str], browser: Any, size: str, theme: str, scheme: str
) -> None:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
    )
    tab, found = context.new_page(), []
    tab.on("console", lambda line: found.append(line.text) if line.type == "error" else None)
    tab.on("pageerror", lambda error: found.append(str(error)))
    tab.on("requestfailed", lambda request: found.extend(failure(request)))
    tab.on("response", lambda r: found.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    tab.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((addresses[scheme], "data:"))
            else found.append(f"another host: {request.url}")
        ),
    )
    problems = {}
    for page in pages(site):
        tab.goto(f"{addresses[scheme]}/{page}")
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        tab.evaluate("document.fonts.ready")
        if (wide := tab.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{wide} pixels wide")
        found += tab.evaluate(CONTRAST.read_text(encoding="utf-8"))
        if found:
            problems[page] = list(found)
            found.clear()
    context.close()
    assert not problems


def failure(request: Any) -> list[str]:
    """A request that failed; one that the next page has cut short did not."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"failed: {request.url}"]


def pages(site: Path) -> list[str]:
    every = [page.relative_to(site).as_posix() for page in sorted(site.rglob("*.html"))]
    return [page for page in every if not page.startswith("source/") or page in SAMPLE]


def test_a_faint_text_is_found(browser: Any) -> None:
    tab = browser.new_page()
    tab.set_content("<p style='color: #999'>faint</p><p>clear</p><p style='color: #0000'>no</p>")
    found = tab.evaluate(CONTRAST.read_text(encoding="utf-8"))
    assert [line.split('"')[1] for line in found] == ["faint", "no"]
    tab.close()


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_search_finds_a_term(addresses: dict[str, str], browser: Any, scheme: str) -> None:
    tab, errors = browser.new_page(), []
    tab.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{addresses[scheme]}/index.html")
    tab.fill(".sidebar-search", "ledger")
    tab.press(".sidebar-search", "Enter")
    tab.wait_for_selector("#search-results li a")
    titles = tab.locator("#search-results li a").all_inner_texts()
    assert any("Backpropagation" in title for title in titles), titles
    tab.locator("#search-results li a").first.click()
    tab.wait_for_selector("article h1")
    assert not errors
    tab.close()


def test_the_switch_changes_the_theme(addresses: dict[str, str], browser: Any) -> None:
    tab = browser.new_page(color_scheme="light")
    tab.goto(f"{addresses['file']}/index.html")
    background = "getComputedStyle(document.body).backgroundColor"
    seen = {tab.evaluate(background)}
    for _ in range(2):  # automatic, light, dark
        tab.locator(".theme-toggle:visible").first.click()
        seen.add(tab.evaluate(background))
    assert len(seen) == 2
    tab.close()
