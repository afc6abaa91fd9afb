"""The beginning of every run: read the text, build the model."""

from __future__ import annotations

import os
from typing import Any

import minigrad as mg

from ..corpus import Dictionary
from ..datasets import load_corpus
from ..settings import Settings, build_model
from .trainer import Trainer


def start(
    settings: Settings,
    best_path: str | os.PathLike[str],
    dictionary: Dictionary | None = None,
    **options: Any,
) -> Trainer:
    """A run of these settings that has not begun yet; `options` are those of Trainer.

    It selects the backend and seeds minigrad's generator. With a dictionary, such as that of the
    checkpoint from which the run continues, the text is read with its words.
    """
    mg.use(settings.backend)
    mg.manual_seed(settings.seed)
    corpus = load_corpus(settings.data, dictionary, settings.vocabulary)
    model = build_model(settings, len(corpus.dictionary))
    return Trainer(model, corpus, settings, best_path, **options)
