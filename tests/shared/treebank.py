"""The Penn Treebank, for tests that are skipped where it is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = (os.environ.get("PTB_DIR"), _ROOT / "data/ptb", _ROOT.parent / "shared/data/ptb")

PTB = next((Path(f) for f in _FOLDERS if f and (Path(f) / "ptb.train.txt").is_file()), Path())

needs_ptb = pytest.mark.skipif(Path() == PTB, reason="Penn Treebank is not here (PTB_DIR names it)")
