"""The results of a sweep as files: a row per trial and epoch, and means over seeds."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..console import UserError
from ..results import write_result
from .grid import Grid, label, variants
from .trial import Trial, result_of

PER_EPOCH = ("epoch", "valid_loss", "valid_ppl", "train_seconds", "cpu_seconds", "total_seconds",
             "tokens_per_second", "lr", "peak_memory")  # fmt: skip


class Done(NamedTuple):
    """A trial that has ended, well or not, and its numbers."""

    trial: Trial
    numbers: dict[str, Any]

    @property
    def well(self) -> bool:
        return bool(self.numbers["status"] == "done")

    @property
    def seconds_per_epoch(self) -> float:
        """CPU seconds of training: what other programs take does not count."""
        return statistics.mean(e["cpu_seconds"] for e in self.numbers["epochs"])


def gather(trials: Sequence[Trial], folder: Path) -> list[Done]:
    """The trials that have ended, in their order."""
    named = {t.name: t for t in trials}
    found = [(t, result_of(folder / t.name, t.as_dict())) for t in named.values()]
    return [Done(t, numbers) for t, numbers in found if numbers is not None]


def configurations(results: Sequence[Done]) -> dict[str, list[Done]]:
    """The trials that ended well, by their name without the seed."""
    groups: dict[str, list[Done]] = {}
    for done in results:
        if done.well:
            groups.setdefault(done.trial.config, []).append(done)
    return groups


def summary(values: Sequence[float]) -> dict[str, Any]:
    """The mean, the sample standard deviation (None for one value) and the number of values."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    mean = statistics.fmean(values) if len(values) else None
    return {"mean": mean, "spread": spread, "n": len(values)}


def summaries(results: Sequence[Done]) -> dict[str, dict[str, Any]]:
    """The numbers of each configuration over its seeds."""
    return {
        name: {
            "valid_ppl": summary([d.numbers["best_valid_ppl"] for d in group]),
            "test_ppl": summary([d.numbers["test_ppl"] for d in group]),
            "seconds_per_epoch": summary([d.seconds_per_epoch for d in group]),
            "parameters": group[0].numbers["parameters"],
            "peak_memory": max(d.numbers["peak_memory"] or 0 for d in group) or None,
        }
        for name, group in configurations(results).items()
    }


def write_tables(
    folder: Path,
    results: Sequence[Done],
    command: Sequence[str],
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
    tables: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write results.csv, results.md and results.json; UserError if that is not possible.

    `extra` are further numbers for results.json, `tables` further files with their lines.
    """
    # A name in a page's comment uses the point to go into a dict.
    numbers = {n.replace(".", ","): s for n, s in summaries(results).items()} | dict(extra or {})
    seeds = sorted({d.trial.settings.seed for d in results})
    seconds = sum(e["total_seconds"] for d in results for e in d.numbers["epochs"])
    try:
        with open(folder / "results.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(_rows(results))
        (folder / "results.md").write_text(_markdown(results, notes), encoding="utf-8")
        for name, lines in (tables or {}).items():
            (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_result(folder / "results.json", command, settings, seeds, seconds, numbers)
    except OSError as error:
        raise UserError(f"can't write to {error.filename}: {error.strerror}") from None


def _rows(results: Sequence[Done]) -> Iterator[list[Any]]:
    """A row per trial and epoch, and one without an epoch for a trial that has none."""
    settings = [d.trial.as_dict() for d in results]
    varied = [n for n in settings[0] if n != "seed" and len({str(s[n]) for s in settings}) > 1]
    # `lr` varies within a trial: the column of this name is the rate of the epoch.
    shown = [n for n in varied if n != "lr"]
    yield ["trial", *shown, "seed", *PER_EPOCH, "parameters", "status", "reason", "test_ppl"]
    for done, values in zip(results, settings, strict=True):
        numbers = done.numbers
        first = [done.trial.name, *(values[n] for n in shown), values["seed"]]
        last = [numbers["parameters"], numbers["status"], numbers["reason"]]
        epochs = numbers["epochs"] or [dict.fromkeys(PER_EPOCH)]
        for epoch in epochs:
            test = numbers["test_ppl"] if epoch is epochs[-1] else None
            yield [*first, *(epoch[n] for n in PER_EPOCH), *last, test]


def _markdown(results: Sequence[Done], notes: Sequence[str]) -> str:
    lines = [
        "Mean ± sample standard deviation over seeds; n is the number of trials. Seconds are CPU "
        "seconds of training.",
        "",
        *(line for note in notes for line in (note, "")),
        "| configuration | n | valid ppl | test ppl | seconds per epoch | parameters | peak MB |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for name, s in summaries(results).items():
        peak = "" if s["peak_memory"] is None else f"{s['peak_memory'] / 1e6:,.0f}"
        means = [mean_text(s[n]) for n in ("valid_ppl", "test_ppl", "seconds_per_epoch")]
        cells = [name, str(s["valid_ppl"]["n"]), *means, f"{s['parameters']:,}", peak]
        lines.append(f"| {' | '.join(cells)} |")
    for done in results:
        if not done.well:
            reason = done.numbers["reason"].replace("|", "\\|")
            said = f"{done.numbers['status']}: {reason}"
            lines.append(f"| {done.trial.name} | 0 | {said} | | | | |")
    return "\n".join(lines) + "\n"


def side_by_side(results: Sequence[Done], bases: Sequence[Trial], grid: Grid) -> list[str]:
    """A table of test perplexities: a row per setting, a column per cell.

    `bases` has a trial for each cell, around whose settings `grid` varies one at a time.
    """
    around = [variants(base.settings, grid) for base in bases]
    lines = [f"| | {' | '.join(base.settings.model for base in bases)} |",
             "| --- |" + " --: |" * len(bases)]  # fmt: skip
    for name, first in around[0].items():
        configs = [Trial(settings[name]).config for settings in around]
        cells = [_cell([d for d in results if d.trial.config == config]) for config in configs]
        row = label(bases[0].settings.as_dict(), first.as_dict())
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def _cell(group: Sequence[Done]) -> str:
    """The mean test perplexity and the number of seeds, or why there is none."""
    if well := [d.numbers["test_ppl"] for d in group if d.well]:
        return f"{mean_text(summary(well), 1)} ({len(well)})"
    return group[0].numbers["status"] if group else "not yet"


def mean_text(numbers: Mapping[str, Any], digits: int = 2) -> str:
    """Mean ± standard deviation, which one value does not have; no decimals above 1000."""
    mean, spread = numbers["mean"], numbers["spread"]
    digits = digits if mean < 1000 else 0
    return f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
