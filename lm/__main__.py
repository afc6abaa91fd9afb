"""python -m lm COMMAND: the commands, from any folder."""

from __future__ import annotations

import sys

from .console import UserError, run_command, show

COMMANDS = {
    "train": "train a language model",
    "generate": "write text with a trained model",
    "evaluate": "test a trained model on a text",
    "report": "make a page about runs, from their metrics",
    "info": "describe a checkpoint",
    "convert": "carry a model over from PyTorch's word_language_model, or back",
}


def describe(name: str) -> None:
    """Answer --help, --version and unknown commands."""
    if name in ("-h", "--help"):
        show("usage: python -m lm COMMAND [options]; --help after a command lists its options")
        show(*(f"  {command:10} {meaning}" for command, meaning in COMMANDS.items()))
    elif name == "--version":
        from minigrad import __version__  # here, since it imports NumPy

        show(f"minigrad-lm {__version__}")
    else:
        raise UserError(f"unknown command {name!r}; choose one of {', '.join(COMMANDS)}")


if __name__ == "__main__":
    name, *options = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        run_command(name, options)
    else:
        run_command(describe, name)
