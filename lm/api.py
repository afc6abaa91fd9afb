"""The public names of `lm`; imported when one of them is first used."""

import minigrad  # noqa: F401  (first, since it sets what NumPy reads when it is imported)

# isort: split
from .batches import batchify, get_batch
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .console import UserError
from .corpus import Corpus, Dictionary
from .datasets import load_corpus
from .model import RNNModel
from .run.trainer import Trainer
from .sampling import generate
from .settings import Settings, build_model
from .steps import evaluate, repackage_hidden, train_step

__all__ = [
    "Checkpoint",
    "Corpus",
    "Dictionary",
    "RNNModel",
    "Settings",
    "Trainer",
    "UserError",
    "batchify",
    "build_model",
    "evaluate",
    "generate",
    "get_batch",
    "load_checkpoint",
    "load_corpus",
    "repackage_hidden",
    "save_checkpoint",
    "train_step",
]
