"""An experiment of the course in its quick mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def quick_numbers(experiment: Any, folder: Path, *options: str) -> dict[str, Any]:
    """The numbers that the experiment writes with --quick."""
    out = folder / "result.json"
    experiment.main(["--quick", *options, "--out", str(out)])
    numbers: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))["numbers"]
    return numbers
