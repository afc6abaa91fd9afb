"""The page on which one watches backpropagation through time, in a browser.

pytest -m browser tests/course/test_watch.py
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import BUILT, committed, part
from trace_bptt import CELL_NAMES, SCALES, T

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs" / "watch"
MODULES = ROOT / "build" / "watch" / "node_modules"
ACTS = ("forward", "back", "cut", "far")
SIZES = ((1440, 900), (360, 640))
PARTS = [(cell, scale) for cell in CELL_NAMES for scale in SCALES]
browser_test = pytest.mark.browser


# -------------------------------------------------------------------- without a browser


def test_the_page_is_small() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in BUILT.iterdir()}
    assert {"index.html", "page.js", "page.css", "recording.js"} <= set(sizes)
    assert sum(sizes.values()) < 500_000


def test_the_page_names_no_other_host() -> None:
    for path in BUILT.iterdir():
        text = re.sub(r"http://www\.w3\.org/\S+", "", path.read_text(encoding="utf-8"))
        assert not re.findall(r"https?://[\w.]+", text), path.name


def test_every_equation_belongs_to_a_recorded_statement() -> None:
    """Each pattern of equations.js matches a statement, so that none outlives its source."""
    text = (SOURCE / "src" / "equations.js").read_text(encoding="utf-8")
    sites = committed()[0]["sites"]
    patterns = re.findall(r'^  \["([\w.]+)", "(\w*)", "((?:[^"\\]|\\.)*)"', text, re.MULTILINE)
    assert len(patterns) > 70
    for function, inner, start in patterns:
        assert any(s[0] == function and s[1] == inner and s[4].startswith(start) for s in sites), (
            f"{function} {start}"
        )


@pytest.mark.skipif(
    not MODULES.is_dir() or not shutil.which("node"), reason="needs node; run make watch once"
)
def test_the_built_page_is_current(tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "src", tmp_path / "src")
    shutil.copy(SOURCE / "build.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "built").mkdir()
    shutil.copy(BUILT / "recording.js", tmp_path / "built")
    subprocess.run(["node", "build.mjs", "built"], cwd=tmp_path, check=True)
    for name in ("index.html", "page.js", "page.css", "licences.txt"):
        assert (tmp_path / "built" / name).read_text() == (BUILT / name).read_text(), "make watch"


# -------------------------------------------------------------------- opening it


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the page; afterwards, no error was logged and nothing else than files was asked for."""
    problems: list[str] = []
    contexts = []

    def open_page(size: tuple[int, int] = SIZES[0], act: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("console", lambda m: m.type in ("error", "warning") and problems.append(m.text))
        page.on("requestfailed", lambda r: problems.append(f"failed: {r.url}"))
        page.on(
            "request",
            lambda r: r.url.startswith(("file:", "data:")) or problems.append(f"foreign: {r.url}"),
        )
        page.goto((BUILT / "index.html").as_uri() + act)
        if options.get("java_script_enabled", True):
            page.wait_for_function("globalThis.watch")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def show(page: Any, **change: Any) -> None:
    page.evaluate("(change) => watch.update(change)", change)


# -------------------------------------------------------------------- stepping


@browser_test
@pytest.mark.parametrize(("cell", "scale"), PARTS)
def test_every_case_steps_to_the_end_and_back(
    cell: str, scale: float, visit: Callable[..., Any]
) -> None:
    """By time steps in each position of the scissors; the gradients shown are the recorded ones."""
    page = visit()
    page.evaluate("watch.go('cut')")
    found = part(cell, scale)
    for cut in range(T):
        show(page, cell=cell, scale=scale, cut=cut, k=0)
        steps = page.evaluate(
            """() => { let n = 0, last = -1;
            while (watch.state.k !== last) { last = watch.state.k; watch.over(1); n++; }
            const end = watch.state.k;
            while (watch.state.k > 0) watch.over(-1);
            watch.update({k: end}); return [n, end]; }"""
        )
        assert steps[0] > 2 * T and steps[1] == len(found.events(cut)) - 1
        shown = page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll("#net [data-norm]")].map(
            (e) => [e.getAttribute("key") ?? e.__data__.key, +e.dataset.norm]))"""
        )
        last = {(kind, t): value for kind, t, _, value in found.marks(cut)}
        for t in range(1, T):
            grad = np.linalg.norm(last["dh_prev", t])
            expected = 0 if t == cut else grad
            assert shown[f"ghh{t}"] == pytest.approx(expected, abs=6e-6)
            assert shown[f"vhh{t}"] == pytest.approx(np.linalg.norm(last["h", t - 1]), abs=6e-6)
            assert shown[f"da{t}"] == pytest.approx(np.linalg.norm(last["dout", t]), abs=6e-6)


@browser_test
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_every_line_forward_and_back(cell: str, visit: Callable[..., Any]) -> None:
    page = visit()
    show(page, cell=cell)
    lines = page.evaluate(
        """() => { const seen = []; watch.update({k: 0});
        const code = () => { const now = document.querySelectorAll(".line.now .n");
            return now.length ? now[0].textContent : ""; };
        for (let k = 0; k < watch.run().length; k++) {
            watch.update({k});
            seen.push([code(), document.getElementById("say").textContent]);
        }
        for (let k = watch.run().length - 1; k >= 0; k--) {
            watch.update({k});
            if (code() !== seen[k][0]) seen.push("differs");
        }
        return seen; }"""
    )
    events = part(cell, 1.0).events(0)
    assert len(lines) == len(events)
    arithmetic = re.compile(r"[+*-]=| [*] |multiply|tanh\(|maximum|logistic|subtract|fill")
    explained = 0
    for (line, say), (site, *_) in zip(lines, events, strict=True):
        assert line == str(site[2]) and say
        if "." in site[0] and arithmetic.search(site[4]):
            explained += 1
            assert not say.startswith("Bookkeeping"), site
    assert explained >= 3 * T


@browser_test
@pytest.mark.parametrize("size", SIZES)
def test_a_step_is_fast(size: tuple[int, int], visit: Callable[..., Any]) -> None:
    """A frame's worth of processor time at most: script, style, layout and drawing together."""
    page = visit(size)
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds() -> float:
        metrics = tools.send("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    for cell in CELL_NAMES:
        show(page, cell=cell, k=0)
        before = seconds()
        steps = page.evaluate(
            """() => new Promise((done) => { let k = 0; const go = () => {
            if (k === watch.run().length) return done(k);
            watch.update({k: k++}); requestAnimationFrame(go); }; go(); })"""
        )
        each = 1000 * (seconds() - before) / steps
        print(f"{size[0]} wide, {cell}: {each:.1f} ms for each of {steps} steps")
        assert each < 16


@browser_test
def test_the_first_paint_is_fast(visit: Callable[..., Any]) -> None:
    paints = []
    for _ in range(3):
        page = visit()
        page.wait_for_function('performance.getEntriesByName("first-contentful-paint").length')
        paint = 'performance.getEntriesByName("first-contentful-paint")[0].startTime'
        paints.append(page.evaluate(paint))
    print(f"first paint after {min(paints):.0f} ms")
    assert min(paints) < 1000


@browser_test
def test_the_entry_says_how_it_comes_about(visit: Callable[..., Any]) -> None:
    page = visit()
    page.evaluate("watch.go('back'); watch.update({k: watch.run().when('dh', 3)})")
    page.locator(".array[data-name=dh] td").first.hover()
    text = page.locator("#entry").inner_text().replace("−", "-")
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", text)]
    assert len(numbers) == 3 and numbers[0] == pytest.approx(sum(numbers[1:]), abs=0.006)
    page.locator('.v[data-name="dout"].has').first.hover()
    assert page.locator("#pop").is_visible() and "dout" in page.locator("#pop").inner_text()


@browser_test
def test_the_text_drives_the_figure(visit: Callable[..., Any]) -> None:
    page = visit(act="#back")
    page.get_by_role("button", name="one step back in time").click()
    assert "step 4" in page.locator("#status").inner_text()
    page.locator("#cell-panel").get_by_text("Inside the cell at step 4").wait_for()
    page.locator('[data-step="2"]').click()
    assert "step 2" in page.locator("#cell-title").inner_text()


# -------------------------------------------------------------------- ledger and scissors


@browser_test
@pytest.mark.parametrize(("cell", "scale"), PARTS)
def test_the_ledger_is_the_gradient_to_the_last_digit(
    cell: str, scale: float, visit: Callable[..., Any]
) -> None:
    page = visit(act="#cut")
    show(page, cell=cell, scale=scale)
    wrong, count = page.evaluate(
        """() => { const wrong = []; let count = 0;
        const text = (s) => document.querySelector(s).textContent;
        for (let cut = 0; cut < 6; cut++) {
            watch.update({cut});
            for (let element = 0; element < watch.net().gradient(cut).data.length; element++) {
                watch.update({element}); count++;
                if (text("[data-sum]") !== text("[data-gradient]")) wrong.push([cut, element,
                    text("[data-sum]"), text("[data-gradient]")]);
            }
        }
        return [wrong, count]; }"""
    )
    gradient = part(cell, scale).array(part(cell, scale).part["cases"][0]["dW_hh"])
    assert count == T * gradient.size
    assert not wrong


@browser_test
@pytest.mark.parametrize("size", SIZES)
def test_every_position_of_the_scissors(size: tuple[int, int], visit: Callable[..., Any]) -> None:
    page = visit(size, "#cut")
    for cut in (1, 2, 3, 4, 5, 0):
        page.locator(".scissors").scroll_into_view_if_needed()
        start = page.locator(".scissors").bounding_box()
        end = page.locator(f'[data-cut="{cut}"]').bounding_box()
        page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
        page.mouse.down()
        page.mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] / 2, steps=4)
        page.mouse.up()
        assert page.evaluate("watch.state.cut") == cut
        lost = page.locator(".entry-box.lost").count()
        assert lost == cut * (T - cut)
        severed = page.locator(".flow.severed").count()
        assert severed == (1 if cut else 0)
        numbers = page.locator("#numbers").inner_text()
        case = part("RNN_TANH", 1.0).part["cases"][cut]
        assert f"{case['bytes']:,} B" in numbers and f"{case['cosine']:.3f}" in numbers
    page.locator(".scissors").focus()
    for cut in (1, 2, 3, 4, 5, 5):
        page.keyboard.press("ArrowRight")
        assert page.evaluate("watch.state.cut") == cut
    assert page.locator(".scissors").get_attribute("aria-valuetext") == "before step 5"


