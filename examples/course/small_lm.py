"""The small language models that three chapters look at: LSTMs with one layer, tied and untied.

python examples/course/small_lm.py
python examples/course/small_lm.py --seeds 1 --tied

Each is trained on Penn Treebank for an epoch, which takes about 2 minutes of one core, and kept in
build/course: chapters read it from there, and train it only if it is missing. Besides the
trained model (`model.safetensors`), a few states on the way are kept (`batch-100.safetensors`), to
show what changes during training. An interrupted run is resumed.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import minigrad as mg  # before NumPy: sets how long OpenBLAS's threads busy-wait

# isort: split
from experiment import ROOT

from lm.arguments import Parser, whole
from lm.builtin import builtin_corpus
from lm.checkpoint import load_checkpoint, save_checkpoint
from lm.console import UserError, run_command, show
from lm.corpus import EOS, Corpus, Dictionary
from lm.datasets import load_corpus
from lm.files import make_folder
from lm.model import RNNModel
from lm.run.observer import EpochEnd, Observer
from lm.run.trainer import Trainer
from lm.settings import FREE, Settings, build_model, trained_model
from lm.steps import perplexity

SEEDS = (1, 2, 3)
MODELS = ROOT / "build" / "course"
SNAPSHOTS = (10, 30, 100, 300, 1000)  # batches after which a state is kept, besides 0 and the end
FULL = {"emsize": 100, "nhid": 100, "nlayers": 1, "epochs": 1}
QUICK = {"data": "builtin", "emsize": 24, "nhid": 24, "nlayers": 1, "epochs": 1, "batch_size": 10}
QUICK_WORDS = 25_000  # of the built-in text


@dataclass(frozen=True)
class Trained:
    """A trained model, the words it knows, and the files of its states by batches trained."""

    settings: Settings
    model: RNNModel
    dictionary: Dictionary
    snapshots: dict[int, Path]


def settings_of(seed: int, tied: bool, quick: bool = False) -> Settings:
    return Settings(seed=seed, tied=tied, **(QUICK if quick else FULL)).resolved()


@functools.cache
def corpus_of(quick: bool = False) -> Corpus:
    """Penn Treebank; for a quick experiment, the beginning of the built-in text."""
    if not quick:
        return load_corpus()
    whole_text = builtin_corpus()
    words = whole_text.dictionary.idx2word
    sizes = (QUICK_WORDS, QUICK_WORDS // 5, QUICK_WORDS // 5)
    splits = (whole_text.train, whole_text.valid, whole_text.test)
    texts = (
        " ".join(words[i] for i in ids[:size]).replace(EOS, "\n")
        for ids, size in zip(splits, sizes, strict=True)
    )
    return Corpus.from_text(*texts)


def trained(settings: Settings, corpus: Corpus, folder: Path = MODELS) -> Trained:
    """The model of these settings, from `folder`, or trained and kept there."""
    name = f"{'tied' if settings.tied else 'untied'}-{settings.nhid}-seed-{settings.seed}"
    run = make_folder(folder / name)
    best, latest = run / "model.safetensors", run / "model.latest.safetensors"
    checkpoint = load_checkpoint(latest) if latest.is_file() else None
    if checkpoint and any(checkpoint.settings[n] != v for n, v in settings.as_dict().items()
                          if n not in FREE):  # fmt: skip
        raise UserError(f"{run} has a model of other settings; delete that folder")
    if not checkpoint or checkpoint.run["position"]["epoch"] <= settings.epochs:
        mg.manual_seed(settings.seed)
        trainer = Trainer(build_model(settings, len(corpus.dictionary)), corpus, settings, best)
        if checkpoint:
            trainer.resume(checkpoint)
        trainer.observers.append(Snapshots(trainer, run, name))
        trainer.fit()
        if trainer.unfinished:
            raise UserError(f"stopped; the same command goes on with {name}")
    return read(best, {int(p.stem.removeprefix("batch-")): p for p in run.glob("batch-*")})


def read(path: Path, snapshots: dict[int, Path] | None = None) -> Trained:
    """The model in a checkpoint, for looking at: in evaluation mode."""
    checkpoint = load_checkpoint(path)
    settings, model = trained_model(checkpoint)
    model.eval()
    return Trained(settings, model, Dictionary(checkpoint.vocabulary), snapshots or {})


class Snapshots(Observer):
    """Keeps a few states of a run, and says how far it is after each epoch."""

    def __init__(self, trainer: Trainer, folder: Path, name: str) -> None:
        self.trainer, self.folder, self.name = trainer, folder, name

    def start(self, text: str) -> None:
        show(f"training {self.name} {text}")
        position = self.trainer.state.position
        if position.epoch == 1 and position.batch == 0:
            self.keep(0)

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        done = (epoch - 1) * batches + batch
        if done in SNAPSHOTS or batch == batches:
            self.keep(done)

    def keep(self, done: int) -> None:
        save_checkpoint(self.folder / f"batch-{done}.safetensors", self.trainer.checkpoint())

    def epoch_end(self, end: EpochEnd) -> None:
        show(
            f"{self.name} epoch {end.epoch}: validation perplexity "
            f"{perplexity(end.valid_loss):.1f}, {end.cpu_seconds:.0f} s of CPU"
        )


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    corpus = corpus_of(args.quick)
    for seed in args.seeds:
        for tied in [True, False] if not args.tied else [True]:
            trained(settings_of(seed, tied, args.quick), corpus, args.models)


def parser() -> argparse.ArgumentParser:
    p = Parser(description="Train the small language models of the course.")
    p.add_argument("--seeds", type=whole, nargs="+", default=SEEDS, help="one model for each")
    p.add_argument("--tied", action="store_true", help="only the tied models")
    p.add_argument("--quick", action="store_true", help="tiny models on a small text")
    add_models(p)
    return p


def add_models(p: argparse.ArgumentParser) -> None:
    """Add the option --models, which all programs that need the models have."""
    p.add_argument("--models", type=Path, default=MODELS, metavar="DIR",
                   help="where the trained models are, or will be kept")  # fmt: skip


if __name__ == "__main__":
    run_command(main)
