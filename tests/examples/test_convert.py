"""Models carried over from PyTorch's word_language_model and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lm.batches import batchify, get_batch
from lm.checkpoint import load_checkpoint, save_checkpoint
from lm.console import UserError
from lm.corpus import Corpus
from lm.interchange import describe, matching_corpus, read_state_dict
from lm.settings import Settings, build_model
from lm.steps import evaluate

Call = Callable[..., Any]

KINDS = ["LSTM", "GRU", "RNN_TANH", "RNN_RELU"]


@pytest.fixture
def state_dict(corpus: Path, tmp_path: Path) -> Path:
    """What word_language_model's state_dict looks like, for the text `corpus`."""
    words = len(Corpus(corpus, vocabulary="all").dictionary)
    model = build_model(Settings(emsize=6, nhid=7, nlayers=2), words)
    path = tmp_path / "torch.safetensors"
    save_file(model.state_dict(), path)
    return path


def test_word_language_models_words_are_those_of_all_splits(tmp_path: Path) -> None:
    for split, text in {"train": "b a\n", "valid": "c a\n", "test": "d\n"}.items():
        (tmp_path / f"{split}.txt").write_text(text)
    dictionary = Corpus(tmp_path, vocabulary="all").dictionary
    assert dictionary.idx2word == ["b", "a", "<eos>", "c", "d"]
    theirs, name = matching_corpus(str(tmp_path), 5)
    assert (theirs.test.tolist(), name) == ([4, 2], "all")
    ours, name = matching_corpus(str(tmp_path), 4)
    assert (ours.dictionary.idx2word, name) == (["b", "a", "<eos>", "<unk>"], "train")


def test_there_and_back(call: Call, corpus: Path, state_dict: Path, tmp_path: Path) -> None:
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    result = call("convert", str(state_dict), str(ours), "--data", str(corpus))
    assert result.status == 0
    assert re.search(r"test loss +\d+\.\d\d \| test ppl +\d+\.\d\d", result.out)
    assert call("convert", str(ours), str(back)).status == 0
    first, last = load_file(state_dict), load_file(back)
    assert first.keys() == last.keys()
    assert all(first[name].tobytes() == last[name].tobytes() for name in first)
    # It is a whole checkpoint: text can be drawn from it.
    assert call("generate", "--checkpoint", str(ours), "--words=5").status == 0


def test_training_goes_on_from_a_carried_model(
    call: Call, trained: Path, corpus: Path, tmp_path: Path
) -> None:
    theirs, ours = tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors"
    assert call("convert", str(trained), str(theirs)).status == 0
    assert call("convert", str(theirs), str(ours), "--data", str(corpus)).status == 0
    options = ["--save", str(tmp_path / "model.safetensors"), "--epochs=1"]
    result = call("train_ptb", "--resume", str(ours), *options)
    assert result.status == 0
    assert "| end of epoch   1 |" in result.out


def pytorchs_words(folder: Path) -> list[str]:
    """What word_language_model's own Corpus numbers, line for line as its data.py does."""
    word2idx: dict[str, int] = {}
    idx2word: list[str] = []
    for split in ("train", "valid", "test"):
        with open(folder / f"{split}.txt", encoding="utf8") as file:
            for line in file:
                for word in [*line.split(), "<eos>"]:
                    if word not in word2idx:
                        idx2word.append(word)
                        word2idx[word] = len(idx2word) - 1
    return idx2word


@pytest.fixture
def new_words(corpus: Path, tmp_path: Path) -> Path:
    """A text whose validation and test have words that the training text lacks."""
    folder = tmp_path / "new words"
    folder.mkdir()
    for file in corpus.iterdir():
        more = {"valid.txt": "the zebra saw\n", "test.txt": "okapi gnu the\n"}.get(file.name, "")
        (folder / file.name).write_text(more + file.read_text())
    return folder