@browser_test
def test_the_product_behind_an_entry(visit: Callable[..., Any]) -> None:
    page = visit(act="#cut")
    for cell in CELL_NAMES:
        show(page, cell=cell, cut=3)
        page.locator('.entry-box[data-t="4"][data-s="1"]').click()
        assert page.locator("#chain-title").inner_text() == "Entry: loss at 4 through step 1"
        assert "3 factors" in page.locator("#chain").inner_text()
        assert "Cut off" in page.locator("#chain").inner_text()


# -------------------------------------------------------------------- the other views


@browser_test
def test_far_shows_the_recorded_norms(visit: Callable[..., Any]) -> None:
    page = visit(act="#far")
    page.locator("#question [data-reveal]").click()
    for scale in SCALES:
        show(page, scale=scale)
        label = page.locator("#reach").get_attribute("aria-label")
        for cell, name in zip(CELL_NAMES, ("tanh", "ReLU", "LSTM", "GRU"), strict=True):
            value = part(cell, scale).named("reach")["h"][0]
            shown = re.search(rf"{name} ([\d.e−]+)", label)[1].replace("−", "-")
            assert float(shown) == pytest.approx(value, rel=0.06)
    page.get_by_role("radio", name="24 steps").check()
    assert page.locator("#reach path.line").count() == 5


