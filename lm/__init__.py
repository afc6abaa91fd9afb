"""lm: word-level language models on minigrad.

What it offers is in api.py and is imported when it is first used, not by `import lm`: a command
comes through here too, and has to handle Ctrl-C before the imports that take long.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# As minigrad sets it, which comes too late where a module of lm is imported that imports NumPy.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

if TYPE_CHECKING:
    from .api import *  # noqa: F403
    from .api import __all__ as __all__


def __getattr__(name: str) -> Any:
    api = import_module(".api", __name__)
    if name == "__all__" or name in api.__all__:
        return getattr(api, name)
    if name in globals():  # a module, which api.py has imported
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *import_module(".api", __name__).__all__]
