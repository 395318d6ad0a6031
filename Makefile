# make run needs GNU make and a Python of 3.12 or newer somewhere: deploy/find-python says where it looks.
# Everything is installed into .venv, from the lock files, once; a stamp is made only by a step that succeeded.

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# HOST is taken from the command line alone: some shells export it as the name of the machine.
SERVE := $(if $(filter command,$(origin HOST)),--host '$(HOST)') $(if $(PORT),--port '$(PORT)') \
	$(if $(CONFIG),--config '$(CONFIG)')

# Test files at once: most of them wait for something.
JOBS := 4

.PHONY: help run test test-long check bench format lock clean
.DELETE_ON_ERROR:

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: .venv/.run ## Serve; PORT=18080 HOST=0.0.0.0 CONFIG=my.yaml ARGS='--knowledge docs'
	exec $(BIN)/llamastack-a2a serve $(SERVE) $(ARGS)

test: .venv/.dev ## Run the tests, JOBS=4 at once; ARGS='-k card'
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-long: .venv/.dev ## Run the long forms of the tests that have one: kills, races, generated requests
	$(BIN)/python -m pytest -m long $(ARGS)

check: .venv/.dev ## Check format, style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: .venv/.dev ## Measure against a bare server; ARGS='--rounds 3 --only send'
	$(BIN)/python -m tests.load.bench $(ARGS)

# The locks hold for every system and Python that the project supports, with hashes and without addresses.
LOCK := uv pip compile --quiet --universal --python-version 3.12 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' pyproject.toml

lock: ## Write the lock files anew (needs uv); ARGS=--upgrade takes newer versions
	$(LOCK) --group build -o requirements.lock $(ARGS)
	$(LOCK) --group build --group test --group check -c requirements.lock -o requirements-dev.lock $(ARGS)

clean: ## Remove what was installed and built
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.venv/.made:
	deploy/find-python --venv .venv
	@touch $@

.venv/.run: .venv/.made requirements.lock pyproject.toml
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.run requirements-dev.lock
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
