"""The site is built without warnings; its links resolve, and nothing comes from another host."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import lm
import minigrad
from minigrad import bptt, cells, functional, nn, optim, testing

pytest.importorskip("sphinx", reason="needs Sphinx: pip install '.[docs]'")

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.append(str(DOCS))  # the extensions of the site

# -------------------------------------------------------------------- the whole site


CONF = runpy.run_path(str(DOCS / "conf.py"))


def test_every_link_leads_to_a_page_and_a_place_on_it(site: Path) -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    ids = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    scripted = {folder.parent.name for folder in DOCS.glob("*/built")}  # places made by scripts
    wrong = []
    for page, text in pages.items():
        if page.relative_to(site).parts[0] in scripted:
            continue
        for address in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            parts = urlsplit(address)
            if parts.scheme or address.startswith("//"):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.is_file() or (
                target in ids and parts.fragment and unquote(parts.fragment) not in ids[target]
            ):
                wrong.append(f"{page.relative_to(site)}: {address}")
    assert not wrong


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    loaded = re.compile(
        r'<(?:script|img|link|iframe|source)\b[^>]*(?:src|href)="((?:\w+:)?//[^"]+)'
    )
    for page in site.rglob("*.html"):
        assert not loaded.findall(page.read_text(encoding="utf-8")), page
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.findall(r"url\(['\"]?(?:https?:)?//", text), sheet


def test_the_comments_of_the_pages_do_not_reach_the_site(site: Path) -> None:
    for page in (site / "course").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<!-- (?:source:|course/)", text)


# -------------------------------------------------------------------- its parts

MODULES = (minigrad, nn, functional, optim, cells, bptt, testing, lm)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_reference_has_every_public_name(module: object) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.rst"))
    name = module.__name__  # type: ignore[attr-defined]
    if re.search(rf"automodule:: {name}\n(?!   :no-members:)", pages):
        return  # all of its members
    listed = set(re.findall(r"auto(?:function|class|exception):: ([\w.]+)", pages))
    for public in getattr(module, "__all__", None) or own_names(module):
        thing = getattr(module, public)
        if callable(thing):
            assert public in listed, f"docs/api has no entry for {name}.{public}"


def own_names(module: object) -> list[str]:
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__  # type: ignore[attr-defined]
    ]


def test_a_mistake_in_a_formula_is_named() -> None:
    katex = pytest.importorskip("extensions.katex")
    assert "katex-mathml" in katex.renderer()(r"\frac{dL}{dW} = \sum_t dz_t h_{t-1}^\top", True)
    with pytest.raises(katex.quickjs.JSException, match=r"Undefined control sequence: \\wrong"):
        katex.renderer()(r"\wrong", False)


def test_two_diagrams_on_a_page_have_ids_of_their_own(tmp_path: Path) -> None:
    diagrams = pytest.importorskip("extensions.diagrams")
    drawn = [diagrams.draw(f"flowchart LR\n a --> {end}", tmp_path) for end in "bc"]
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in drawn]
    assert all(ids) and not ids[0] & ids[1]
    assert drawn[0] == diagrams.draw("flowchart LR\n a --> b", tmp_path)  # from the cache


TEXT = ".. code-block:: text\n\n"


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ("`x` is *y*, W_hh | 2", r":py:obj:`x` is \*y\*, W\_hh \| 2"),
        ("see `a + b`", "see ``a + b``"),
        ("    h = W x\n    y = h", f"{TEXT}        h = W x\n        y = h"),
        ("h = f(z)    with z = zx", f"{TEXT}    h = f(z)    with z = zx"),
        ("lr      a rate\nmu x\n        y", "``lr``\n    a rate\n``mu``\n    x\n    y"),
    ],
)
def test_a_docstring_becomes_restructured_text(plain: str, expected: str) -> None:
    docstrings = pytest.importorskip("extensions.docstrings")
    assert "\n".join(docstrings.restructured(plain.splitlines())) == expected


@pytest.mark.parametrize(
    ("file", "address"),
    [("watch/built/page.js", "watch/page.js"), ("watch/src/page.js", None), ("gpu.md", None)],
)
def test_where_a_page_that_was_built_before_is(file: str, address: str | None) -> None:
    whole = pytest.importorskip("extensions.whole")
    assert whole.served(DOCS / file, DOCS) == address


def test_the_contents_list_every_page() -> None:
    contents = CONF["contents"]["index"]
    listed = {re.sub(r".*<|>", "", name) for names in contents.values() for name in names}
    pages = {p.relative_to(DOCS).with_suffix("").as_posix() for p in DOCS.rglob("*.md")}
    pages = {page for page in pages if not page.startswith("results/")}
    assert pages - {"index"} == listed - {"api/index"}