@browser_test
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_the_tape_shows_the_same_numbers(cell: str, visit: Callable[..., Any]) -> None:
    page = visit(act="#back")
    show(page, cell=cell)
    page.get_by_role("radio", name="by the tape").check()
    count = page.evaluate(
        """() => { let n = 0; watch.update({tapeK: 0});
        for (let k = -1; k !== watch.state.tapeK; n++) { k = watch.state.tapeK; watch.move(1); }
        const end = watch.state.tapeK;
        while (watch.state.tapeK > 0) watch.over(-1);
        watch.update({tapeK: end}); return n; }"""
    )
    assert count == 2 * len(part(cell, 1.0).part["tape"])
    assert page.locator(".op-node.grad").count() == len(part(cell, 1.0).part["tape"])
    hand, tape = (
        page.locator("#tape-info tbody tr").nth(i).locator("td").all_inner_texts() for i in (0, 1)
    )
    assert hand == tape and len(hand) == 4


@browser_test
def test_predict_then_reveal(visit: Callable[..., Any]) -> None:
    page = visit(act="#back")
    page.evaluate("watch.update({k: watch.run().when('dh', 4) - 1})")
    box = page.locator("#question")
    known = part("RNN_TANH", 1.0)
    dh = next(v for kind, t, _, v in known.marks(0) if (kind, t) == ("dh", 4)).ravel()
    answer = f"{dh[abs(dh).argmax()]:.3f}"
    assert "Two gradients meet" in box.inner_text()
    assert page.evaluate("watch.run().known(watch.state.k).dh[4]") is None  # not shown yet
    box.locator("input").fill(answer)
    box.locator("input").press("Enter")
    assert "Right" in box.inner_text()
    assert page.evaluate("watch.state.k === watch.run().when('dh', 4)")
    page.evaluate("watch.go('cut')")
    box.get_by_role("button", name="Yes").click()
    assert "Not quite" in box.inner_text() and page.evaluate("watch.state.cut") == 3
    box.get_by_role("button", name="Go on").click()
    box.get_by_role("button", name="No", exact=True).click()
    assert "Right" in box.inner_text()
    page.evaluate("watch.go('far')")
    assert page.locator("#reach-cover").is_visible()
    box.get_by_role("button", name="0.0024").click()
    assert not page.locator("#reach-cover").is_visible() and "Measured" in box.inner_text()


