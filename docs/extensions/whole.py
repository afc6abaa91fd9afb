"""Pages that another program has built: docs/NAME/built becomes the folder NAME of the site."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx


def served(path: Path, docs: Path) -> str | None:
    """Where the site has a file of such a page; None for any other file."""
    parts = path.relative_to(docs).parts if path.is_relative_to(docs) else ()
    return "/".join([parts[0], *parts[2:]]) if parts[1:2] == ("built",) else None


def copy(app: Sphinx, error: Exception | None) -> None:
    for folder in Path(app.srcdir).glob("*/built"):
        shutil.copytree(folder, Path(app.outdir, folder.parent.name), dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True}
