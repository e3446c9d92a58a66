# SPDX-License-Identifier: GPL-2.0-or-later
# Each target sets up what it needs first; see README.md.
PY = .venv/bin/python

.PHONY: help setup setup-demo demo test check oracle fuzz bench soak lab compat clean

help:
	@echo "make demo    install what is missing and show a ban, from packet to verdict"
	@echo "make test    install what is missing and run the tests"
	@echo "make check   ruff and mypy --strict"
	@echo "make oracle  compare our lines with tcpdump's: CAPTURES=directory, or what the tests made"
	@echo "make fuzz    let atheris look for bytes that break the core: SECONDS=60"
	@echo "make bench   CPU time against tcpdump, tshark, text logs and fail2ban's classic way"
	@echo "make soak    an hour of faults in a loop: memory, threads and descriptors must not grow"
	@echo "make lab     real scanners in network namespaces; makes tests/data/lab anew"
	@echo "make compat  tests with the fail2bans of other Debian releases"
	@echo "make test-spark  run docs/fleet.md's SQL in Spark; installs Java and pyspark (450 MB)"
	@echo "make completions  write completions/ anew, after a change of the command lines"
	@echo "make dist    build sdist and wheel below dist/, and test the wheel"
	@echo "make test-compiled  the same with the packets' path compiled by mypyc"
	@echo "make deb     build Debian's package below dist/"
	@echo "make test-deb  install, try and purge it in a throw-away Debian"
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

# The captures' packets, with pf's header in every dialect, through tcpdump and through us.
CAPTURES = tests/data
oracle: setup
	@$(PY) -m tests.support.oracle $(CAPTURES)

SECONDS = 60
fuzz: setup
	@$(PY) -m pip install --quiet --disable-pip-version-check atheris
	@$(PY) tests/fuzz/fuzz_line.py -max_total_time=$(SECONDS)

bench: setup
	@scripts/setup bench
	@$(PY) bench/bench_print.py
	@$(PY) bench/bench_follow.py
	@$(PY) bench/bench_writer.py
	@$(PY) bench/bench_backtest.py
	@$(PY) bench/bench_server.py
	@$(PY) bench/bench_latency.py
	@$(PY) bench/bench_nflog.py
	@$(PY) bench/bench_export.py

SECONDS_OF_SOAK = 3600
soak: setup
	@$(PY) -m tests.system.soak $(SECONDS_OF_SOAK)

lab: setup
	@scripts/setup lab
	@$(PY) -m lab.lab tests/data/lab

compat: setup
	@scripts/compat

.PHONY: test-spark
test-spark: setup
	@scripts/setup spark
	@$(PY) -m pip install --quiet --disable-pip-version-check pyspark
	@$(PY) -m pytest tests/commands/test_fleet.py -k spark

.PHONY: completions dist test-compiled deb test-deb
completions: setup
	@$(PY) scripts/completions.py

dist: setup
	@$(PY) -m pip install --quiet --disable-pip-version-check build twine
	@scripts/dist

# The same tests with the modules that every packet goes through compiled by mypyc.
test-compiled: setup
	@$(PY) -m pip install --quiet --disable-pip-version-check build twine
	@FAIL2BAN_PFLOG_COMPILE=1 scripts/dist

deb:
	@scripts/deb

test-deb: deb
	@scripts/test-deb

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -r {} +