@browser_test
def test_questions_come_while_playing(visit: Callable[..., Any]) -> None:
    page = visit(act="#forward")
    page.clock.install()
    page.evaluate("watch.update({k: watch.run().when('h', 2) - 1})")
    page.locator("#p-play").click()
    page.clock.run_for(3000)
    assert "Predict" in page.locator("#question").inner_text()
    assert page.evaluate("watch.state.playing") is False


@browser_test
def test_the_glossary_opens_where_a_term_stands(visit: Callable[..., Any]) -> None:
    page = visit(act="#cut")
    page.locator("#act-cut dfn[data-term=detach]").hover()
    assert "no gradient" in page.locator("#pop").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#pop").is_visible()
    terms = page.evaluate("[...document.querySelectorAll('dfn')].map((d) => d.dataset.term)")
    known = page.locator("#terms dt").all_text_contents()
    assert set(terms) <= set(known) and known == sorted(known, key=str.lower)


# -------------------------------------------------------------------- everybody


@browser_test
def test_keyboard_only(visit: Callable[..., Any]) -> None:
    page = visit()
    k = page.evaluate("watch.state.k")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("watch.state.k") == k + 1
    page.keyboard.press("Shift+ArrowRight")
    assert page.evaluate("watch.state.k") > k + 2
    page.keyboard.press("Home")
    assert page.evaluate("watch.state.k") == 0
    page.keyboard.press("End")
    assert page.evaluate("watch.state.act") == "back"
    for act in ("cut", "far", "forward", "back"):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.dataset.act") == act:
                break
        page.keyboard.press("Enter")
        assert page.evaluate("watch.state.act") == act and page.url.endswith("#" + act)
        page.evaluate("document.activeElement.blur()")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.name || ''"))
    assert {"scale", "theme", "p-next", "p-play", "scrub", "code", "cell", "mode"} <= seen


