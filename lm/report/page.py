"""The page as HTML: everything is inside it, and every text from a file is escaped.

Its styles are in page.css, its script in page.js.
"""

from __future__ import annotations

import base64
import html
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from .. import flow
from ..console import UserError, printable, warn
from ..files import replace_file, try_to_write
from ..steps import perplexity
from . import charts
from .charts import Series, chart, swatch
from .data import Points, Run, number

# What every page of ours, and no other file, begins with.
BEGINNING = '<!DOCTYPE html>\n<html lang="en">\n<!-- a report of minigrad-lm -->\n'
DATA = '<script type="application/json" id="runs">'


def page(runs: Sequence[Run], heading: str = "") -> str:
    """One self-contained HTML page about some runs."""
    heading = heading or (f"{title(runs[0])}" if len(runs) == 1 else f"{len(runs)} runs compared")
    sections = [*_sections(runs)]
    styles, script = _file("page.css") + charts.css(), _file("page.js")
    return "".join(
        [
            f'{BEGINNING}<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{text(heading)}</title>\n<style>\n{styles}</style>\n</head>\n",
            f"<body>\n<header><h1>{text(heading)}</h1>\n<p>{text(_status(runs))}</p></header>\n",
            *(f"<section>\n<h2>{text(name)}</h2>\n{body}\n</section>\n" for name, body in sections),
            f"{DATA}{_embedded(runs)}</script>\n",
            f"<script>\n{script}</script>\n</body>\n</html>\n",
        ]
    )


def text(value: object) -> str:
    """A value as text in HTML; characters that change the direction of writing are shown."""
    return html.escape(printable(str(value)))


def _file(name: str) -> str:
    """A file beside this one."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _sections(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """The sections with their headings; those that have nothing to show are left out."""
    yield "Summary", _summary(runs)
    if curves := "".join(_curves(runs)):
        legend = _legend(runs) if len(runs) > 1 else ""
        yield "Curves", f'{legend}<div class="charts">{curves}</div>'
    single = len(runs) == 1
    for run in runs:
        of = "" if single else f": {run.name}"
        if samples := run.extras.get("samples"):
            yield f"Samples{of}", _samples(run, samples)
        if words := run.extras.get("words"):
            yield f"Perplexity by word frequency{of}", _words(run, words)
        if shares := run.extras.get("shares"):
            yield f"Where the time goes{of}", _flow(shares)
    for name, tables in (
        ("Settings", [run.settings for run in runs]),
        ("Versions and machine", [run.made_with() for run in runs]),
    ):
        if any(tables):
            yield name, _comparison([run.name for run in runs], tables)


def title(run: Run) -> str:
    settings = run.settings
    if "model" not in settings:
        return f"Run {run.name}"
    tied = ", tied" if settings.get("tied") is True else ""
    return f"{settings['model']}{tied}: {run.name}" if run.name else f"{settings['model']}{tied}"


def _status(runs: Sequence[Run]) -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    if len(runs) > 1:
        return f"Written {now}"
    run = runs[0]
    epochs = number(run.settings.get("epochs"))
    of = f" of {epochs:.0f}" if epochs else ""
    return f"Epoch {run.epochs_done}{of} done. Written {now}"


# -------------------------------------------------------------------- numbers


def _summary(runs: Sequence[Run]) -> str:
    """The main numbers: as tiles for one run, as a table for several."""
    numbers = [dict(_numbers(run)) for run in runs]
    if len(runs) == 1:
        tiles = (
            f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"
            for name, value in numbers[0].items()
            if value
        )
        return f'<dl class="tiles">{"".join(tiles)}</dl>'
    names = [name for name in numbers[0] if any(n[name] for n in numbers)]
    rows = [
        [f"{swatch(i)} {text(run.name)}", *(text(n[name] or "–") for name in names)]
        for i, (run, n) in enumerate(zip(runs, numbers, strict=True))
    ]
    return table(["run", *names], rows)


def _numbers(run: Run) -> Iterator[tuple[str, str]]:
    best, test, accuracy = run.best(), run.last("test_loss"), run.last("valid_accuracy")
    yield "test perplexity", "" if test is None else f"{perplexity(test):,.2f}"
    yield "best validation perplexity", f"{perplexity(best[0]):,.2f}" if best else ""
    yield "in epoch", f"{best[1]:.0f}" if best else ""
    yield "test accuracy", "" if accuracy is None else f"{accuracy:.2%}"
    size = number(run.header.get("parameters"))
    yield "parameters", "" if size is None else f"{size:,.0f}"
    words = number(run.header.get("words"))
    yield "words in the vocabulary", "" if words is None else f"{words:,.0f}"
    speeds = [y for _, y in run.points("tokens_per_second") if y is not None]
    yield "words per second", f"{sorted(speeds)[len(speeds) // 2]:,.0f}" if speeds else ""
    ends = (number(r.get("seconds")) for r in run.records if "valid_loss" in r)
    seconds = sum(s for s in ends if s is not None)
    yield "time", duration(seconds) if seconds else ""


def duration(seconds: float) -> str:
    """A time as people say it: 41 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        found = f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    elif whole < 3600:
        found = f"{whole // 60} min {whole % 60:02} s"
    else:
        found = f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return found.replace(" ", "\u00a0")  # not to be broken between two lines


