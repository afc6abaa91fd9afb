"""What `import minigrad, lm` brings along."""

import subprocess
import sys


def test_what_takes_long_is_imported_where_it_is_used() -> None:
    program = "import minigrad, lm, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "lm.model" in loaded, done.stderr
    assert not loaded & {
        "concurrent.futures",
        "numpy.random",
        "rich",
        "safetensors",
        "urllib.request",
    }
