"""The source as pages of the site, and the links to it.

A page links to a file of the project, [`TanhRNN.step`](../../minigrad/cells.py#L90), as a code host
needs it. In the site such a link leads to a page with that file, at that line. A quotation of
source gets a caption that leads there too.
"""

from __future__ import annotations

import html
import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import update
from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx.application import Sphinx

from . import whole

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "source"  # in the site
SHOWN = ("minigrad", "lm")  # packages of which every file has a page
PROJECT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")  # pages in docs/project stand for them
LINK = re.compile(r"\]\((?P<file>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
COMMENT = re.compile(r"\s*<!-- source: (?P<file>\S+) (?P<name>[\w.]+)(?P<part>[^>]*) -->\s*")


def url(docname: str, file: str, line: int | str = "") -> str:
    """The address of a file of the project in the site, seen from a page."""
    up = "../" * docname.count("/")
    return f"{up}{FOLDER}/{file}.html" + (f"#L-{line}" if line else "")


def linked(folder: Path, file: str) -> Path | None:
    """The file of the project that a link names, if there is one."""
    path = Path(os.path.normpath(folder / file))
    return path if path.is_file() and path.is_relative_to(ROOT) else None


def is_source(path: Path) -> bool:
    """Whether the site shows a file as source: it is neither a page nor a picture."""
    is_page = path.is_relative_to(ROOT / "docs") and path.suffix in (".md", ".rst", ".svg", ".png")
    return not is_page and path.relative_to(ROOT).as_posix() not in PROJECT


# -------------------------------------------------------------------- pages of Markdown


def prepare(app: Sphinx, docname: str, text: list[str]) -> None:
    """Fill the pages of docs/project, and give all links the form that they have in the site."""
    page = Path(app.srcdir, docname)
    folder = page.parent
    if folder.name == "project":
        page, folder = ROOT / f"{page.name.upper()}.md", ROOT
        text[0] = page.read_text(encoding="utf-8")
        app.env.note_dependency(page)

    def replaced(match: re.Match[str]) -> str:
        path, anchor = linked(folder, match["file"]), match["anchor"] or ""
        if path is None:
            return match[0]
        if served := whole.served(path, Path(app.srcdir)):
            return f"]({built('../' * docname.count('/') + served + anchor)})"
        if is_source(path):
            file = path.relative_to(ROOT).as_posix()
            return f"]({built(url(docname, file, anchor.removeprefix('#L')))})"
        if path.parent == ROOT:
            path = Path(app.srcdir, "project", path.name.lower())
        return f"]({os.path.relpath(path, Path(app.srcdir, docname).parent)}{anchor})"

    text[0] = LINK.sub(replaced, text[0])


def built(address: str) -> str:
    """The address of a page that MyST does not know, as it must be in Markdown; see conf.py."""
    return ("built-at:" if "#" in address else "built:") + address


def caption_quotations(app: Sphinx, doctree: nodes.document) -> None:
    """Put a caption with a link above each quotation of source, and remove all comments."""
    for raw in list(doctree.findall(nodes.raw)):
        if not re.fullmatch(r"\s*<!--.*?-->\s*", raw.astext(), re.DOTALL):
            continue
        match = COMMENT.fullmatch(raw.astext())
        after = raw.next_node(descend=False, siblings=True)
        if match and isinstance(after, nodes.literal_block):
            wrap(after, match, app.env.docname)
        before = raw.previous_sibling()
        if isinstance(before, nodes.Text):  # a number: leave no space before a comma
            raw.parent.replace(before, nodes.Text(before.rstrip()))
        raw.parent.remove(raw)


def wrap(block: nodes.literal_block, match: re.Match[str], docname: str) -> None:
    file, name, part = match["file"], match["name"], match["part"].strip()
    line = update.find(ROOT / file, name).lineno
    lines = f", lines {part}" if part and part != "whole" else ""
    link = nodes.reference("", "", refuri=url(docname, file, line), internal=True)
    link += nodes.literal(name, name)
    caption = nodes.caption("", "", link, nodes.Text(f" in {file}{lines}"))
    container = nodes.container("", literal_block=True, classes=["literal-block-wrapper"])
    block.document.set_id(container)  # Sphinx wants one where there is a caption
    block.replace_self(container)
    container += [caption, block]


def address(domain: str, info: dict[str, str]) -> str | None:
    """Where the reference, whose pages are in api/, finds the source of an object."""
    found: Any = sys.modules.get(info["module"])
    for name in info["fullname"].split("."):
        found = getattr(found, name, None)
    found = inspect.unwrap(found.fget if isinstance(found, property) else found)
    try:
        file, (_, line) = Path(inspect.getfile(found)), inspect.getsourcelines(found)
    except (OSError, TypeError):
        return None  # not a function or a class
    if not file.is_relative_to(ROOT):
        return None
    return url("api/", file.relative_to(ROOT).as_posix(), line)


# -------------------------------------------------------------------- pages


def shown(app: Sphinx) -> list[str]:
    """The files that have a page: the library, and all that the pages link to."""
    files = {p.relative_to(ROOT).as_posix() for s in SHOWN for p in (ROOT / s).rglob("*.py")}
    pages = [Path(app.env.doc2path(name)) for name in app.env.found_docs]
    for page in [*pages, *(ROOT / name for name in PROJECT)]:
        text = page.read_text(encoding="utf-8")
        there = [path for m in LINK.finditer(text) if (path := linked(page.parent, m["file"]))]
        there = [
            path for path in there if is_source(path) and not whole.served(path, ROOT / "docs")
        ]
        files |= {path.relative_to(ROOT).as_posix() for path in there}
        files |= {m["file"] for m in COMMENT.finditer(text)}
    return sorted(files)


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file, whose lines have the anchors L-1, L-2, and so on."""
    for file in shown(app):
        code = (ROOT / file).read_text(encoding="utf-8")
        try:
            language = get_lexer_for_filename(file).aliases[0]
        except ClassNotFound:
            language = "text"
        highlighter = app.builder.highlighter  # type: ignore[attr-defined]
        lines = highlighter.highlight_block(code, language, linespans="L")
        title = f"<h1>{html.escape(file)}</h1>"
        context = {"title": file, "body": f'{title}<div class="source">{lines}</div>'}
        yield f"{FOLDER}/{file}", context, "page.html"


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", prepare)
    app.connect("doctree-read", caption_quotations)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