# -------------------------------------------------------------------- curves

CURVES = (  # a heading, and the numbers that share a chart where there is one run
    ("Loss (nats)", {"loss": "training", "valid_loss": "validation"}),
    ("Perplexity", {"perplexity": "training", "valid_perplexity": "validation"}),
    ("Test accuracy (%)", {"valid_accuracy": "test"}),
    ("Learning rate", {"lr": "learning rate"}),
    ("Gradient norm before clipping", {"grad_norm": "gradient norm"}),
    ("Words per second", {"tokens_per_second": "words per second"}),
)


def _curves(runs: Sequence[Run]) -> Iterator[str]:
    for heading, names in CURVES:
        if len(runs) == 1:
            series = [
                Series(what, _points(runs[0], name), i, name.startswith("valid"))
                for i, (name, what) in enumerate(names.items())
            ]
            shown = [s for s in series if any(y is not None for _, y in s.points)]
            key = "".join(f"<span>{swatch(s.style)} {s.name}</span>" for s in shown)
            key = f'<p class="legend">{key}</p>' if len(names) > 1 else ""
            if drawn := chart(heading, series):
                yield drawn.replace("</figcaption>", f"</figcaption>{key}", 1)
            continue
        for name, what in names.items():
            over = [
                Series(run.name, _points(run, name), i, name.startswith("valid"))
                for i, run in enumerate(runs)
            ]
            yield chart(f"{heading}, {what}" if len(names) > 1 else heading, over)


def _points(run: Run, name: str) -> Points:
    """A number over the epochs; an accuracy in percent."""
    points = run.points(name)
    if name == "valid_accuracy":
        return [(x, None if y is None else 100 * y) for x, y in points]
    return points


def _legend(runs: Sequence[Run]) -> str:
    items = (f"<span>{swatch(i)} {text(run.name)}</span>" for i, run in enumerate(runs))
    return f'<p class="legend">{"".join(items)}</p>'


# -------------------------------------------------------------------- what the model has learnt


def _samples(run: Run, samples: Mapping[str, str]) -> str:
    cards = (
        f"<div><h3>Temperature {text(temperature)}</h3><blockquote>{text(words)}</blockquote></div>"
        for temperature, words in samples.items()
    )
    epoch = text(run.extras.get("epoch", "?"))
    return (
        f'<p class="pale">Written by the best model so far, of epoch {epoch}. A low temperature '
        f'favours likely words.</p><div class="cards">{"".join(cards)}</div>'
    )


