"""Write text with a trained model.

python examples/generate.py --checkpoint model.safetensors --words 200 --prompt "the company"
"""

from lm.console import run_command

if __name__ == "__main__":
    run_command("generate")
