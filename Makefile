.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export PYTHONUNBUFFERED := 1

.PHONY: help demo test slow lint bench clean

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

.venv/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@

demo: .venv/.installed ## Install, then train, test and run a small model on rendered video
	$(BIN)/python -m vosfm.demo --out runs/demo

test: .venv/.installed ## Install, then run the test suite (slow tests left out)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m 'not slow' -n 2 --dist loadfile --durations 10

slow: .venv/.installed ## Run the slow tests
	$(BIN)/python -m pytest -q -m slow --durations 10

lint: .venv/.installed ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.installed ## Print the speed ratios
	for benchmark in $(filter-out benchmarks/long_video_study.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$benchmark || exit 1; done

clean: ## Remove what was installed and made
	rm -rf .venv runs wandb lightning_logs