def _words(run: Run, words: Sequence[Mapping[str, Any]]) -> str:
    total = sum(row["words"] for row in words) or 1
    rows = [
        [
            text(row["name"]),
            f"{row['words']:,}",
            f"{row['words'] / total:.1%}",
            f"{row['loss']:.2f}",
            f"{perplexity(row['loss']):,.1f}",
        ]
        for row in words
    ]
    head = ["occurrences in the training text", "words of validation", "share", "loss",
            "perplexity"]  # fmt: skip
    epoch = text(run.extras.get("epoch", "?"))
    return (
        f'<p class="pale">How well the best model so far, of epoch {epoch}, predicts the '
        f"validation text's rare and frequent words.</p>{table(head, rows)}"
    )


def _flow(shares: Mapping[str, float]) -> str:
    """The flow chart as a picture, so that its styles stay its own."""
    picture = base64.b64encode(flow.svg(shares).encode()).decode()
    parts = sorted(shares.items(), key=lambda item: -item[1])[:3]
    most = ", ".join(f"{name} {flow.percent(share)}" for name, share in parts)
    return (
        f'<img class="flow" src="data:image/svg+xml;base64,{picture}" '
        f'alt="The components of training; most of the time take {text(most)}">'
    )


# -------------------------------------------------------------------- tables


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already; it scrolls if it is too wide for the page."""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _comparison(names: Sequence[str], tables: Sequence[Mapping[str, Any]]) -> str:
    """Values by name, one column for each run; rows in which the runs differ are marked."""
    keys = dict.fromkeys(key for values in tables for key in values)
    rows = []
    for key in keys:
        cells = [_value(values.get(key)) if key in values else "–" for values in tables]
        label = text(str(key).replace("_", " "))
        differ = len(set(cells)) > 1
        rows.append([label, *(f"<mark>{text(c)}</mark>" if differ else text(c) for c in cells)])
    return table(["", *(names if len(names) > 1 else ["value"])], rows)


def _value(value: Any) -> str:
    if value is None:
        return "default"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


# -------------------------------------------------------------------- the file


def _embedded(runs: Sequence[Run]) -> str:
    """The runs as JSON that can't end the element around it."""
    return json.dumps([run.as_dict() for run in runs]).replace("<", "\\u003c")


def runs_on(path: str | os.PathLike[str]) -> list[Run]:
    """The runs on a page of ours that is at `path`; empty if there are none or no page."""
    try:
        contents = Path(path).read_text(encoding="utf-8")
        data = contents.partition(DATA)[2].partition("</script>")[0]
        return [Run(**run) for run in json.loads(data)] if data else []
    except (OSError, ValueError, TypeError, RecursionError):
        return []


def must_be_ours(path: str | os.PathLike[str], option: str) -> None:
    """Raise UserError if a page can't be written to `path`, or would replace another file."""
    file = Path(path)
    try:
        if file.is_dir():
            raise UserError(f"{option} {path} is a folder; name a file")
        if file.exists() and not file.is_file():
            raise UserError(f"{option} {path} is not a file; name one")
        if file.is_file():
            with open(file, "rb") as opened:
                start = opened.read(len(BEGINNING))
            if start and start.replace(b"\r\n", b"\n") != BEGINNING.encode():
                raise UserError(f"{path} exists and is not a report; give {option} another file")
        try_to_write(file)
    except OSError as error:
        raise UserError(f"can't write the report to {path}: {error.strerror}") from error


def write(path: str | os.PathLike[str], runs: Sequence[Run], heading: str = "") -> None:
    """Replace the page at `path`. Raises OSError."""
    replace_file(path, page(runs, heading).encode("utf-8", "backslashreplace"))


def update(path: str | os.PathLike[str], runs: Sequence[Run], heading: str = "") -> None:
    """Replace the page at `path` during a run, which a failure must not end: it is a warning."""
    try:
        write(path, runs, heading)
    except OSError as error:
        warn(
            f"can't write the report to {path}: {error.strerror}; training continues, "
            "and the next epoch tries again"
        )
