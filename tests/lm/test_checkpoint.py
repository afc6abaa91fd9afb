"""One safetensors file: what goes in comes out, and what is none is refused in one line."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from on_both import assert_array_equal
from safetensors import safe_open
from safetensors.numpy import save_file

import lm.checkpoint
import lm.files
import minigrad as mg
from lm.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lm.console import UserError
from lm.model import RNNModel
from lm.steps import train_step
from minigrad.optim import SGD, Adam, Optimizer

pytestmark = pytest.mark.usefixtures("backend")

NO_WORDS = {"vocabulary.utf8": np.zeros(0, np.uint8), "vocabulary.offsets": np.zeros(1, np.int64)}

CHECKPOINT = Checkpoint(
    settings={"model": "LSTM", "lr": None, "dropout": 0.2, "tied": False},
    vocabulary=["the", "naïve", '"', "<eos>", "<unk>", "北京"],
    model={
        "encoder.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "decoder.bias": np.array([1e-300, -0.0]),
    },
    run={
        "position": {"epoch": 3, "best_loss": 4.710000000000001},
        "random": {"state": 2**127 + 1},
    },
    hidden={"0": np.full((2, 1, 3), np.nan), "1": np.zeros((2, 1, 3))},
    optimizer={"lr": 5.0, "steps": [3, 0], "mean": [np.arange(3.0), None], "square": [None, None]},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def assert_equal(a: Checkpoint, b: Checkpoint) -> None:
    assert (a.settings, a.vocabulary, a.run) == (b.settings, b.vocabulary, b.run)
    assert str(a.optimizer) == str(b.optimizer)
    for group in ("model", "hidden"):
        arrays, expected = getattr(a, group), getattr(b, group)
        assert arrays.keys() == expected.keys()
        for name, array in arrays.items():
            assert array.dtype == expected[name].dtype
            assert array.shape == expected[name].shape
            assert array.tobytes() == np.ascontiguousarray(expected[name]).tobytes()


def the_error(path: Path) -> str:
    """The message of the UserError that loading gives, which must be one line."""
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_goes_in_comes_out(path: Path) -> None:
    save_checkpoint(path, CHECKPOINT)
    assert_equal(load_checkpoint(path), CHECKPOINT)
    assert_equal(load_checkpoint(str(path)), CHECKPOINT)


def test_arrays_that_are_views_or_shared_come_out_whole(path: Path) -> None:
    matrix = np.arange(12.0).reshape(3, 4)
    model = {"transposed": matrix.T, "every other": matrix[:, ::2], "tied": matrix, "a": matrix}
    checkpoint = Checkpoint({}, [], model)
    save_checkpoint(path, checkpoint)
    assert_equal(load_checkpoint(path), checkpoint)


def test_it_is_a_safetensors_file_with_settings_as_text_and_words_in_arrays(path: Path) -> None:
    save_checkpoint(path, CHECKPOINT)
    with safe_open(path, framework="numpy") as file:
        assert "model.encoder.weight" in file.keys()  # noqa: SIM118
        metadata = file.metadata()
        words = file.get_tensor("vocabulary.utf8").tobytes()
        offsets = file.get_tensor("vocabulary.offsets").tolist()
    assert json.loads(metadata["settings"]) == CHECKPOINT.settings
    assert words.decode() == "".join(CHECKPOINT.vocabulary)
    assert words[offsets[1] : offsets[2]].decode() == CHECKPOINT.vocabulary[1] == "naïve"


@pytest.mark.parametrize(
    "words", [[], [""], ["", "a"], ["\0", "\u2028", "\U0010ffff", '"sha256":"']]
)
def test_any_words_come_out(path: Path, words: list[str]) -> None:
    checkpoint = Checkpoint({}, words, {})
    save_checkpoint(path, checkpoint)
    assert_equal(load_checkpoint(path), checkpoint)


def test_more_words_than_a_header_of_safetensors_holds(path: Path) -> None:
    """330,000 words of 45 Chinese characters: 45 MB, and as JSON 90 MB."""
    words = [f"{i:06}" + "北京语言模型" * 8 for i in range(330_000)]
    save_checkpoint(path, Checkpoint({}, words, {}))
    assert load_checkpoint(path).vocabulary == words


# ---------------------------------------------------------------- the version before


def write_version_2(path: Path, checkpoint: Checkpoint, vocabulary: str | None = None) -> None:
    """A checkpoint as it was until format 2, with the vocabulary as a text."""
    texts = {
        "format": "minigrad-lm-2",
        "settings": json.dumps(checkpoint.settings),
        "vocabulary": vocabulary or json.dumps(checkpoint.vocabulary),
        "run": json.dumps(checkpoint.run),
        "optimizer": json.dumps({**checkpoint.optimizer, "mean": [None, None]}),
    }
    arrays = {f"model.{name}": array for name, array in checkpoint.model.items()}
    arrays |= {f"hidden.{name}": array for name, array in checkpoint.hidden.items()}
    arrays["optimizer.mean.0"] = checkpoint.optimizer["mean"][0]
    path.write_bytes(lm.checkpoint.sealed(arrays, texts))


def test_a_file_of_version_2_comes_out(path: Path) -> None:
    write_version_2(path, CHECKPOINT)
    assert_equal(load_checkpoint(path), CHECKPOINT)
    save_checkpoint(path, load_checkpoint(path))
    assert_equal(load_checkpoint(path), CHECKPOINT)


@pytest.mark.parametrize("vocabulary", ["{", '"the"', '["the", 3]', '["a", "a"]', "[" * 100_000])
def test_a_damaged_vocabulary_of_version_2(path: Path, vocabulary: str) -> None:
    write_version_2(path, CHECKPOINT, vocabulary)
    assert "damaged" in the_error(path)


def test_saving_replaces_the_old_one_and_leaves_nothing_else(path: Path) -> None:
    save_checkpoint(path, Checkpoint({}, [], {}))
    save_checkpoint(path, CHECKPOINT)
    assert_equal(load_checkpoint(path), CHECKPOINT)
    assert list(path.parent.iterdir()) == [path]


# ---------------------------------------------------------------- writing that fails


def fails_to_save(path: Path, checkpoint: Checkpoint | None = None) -> str:
    with pytest.raises(UserError) as caught:
        save_checkpoint(path, checkpoint or Checkpoint({}, [], {}))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_the_old_one_stays_when_the_new_one_cannot_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    save_checkpoint(path, CHECKPOINT)

    def full(*args: object) -> None:
        assert len(list(path.parent.iterdir())) == 2  # the new one lies beside the old one
        assert_equal(load_checkpoint(path), CHECKPOINT)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lm.files.os, step, full)
    assert "No space left on device" in fails_to_save(path)
    assert_equal(load_checkpoint(path), CHECKPOINT)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        (Checkpoint({}, ["the", "\udc80"], {}), "UnicodeEncodeError"),
        (Checkpoint({"data": {1, 2}}, [], {}), "not JSON serializable"),
        (Checkpoint({"data": "x" * 110_000_000}, [], {}), "header too large"),
        (Checkpoint({}, [], {"weight": np.array(["the"])}), "SafetensorError"),
        (Checkpoint({}, [], {"weight": np.array([None])}), ""),
    ],
    ids=["a surrogate", "a set", "a long text", "strings", "objects"],
)
def test_what_cannot_be_saved_is_one_line_and_the_old_one_stays(
    path: Path, checkpoint: Checkpoint, said: str
) -> None:
    save_checkpoint(path, CHECKPOINT)
    assert said in fails_to_save(path, checkpoint)
    assert_equal(load_checkpoint(path), CHECKPOINT)
    assert list(path.parent.iterdir()) == [path]


def test_too_little_memory_to_save_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*args: object) -> bytearray:
        raise MemoryError

    monkeypatch.setattr(lm.checkpoint, "sealed", no_memory)
    assert "MemoryError" in fails_to_save(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    fails_to_save(tmp_path / "nowhere" / "model.safetensors")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fails_to_save(tmp_path / "file" / "model.safetensors")


def test_a_file_that_is_a_folder(path: Path) -> None:
    path.mkdir()
    fails_to_save(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    fails_to_save(tmp_path / ("m" * 300))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_folder_that_may_not_be_written(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=mode)
    try:
        assert "Permission denied" in fails_to_save(folder / "model.safetensors")
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_not_a_file_is_not_replaced(path: Path) -> None:
    os.mkfifo(path)  # in place of a device, which a mistake would remove from this machine
    assert "not a file" in fails_to_save(path)
    assert path.is_fifo()


def test_a_link_stays_a_link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")
    save_checkpoint(path, CHECKPOINT)
    assert path.is_symlink()
    assert_equal(load_checkpoint(path.parent / "elsewhere"), CHECKPOINT)


def test_what_a_kill_has_left_behind_is_removed_an_hour_later(path: Path) -> None:
    names = f"{path.name}.1.tmp", f"{path.name}.2.tmp", "a.tmp"
    old, new, other = (path.with_name(name) for name in names)
    for file in (old, new, other):
        file.touch()
    for file in (old, other):
        os.utime(file, (0, 0))
    save_checkpoint(path, CHECKPOINT)
    assert {*path.parent.iterdir()} == {path, new, other}


def test_two_threads_saving_to_one_path_never_give_a_mixture(path: Path) -> None:
    checkpoints = [Checkpoint({"n": n}, [str(n)], {"w": np.full(5000, n)}) for n in (1, 2)]
    save_checkpoint(path, checkpoints[0])
    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(save_checkpoint, path, checkpoints[i % 2]) for i in range(100)]
        while not all(job.done() for job in jobs):
            found = load_checkpoint(path)
            assert_equal(found, checkpoints[found.settings["n"] - 1])
        for job in jobs:
            job.result()
    assert_equal(load_checkpoint(path), checkpoints[load_checkpoint(path).settings["n"] - 1])
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_is_full_at_any_byte(tmp_path: Path) -> None:
    import resource

    path = a_model(tmp_path)
    before = path.read_bytes()
    checkpoint = load_checkpoint(path)
    checkpoint.settings["nhid"] = 21
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for place in range(10):
        resource.setrlimit(resource.RLIMIT_FSIZE, (place * len(before) // 10, hard))
        try:
            with pytest.raises(UserError) as caught:
                save_checkpoint(path, checkpoint)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert str(path) in str(caught.value)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- files that are none


def test_a_file_that_is_not_there(path: Path) -> None:
    assert "no checkpoint" in the_error(path)
    assert "is not a file; name a checkpoint" in the_error(path.parent)


@pytest.mark.parametrize(
    "contents", [b"", b"the cat sat\n", b"PK\x03\x04" + b"\0" * 50, b"\xff" * 100]
)
def test_a_file_that_is_not_safetensors(path: Path, contents: bytes) -> None:
    path.write_bytes(contents)
    assert "not a checkpoint" in the_error(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_the_safetensors_of_another_program(path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": np.zeros(3)}, path, metadata=metadata)
    assert "not a checkpoint of this program" in the_error(path)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
def test_the_safetensors_of_another_program_in_a_dtype_that_numpy_lacks(
    path: Path, dtype: str
) -> None:
    size = 2 if dtype == "BF16" else 1
    header = {"weight": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4 * size]}}
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(4 * size))
    assert "not a checkpoint" in the_error(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(path: Path, share: float) -> None:
    save_checkpoint(path, CHECKPOINT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged" in the_error(path)


@pytest.mark.parametrize("name", ["settings", "run"])
@pytest.mark.parametrize("text", [None, "{", ""])
def test_a_file_whose_texts_are_damaged(path: Path, name: str, text: str | None) -> None:
    save_checkpoint(path, CHECKPOINT)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    texts = {other: metadata[other] for other in lm.checkpoint.TEXTS if other != name}
    if text is not None:
        texts[name] = text
    save_file({"model.weight": np.zeros(3)}, path, metadata={**metadata, **texts})
    assert "damaged" in the_error(path)
    path.write_bytes(lm.checkpoint.sealed({"model.weight": np.zeros(3)}, texts))
    assert "damaged" in the_error(path)


def test_texts_that_are_of_another_kind(path: Path) -> None:
    texts = {"settings": "{}", "run": '"the"', "optimizer": "{}"}
    path.write_bytes(lm.checkpoint.sealed(NO_WORDS, texts))
    assert "run is not a dict" in the_error(path)
    texts["run"] = "[" * 100_000
    path.write_bytes(lm.checkpoint.sealed(NO_WORDS, texts))
    the_error(path)
    texts["run"] = "{}"
    path.write_bytes(lm.checkpoint.sealed(NO_WORDS, texts))
    load_checkpoint(path)
    path.write_bytes(lm.checkpoint.sealed({**NO_WORDS, "optimizer.mean.7": np.zeros(3)}, texts))
    the_error(path)


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": None},
        {"utf8": None},
        {"offsets": []},
        {"offsets": [0, 3]},  # not to the end
        {"offsets": [1, 3, 6]},  # nor from the beginning
        {"offsets": [0, 4, 2, 6]},
        {"offsets": [0, 2**62, 6]},
        {"offsets": [0, -1, 6]},
        {"offsets": [[0, 6], [0, 6]]},
        {"offsets": 6},
        {"offsets": np.array([0.0, 3.0, 6.0])},
        {"offsets": [0, 1, 6], "utf8": np.frombuffer("éabcd".encode(), np.uint8)},
        {"utf8": np.frombuffer(b"the\xff\xfe\xfd", np.uint8)},
        {"utf8": np.frombuffer(b"thethe", np.uint8)},  # twice
        {"utf8": np.frombuffer(b"thecat", np.int8)},
        {"utf8": np.frombuffer(b"thecat", np.uint8).reshape(2, 3)},
        {"more": np.zeros(3)},
    ],
)
def test_a_damaged_vocabulary(path: Path, change: dict[str, Any]) -> None:
    parts = {"utf8": np.frombuffer(b"thecat", np.uint8), "offsets": np.array([0, 3, 6])}
    texts = {"settings": "{}", "run": "{}", "optimizer": "{}"}

    def write() -> None:
        arrays = {f"vocabulary.{name}": array for name, array in parts.items()}
        path.write_bytes(lm.checkpoint.sealed(arrays, texts))

    write()
    assert load_checkpoint(path).vocabulary == ["the", "cat"]
    for name, array in change.items():
        parts[name] = np.asarray(array, None if np.size(array) else np.int64)
        if array is None:
            del parts[name]
    write()
    assert "damaged" in the_error(path)


def test_a_checkpoint_of_another_version(path: Path) -> None:
    save_file({"model.weight": np.zeros(3)}, path, metadata={"format": "minigrad-lm-1"})
    assert "another version (minigrad-lm-1, and this program reads minigrad-lm-" in the_error(path)


def a_model(folder: Path) -> Path:
    """A checkpoint of a usual make: many arrays, and a header of some thousand bytes."""
    draw = np.random.default_rng(0)
    path = folder / "model.safetensors"
    arrays = {f"weight_{i}": draw.random((i, 20), np.float32) for i in range(1, 15)}
    words = [f"word{i}" for i in range(200)]
    save_checkpoint(path, Checkpoint({"nhid": 20}, words, arrays, {"position": {"epoch": 1}}))
    return path


def test_cut_anywhere(tmp_path: Path) -> None:
    path = a_model(tmp_path)
    whole = path.read_bytes()
    for cut in range(200):
        path.write_bytes(whole[: cut * len(whole) // 200])
        the_error(path)
    path.write_bytes(whole + b"\0")
    the_error(path)


@pytest.mark.parametrize("number", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_any_byte_that_has_changed(tmp_path: Path, number: int) -> None:
    path = a_model(tmp_path)
    whole = path.read_bytes()
    draw = np.random.default_rng(1)
    for _ in range(number):
        at, flip = int(draw.integers(len(whole))), int(draw.integers(1, 256))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
        the_error(path)
    path.write_bytes(whole)
    load_checkpoint(path)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_an_optimiser_goes_on_to_the_bit(path: Path, optimizer: str) -> None:
    def make() -> tuple[RNNModel, Optimizer]:
        mg.manual_seed(0)
        model = RNNModel("GRU", 20, 6, 6, 2, dropout=0.0)
        kinds = {
            "sgd": lambda p: SGD(p, 1.0),
            "momentum": lambda p: SGD(p, 1.0, momentum=0.9),
            "adam": lambda p: Adam(p, 0.01),
        }
        return model, kinds[optimizer](model.parameters())

    def steps(model: RNNModel, optimizer: Optimizer, number: int) -> None:
        words = np.random.default_rng(0).integers(0, 20, (6, 3))
        for _ in range(number):
            hidden = model.init_hidden(3)
            train_step(model, optimizer, words[:-1], words[1:].reshape(-1), hidden, 0.25)

    whole, its_optimizer = make()
    steps(whole, its_optimizer, 5)
    model, first = make()
    steps(model, first, 2)
    save_checkpoint(path, Checkpoint({}, [], model.state_dict(), optimizer=first.state_dict()))
    loaded = load_checkpoint(path)
    model, second = make()
    model.load_state_dict(loaded.model)
    second.load_state_dict(loaded.optimizer)
    steps(model, second, 3)
    for name, weight in model.state_dict().items():
        assert_array_equal(weight, whole.state_dict()[name], err_msg=name)


def test_the_state_of_another_optimiser_does_not_fit(path: Path) -> None:
    model = RNNModel("GRU", 20, 6, 6, 1, dropout=0.0)
    adam = Adam(model.parameters())
    with pytest.raises(ValueError, match="velocity"):
        SGD(model.parameters(), 1.0, momentum=0.9).load_state_dict(adam.state_dict())
    state = adam.state_dict()
    state["mean"][0] = np.zeros(3)
    with pytest.raises(ValueError, match=r"mean of shape \(3,\)"):
        adam.load_state_dict(state)


def test_no_code_runs_on_loading(path: Path) -> None:
    """A pickle, which is what many programs call a checkpoint, is refused."""
    path.write_bytes(b"cos\nsystem\n(S'touch " + bytes(path.parent / "ran") + b"'\ntR.")
    the_error(path)
    assert not (path.parent / "ran").exists()
