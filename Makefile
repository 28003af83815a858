# make demo        set up, then watch the main job from card to ledger
# make test        set up, then all linters and tests
# make test-long   as `make test`, plus what takes longer (200 kills on each database)
# make bench-month makes a month of 1,500,000 settlements and clears it, on both databases
# make lint        the linters alone
# make format      put the code into its form
# make clean       remove what was made here

PYTHON := .venv/bin/python
SOURCES := protocol terminals ledger cardserver simulators benchmarks tests

.PHONY: demo test test-long bench-month lint format clean setup-run setup-test

demo: setup-run
	@$(PYTHON) -m simulators.demo

setup-run:
	@./setup.sh run

setup-test:
	@./setup.sh test

lint: setup-test
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/mypy
	.venv/bin/lint-imports

test: lint
	$(PYTHON) -m pytest -m "not long" --fail-on-skip --numprocesses 2 --dist loadgroup --max-worker-restart 0

test-long: lint
	$(PYTHON) -m pytest --fail-on-skip

bench-month: setup-test
	$(PYTHON) -m benchmarks month

format: setup-test
	.venv/bin/ruff format $(SOURCES)
	.venv/bin/ruff check --fix $(SOURCES)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
