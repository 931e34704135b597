# Needs python3 (3.11 or 3.12, with venv) and make. Everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo

# PyTorch on a CPU spends its time in page faults with glibc's default thresholds.
export MALLOC_MMAP_THRESHOLD_ := 1000000000
export MALLOC_TRIM_THRESHOLD_ := 1000000000

# Hundreds of processes start here. Where Python may not keep what it compiled, each compiles torch
# and the rest anew, for 3 of its 6 seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup setup-dev demo test lint check bench bench-large lock clean

setup: .venv/worker.stamp        ## install what a scan needs
setup-dev: .venv/dev.stamp       ## and what training, tests and checks need

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

.venv/worker.stamp: requirements.lock pyproject.toml | .venv/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

.venv/dev.stamp: requirements-dev.lock pyproject.toml | .venv/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@ .venv/worker.stamp

demo: setup                      ## the main job: a synthetic slide, scanned to a report
	$(BIN)/smearscan demo-slide $(DEMO)/slide.tiff --mm2 2 --seed 1 --leukocytes 300
	$(BIN)/smearscan scan $(DEMO)/slide.tiff --out $(DEMO)/report
	@echo "open $(DEMO)/report/report.html"

test: setup-dev                  ## every test; the order kept: integration, of few long tests a file, first
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: setup-dev                  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint test                 ## what CI runs

bench: setup-dev                 ## print and store the benchmarks of this machine, beside other readers
	$(BIN)/python -m benchmarks.bench_read
	$(BIN)/python -m benchmarks.bench_detect
	$(BIN)/python -m benchmarks.bench_slide

bench-large: setup-dev           ## the same scan on 20 mm² (3.8 Gpx, rendered once: 412 MB)
	$(BIN)/python -m benchmarks.bench_slide --mm2 20

PIN = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header

lock: .venv/bin/uv               ## pin all dependencies anew, with hashes
	$(PIN) --extra dev -o requirements-dev.lock
	$(PIN) --extra worker --extra s3 -c requirements-dev.lock -o requirements.lock

clean:                           ## remove what these commands made
	rm -rf .venv $(DEMO) dist build .pytest_cache .mypy_cache .ruff_cache
