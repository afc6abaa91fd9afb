"""Carry a language model over from PyTorch's word_language_model, or back.

python examples/convert.py torch.safetensors model.safetensors --data data/ptb
python examples/convert.py model.safetensors torch.safetensors

Which way is seen from the first file; the second is a new one, or the state_dict of an earlier
conversion, which is written over. In PyTorch, torch.safetensors is written and read with

    safetensors.torch.save_model(model, "torch.safetensors")
    model.load_state_dict(safetensors.torch.load_file("torch.safetensors"))

and nothing is ever unpickled. A state_dict has no vocabulary: it is made from the text again, as
word_language_model does, from the words of all three splits; or, if the number of words fits only
that, from the training text and <unk>, as training here does. For word_language_model to number
the words as we do, on any text, train with --vocabulary all.
"""

from lm.console import run_command

if __name__ == "__main__":
    run_command("convert")
