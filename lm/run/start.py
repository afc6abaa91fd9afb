"""The beginning of every run: read the text, build the model."""

from __future__ import annotations

import os
from typing import Any

import minigrad as mg

from ..corpus import Dictionary
from ..datasets import load_corpus
from ..settings import Settings, build_model
from .metrics import versions
from .ranks import ALONE, Alone
from .trainer import Trainer


def start(
    settings: Settings,
    best_path: str | os.PathLike[str],
    dictionary: Dictionary | None = None,
    ranks: Alone = ALONE,
    memory_map: bool = False,
    **options: Any,
) -> Trainer:
    """A run of these settings that has not begun yet; `options` are those of Trainer.

    It selects the backend and seeds minigrad's generator. With a dictionary, such as that of the
    checkpoint from which the run continues, the text is read with its words. With `memory_map` the
    ids of the words stay on disk; see `load_corpus`. Raises UserError if several ranks do not agree
    on the program, the settings and the text.
    """
    ranks.must_be_equal("the versions", versions)
    ranks.must_be_equal("the settings", settings.as_dict)
    ranks = ranks.on(settings.backend)
    mg.manual_seed(settings.seed)
    corpus = ranks.each(
        lambda: load_corpus(settings.data, dictionary, settings.vocabulary, memory_map)
    )
    ranks.must_be_equal("the texts", corpus.fingerprint)
    model = build_model(settings, len(corpus.dictionary))
    return Trainer(model, corpus, settings, best_path, ranks=ranks, **options)
