"""python -m lm train | generate | convert: the commands, from any folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from .console import UserError, run_command

COMMANDS = {
    "train": "train a language model",
    "generate": "write text with a trained model",
    "convert": "carry a model over from PyTorch's word_language_model, or back",
}


def main(argv: Sequence[str] | None = None) -> None:
    name, *options = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: python -m lm COMMAND [options]; --help after a command lists its options")
        for command, meaning in COMMANDS.items():
            print(f"  {command:10} {meaning}")
        return
    if name not in COMMANDS:
        raise UserError(f"no command {name!r}; choose one of {', '.join(COMMANDS)}")
    importlib.import_module(f".commands.{name}", __package__).main(options)


if __name__ == "__main__":
    run_command(main)
