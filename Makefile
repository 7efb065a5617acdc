# Two commands do everything on a fresh machine: `make demo` runs the trial, `make test` the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# pytest-xdist: a worker waits for a fifth of its time (children that hang on purpose, deadlines), so
# three keep two cores busy. Not many more: latency rounds would starve.
WORKERS ?= 3

.PHONY: demo test test-long test-browser zoo kit bindings vendors lint type bench bench-calibration docs format clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/seatrial demo -o demo-trial

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Lists in full of which `make test` takes a part.
test-long: $(STAMP)
	SEATRIAL_LONG=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m long --timeout 1200

# The page of a report in a real Chromium (Debian: apt-get install chromium chromium-driver).
test-browser: $(STAMP)
	SEATRIAL_BROWSER=1 $(BIN)/python -m pytest -q tests/browser

# Every sabotaged and sound module of the export zoo; `make test` tries one of each kind.
zoo: $(STAMP)
	SEATRIAL_ZOO=all $(BIN)/python -m pytest -n $(WORKERS) tests/core/export/test_zoo.py \
		tests/core/export/test_real_weights.py

# The conformance kit on every backend, with all of ONNX's node tests; `make test` takes a sample.
# SEATRIAL_KIT_TABLE=FOLDER keeps the tables.
kit: $(STAMP)
	SEATRIAL_KIT=all SEATRIAL_LONG=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 1200 \
		tests/backends tests/plugins -k "test_kit_ or the_whole_kit or passes_its_own_tests"

# NVIDIA's own Python bindings of TensorRT 10 and 11, 1.3 MB each and proprietary, and the tests of
# that backend against them; they need a C compiler, no GPU.
bindings: $(STAMP)
	for wheel in tensorrt_cu12_bindings==10.16.1.11 tensorrt_cu13_bindings==11.4.0.106; do \
		$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: \
			-d $(VENV)/tensorrt-wheels $$wheel || exit; done
	$(BIN)/python -m pytest tests/backends/tensorrt/test_trt_bindings.py

# The vendors' packages under plugins/ with their toolchains: 7.2 GB below .vendors/ (RKNN alone has
# 5.7), some 5 minutes to install and 6 CPU minutes for the kits; SEATRIAL_KIT=all takes several
# times as long. Each environment can be made and tested alone: make vendor-tvm.
VENDORS ?= tvm litert rknn
# The first Python 3.12 that starts: on the path (pyenv's stand-in need not), or one of pyenv's.
PYTHON312 ?= $(or $(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null),\
	$(lastword $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python)))
HOST := .vendors/tvm/bin/python

vendors: $(VENDORS:%=vendor-%)

# TVM runs in process; this environment is also the host of the other kits.
.vendors/tvm/.installed: pyproject.toml constraints.txt plugins/*/pyproject.toml
	$(PYTHON) -m venv .vendors/tvm
	$(HOST) -m pip install --quiet -c constraints.txt -e '.[testing]' -e plugins/seatrial-tvm
	$(HOST) -m pip install --quiet --no-deps -e plugins/seatrial-litert -e plugins/seatrial-rknn
	touch $@

# onnx2tf pins an older interpreter of LiteRT than its quantizer wants: the quantizer's is taken.
.vendors/litert/.installed: plugins/seatrial-litert/pyproject.toml
	@test -n "$(PYTHON312)" || { echo "onnx2tf needs Python 3.12: make $@ PYTHON312=/path/to/python"; exit 1; }
	$(PYTHON312) -m venv .vendors/litert
	.vendors/litert/bin/python -m pip install --quiet onnx2tf==2.6.9 pluggy
	.vendors/litert/bin/python -m pip install --quiet litert-quantizer==0.11.0
	touch $@

.vendors/rknn/.installed: plugins/seatrial-rknn/pyproject.toml
	$(PYTHON) -m venv .vendors/rknn
	.vendors/rknn/bin/python -m pip install --quiet rknn-toolkit2==2.5.0 'setuptools<81' pluggy
	touch $@

vendor-tvm: .vendors/tvm/.installed
	cd plugins/seatrial-tvm && $(CURDIR)/$(HOST) -m pytest -p no:cacheprovider

vendor-litert: .vendors/tvm/.installed .vendors/litert/.installed
	cd plugins/seatrial-litert && SEATRIAL_LITERT_PYTHON=$(CURDIR)/.vendors/litert/bin/python \
		$(CURDIR)/$(HOST) -m pytest -p no:cacheprovider

vendor-rknn: .vendors/tvm/.installed .vendors/rknn/.installed
	cd plugins/seatrial-rknn && SEATRIAL_RKNN_PYTHON=$(CURDIR)/.vendors/rknn/bin/python \
		$(CURDIR)/$(HOST) -m pytest -p no:cacheprovider

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/overhead.py
	-$(BIN)/python benchmarks/own_tools.py
	$(BIN)/python benchmarks/speed.py

# Calibration against inference alone and other quantizers: some 40 minutes, and goes on if ended.
bench-calibration: $(STAMP)
	$(BIN)/python benchmarks/calibration.py --folder bench-calibration

# The site, in build/site; links and anchors that lead nowhere are errors. Its code blocks are tests.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist demo-trial bench-calibration .mypy_cache .ruff_cache .pytest_cache
