"""Train a word-level language model, by default on Penn Treebank."""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path

import minigrad as mg

from ..arguments import Parser, at_least_one, called_as, every
from ..checkpoint import Checkpoint, load_checkpoint, must_fit
from ..console import UserError, warn
from ..corpus import Corpus, Dictionary
from ..datasets import corpus_files, load_corpus
from ..files import same_file
from ..results import origin
from ..run.metrics import MetricsFile, header
from ..run.progress import watch
from ..run.saving import best_path_of
from ..run.trainer import Trainer
from ..settings import PRESETS, Settings, build_model, choose, rules

# Options that a checkpoint does not keep, and their defaults.
NOT_KEPT = {
    "log-interval": 200,
    "save-every": None,
    "metrics": None,
    "report": None,
    "tensorboard": None,
    "detect-anomaly": False,
}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    if args.resume is not None and args.dry_run:
        raise UserError("--dry-run would overwrite the run that --resume continues; omit one")
    checkpoint = load_checkpoint(args.resume) if args.resume is not None else None
    with must_fit(args.resume):
        settings = choose(vars(args), args.preset, checkpoint.settings if checkpoint else None)

    mg.use(settings.backend)
    mg.manual_seed(settings.seed)
    dictionary = Dictionary(checkpoint.vocabulary) if checkpoint else None
    corpus = load_corpus(settings.data, dictionary, settings.vocabulary)
    model = build_model(settings, len(corpus.dictionary))

    save = default_save(args.resume) if args.save is None else args.save
    options = args.log_interval, args.dry_run, args.save_every, args.detect_anomaly
    trainer = Trainer(model, corpus, settings, save, *options)
    if checkpoint:
        with must_fit(args.resume):
            trainer.resume(checkpoint)
    state = trainer.state
    lines = watch(settings.epochs)
    trainer.observers.append(lines)
    keep_apart(args, trainer)
    observe(trainer, args, corpus, checkpoint)
    if unknown := corpus.unknown["train"]:
        warn(
            f"{unknown:,} of the training text's {len(corpus.train):,} words are not in the "
            "checkpoint's vocabulary and are read as <unk>; it is probably another text"
        )
    with trainer.stop:  # until the last line, which a second Ctrl-C must not suppress
        trainer.fit()
        if trainer.stop.requested and trainer.unfinished:
            place = state.position.place(trainer.batches)
            lines.note(f"stopped {place}; the state is in {trainer.latest_path}; to continue:")
            lines.command(to_continue(args, trainer.latest_path))


def observe(
    trainer: Trainer, args: argparse.Namespace, corpus: Corpus, checkpoint: Checkpoint | None
) -> None:
    """Add the observers that the options ask for."""
    state, first = trainer.state, {}
    if args.metrics is not None or args.report is not None:
        first = {**origin(), **header(state), "batches": trainer.batches}
    # The page is checked before, and read after, the metrics are cut.
    if args.report is not None:
        from ..report.page import must_be_ours

        must_be_ours(args.report, "--report")
    if args.tensorboard is not None:
        from ..run.tensorboard import TensorBoard

        trainer.observers.append(TensorBoard(args.tensorboard, trainer))
    if args.metrics is not None:
        kept = checkpoint.run.get("metrics") if checkpoint else None
        trainer.observers.append(MetricsFile(args.metrics, kept, state.id, first))
    if args.report is not None:
        from ..run.webpage import ReportPage

        trainer.observers.append(
            ReportPage(args.report, trainer, corpus.train, first, args.metrics)
        )


def to_continue(args: argparse.Namespace, latest: Path) -> str:
    """The command that resumes a run, with the options that its checkpoint does not keep."""
    words = [*called_as("train"), "--resume", str(latest)]
    for option, value in NOT_KEPT.items():
        given = getattr(args, option.replace("-", "_"))
        if given != value:
            words += [f"--{option}"] if given is True else [f"--{option}", str(given)]
    return shlex.join(words)


def default_save(resumed: str | None) -> Path:
    """Where a run saves its best model by default; a resumed run, where it did before."""
    return Path("model.safetensors") if resumed is None else best_path_of(resumed)


def keep_apart(args: argparse.Namespace, trainer: Trainer) -> None:
    """Raise UserError if a run would overwrite its text, or another file of its own."""
    texts = corpus_files(trainer.settings.data)
    models = [trainer.best_path, trainer.latest_path]
    for model, text in itertools.product(models, texts):
        if same_file(model, text):
            raise UserError(f"{model} is the text {text}; give --save another file")
    others = [*models, *texts, *filter(None, [args.resume])]
    for option, path in (("--metrics", args.metrics), ("--report", args.report)):
        for other in others:
            if path is not None and same_file(path, other):
                raise UserError(f"{option} {path} is the same file as {other}; name another")
        others += filter(None, [path])


def parser() -> Parser:
    p = Parser("train", description="Train a word-level language model.")
    p.add_settings(rules(), Settings())
    p.add_argument("--preset", choices=PRESETS, help="the settings of a published result")
    p.add_argument("--log-interval", type=at_least_one, default=NOT_KEPT["log-interval"],
                   help="batches per report")  # fmt: skip
    p.add_argument("--save", type=Path, metavar="FILE",
                   help="the file of the best model; the latest state goes beside it "
                   "(default that of the resumed run, else model.safetensors)")  # fmt: skip
    p.add_argument("--save-every", type=every, metavar="N",
                   help="also save the latest state within an epoch: every N batches, as in 500, "
                   "or N minutes, as in 10m (default only after each epoch)")  # fmt: skip
    p.add_argument("--resume", metavar="FILE", help="continue from this checkpoint")
    p.add_argument("--metrics", metavar="FILE", help="append every report as a line of JSON")
    p.add_argument("--report", metavar="FILE",
                   help="a page with curves and samples, written after every epoch")  # fmt: skip
    p.add_argument("--tensorboard", metavar="DIR", help="write for TensorBoard, into this folder")
    p.add_argument("--detect-anomaly", action="store_true",
                   help="find the operation that first gives NaN or infinity; slower")  # fmt: skip
    p.add_argument("--dry-run", action="store_true", help="one batch of everything, as a test")
    return p