def test_a_model_with_the_words_of_all_splits_moves_both_ways_on_any_text(
    call: Call, new_words: Path, tmp_path: Path
) -> None:
    trained, theirs, ours = (tmp_path / name for name in ("m.st", "theirs.st", "ours.st"))
    small = ["--emsize=6", "--nhid=6", "--batch-size=4", "--epochs=1"]
    options = ["--data", str(new_words), "--vocabulary", "all", "--save", str(trained)]
    result = call("train_ptb", *options, *small)
    assert "read as <unk>: 0 words of valid, 0 of test" in result.out
    checkpoint = load_checkpoint(trained)
    assert checkpoint.settings["vocabulary"] == "all"
    assert checkpoint.vocabulary == pytorchs_words(new_words)
    assert call("convert", str(trained), str(theirs)).status == 0
    assert load_file(theirs)["encoder.weight"].shape == (len(pytorchs_words(new_words)), 6)

    # And a model of word_language_model's comes over and trains on.
    assert call("convert", str(theirs), str(ours), "--data", str(new_words)).status == 0
    assert load_checkpoint(ours).vocabulary == pytorchs_words(new_words)
    for resumed in (ours, tmp_path / "ours.latest.st"):
        result = call("train_ptb", "--resume", str(resumed), "--epochs=2")
        assert (result.status, result.err) == (0, "")


def test_the_words_of_the_training_text_are_the_default(
    call: Call, new_words: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.st"
    options = ["--data", str(new_words), "--save", str(path), "--dry-run", "--batch-size=4"]
    assert call("train_ptb", *options).status == 0
    checkpoint = load_checkpoint(path)
    assert checkpoint.settings["vocabulary"] == "train"
    assert checkpoint.vocabulary[-1] == "<unk>"
    assert "zebra" not in checkpoint.vocabulary
    error = call("train_ptb", "--resume", str(path), "--vocabulary=all").error()
    assert "--vocabulary all conflicts with the checkpoint" in error
    del checkpoint.settings["vocabulary"]  # as earlier versions have it
    save_checkpoint(path, checkpoint)
    assert call("train_ptb", "--resume", str(path), "--epochs=1").status == 0


def test_a_text_with_words_that_a_model_without_unk_lacks(
    call: Call, corpus: Path, new_words: Path, state_dict: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "ours.st"
    call("convert", str(state_dict), str(ours), "--data", str(corpus))
    error = call("train_ptb", "--resume", str(ours), "--data", str(new_words)).error()
    assert "lacks 'zebra', 'okapi', 'gnu', which the text has" in error
    assert "--data" in error


def test_settings_are_seen_from_the_shapes() -> None:
    for kind in KINDS:
        for tied in (False, True):
            settings = Settings(model=kind, emsize=7, nhid=7, nlayers=3, tied=tied)
            weights = build_model(settings, 20).state_dict()
            assert describe(weights, "x", kind) == settings
            if kind in ("LSTM", "GRU"):
                assert describe(weights, "x") == settings
                with pytest.raises(UserError, match=f"holds a {kind}, not a RNN_TANH"):
                    describe(weights, "x", "RNN_TANH")
            else:
                with pytest.raises(UserError, match="--model RNN_TANH or --model RNN_RELU"):
                    describe(weights, "x")


@pytest.mark.parametrize("dropped", ["encoder.weight", "decoder.weight"])
def test_a_tied_matrix_may_be_saved_once(tmp_path: Path, dropped: str) -> None:
    settings = Settings(emsize=7, nhid=7, tied=True)
    weights = dict(build_model(settings, 20).state_dict())
    del weights[dropped]
    save_file(weights, tmp_path / "x")
    assert describe(read_state_dict(tmp_path / "x"), "x") == settings


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (None, "no file"),
        (b"\x80\x02}q\x00.", "never loaded"),
        ({"weight": np.zeros(3)}, "not a state_dict"),
        ({"encoder.weight": np.zeros(3)}, "not a state_dict"),
    ],
)
def test_what_is_no_state_dict_is_one_line(
    call: Call, corpus: Path, tmp_path: Path, contents: Any, said: str
) -> None:
    path = tmp_path / "torch.safetensors"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    elif contents:
        save_file(contents, path)
    target = tmp_path / "ours.safetensors"
    result = call("convert", str(path), str(target), "--data", str(corpus))
    assert said in result.error()
    assert str(path) in result.err
    assert not target.exists()


def test_the_text_of_another_model_is_one_line(
    call: Call, state_dict: Path, tmp_path: Path
) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("other words\n" * 20)
    target = str(tmp_path / "x.safetensors")
    error = call("convert", str(state_dict), target, "--data", str(tmp_path)).error()
    assert "--data" in error


def test_arrays_that_do_not_fit_each_other_are_one_line(
    call: Call, corpus: Path, state_dict: Path, tmp_path: Path
) -> None:
    weights = load_file(state_dict)
    weights["rnn.bias_ih_l1"] = np.zeros(3, np.float32)
    save_file(weights, state_dict)
    target = str(tmp_path / "x.safetensors")
    result = call("convert", str(state_dict), target, "--data", str(corpus))
    assert "rnn.bias_ih_l1 has shape (3,)" in result.error()


