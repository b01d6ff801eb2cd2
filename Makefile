# Every target works in a fresh checkout: the environment is made if it is missing or the lock has changed.
#   make setup ENGINE=gpu    for machines with CUDA
ENGINE ?= cpu
VENV   := .venv
BIN    := $(VENV)/bin
LOCK   := requirements/$(ENGINE).txt
UV     := $(VENV)/bin/uv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
# The source of wheels that are not on PyPI: a local folder if pip is given one, else PyTorch's own CPU index.
FIND   := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),$(if $(filter cpu,$(ENGINE)),--extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match,))

export RAY_USAGE_STATS_ENABLED = 0
# If it were set, each of the many worker processes would compile its imports (vLLM: 31 s instead of 12).
unexport PYTHONDONTWRITEBYTECODE
# A job has the environment of the head, not of the client: the variables that it needs are passed with it.
COMMA := ,
HOME_VAR = $(if $(STILLERY_HOME),$(COMMA) "STILLERY_HOME": "$(abspath $(STILLERY_HOME))")
REVISION = $(shell git describe --always --dirty --abbrev=40 --match= 2>/dev/null)

.PHONY: setup demo test unit lint format docs bench gpu-check clean lock serve

setup: $(VENV)/.ready-$(ENGINE)

$(VENV)/.ready-$(ENGINE): $(LOCK) pyproject.toml
	@test -n "$(PYTHON)" || { echo "stillery needs Python 3.11, 3.12 or 3.13 on the PATH (or make PYTHON=/path/to/python)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip sync --quiet $(FIND) $(LOCK)
	VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip install --quiet --no-deps --editable .
	@rm -f $(VENV)/.ready-* && touch $@

# Ray enables token authentication by default for a cluster, but not for the client that submits to it.
demo: export RAY_AUTH_MODE ?= token
demo: setup
	$(BIN)/stillery head
	$(BIN)/ray job submit --address http://127.0.0.1:8265 --working-dir . \
	  --runtime-env-json '{"env_vars": {"STILLERY_GIT_REVISION": "$(REVISION)"$(HOME_VAR)}}' -- jobs/distill.py

# The registry's champion, or the embedded student base if there is none. ARGS="port=8001 model=embedded:teacher"
serve: setup
	$(BIN)/stillery serve --config serving/serve.yaml $(ARGS)

# Integration tests share one Ray and wait for it half the time: the unit tests run in parallel, on half of the cores.
test: setup
	@mkdir -p build
	@nice $(BIN)/python -m pytest tests/unit -n $(HALF) > build/unit.log 2>&1 & unit=$$!; \
	  $(BIN)/python -m pytest tests/integration tests/e2e; failed=$$?; \
	  wait $$unit || failed=1; cat build/unit.log; exit $$failed

WORKERS ?= logical
HALF = $(shell nproc 2>/dev/null | awk '{print ($$1 > 16 ? 8 : $$1 > 3 ? int($$1 / 2) : 1)}' | grep . || echo 1)
unit: setup
	$(BIN)/python -m pytest tests/unit -m "not slow" -n $(WORKERS) --maxprocesses 8

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# The site, in build/site, with its generated pages regenerated.
docs: setup
	$(BIN)/python docs/reference/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

# All speed ratios in one table, added to the history from which docs/benchmarks/ratios.md is drawn: half an hour on an
# idle machine. ARGS="--only verify --quick". The other measurements behind docs/benchmarks name their own commands.
bench: setup
	$(BIN)/python tests/benchmarks/bench.py $(ARGS)

# Checks that need CUDA. PYTHON_GPU=python3 uses another interpreter, with whatever packages it has.
# ARGS="--only attention engine --json OUT"
PYTHON_GPU ?= $(BIN)/python
gpu-check:
	@command -v $(PYTHON_GPU) >/dev/null || { echo "no $(PYTHON_GPU): run make setup ENGINE=gpu, or give PYTHON_GPU=python3"; exit 2; }
	PYTHONPATH=$(CURDIR)/platform:$(CURDIR)/tests$(if $(PYTHONPATH),:$(PYTHONPATH)) $(PYTHON_GPU) -m benchmarks.gpu_check $(ARGS)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache platform/*.egg-info

# Needs uv; the GPU lock is resolved against PyPI alone, or it would pick up a CPU build of torch.
lock:
	$(UV) pip compile pyproject.toml --extra cpu --extra edge --extra dev --extra docs --python-version 3.11 --no-annotate --no-emit-find-links --custom-compile-command "make lock" $(FIND) -o requirements/cpu.txt --upgrade
	env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(UV) pip compile pyproject.toml --extra gpu --extra edge --extra dev --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --custom-compile-command "make lock" -o requirements/gpu.txt --upgrade
