# Two commands matter: `make run` and `make test`. Each does its own set-up on a machine with Python 3.11+ and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test check openapi bench soak lock help

run: $(STAMP) ## serve on http://127.0.0.1:8000 (LLMAPI_HOST, LLMAPI_PORT); Swagger UI at /docs
	@exec $(BIN)/python -m gunicorn -c deploy/gunicorn.conf.py

test: $(STAMP) ## run all tests
	@$(BIN)/python -m pytest

check: $(STAMP) ## types, style, import direction, security lint, the house's own rules
	@$(BIN)/mypy
	@$(BIN)/flake8 llmapi tests wsgi.py benchmarks .ci
	@$(BIN)/lint-imports
	@$(BIN)/bandit -q -r llmapi --severity-level medium
	@$(BIN)/python -m pytest tests/house

openapi: $(STAMP) ## write openapi/openapi.json from the code
	@$(BIN)/python -m openapi.write openapi/openapi.json

bench: $(STAMP) ## measure; results go to benchmarks/README.md by hand
	@$(BIN)/python -m benchmarks

soak: $(STAMP) ## kill workers for a quarter of an hour and look whether anything was lost or paid twice
	@$(BIN)/python -m benchmarks.soak_jobs
	@$(BIN)/python -m tests.journeys.test_paid_once --rounds 100

lock: $(STAMP) ## resolve setup.cfg into requirements.txt
	@$(BIN)/python .ci/lock.py

help: ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmapi needs Python 3.11 or newer")'
	@echo "Setting up $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@touch $@
