"""The settings of the site: python -m sphinx docs build/docs, or make docs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from extensions.source import address

from minigrad import __version__

project = "minigrad + lm"
author = "the authors of minigrad"
version = release = __version__
html_title = project
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_show_copyright = False

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.linkcode",
    "extensions.contents",
    "extensions.diagrams",
    "extensions.docstrings",
    "extensions.katex",
    "extensions.source",
    "extensions.whole",
]
exclude_patterns = ["results", "*/node_modules"]

# Pages are CommonMark with mathematics and diagrams, so that a code host shows them too.
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4
myst_url_schemes = {
    "http": None,
    "https": None,
    "built": {"url": "{{path}}"},  # pages that MyST does not know: see extensions/source.py
    "built-at": {"url": "{{path}}#{{fragment}}"},
}

# The tables of contents. A code host shows the links in the two index pages instead.
CHAPTERS = [
    "dropout", "batch-norm", "language-model", "bptt", "detach", "tying", "lstm-gru", "test-set",
    "inside", "find-the-bug",
]  # fmt: skip
BESIDE = ["cells", "exercise", "glossary"]
contents = {
    "index": {
        "Course": ["course/index", *(f"course/{name}" for name in CHAPTERS)],
        "Beside the course": [f"course/{name}" for name in BESIDE],
        "Guides": ["gradcheck", "mutation", "speed", "gpu", "many-machines"],
        "Reference": ["api/index"],
        "Project": ["README <project/readme>", "project/contributing", "project/changelog"],
    },
}

# The reference.
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_type_aliases = {"Array": "Array", "Arrays": "Arrays", "Axis": "Axis"}
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
linkcode_resolve = address

html_theme = "furo"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["katex/katex.min.css", "site.css"]
html_js_files = ["search.js"]
html_math_renderer = "katex"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#005f94",
        "color-brand-content": "#0068a3",
        "color-sidebar-link-text--top-level": "var(--color-foreground-secondary)",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6cc0ef",
        "color-brand-content": "#6cc0ef",
        "color-sidebar-link-text--top-level": "var(--color-foreground-secondary)",
    },
}
pygments_style = "github-light"
pygments_dark_style = "github-dark"
