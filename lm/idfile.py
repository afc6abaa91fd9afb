"""A corpus whose word ids stay on disk, for a text that is larger than memory.

The first run reads the three texts once, block by block, and writes the ids of their words to the
file `corpus.ids` beside them. Then the file is mapped into memory: its pages are read when they are
used. It has four parts:

    MAGIC                           8 bytes
    ids of train, valid and test    4 bytes each, little-endian
    what they belong to             JSON: the vocabulary, and length and hash of each text
    the length of the JSON          8 bytes, little-endian
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .console import UserError
from .corpus import BLOCK, SPLITS, UNK, Corpus, Dictionary, read_words, reject, text_files
from .files import replacing

IDS_FILE = "corpus.ids"
MAGIC = b"lm-ids 1"
ID = np.dtype("<i4")
GIVE_BACK = 1 << 18  # words


class MappedIds(np.memmap):
    """Word ids in a mapped file.

    A slice is a view, whose pages come into memory when it is used. After slices of `GIVE_BACK`
    words all pages of the file are given back, so that a program that takes batch after batch keeps
    few of them. Not after each slice: to map the pages again takes longer than to read a batch, and
    MPICH, which watches such calls, keeps some 150 bytes for each.
    """

    _mmap: mmap.mmap | None  # set by np.memmap; None for a copy
    taken = 0  # words of slices since the last time, of all instances

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        MappedIds.taken += np.size(part)
        if MappedIds.taken > GIVE_BACK and self._mmap is not None:
            MappedIds.taken = 0
            if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
                self._mmap.madvise(mmap.MADV_DONTNEED)
        return part


def mapped_columns(ids: np.ndarray, batch_size: int) -> np.ndarray:
    """What `batchify` returns, as a view of the ids and not as a copy."""
    rows = len(ids) // batch_size
    return ids[: rows * batch_size].reshape(batch_size, rows).T


class MappedCorpus(Corpus):
    """A corpus as `Corpus` reads it, with ids of 4 bytes that stay on disk.

    `train`, `valid` and `test` are parts of one mapped file, which can't be written to.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dictionary: Dictionary | None = None,
        vocabulary: str = "train",
    ) -> None:
        """Map the ids of the texts in the folder `path`; see `Corpus` for the other arguments.

        The file is written first if it is missing, or belongs to other texts or words. To know
        that, every start computes the hashes of the texts. Raises UserError as `Corpus` does, and
        if the file can't be written.
        """
        texts, file = text_files(path), Path(path) / IDS_FILE
        if self._map(file, dictionary, vocabulary, lambda: _hashes(texts)):
            return
        written = _write(file, texts, dictionary, vocabulary)
        if not self._map(file, dictionary, vocabulary, lambda: written):
            raise UserError(f"another run has just replaced {file} by its own; start again")

    def _map(
        self,
        file: Path,
        dictionary: Dictionary | None,
        vocabulary: str,
        hashes: Callable[[], dict[str, str]],
    ) -> bool:
        """Map the file, if it is there and belongs to these words and to texts of these hashes."""
        try:
            with open(file, "rb") as stream:
                about = _about(stream)
                words = sum(about["lengths"].values())
                ids = MappedIds(stream, ID, "r", len(MAGIC), words)
        except (OSError, ValueError):
            return False
        if dictionary is None:
            fits = about["vocabulary"] == vocabulary
        else:
            fits = about["words"] == dictionary.idx2word
        if not fits or about["texts"] != hashes():
            return False
        self.dictionary = dictionary or Dictionary(about["words"])
        self.unknown = about["unknown"]
        ends = np.cumsum([about["lengths"][split] for split in SPLITS])
        self.train, self.valid, self.test = np.split(ids, ends[:-1])
        known = json.dumps([about["texts"], about["words"]])
        self._fingerprint = hashlib.sha256(known.encode()).hexdigest()[:16]
        return True

    def fingerprint(self) -> str:
        return self._fingerprint


def _about(stream: BinaryIO) -> dict[str, Any]:
    """The JSON in a file of ids. Raises OSError or ValueError if it is not a complete one."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise ValueError("another kind of file")
    end = stream.seek(-8, os.SEEK_END)
    stream.seek(end - int.from_bytes(stream.read(8), "little"))
    return json.loads(stream.read()[:-8])


def _hashes(texts: Mapping[str, Path]) -> dict[str, str]:
    found = {}
    for split, text in texts.items():
        try:
            with open(text, "rb") as stream:
                found[split] = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"cannot read {text}: {error.strerror}") from None
    return found


def _write(
    file: Path, texts: Mapping[str, Path], dictionary: Dictionary | None, vocabulary: str
) -> dict[str, str]:
    """Write the file of ids, reading each text once; returns the hashes of the texts."""
    try:
        if os.path.lexists(file) and not _is_ours(file):
            raise UserError(f"{file} is not a file of word ids; move it away for --memory-map")
        with replacing(file) as stream:
            stream.write(MAGIC)
            about = _write_ids(stream, texts, dictionary, vocabulary)
            end = json.dumps(about).encode()
            stream.write(end + len(end).to_bytes(8, "little"))
        return about["texts"]
    except OSError as error:
        raise UserError(
            f"can't write {file} ({error.strerror}), where --memory-map keeps 4 bytes for each "
            "word; make space, or link the texts into a folder that can be written to"
        ) from None


def _is_ours(file: Path) -> bool:
    with open(file, "rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def _with_progress(blocks: Iterable[list[str]], text: Path) -> Iterable[list[str]]:
    """The blocks of a text, with a bar on standard error if that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    total, shown = os.path.getsize(text) // BLOCK + 1, console.is_terminal
    name = f"writing {IDS_FILE}"
    return track(blocks, name, total, console=console, transient=True, disable=not shown)


def _write_ids(
    stream: BinaryIO,
    texts: Mapping[str, Path],
    dictionary: Dictionary | None,
    vocabulary: str,
) -> dict[str, Any]:
    """Write the ids of the three texts, and return what they belong to."""
    about: dict[str, Any] = {
        "vocabulary": vocabulary if dictionary is None else None,
        "texts": {},
        "lengths": {},
        "unknown": {},
    }
    learns = dictionary is None
    dictionary = Dictionary() if dictionary is None else dictionary
    known, lacking = dictionary.word2idx, dict[str, None]()
    for split, text in texts.items():
        sha256, length, unknown = hashlib.sha256(), 0, 0
        for words in _with_progress(read_words(text, sha256.update), text):
            new = [word for word in words if word not in known]
            if learns:
                for word in new:
                    dictionary.add_word(word)
            elif UNK not in known:
                lacking.update(dict.fromkeys(new))
            unknown += 0 if learns else len(new)
            length += len(words)
            if not lacking:
                stream.write(dictionary.encode(words).astype(ID).data)
        if learns and vocabulary == "train":
            dictionary.add_word(UNK)
            learns = False
        about["texts"][split] = sha256.hexdigest()
        about["lengths"][split], about["unknown"][split] = length, unknown
    reject(lacking)
    return {**about, "words": dictionary.idx2word}
