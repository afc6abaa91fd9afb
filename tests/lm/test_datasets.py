"""Penn Treebank over real connections to a server on this machine, and the built-in corpus."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from inspect import unwrap
from pathlib import Path

import numpy as np
import pytest
from treebank import PTB, needs_ptb

import lm.builtin
import lm.datasets
import lm.download
from lm.console import UserError
from lm.corpus import UNK, Corpus, Dictionary
from lm.datasets import PTB_SHA256, builtin_corpus, load_corpus, penn_treebank
from lm.download import DownloadError, download

TEXTS = {
    "train": b"the cat sat on the mat\n" * 10_000,  # more than one chunk
    "valid": b"the cat\n",
    "test": b"a mat\n",
}
NAMES = {f"ptb.{split}.txt" for split in TEXTS}


class Server(ThreadingHTTPServer):
    """Serves the texts as /<way>/ptb.<split>.txt, where `way` says what goes wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.closing = threading.Event()

    def url(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{way}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        _, way, name = self.path.split("/")
        self.server.asked.append(name)
        text = TEXTS[name.split(".")[1]]
        if way == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        if way != "unmeasured":
            more = {"cut": 1, "stalled": 1, "drips": 1_000_000}.get(way, 0)
            self.send_header("Content-Length", str(len(text) + more))
        self.end_headers()
        self.wfile.write(text[::-1] if way == "changed" else text)
        if way == "stalled":
            self.server.closing.wait(10)
        while way == "drips" and not self.server.closing.wait(0.02):
            try:
                self.wfile.write(b"a")
            except OSError:  # nobody wants any more
                return

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _these_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = {split: hashlib.sha256(text).hexdigest() for split, text in TEXTS.items()}
    monkeypatch.setattr(lm.datasets, "PTB_SHA256", sums)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("way", ["good", "unmeasured"])
def test_download(tmp_path: Path, server: Server, way: str) -> None:
    folder = tmp_path / "data" / "ptb"
    assert penn_treebank(folder, server.url(way)) == folder
    assert names(folder) == NAMES
    for split, text in TEXTS.items():
        assert (folder / f"ptb.{split}.txt").read_bytes() == text
    assert len(Corpus(folder).dictionary) == 7


def test_only_what_is_missing_is_downloaded(tmp_path: Path, server: Server) -> None:
    (tmp_path / "ptb.train.txt").write_text("put here by hand")
    (tmp_path / "test.txt").write_text("this too")
    server.asked.clear()
    penn_treebank(tmp_path, server.url("good"))
    assert server.asked == ["ptb.valid.txt"]
    assert names(tmp_path) == {"ptb.train.txt", "ptb.valid.txt", "test.txt"}
    assert (tmp_path / "ptb.train.txt").read_text() == "put here by hand"
    penn_treebank(tmp_path, "http://127.0.0.1:1")  # complete, so that nobody is asked


def the_error(folder: Path, url: str) -> str:
    """The message of a download that must fail; nothing may be left behind."""
    with pytest.raises(UserError) as caught:
        penn_treebank(folder, url)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert "--data builtin" in message
    assert not folder.is_dir() or names(folder) == set()
    return message


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("changed", "wrong SHA-256 sum"),
        ("cut", "connection cut after 230000 of 230001 bytes"),
        ("missing", "404"),
        ("stalled", "timed out"),
    ],
)
def test_failed_download(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, way: str, reason: str
) -> None:
    monkeypatch.setattr(lm.download, "TIMEOUT", 0.2)
    assert reason in the_error(tmp_path, server.url(way))


@pytest.mark.parametrize("way", ["good", "unmeasured"])
def test_too_large(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(lm.datasets, "PTB_MAX_BYTES", 100_000)
    assert "larger than 100000 bytes" in the_error(tmp_path, server.url(way))


def test_a_byte_now_and_then(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm.download, "DEADLINE", 0.2)
    assert "not done after 0.2 seconds" in the_error(tmp_path, server.url("drips"))


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", "", "a\\b"])
def test_a_name_that_leads_out_of_the_folder(tmp_path: Path, server: Server, name: str) -> None:
    folder = tmp_path / "inside"
    server.asked.clear()
    with pytest.raises(DownloadError, match="not the name of a file"):
        download(server.url("good") + "/ptb.test.txt", folder, name, "", 100)
    assert names(tmp_path) == set()
    assert server.asked == []


def test_a_link_is_replaced_and_not_followed(tmp_path: Path, server: Server) -> None:
    outside = tmp_path / "outside.txt"
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "ptb.test.txt").symlink_to(outside)
    penn_treebank(folder, server.url("good"))
    assert not outside.exists()
    assert (folder / "ptb.test.txt").read_bytes() == TEXTS["test"]


def test_nobody_answers(tmp_path: Path) -> None:
    assert "refused" in the_error(tmp_path, "http://127.0.0.1:1")


