"""What a person runs: `python -m lm train`, `generate` and so on; the examples call the same."""

import minigrad  # noqa: F401  (first, since it sets what NumPy reads when it is imported)
