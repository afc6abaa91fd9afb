"""Carry a language model over from PyTorch's word_language_model, or back.

python examples/convert.py torch.safetensors model.safetensors --data data/ptb
python examples/convert.py model.safetensors torch.safetensors

The first file determines the direction. The second is a new file, or the state_dict of an earlier
conversion, which is overwritten. In PyTorch, torch.safetensors is written and read with

    safetensors.torch.save_model(model, "torch.safetensors")
    model.load_state_dict(safetensors.torch.load_file("torch.safetensors"))

and nothing is ever unpickled. A state_dict has no vocabulary. It is rebuilt from the text, as
word_language_model does, from the words of all three splits; or, if only that has the right number
of words, from the training text and <unk>, as training here does. For word_language_model to number
the words in the same way on any text, train with --vocabulary all.
"""

from lm.console import run_command

if __name__ == "__main__":
    run_command("convert")
