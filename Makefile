# Each target does all of its own set-up, in .venv. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test clean

train: .venv/installed
	$(BIN)/python examples/train_ptb.py --data builtin --epochs 6 --save builtin.safetensors
	@echo
	$(BIN)/python examples/generate.py --checkpoint builtin.safetensors --words 100

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
