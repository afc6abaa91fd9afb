"""Mermaid diagrams, drawn as SVG when the site is built."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import mermaidx
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"
CONFIG = {"theme": "neutral", "fontFamily": FONT, "flowchart": {"htmlLabels": True}}


def draw(text: str, cache: Path) -> str:
    """The SVG of a diagram, with ids of its own, and its natural width for the style sheet.

    Drawing takes a second, so the files are kept.

    Raises mermaidx.MermaidRenderError if the text is not a diagram.
    """
    name = "diagram-" + hashlib.sha256(f"{CONFIG} {text}".encode()).hexdigest()[:12]
    file = cache / f"{name}.svg"
    if not file.is_file():
        svg = mermaidx.render(text, config=CONFIG).svg().replace("my-svg", name)
        width = re.search(r'viewBox="\S+ \S+ (\S+)', svg)
        assert width
        svg = re.sub(
            r'width="100%"(.*?)style="[^"]*"', rf'\1style="--width: {width[1]}px"', svg, count=1
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(svg, encoding="utf-8")
    return file.read_text(encoding="utf-8")


class Mermaid(SphinxDirective):
    """A fence with the language `mermaid`."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        cache = Path(self.env.app.outdir).parent / "diagrams"
        try:
            svg = draw("\n".join(self.content), cache)
        except mermaidx.MermaidRenderError as error:
            raise self.error(f"mermaid: {error}") from error
        figure = f'<div class="diagram" tabindex="0">{svg}</div>'
        return [nodes.raw("", figure, format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True}
