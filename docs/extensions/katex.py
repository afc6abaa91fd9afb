"""Mathematics, rendered by KaTeX when the site is built: a page needs its fonts and no script.

KaTeX (MIT licence, https://katex.org) lies in docs/_static/katex, as npm has it: the script, the
style sheet and the WOFF2 fonts.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import quickjs
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

SCRIPT = Path(__file__).resolve().parent.parent / "_static" / "katex" / "katex.min.js"
# As JSON, because the binding cannot return the ropes in which the engine joins strings.
RENDER = "(tex, display) => JSON.stringify(katex.renderToString(tex, {displayMode: display}))"


@functools.cache
def renderer() -> Callable[[str, bool], str]:
    """KaTeX in an engine of its own."""
    engine = quickjs.Context()
    engine.eval(SCRIPT.read_text(encoding="utf-8"))
    render = engine.eval(RENDER)
    return lambda tex, display: json.loads(render(tex, display))


def html(node: nodes.Element, display: bool) -> str:
    """The formula of a node; a mistake in it is a warning."""
    tex = node.astext().strip()
    try:
        return renderer()(tex, display)
    except quickjs.JSException as error:
        message = str(error).partition("\n")[0]
        logging.getLogger(__name__).warning("%s in %r", message, tex, location=node)
        return ""


def inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(f'<span class="math">{html(node, False)}</span>')
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math" tabindex="0">{html(node, True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("katex", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
