# One command for each thing a person does from a clone. Everything lives in a virtual environment, $(VENV).

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
# Extra arguments for the command, as in: make demo ARGS="--epochs 2 --backend numpy"
ARGS ?=

# torch is asked for by its exact version, and first: any other way of asking pulls its CUDA build.
INSTALL := $(RUN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
LIBRARIES := torch,jax,mlx,dask,strict

# Parts that the whole conformance matrix falls into, and the one whose turn it is: the next with each commit.
SHARDS ?= 10
TURN := $(shell expr $$(git rev-list --count HEAD 2>/dev/null || echo 0) % $(SHARDS) + 1)

.PHONY: demo test test-wide lint types conformance conformance-quick conformance-shard docs clean

demo: $(VENV)/demo.stamp
	$(RUN)/uniopt demo $(ARGS)

test: lint types
	$(RUN)/python -m pytest --numprocesses auto -m "not wide" $(ARGS)

# The wide matrix of libraries, data types and modes: tens of minutes.
test-wide: $(VENV)/test.stamp
	$(RUN)/python -m pytest --numprocesses auto -m wide $(ARGS)

lint: $(VENV)/test.stamp
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

# As installed: in the checkout, backends and conformance stand beside the package, where mypy cannot find them.
types: $(VENV)/test.stamp
	rm -rf build/types
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --target build/types .
	cd build/types && $(abspath $(RUN))/mypy --config-file ../../pyproject.toml

conformance: $(VENV)/test.stamp
	$(RUN)/uniopt conformance $(ARGS)

conformance-quick: $(VENV)/test.stamp
	$(RUN)/uniopt conformance --quick --jobs 2 $(ARGS)

conformance-shard: $(VENV)/test.stamp
	$(RUN)/uniopt conformance --shard $(TURN)/$(SHARDS) --jobs 2 $(ARGS)

docs: $(VENV)/test.stamp
	$(RUN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) build dist docs/_build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) $$(grep '^torch==' constraints.txt)
	$(INSTALL) --editable ".[$(LIBRARIES),demo,conformance]"
	touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) $$(grep '^torch==' constraints.txt)
	$(INSTALL) --editable ".[$(LIBRARIES),fusion,demo,conformance,docs,test]"
	touch $@
