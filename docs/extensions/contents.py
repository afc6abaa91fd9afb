"""Tables of contents from conf.py, since a code host would show a `toctree` as text."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def add_contents(app: Sphinx, docname: str, text: list[str]) -> None:
    """Append the hidden tables of contents of a page: one for each caption."""
    for caption, names in app.config.contents.get(docname, {}).items():
        text[0] += "\n".join(
            ["\n\n```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```\n"]
        )


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("contents", {}, "env")
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True}
