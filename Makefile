# Each target sets up what it needs first; see README.md.
PY = .venv/bin/python

.PHONY: help setup setup-demo demo test check compat clean

help:
	@echo "make demo    install what is missing and show a ban, from packet to verdict"
	@echo "make test    install what is missing and run the tests"
	@echo "make check   ruff and mypy --strict"
	@echo "make compat  the end-to-end tests with the fail2bans of other Debian releases"
	@echo "make clean   remove what the others made"

setup-demo:
	@scripts/setup demo

setup:
	@scripts/setup test

demo: setup-demo
	@$(PY) scripts/demo.py

test: setup
	@$(PY) -m pytest

check: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

compat: setup
	@scripts/compat

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -r {} +
