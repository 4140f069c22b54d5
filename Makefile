# Python 3.11 or newer and make are enough: everything else goes into .venv, from the pins in constraints/.

PYTHON ?= python3
AIRFLOW ?= 3.3.2 2.11.2
PYTEST_ARGS ?= -n2
FAIL_UNDER ?= 0

# An Airflow of the caller's own must not reach in here, neither its settings nor its connections.
$(foreach name,$(filter AIRFLOW_% _AIRFLOW_% PYTHONPATH PYTHONHOME,$(.VARIABLES)),$(eval unexport $(name)))

.DEFAULT_GOAL := help
.PHONY: help demo ui test matrix gallery chaos e2e coverage check bench wheel docs lock install clean \
  test-3.3.2 test-2.11.2

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/installed ## run the scheduled example in real Airflow; images go to demo-output/
	.venv/bin/python scripts/demo.py

ui: .venv/installed ## Airflow's web interface with the examples and a local hub
	.venv/bin/python scripts/ui.py

test: test-3.3.2 ## the tests on the newest Airflow, and their line coverage
	.venv/bin/python -m coverage report --data-file=.coverage-airflow-3.3.2 --fail-under=$(FAIL_UNDER)

matrix: $(AIRFLOW:%=test-%) ## the tests on each Airflow line (one only: make matrix AIRFLOW=2.11.2)

gallery: .venv-3.1.8/installed ## the Images view on the oldest Airflow that has a place for it
	$(<D)/bin/python -m pytest -q -W default tests/integration/test_gallery.py tests/integration/test_links.py

chaos: .venv/installed .venv-2.11.2/installed ## SIGKILL at every step, on real processes; one image is paid for and kept
	.venv/bin/python tests/chaos/run.py
	.venv-2.11.2/bin/python tests/chaos/run.py

e2e: .venv/installed ## Airflow's web interface in Chromium (SCREENSHOTS=1 refreshes docs/images)
	@command -v chromium >/dev/null || scripts/chromium.sh
	env -u OXEN_API_KEY .venv/bin/python -m pytest tests/e2e

coverage: .venv/installed ## line coverage of both Airflow lines together, from the last runs of the tests
	.venv/bin/python -m coverage combine -q --keep --data-file=.coverage .coverage-airflow-3.3.2 .coverage-airflow-2.11.2
	.venv/bin/python -m coverage report --fail-under=$(FAIL_UNDER)

check: .venv/installed ## ruff, format, mypy
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

bench: .venv/installed ## one line a figure: name, value, unit, reference
	.venv/bin/python benchmarks/run.py

wheel: .venv/installed ## build the wheel, twice the same, and hold it against the package
	rm -rf dist
	.venv/bin/python -m build --wheel --no-isolation
	.venv/bin/python scripts/check_wheel.py dist/*.whl

docs: .venv/installed ## the site of docs/ in build/docs; warnings and broken links are errors
	rm -rf build/docs
	.venv/bin/python -m sphinx -W --keep-going -n -q -b html -d build/doctrees docs build/docs

lock: ## settle the pins anew after a change in pyproject.toml (needs uv)
	scripts/lock.sh

install: .venv/installed .venv-2.11.2/installed ## both environments, running nothing

# demo-output/ stays: its images may have been paid for.
clean: ## remove environments, caches and reports
	rm -rf .venv .venv-3.1.8 .venv-2.11.2 .coverage* build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: constraints/airflow-3.3.2.txt pyproject.toml
	$(call install,sys.version_info >= (3, 11),Python 3.11 or newer)

.venv-3.1.8/installed: constraints/airflow-3.1.8.txt pyproject.toml
	$(call install,sys.version_info >= (3, 11),Python 3.11 or newer)

.venv-2.11.2/installed: constraints/airflow-2.11.2.txt pyproject.toml
	$(call install,(3, 11) <= sys.version_info < (3, 13),Python 3.11 or 3.12 for Airflow 2.11)

define install
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import sys; sys.exit(not ($(1)))' || \
	  { echo "$(PYTHON) will not do: this needs $(2). Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing $(<:constraints/%.txt=%) into $(@D). This takes a minute or two, once."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
	@touch $@
endef

test-3.3.2: .venv/installed
	$(run-tests)

test-2.11.2: .venv-2.11.2/installed
	$(run-tests)

# No test may find a real key.
define run-tests
	rm -f .coverage-$(@:test-%=airflow-%)*
	env -u OXEN_API_KEY COVERAGE_FILE=.coverage-$(@:test-%=airflow-%) $(<D)/bin/python -m coverage run -m pytest $(PYTEST_ARGS)
	$(<D)/bin/python -m coverage combine -q --data-file=.coverage-$(@:test-%=airflow-%)
endef
