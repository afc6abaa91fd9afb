"""One safetensors file: what goes in comes out, and what is none is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import lm.checkpoint
from lm.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lm.errors import UserError

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
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def assert_equal(a: Checkpoint, b: Checkpoint) -> None:
    assert (a.settings, a.vocabulary, a.run) == (b.settings, b.vocabulary, b.run)
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

    monkeypatch.setattr(lm.checkpoint.os, step, full)
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
    del metadata[name]
    if text is not None:
        metadata[name] = text
    save_file({"model.weight": np.zeros(3)}, path, metadata=metadata)
    assert "damaged" in the_error(path)


def test_no_code_runs_on_loading(path: Path) -> None:
    """A pickle, which is what many programs call a checkpoint, is refused."""
    path.write_bytes(b"cos\nsystem\n(S'touch " + bytes(path.parent / "ran") + b"'\ntR.")
    the_error(path)
    assert not (path.parent / "ran").exists()
