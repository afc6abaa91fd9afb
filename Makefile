# Each target does all of its own set-up, in .venv. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
# Named for the Python that made .venv, so that another one makes it anew.
WHICH := $(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:3], sys.base_prefix, sep="-")' | tr ' /' '__')
INSTALLED := .venv/installed-$(WHICH)

.PHONY: train test watch clean

train: $(INSTALLED)
	$(BIN)/python examples/train_ptb.py --data builtin --epochs 6 --save builtin.safetensors
	@echo
	$(BIN)/python examples/generate.py --checkpoint builtin.safetensors --words 100

test: $(INSTALLED)-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto

# The page on backpropagation through time. Without npm, the one that is committed is used.
watch:
	mkdir -p build/watch build/docs/watch
	if command -v npm >/dev/null; then \
	    cp -R docs/watch/package.json docs/watch/package-lock.json docs/watch/build.mjs docs/watch/src build/watch && \
	    cd build/watch && npm ci --silent && node build.mjs ../../docs/watch/built; \
	fi
	cp docs/watch/built/* build/docs/watch/

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(INSTALLED)-test: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
