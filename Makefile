# Each target does all of its own set-up, in .venv. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
# Named for the Python that made .venv, so that another one makes it anew.
WHICH := $(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:3], sys.base_prefix, sep="-")' | tr ' /' '__')
MADE := .venv/made-$(WHICH)
INSTALLED := .venv/installed-$(WHICH)

.PHONY: train test docs figures experiments watch clean

train: $(INSTALLED)
	$(BIN)/python examples/train_ptb.py --data builtin --epochs 6 --save builtin.safetensors
	@echo
	$(BIN)/python examples/generate.py --checkpoint builtin.safetensors --words 100

test: $(INSTALLED)-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto

docs: $(INSTALLED)-docs
	$(BIN)/sphinx-build -W --keep-going -q -d build/doctrees docs build/docs
	@echo "open build/docs/index.html"

figures experiments: $(INSTALLED)-plot
	$(BIN)/python examples/course/repeat.py $@

# The page on backpropagation through time, which is committed as built. This needs npm.
watch:
	mkdir -p build/watch
	cp -R docs/watch/package.json docs/watch/package-lock.json docs/watch/build.mjs docs/watch/src build/watch
	cd build/watch && npm ci --silent && node build.mjs ../../docs/watch/built

$(MADE): setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear .venv
	@touch $@

$(INSTALLED): $(MADE)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(INSTALLED)-test: $(MADE)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(INSTALLED)-docs: $(MADE)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

$(INSTALLED)-plot: $(MADE)
	$(BIN)/python -m pip install --quiet --editable '.[plot,digits]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
