"""Draw the still pictures of the page, for a reader without JavaScript, and those for README.

python docs/watch/pictures.py

Opens built/index.html in Chromium and saves what the page draws: each picture as an SVG with its
styles written into it, in the colours of the light theme. Build the page first. Needs
`pip install playwright pillow` and a Chromium.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
PAGE = HERE / "built" / "index.html"
FIGURES = HERE.parent / "figures"
STILLS = {
    "forward": ("#net", "watch.go('forward'); watch.update({k: watch.run().when('loss', 0)})"),
    "back": ("#net", "watch.go('back'); watch.update({k: watch.run().length - 1})"),
    "cut": ("#net", "watch.go('cut'); watch.update({cut: 3})"),
    "ledger": ("#ledger", "watch.go('cut'); watch.update({cut: 3, picked: null})"),
    "far": ("#reach", "watch.go('far'); watch.update({scale: 0.6})"),
}
SHOTS = {
    "watch-back": "watch.go('back'); watch.update({cell: 'LSTM', scale: 1.6});"
    "watch.update({k: watch.run().when('dc', 2)})",
    "watch-cut": "watch.update({cell: 'RNN_TANH', scale: 1}); watch.go('cut');"
    "watch.update({cut: 3, picked: [5, 3]})",
}
SAVE = """(selector) => {
    const names = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-family",
        "font-size", "font-weight", "font-style", "text-anchor", "opacity", "text-decoration-line"];
    const plain = {"fill": "rgb(0, 0, 0)", "stroke": "none", "stroke-width": "1px",
        "stroke-dasharray": "none", "font-weight": "400", "font-style": "normal",
        "text-anchor": "start", "opacity": "1", "text-decoration-line": "none"};
    const copy = (node, into) => {
        for (const child of node.children) {
            if (child.tagName === "title") continue;
            const made = document.createElementNS(child.namespaceURI, child.tagName);
            for (const a of ["d", "x", "y", "width", "height", "rx", "cx", "cy", "r", "transform"])
                if (child.hasAttribute(a)) made.setAttribute(a, child.getAttribute(a)
                    .replace(/\\d+\\.\\d+/g, (n) => String(Math.round(n * 10) / 10)));
            const style = getComputedStyle(child);
            for (const name of names) {
                const value = style.getPropertyValue(name);
                if (value === plain[name]) continue;
                if (name.startsWith("font") && child.tagName !== "text") continue;
                if (name === "font-family") continue;
                made.setAttribute(name, value);
            }
            if (child.tagName === "text") {
                made.textContent = child.textContent;
                made.setAttribute("font-family", "sans-serif");
            }
            copy(child, made);
            into.append(made);
        }
    };
    const svg = document.querySelector(selector);
    const out = document.createElementNS(svg.namespaceURI, "svg");
    const box = svg.getAttribute("viewBox");
    const [, , width, height] = box.split(" ");
    for (const [k, v] of Object.entries({viewBox: box, width, height})) out.setAttribute(k, v);
    copy(svg, out);
    return new XMLSerializer().serializeToString(out);
}"""


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light",
                                reduced_motion="reduce")  # fmt: skip
        page.goto(PAGE.as_uri())
        page.wait_for_function("globalThis.watch")
        page.evaluate("document.fonts.ready")
        for name, (selector, show) in STILLS.items():
            page.evaluate(show)
            svg = page.evaluate(SAVE, selector)
            (HERE / "built" / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")
        for name, show in SHOTS.items():
            shoot(page, name, show)
        browser.close()


def shoot(page: Any, name: str, show: str) -> None:
    page.evaluate(show)
    while page.locator("#question button:is(.quiet, [data-next])").first.is_visible():
        page.evaluate("document.querySelector('#question button:is(.quiet, [data-next])').click()")
    page.evaluate(show)
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 0)")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(48, dither=Image.Dither.NONE).save(FIGURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
