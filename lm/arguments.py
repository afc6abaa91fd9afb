"""The parser of the commands, and the types of their options."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .console import printable


def called_as(command: str | None = None) -> list[str]:
    """The words that run this command again: an example's file, or `python -m lm`."""
    program = sys.argv[0]
    if command is not None and os.path.basename(program) == "__main__.py":
        return ["python", "-m", "lm", command]
    return ["python", program]


class Help(argparse.HelpFormatter):
    """Adds the default to the help of each option."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        is_option = action.option_strings and action.default is not argparse.SUPPRESS
        if not is_option or action.required or "default" in text:
            return text
        if isinstance(action.default, list):
            return f"{text} (default {' '.join(map(str, action.default))})"
        if action.nargs == 0 and not action.default:
            return f"{text} (default off)"
        none = action.default is None or action.default == ""
        return f"{text} (default {'none' if none else '%(default)s'})"


class Parser(argparse.ArgumentParser):
    """The parser of `python -m lm COMMAND`, or of another program.

    Errors are one line, `--batch_size` means `--batch-size`, and `--help` shows every default.
    """

    def __init__(self, command: str | None = None, **options: Any) -> None:
        _, *words = called_as(command)
        prog = " ".join(["python", *words]) if len(words) > 1 else os.path.basename(words[0])
        super().__init__(prog=prog, formatter_class=Help, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, printable(f"error: {message}; --help lists the options") + "\n")

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments of the command line; underscores in options are read as hyphens."""
        return self.parse_args([_hyphens(a) for a in (sys.argv[1:] if argv is None else argv)])

    def add_settings(self, settings: Mapping[str, tuple[Any, str]], defaults: object) -> None:
        """Add an option for each name: (type or choices, meaning). None means unset."""
        for name, (kind, meaning) in settings.items():
            default = getattr(defaults, name.replace("-", "_"))
            if kind is bool:
                self.add_argument(f"--{name}", action="store_true", default=None, help=meaning)
                continue
            values = {"choices": kind} if isinstance(kind, tuple) else {"type": kind}
            shown = meaning if default is None else f"{meaning} (default {default})"
            self.add_argument(f"--{name}", **values, help=shown)


def _hyphens(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    option, equals, value = argument.partition("=")
    return option.replace("_", "-") + equals + value


def _number(text: str, kind: Any, allowed: Callable[[Any], bool], wanted: str) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not allowed(number):
        raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}")
    return number


def _whole(low: int, high: float, wanted: str) -> Callable[[str], int]:
    return lambda text: _number(text, int, lambda n: low <= n <= high, wanted)


# The values of options; each takes the text, and raises ArgumentTypeError.
whole = _whole(0, math.inf, "a whole number of at least 0")
at_least_one = _whole(1, math.inf, "a whole number of at least 1")
layers = _whole(1, 1000, "a whole number from 1 to 1,000")
size = _whole(1, 10**6, "a whole number from 1 to 1,000,000")  # more would not fit into memory


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, float, lambda x: 0 < x < math.inf, "a finite number above 0")


def divisor(text: str) -> float:
    """A finite number of at least 1."""
    return _number(text, float, lambda x: 1 <= x < math.inf, "a finite number of at least 1")


def probability(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, float, lambda x: 0 <= x <= 1, "a probability from 0 to 1")


@dataclass(frozen=True)
class Every:
    """How often something is done: every so many batches, or seconds."""

    batches: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        """As `every` reads it."""
        return f"{self.seconds / 60:g}m" if self.seconds else str(self.batches)


def every(text: str) -> Every:
    """Batches, as in 500, or minutes, as in 10m or 0.5m."""
    wanted = "a number of batches, as in 500, or of minutes, as in 10m"
    if text.endswith("m"):
        return Every(seconds=60 * _number(text[:-1], float, lambda x: 0 < x < math.inf, wanted))
    return Every(batches=_whole(1, math.inf, wanted)(text))
