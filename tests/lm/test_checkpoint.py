"""One safetensors file: what goes in comes out, and what is none is refused in one line."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
from lm.training import train_step
from minigrad.optim import SGD, Adam, Optimizer

pytestmark = pytest.mark.usefixtures("backend")

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


def test_it_is_a_safetensors_file_with_settings_and_vocabulary_as_text(path: Path) -> None:
    save_checkpoint(path, CHECKPOINT)
    with safe_open(path, framework="numpy") as file:
        assert "model.encoder.weight" in file.keys()  # noqa: SIM118
        metadata = file.metadata()
    assert json.loads(metadata["settings"]) == CHECKPOINT.settings
    assert json.loads(metadata["vocabulary"]) == CHECKPOINT.vocabulary


def test_saving_replaces_the_old_one_and_leaves_nothing_else(path: Path) -> None:
    save_checkpoint(path, Checkpoint({}, [], {}))
    save_checkpoint(path, CHECKPOINT)
    assert_equal(load_checkpoint(path), CHECKPOINT)
    assert list(path.parent.iterdir()) == [path]


# ---------------------------------------------------------------- writing that fails


def fails_to_save(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        save_checkpoint(path, Checkpoint({}, [], {}))
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
    assert "no checkpoint" in the_error(path.parent)  # a folder


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


@pytest.mark.parametrize("name", ["settings", "vocabulary", "run"])
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
    texts = {"settings": "{}", "vocabulary": '"the"', "run": "{}", "optimizer": "{}"}
    path.write_bytes(lm.checkpoint.sealed({}, texts))
    assert "vocabulary is no list" in the_error(path)
    texts["vocabulary"] = "[" * 100_000
    path.write_bytes(lm.checkpoint.sealed({}, texts))
    the_error(path)
    texts["vocabulary"] = "[]"
    path.write_bytes(lm.checkpoint.sealed({"optimizer.mean.7": np.zeros(3)}, texts))
    the_error(path)


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