@browser_test
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("act", ACTS)
def test_no_serious_finding_of_axe(
    act: str, theme: str, size: tuple[int, int], visit: Callable[..., Any]
) -> None:
    axe = MODULES / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("needs axe-core; run make watch once")
    page = visit(size, f"#{act}", color_scheme=theme, reduced_motion="reduce")
    page.add_script_tag(content=axe.read_text(encoding="utf-8"))
    for change in ({}, {"cell": "LSTM"}, {"cell": "GRU", "mode": "tape"}, {"cut": 3}):
        show(page, **change)
        page.wait_for_timeout(50)
        found = page.evaluate("async () => (await axe.run({preload: false})).violations")
        serious = [
            f"{v['id']}: {n['html'][:120]} {n['failureSummary'][-200:]}"
            for v in found
            for n in v["nodes"]
            if v["impact"] in ("serious", "critical")
        ]
        assert not serious, "\n".join(serious[:6])


@browser_test
@pytest.mark.parametrize("size", [*SIZES, (800, 600), (1100, 800)])
@pytest.mark.parametrize("act", ACTS)
def test_nothing_sticks_out(act: str, size: tuple[int, int], visit: Callable[..., Any]) -> None:
    page = visit(size, f"#{act}", has_touch=size[0] < 500)
    for cell in CELL_NAMES:
        for mode in ("hand", "tape"):
            show(page, cell=cell, mode=mode)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    if act != "far":
        box = page.locator("#p-next").bounding_box()
        assert box["y"] + box["height"] <= size[1] and min(box["width"], box["height"]) >= 40


@browser_test
def test_touch(visit: Callable[..., Any]) -> None:
    page = visit(SIZES[1], has_touch=True, is_mobile=True)
    k = page.evaluate("watch.state.k")
    page.locator("#p-next").tap()
    assert page.evaluate("watch.state.k") == k + 1
    page.evaluate("watch.go('cut')")
    page.locator('[data-cut="4"]').tap()
    assert page.evaluate("watch.state.cut") == 4


@browser_test
def test_reduced_motion(visit: Callable[..., Any]) -> None:
    for motion, moves in (("reduce", False), ("no-preference", True)):
        page = visit(reduced_motion=motion)
        duration = page.evaluate(
            "parseFloat(getComputedStyle(document.querySelector('.bit')).transitionDuration)"
        )
        assert (duration > 0) is moves


@browser_test
def test_the_theme_follows_the_system_and_the_button(visit: Callable[..., Any]) -> None:
    page = visit(color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.locator("#theme").click()
    light = page.evaluate(colour)
    assert dark != light and light == visit(color_scheme="light").evaluate(colour)


@browser_test
@pytest.mark.parametrize("size", SIZES)
def test_without_javascript(size: tuple[int, int], visit: Callable[..., Any]) -> None:
    page = visit(size, java_script_enabled=False)
    images = page.locator(".act img")
    assert images.count() == 5
    for i in range(5):
        assert images.nth(i).is_visible() and images.nth(i).get_attribute("alt")
        assert images.nth(i).bounding_box()["height"] > 100
    assert page.get_by_role("heading", level=2).count() == 4
    tables = page.locator(".plain table")
    assert tables.count() == 3 and tables.first.is_visible()
    case = part("RNN_TANH", 1.0).part["cases"][3]
    assert f"{case['cosine']:.3f}" in tables.nth(1).inner_text()
    assert not page.locator(".player").is_visible()