def test_weights_that_are_not_finite_are_one_line(
    call: Call, corpus: Path, state_dict: Path, tmp_path: Path
) -> None:
    weights = load_file(state_dict)
    weights["decoder.bias"][3] = np.nan
    save_file(weights, state_dict)
    target = tmp_path / "x.safetensors"
    result = call("convert", str(state_dict), str(target), "--data", str(corpus))
    assert "decoder.bias" in result.error() and "not finite" in result.err
    assert not target.exists()


# ---------------------------------------------------------------- files that stay


@pytest.fixture
def files(trained: Path, state_dict: Path, tmp_path: Path) -> dict[str, Path]:
    """One of each kind that a conversion may find."""
    files = {name: tmp_path / name for name in ("checkpoint", "text", "other", "nothing")}
    files["checkpoint"].write_bytes(trained.read_bytes())
    files["text"].write_text("the cat sat\n")
    files["nothing"].touch()
    save_file({"weight": np.zeros(3)}, files["other"])
    return {**files, "state_dict": state_dict}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("checkpoint", "checkpoint"),
        ("checkpoint", "text"),
        ("checkpoint", "other"),
        ("state_dict", "state_dict"),
        ("state_dict", "checkpoint"),
        ("state_dict", "text"),
        ("state_dict", "other"),
    ],
)
@pytest.mark.parametrize("link", ["", "symbolic", "hard"])
def test_no_file_is_lost(
    call: Call, files: dict[str, Path], corpus: Path, source: str, target: str, link: str
) -> None:
    path = files[target]
    if link:
        path = path.with_name("link")
        path.symlink_to(files[target]) if link == "symbolic" else path.hardlink_to(files[target])
    before = files[target].read_bytes()
    result = call("convert", str(files[source]), str(path), "--data", str(corpus))
    assert str(path) in result.error()
    assert "name another target" in result.err
    assert files[target].read_bytes() == path.read_bytes() == before


def test_another_checkpoint_is_not_written_over_either(
    call: Call, files: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other checkpoint"
    other.write_bytes(files["checkpoint"].read_bytes())
    assert "is a checkpoint" in call("convert", str(files["checkpoint"]), str(other)).error()
    assert other.read_bytes() == files["checkpoint"].read_bytes()


@pytest.mark.parametrize("target", ["state_dict", "nothing", "new"])
def test_a_state_dict_may_be_made_again(
    call: Call, files: dict[str, Path], tmp_path: Path, target: str
) -> None:
    path = files.get(target, tmp_path / "new")
    for _ in range(2):
        assert call("convert", str(files["checkpoint"]), str(path)).status == 0
        kept = load_checkpoint(files["checkpoint"]).model["decoder.weight"]
        assert np.array_equal(load_file(path)["decoder.weight"], kept)


# ---------------------------------------------------------------- other floats


def as_safetensors(weights: dict[str, np.ndarray], dtype: str) -> bytes:
    """A file of arrays in a dtype that NumPy may lack: for BF16 the upper halves of float32."""
    header, data = {}, b""
    for name, array in weights.items():
        start = len(data)
        data += (array.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [start, len(data)],
        }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_half_precision_is_read_exactly(
    call: Call, corpus: Path, state_dict: Path, tmp_path: Path
) -> None:
    exact = {}
    for name, array in load_file(state_dict).items():
        bits = array.astype(np.float16).astype(np.float32).view(np.uint32) & 0xFFFF0000
        exact[name] = bits.view(np.float32).astype(np.float16)  # which bfloat16 holds as well
    save_file(exact, tmp_path / "float16")
    whole = {name: array.astype(np.float32) for name, array in exact.items()}
    (tmp_path / "bfloat16").write_bytes(as_safetensors(whole, "BF16"))
    for kind in ("float16", "bfloat16"):
        ours = tmp_path / f"{kind}.ours"
        source = str(tmp_path / kind)
        assert call("convert", source, str(ours), "--data", str(corpus)).status == 0
        model = load_checkpoint(ours).model
        assert all(np.array_equal(model[name], whole[name]) for name in whole)
        assert model["decoder.weight"].dtype == np.float32


@pytest.mark.parametrize("dtype", ["I16", "U16"])
def test_weights_that_are_no_floats_are_one_line(
    call: Call, corpus: Path, state_dict: Path, tmp_path: Path, dtype: str
) -> None:
    path = tmp_path / "integers"
    path.write_bytes(as_safetensors(load_file(state_dict), dtype))
    result = call("convert", str(path), str(tmp_path / "ours"), "--data", str(corpus))
    assert f"is of dtype {dtype}; save it as float32" in result.error()


# ---------------------------------------------------------------- beside PyTorch


def pytorchs_model(torch: Any, kind: str, ntoken: int, ninp: int, nhid: int, tied: bool) -> Any:
    """word_language_model's RNNModel, in evaluation: dropout off."""
    nn = torch.nn

    class RNNModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Embedding(ntoken, ninp)
            if kind in ("LSTM", "GRU"):
                self.rnn = getattr(nn, kind)(ninp, nhid, 2)
            else:
                nonlinearity = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}[kind]
                self.rnn = nn.RNN(ninp, nhid, 2, nonlinearity=nonlinearity)
            self.decoder = nn.Linear(nhid, ntoken)
            if tied:
                self.decoder.weight = self.encoder.weight

        def forward(self, input: Any, hidden: Any) -> Any:
            output, hidden = self.rnn(self.encoder(input), hidden)
            return self.decoder(output).view(-1, ntoken), hidden

    return RNNModel()


