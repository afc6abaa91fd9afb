"""Train a word-level language model, by default on Penn Treebank."""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import Parser, at_least_one, called_as, every, positive
from ..checkpoint import Checkpoint, load_checkpoint, must_fit
from ..console import UserError, warn
from ..corpus import Dictionary
from ..datasets import MEMORY_MAP, corpus_files
from ..files import same_file
from ..idfile import IDS_FILE
from ..run.metrics import MetricsFile, header
from ..run.observer import Observer
from ..run.progress import Lines, watch
from ..run.ranks import ALONE, Alone, is_rank, must_be_alone
from ..run.saving import best_path_of, latest_path
from ..run.start import start
from ..run.trainer import Trainer
from ..settings import PRESETS, Settings, choose, rules

if TYPE_CHECKING:
    from ..run.clock import Clock

LARGE = 200_000_000  # bytes of text
TIMES = 15  # bytes of memory for each byte of a text that is read into it; see big_corpus.py

# Options that a checkpoint does not keep, and their defaults.
NOT_KEPT = {
    "log-interval": 200,
    "save-every": None,
    "metrics": None,
    "report": None,
    "tensorboard": None,
    "detect-anomaly": False,
    "memory-map": False,
    "ranks": 1,
    "step-timeout": 600.0,
    "accumulate": 1,
}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    if args.resume is not None and args.dry_run:
        raise UserError("--dry-run would overwrite the run that --resume continues; omit one")
    if args.ranks == 1:
        must_be_alone()
        train_on(ALONE, args)
    elif is_rank():
        from ..run.mpi import joined

        with joined(args.ranks, args.step_timeout) as ranks:
            train_on(ranks, args)
    else:
        from ..run.launch import launch

        given = sys.argv[1:] if argv is None else argv
        program = [*called_as("train")[1:], *given]
        launch(args.ranks, program, latest_path(save_path(args)), args.step_timeout)


def train_on(ranks: Alone, args: argparse.Namespace) -> None:
    """Train as one of the ranks, or alone."""
    read = None if args.resume is None else lambda: load_checkpoint(args.resume)
    checkpoint = None if read is None else ranks.first(read)
    with must_fit(args.resume):
        settings = choose(
            vars(args), args.preset, checkpoint.settings if checkpoint else None, args.accumulate
        )

    # The flow chart of a report. On a GPU only the host's time could be read, and the search for an
    # anomaly needs the tape for itself.
    timed = (
        ranks.rank == 0
        and args.report is not None
        and settings.backend == "numpy"
        and not args.detect_anomaly
    )
    with new_clock() if timed else nullcontext() as clock:
        train(ranks, args, settings, checkpoint, clock)


def new_clock() -> Clock:
    from ..run.clock import Clock

    return Clock()


def train(
    ranks: Alone,
    args: argparse.Namespace,
    settings: Settings,
    checkpoint: Checkpoint | None,
    clock: Clock | None,
) -> None:
    if ranks.rank == 0 and not args.memory_map:
        warn_of_large(corpus_files(settings.data))
    trainer = start(
        settings,
        save_path(args),
        Dictionary(checkpoint.vocabulary) if checkpoint else None,
        ranks,
        args.memory_map,
        log_interval=args.log_interval,
        limit=1 if args.dry_run else None,
        save_every=args.save_every,
        detect_anomaly=args.detect_anomaly,
        pieces=args.accumulate,
    )
    if args.dry_run:
        trainer.epochs = 1
    if checkpoint:
        with must_fit(args.resume):
            trainer.resume(checkpoint)
    if ranks.rank > 0:
        ranks.each(lambda: None)
        trainer.fit()
        return
    state = trainer.state
    # The output of ranks is collected line by line, also by an mpiexec that gives them a terminal.
    lines = watch(settings.epochs) if ranks.size == 1 else Lines()
    trainer.observers.append(lines)

    def observe() -> None:
        keep_apart(args, trainer)
        trainer.observers += observers(args, trainer, checkpoint, clock)

    ranks.each(observe)
    if unknown := trainer.unknown["train"]:
        warn(
            f"{unknown:,} of the training text's {trainer.words:,} words are not in the "
            "checkpoint's vocabulary and are read as <unk>; it is probably another text"
        )
    with trainer.stop:  # until the last line, which a second Ctrl-C must not suppress
        try:
            trainer.fit()
        except BrokenPipeError:
            if ranks.size > 1:
                raise
            raise UserError(f"nobody reads the output any more; {kept(args, trainer)}") from None
        if trainer.stopping and trainer.unfinished:
            place = state.position.place(trainer.batches)
            lines.note(f"stopped {place}; the state is in {trainer.latest_path}; to continue:")
            lines.command(to_continue(args, trainer.latest_path))


