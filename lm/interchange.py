"""Models of PyTorch's word_language_model: their state_dict, saved as safetensors.

Its parameters have the names and shapes of ours. The settings follow from the shapes, and the
vocabulary from the text: word_language_model numbers the words of all three splits, we those of the
training text and `<unk>`, unless a model was trained with the vocabulary "all". Both give the same
words if validation and test have no new words and the training text has `<unk>`, as in Penn
Treebank.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minigrad.cells import CELLS

from .checkpoint import Checkpoint, is_checkpoint, must_be_written
from .console import UserError
from .corpus import Corpus
from .datasets import load_corpus
from .files import replace_file
from .settings import Settings

FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
SHARED = ("encoder.weight", "decoder.weight")  # one matrix if tied, and perhaps saved only once


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file (UserError if it can't be read)."""
    from safetensors import SafetensorError, deserialize

    if not os.path.isfile(path):
        raise UserError(f"no file {path}; save the model's state_dict there, as safetensors")
    try:
        kept = deserialize(Path(path).read_bytes())  # type: ignore[no-untyped-call]
        weights = {name: _array(name, **parts) for name, parts in kept}
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is not a safetensors file that can be read ({reason}); a pickled model "
            "(model.pt) is never loaded: save its state_dict as safetensors"
        ) from error
    for name, other in (SHARED, SHARED[::-1]):
        if name not in weights and other in weights:
            weights[name] = weights[other]
    return weights


def is_state_dict(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` is a state_dict of such a model, and not a checkpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
    except (SafetensorError, OSError):
        return False
    return not names.isdisjoint(SHARED) and not is_checkpoint(path)


def _array(name: str, dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    """One array of a safetensors file, also of bfloat16, which is the upper half of a float32."""
    if dtype == "BF16":
        upper = np.frombuffer(data, np.uint16).astype(np.uint32)
        return (upper << 16).view(np.float32).reshape(shape)
    if dtype not in FLOATS:
        raise ValueError(f"{name} is of dtype {dtype}; save it as float32")
    return np.frombuffer(data, FLOATS[dtype]).reshape(shape)


def describe(
    weights: Mapping[str, np.ndarray], path: str | os.PathLike[str], rnn_type: str | None = None
) -> Settings:
    """The settings of the model with these weights, which were read from `path`.

    The cell is the one with as many gates. Raises UserError if the weights are not those of
    word_language_model, if several cells fit and `rnn_type` is None, or if it does not fit.
    """
    try:
        encoder, decoder = (weights[name] for name in SHARED)
        (gate_rows, nhid), (_, emsize) = weights["rnn.weight_hh_l0"].shape, encoder.shape
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a state_dict of word_language_model's RNNModel ({error})"
        ) from error
    gates = gate_rows // max(nhid, 1)  # blocks of rows
    kinds = [name for name, cell in CELLS.items() if cell.num_gates == gates]
    if not kinds:
        raise UserError(f"{path} holds a recurrent layer of {gates} gates, which no known cell has")
    if rnn_type is not None and rnn_type not in kinds:
        raise UserError(f"{path} holds a {' or '.join(kinds)}, not a {rnn_type}; omit --model")
    if rnn_type is None and len(kinds) > 1:
        options = " or ".join(f"--model {kind}" for kind in kinds)
        raise UserError(f"{path} does not say which kind of net it holds; add {options}")
    layers = [name for name in weights if re.fullmatch(r"rnn\.weight_hh_l\d+", name)]
    return Settings(
        model=rnn_type or kinds[0],
        emsize=emsize,
        nhid=nhid,
        nlayers=len(layers),
        tied=encoder.shape == decoder.shape and bool((encoder == decoder).all()),
    )


def matching_corpus(data: str | None, words: int) -> tuple[Corpus, str]:
    """The text that `--data` names, with the kind of vocabulary that has `words` words.

    Returns the corpus and "all", as in word_language_model, or "train", as by default here. Raises
    UserError if neither fits.
    """
    sizes = []
    for vocabulary in ("all", "train"):
        corpus = load_corpus(data, vocabulary=vocabulary)
        if len(corpus.dictionary) == words:
            return corpus, vocabulary
        sizes.append(f"{len(corpus.dictionary)} (--vocabulary {vocabulary})")
    raise UserError(
        f"the model knows {words} words, and the text in {data or 'data/ptb'} has "
        f"{' or '.join(sizes)}; give the text that it was trained on with --data"
    )


def write_state_dict(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write the weights of a checkpoint with word_language_model's names, tied weights twice.

    Raises UserError if that fails.
    """
    from safetensors.numpy import save

    with must_be_written(str(path)):
        weights = {name: np.ascontiguousarray(array) for name, array in checkpoint.model.items()}
        replace_file(path, save(weights, metadata={"format": "pt"}))