def test_folder_cannot_be_made(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").touch()
    assert "cannot download" in the_error(tmp_path / "file" / "ptb", server.url("good"))


def test_interrupted_download(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        assert len(names(tmp_path)) == 1  # the temporary file
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        penn_treebank(tmp_path, server.url("good"))
    assert names(tmp_path) == set()


def test_load_corpus(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lm.datasets, "builtin_corpus", lambda *args: args)
    dictionary = Dictionary(["the", "<unk>"])
    assert load_corpus("builtin", dictionary, "all") == (dictionary, "all")
    penn_treebank("data/ptb", server.url("good"))
    assert load_corpus(None).unknown == load_corpus(tmp_path / "data/ptb").unknown
    with pytest.raises(UserError, match="no folder nowhere"):
        load_corpus("nowhere")


@needs_ptb
def test_the_real_penn_treebank() -> None:
    for split, sha256 in PTB_SHA256.items():
        text = (PTB / f"ptb.{split}.txt").read_bytes()
        assert hashlib.sha256(text).hexdigest() == sha256
        assert len(text) < lm.datasets.PTB_MAX_BYTES
    corpus = Corpus(PTB)
    assert len(corpus.dictionary) == 10_000
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (929_589, 73_760, 82_430)
    assert corpus.unknown == {"train": 0, "valid": 0, "test": 0}
    first = [corpus.dictionary.idx2word[i] for i in corpus.test[:7]]
    assert first == ["no", "it", "was", "n't", "black", "monday", "<eos>"]


@pytest.fixture(scope="module")
def lines() -> list[list[str]]:
    return lm.builtin.documentation()


@pytest.fixture(scope="module")
def builtin(lines: list[list[str]]) -> Corpus:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm.builtin, "documentation", lambda: lines)
        return builtin_corpus()


def test_builtin_size(builtin: Corpus) -> None:
    sizes = np.array([len(builtin.train), len(builtin.valid), len(builtin.test)])
    assert 100_000 < sizes.sum() < 400_000
    np.testing.assert_allclose(sizes / sizes.sum(), [0.90, 0.05, 0.05], atol=0.01)
    assert 3_000 < len(builtin.dictionary) < 10_000


def test_builtin_is_the_same_in_every_process() -> None:
    program = """if True:
        import hashlib, lm.builtin
        lm.builtin.FOLDERS = ("json", "logging")  # some, for the time it takes
        corpus = lm.builtin.builtin_corpus()
        print(len(corpus.dictionary), hashlib.sha256(corpus.train.tobytes()).hexdigest())
    """
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second != ""


def test_builtin_rare_words_are_unk(builtin: Corpus) -> None:
    counts = np.bincount(builtin.train, minlength=len(builtin.dictionary))
    assert counts.min() >= lm.builtin.MIN_COUNT
    unk = builtin.dictionary.word2idx[UNK]
    for split in ("train", "valid", "test"):
        assert 0 < np.mean(getattr(builtin, split) == unk) < 0.06
    assert builtin.unknown["test"] == np.sum(builtin.test == unk)


def test_builtin_with_other_words(
    builtin: Corpus, lines: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm.builtin, "documentation", lambda: lines)
    all_words = load_corpus("builtin", vocabulary="all")
    assert len(all_words.dictionary) > len(builtin.dictionary)
    assert all_words.unknown == {"train": 0, "valid": 0, "test": 0}
    again = load_corpus("builtin", builtin.dictionary)
    np.testing.assert_array_equal(again.test, builtin.test)
    with pytest.raises(UserError, match="has no <unk> and lacks"):
        load_corpus("builtin", Dictionary(["the"]))


def test_builtin_is_english(builtin: Corpus) -> None:
    counts = np.bincount(builtin.train)
    common = [builtin.dictionary.idx2word[i] for i in counts.argsort()[::-1][:10]]
    assert {"the", "a", "of", "to", "is", ".", ",", "<eos>"} <= set(common)


def test_builtin_lines_are_all_different_and_divided_in_blocks(lines: list[list[str]]) -> None:
    assert len({tuple(line) for line in lines}) == len(lines)
    train, valid, test = lm.builtin.divide(lines)
    assert len(train) + len(valid) + len(test) == len(lines)
    block = lm.builtin.BLOCK
    assert train[: 18 * block] == lines[: 18 * block]
    assert valid[:block] == lines[18 * block : 19 * block]
    assert test[:block] == lines[19 * block : 20 * block]
    assert train[18 * block] == lines[20 * block]


def test_builtin_docstrings_in_source_order() -> None:
    source = '''
"""Module."""
class A:
    """Class."""
    async def f(self):
        """Method."""
        def g(): "Inner."
    x = """Not a docstring."""
def h():
    pass
def i(): "Function."
'''
    docstrings = list(lm.builtin.docstrings(ast.parse(source)))
    assert docstrings == ["Module.", "Class.", "Method.", "Inner.", "Function."]


def test_builtin_without_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(UserError, match="pydoc_data"):
        unwrap(lm.builtin.documentation)()


def test_builtin_without_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm.builtin.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(UserError, match=f"source of its library in {tmp_path}"):
        unwrap(lm.builtin.documentation)()
