"""What a person runs: `python -m lm train`, `generate`, `convert`; the examples call the same."""
