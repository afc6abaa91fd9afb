"""Train a word-level language model, by default on Penn Treebank.

python examples/train_ptb.py --epochs 6
python examples/train_ptb.py --preset zaremba-small
python examples/train_ptb.py --data builtin --epochs 3
python examples/train_ptb.py --epochs 12 --resume model.latest.safetensors
"""

from lm.console import run_command

if __name__ == "__main__":
    run_command("train")