def pytorchs_loss(torch: Any, model: Any, source: np.ndarray) -> float:
    """The mean loss over the text, its state carried from chunk to chunk."""
    total, words, hidden = 0.0, 0, None
    with torch.no_grad():
        for i in range(0, len(source) - 1, 35):
            data, target = (torch.from_numpy(ids) for ids in get_batch(source, i, 35))
            logits, hidden = model(data, hidden)
            loss = torch.nn.functional.cross_entropy(logits, target)
            total, words = total + float(loss) * len(target), words + len(target)
    return total / words


def train_pytorchs(torch: Any, model: Any, source: np.ndarray) -> None:
    """A few steps, so that the weights are not those of a beginning."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for i in range(0, len(source) - 1, 35):
        data, target = (torch.from_numpy(ids) for ids in get_batch(source, i, 35))
        logits, _ = model(data, None)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, target).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_test_perplexity_is_pytorchs_both_ways(
    call: Call, corpus: Path, tmp_path: Path, kind: str, tied: bool
) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_model

    torch.manual_seed(0)
    torch.set_num_threads(1)
    dictionary = Corpus(corpus, vocabulary="all").dictionary
    text = Corpus(corpus, dictionary)
    theirs = pytorchs_model(torch, kind, len(dictionary), 9 if tied else 6, 9, tied)
    train_pytorchs(torch, theirs, batchify(text.train, 4))
    file, ours, back = (tmp_path / name for name in ("torch.st", "ours.st", "back.st"))
    save_model(theirs, str(file))
    options = ["--data", str(corpus), *(["--model", kind] if kind.startswith("RNN") else [])]
    assert call("convert", str(file), str(ours), *options).status == 0

    # There: a model that PyTorch has trained.
    test = batchify(text.test, 10)
    checkpoint = load_checkpoint(ours)
    model = build_model(Settings(**checkpoint.settings), len(checkpoint.vocabulary))
    model.load_state_dict(checkpoint.model)
    expected = np.exp(pytorchs_loss(torch, theirs, test))
    assert np.exp(evaluate(model, test, 35)) == pytest.approx(expected, rel=1e-4)
    assert checkpoint.settings["tied"] == tied

    # And back: one that was trained here.
    path = tmp_path / "model.safetensors"
    options = [f"--model={kind}", "--emsize=9", "--nhid=9", "--batch-size=4", "--epochs=1"]
    if tied:
        options.append("--tied")
    trained = call("train_ptb", "--data", str(corpus), "--save", str(path), *options)
    assert trained.status == 0
    assert call("convert", str(path), str(back)).status == 0
    checkpoint = load_checkpoint(path)
    theirs = pytorchs_model(torch, kind, len(checkpoint.vocabulary), 9, 9, tied)
    theirs.load_state_dict(load_torch(back))
    test = batchify(Corpus(corpus).test, 10)
    model = build_model(Settings(**checkpoint.settings), len(checkpoint.vocabulary))
    model.load_state_dict(checkpoint.model)
    expected = np.exp(evaluate(model, test, 35))
    assert np.exp(pytorchs_loss(torch, theirs, test)) == pytest.approx(expected, rel=1e-4)
    assert f"test ppl {expected:8.2f}" in trained.out