def warn_of_large(files: Sequence[Path]) -> None:
    """Warn before a text is read that may not fit into memory: nothing can be said afterwards."""
    size = sum(file.stat().st_size for file in files if file.name != IDS_FILE)
    if size > LARGE:
        warn(
            f"the text has {size / 1e6:,.0f} MB and needs about {TIMES} times as much memory; "
            "--memory-map keeps it on disk"
        )


def observers(
    args: argparse.Namespace,
    trainer: Trainer,
    checkpoint: Checkpoint | None,
    clock: Clock | None,
) -> Iterator[Observer]:
    """The observers that the options ask for."""
    state, first = trainer.state, {}
    if args.metrics is not None or args.report is not None:
        from ..results import origin

        first = {**origin(), **header(state, trainer.batches)}
    if args.report is not None:  # before the metrics, from which it reads, are cut
        from ..run.webpage import ReportPage

        yield ReportPage(args.report, trainer, first, args.metrics, clock)
    if args.metrics is not None:
        kept = checkpoint.run.get("metrics") if checkpoint else None
        yield MetricsFile(args.metrics, kept, state.id, first)
    if args.tensorboard is not None:  # the last, since it leaves a file if another one fails
        from ..run.tensorboard import TensorBoard

        yield TensorBoard(args.tensorboard, trainer)


def kept(args: argparse.Namespace, trainer: Trainer) -> str:
    """Where a run that was stopped is saved, and the command that continues it."""
    latest, good = trainer.latest_path, trainer.saver.last_good
    if good is None:
        return "nothing has been saved yet"
    state = latest if good == trainer.best_path else good
    place = trainer.state.position.place(trainer.batches)
    return f"stopped {place}; the state is in {state}; to continue: {to_continue(args, state)}"


def to_continue(args: argparse.Namespace, latest: Path) -> str:
    """The command that resumes a run, with the options that its checkpoint does not keep."""
    words = [*called_as("train"), "--resume", str(latest)]
    for option, value in NOT_KEPT.items():
        given = getattr(args, option.replace("-", "_"))
        if given != value:
            words += [f"--{option}"] if given is True else [f"--{option}", str(given)]
    return shlex.join(words)


def save_path(args: argparse.Namespace) -> Path:
    """Where a run saves its best model; by default a resumed run, where it did before."""
    if args.save is not None:
        return Path(args.save)
    return Path("model.safetensors") if args.resume is None else best_path_of(args.resume)


def keep_apart(args: argparse.Namespace, trainer: Trainer) -> None:
    """Raise UserError if a run would overwrite its text, or another file of its own."""
    texts = corpus_files(trainer.settings.data)
    models = [trainer.best_path, trainer.latest_path]
    for model, text in itertools.product(models, texts):
        if same_file(model, text):
            raise UserError(f"{model} is the text {text}; give --save another file")
    others = [*models, *texts, *filter(None, [args.resume])]
    for name in ("metrics", "report", "tensorboard"):
        option, path = f"--{name}", getattr(args, name)
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
    p.add_argument("--memory-map", action="store_true", help=MEMORY_MAP)
    p.add_argument("--ranks", type=at_least_one, default=NOT_KEPT["ranks"],
                   help="processes that share the columns of each batch, over MPI")  # fmt: skip
    p.add_argument("--step-timeout", type=positive, default=NOT_KEPT["step-timeout"],
                   help="seconds after which a rank stops waiting for the others")  # fmt: skip
    p.add_argument("--accumulate", type=at_least_one, default=NOT_KEPT["accumulate"], metavar="K",
                   help="batches whose gradients are summed for each step: as K times as many "
                   "columns, with the memory of --batch-size")  # fmt: skip
    p.add_argument("--dry-run", action="store_true", help="one batch of everything, as a test")
    return p
