# Python 3.11 or newer and make are enough: everything else goes into .venv, from the pins in constraints/.

PYTHON ?= python3
PORT ?= 8080
AIRFLOW ?= 2.11.2
PYTEST_ARGS ?= -n2 --dist=worksteal
FAIL_UNDER ?= 0

# An Airflow of the caller's own must not reach in here, neither its settings nor its connections.
$(foreach name,$(filter AIRFLOW_% _AIRFLOW_% PYTHONPATH PYTHONHOME,$(.VARIABLES)),$(eval unexport $(name)))
# Tests start hundreds of processes. Without this, each would compile the package anew, and pytest all tests.
unexport PYTHONDONTWRITEBYTECODE

# Written last by npm.
PRISM = tests/contract/node_modules/.package-lock.json
AXE = tests/e2e/node_modules/.package-lock.json

COVERAGE = .coverage-parts .coverage-integration .coverage-airflow-2.11.2

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-all integration fuzz simulation matrix gallery chaos cluster contract e2e coverage check \
  bench wheel resolve docs lock install clean test-2.11.2

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/installed ## run the scheduled example in real Airflow; images go to demo-output/
	@.venv/bin/python scripts/demo.py

# exec: what ends make ends it as well, and it cleans up.
ui: .venv/installed ## Airflow's web interface with the examples and a local hub; PORT=8081 for another port
	@exec .venv/bin/python scripts/ui.py --port $(PORT)

test: .venv/installed ## what to run before each commit: the tests of every part, in some minutes
	$(call run-tests,.coverage-parts,--ignore=tests/integration --ignore=tests/simulation)

integration: .venv/installed ## the tests that need a whole Airflow: its database, processes, commands and stores
	$(call run-tests,.coverage-integration,tests/integration)

# It alone measures lines: on Python 3.11 the tests take half as long again with a tracer.
test-all: MEASURE = -m coverage run
test-all: test integration simulation matrix coverage ## all of them, on both Airflow lines, and their line coverage

fuzz: .venv/installed ## 200,000 odd answers, records, sidecars, events and images: nothing raw, nothing dear, no leak
	.venv/bin/python tests/fuzz/run.py

# Without a tracer, which slows it down: what it runs, other tests run as well.
simulation: .venv/installed ## every history of deaths, frozen tries and lost answers that the protocol must survive
	.venv/bin/python -m pytest -q $(PYTEST_ARGS) tests/simulation

matrix: $(AIRFLOW:%=test-%) ## the tests on the other Airflow line, the integration tests included

gallery: .venv-3.1.8/installed ## the Images view on the oldest Airflow that has a place for it
	$(<D)/bin/python -m pytest -q -W default tests/integration/test_gallery.py tests/integration/test_links.py

chaos: .venv/installed .venv-2.11.2/installed ## SIGKILL at every step, on real processes; one image is paid for and kept
	.venv/bin/python tests/chaos/run.py
	.venv-2.11.2/bin/python tests/chaos/run.py

cluster: .venv/installed ## Celery, PostgreSQL, Redis: workers, triggerers and servers killed, frozen and restarted
	@scripts/postgresql-redis.sh
	.venv/bin/python tests/cluster/run.py

contract: .venv/installed $(PRISM) ## requests, answers and the local hub held against the hub's OpenAPI, by Prism
	.venv/bin/python tests/contract/run.py

e2e: .venv/installed $(AXE) ## Airflow's web interface in Chromium (SCREENSHOTS=1 refreshes docs/images)
	@command -v chromium >/dev/null || scripts/chromium.sh
	env -u OXEN_API_KEY .venv/bin/python -m pytest tests/e2e

coverage: .venv/installed ## line coverage of both Airflow lines together, as test-all measured it
	.venv/bin/python -m coverage combine -q --keep --data-file=.coverage $(COVERAGE)
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

resolve: .venv/installed ## the package and its extras, resolved beside each Airflow at its date
	.venv/bin/python scripts/resolve.py

docs: .venv/installed ## the site of docs/ in build/docs; warnings and broken links are errors
	rm -rf build/docs
	.venv/bin/python -m sphinx -W --keep-going -n -q -b html -d build/doctrees docs build/docs
	@echo "The site is in build/docs: open build/docs/index.html in a browser."

lock: ## settle the pins anew after a change in pyproject.toml or package.json (needs uv and npm)
	scripts/lock.sh

install: .venv/installed .venv-2.11.2/installed ## both environments, running nothing

# demo-output/ stays: its images may have been paid for.
clean: ## remove environments, caches and reports
	rm -rf .venv .venv-3.1.8 .venv-2.11.2 tests/contract/node_modules .coverage* build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: constraints/airflow-3.3.2.txt pyproject.toml
	$(call install,sys.version_info >= (3, 11),Python 3.11 or newer)

.venv-3.1.8/installed: constraints/airflow-3.1.8.txt pyproject.toml
	$(call install,sys.version_info >= (3, 11),Python 3.11 or newer)

.venv-2.11.2/installed: constraints/airflow-2.11.2.txt pyproject.toml
	$(call install,(3, 11) <= sys.version_info < (3, 13),Python 3.11 or 3.12 for Airflow 2.11)

$(PRISM): tests/contract/package-lock.json
	@scripts/node.sh
	@echo "Installing Prism into tests/contract/node_modules."
	@cd tests/contract && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

$(AXE): tests/e2e/package-lock.json
	@scripts/node.sh
	@echo "Installing axe into tests/e2e/node_modules."
	@cd tests/e2e && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

define install
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import sys; sys.exit(not ($(1)))' || \
	  { echo "$(PYTHON) will not do: this needs $(2). Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing $(<:constraints/%.txt=%) into $(@D). This takes a minute or two, once."
	@scripts/install.sh $(PYTHON) $(@D) $<
	@touch $@
endef

# What is of this Airflow alone the smaller tests reach; the others, most of the work, run without a tracer.
test-2.11.2: .venv-2.11.2/installed
	$(call run-tests,.coverage-airflow-2.11.2,tests/fuzz tests/unit --ignore=tests/unit/operators)
	env -u OXEN_API_KEY $(<D)/bin/python -m pytest $(PYTEST_ARGS) tests/unit/operators
	env -u OXEN_API_KEY $(<D)/bin/python -m pytest $(PYTEST_ARGS) tests/integration

# Into this data file, where lines are measured, these tests. None may find a real key.
define run-tests
	rm -f $(1)*
	env -u OXEN_API_KEY COVERAGE_FILE=$(1) $(<D)/bin/python $(MEASURE) -m pytest $(PYTEST_ARGS) $(2)
	$(if $(MEASURE),$(<D)/bin/python -m coverage combine -q --data-file=$(1))
endef
