# make setup   the environment in .venv (quick when nothing changed)
# make demo    the main job on an embedded default: record, convert, label, publish, train, evaluate, report
# make test    every test that takes seconds       make accept  the full acceptance figures into bench/results
# make lint    ruff, mypy, import contracts        make bench   peers and this engine side by side

PY := .venv/bin/python
STAMP := .venv/.ready
export OMP_NUM_THREADS ?= 1
export HF_HUB_DISABLE_TELEMETRY = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup demo test accept bench lint format clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt plugins/lerobot_robot_dataengine/pyproject.toml
	@scripts/check-system
	@python=$$(scripts/find-python) && { [ -x $(PY) ] || "$$python" -m venv .venv; }
	@echo "Installing into .venv (two to five minutes the first time) ..."
	@$(PY) -m pip install -q -c constraints.txt setuptools
	@$(PY) -m pip install -q -c constraints.txt --no-build-isolation -e '.[all,dev]'
	@$(PY) -m pip install -q --no-deps -c constraints.txt gym-hil  # its pynput wants a compiler, its robots do not
	@$(PY) -m pip install -q --no-deps -c constraints.txt mediapipe  # its OpenCV would replace ours
	@$(PY) -m pip install -q --no-deps --no-build-isolation -e plugins/lerobot_robot_dataengine
	@touch $(STAMP)

demo: setup
	$(PY) -m dataengine demo --out out/demo

test: setup
	$(PY) -m pytest -n 2 --dist loadfile

accept: setup
	$(PY) -m bench.accept

bench: setup
	$(PY) -m bench

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

format: setup
	$(PY) -m ruff check --fix . && $(PY) -m ruff format .

clean:
	rm -rf .venv out build *.egg-info
