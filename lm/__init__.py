"""lm: word-level language models on minigrad.

The public names are in api.py, which is imported when one of them is first used and not by
`import lm`: the commands import lm too, and must handle Ctrl-C before the slow imports.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# As minigrad does, which is too late if a module of lm imports NumPy first.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

if TYPE_CHECKING:
    from .api import *  # noqa: F403
    from .api import __all__ as __all__


def __getattr__(name: str) -> Any:
    api = import_module(".api", __name__)
    if name == "__all__" or name in api.__all__:
        return getattr(api, name)
    if name in globals():  # a module that api.py has imported
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *import_module(".api", __name__).__all__]
