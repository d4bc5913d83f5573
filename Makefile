# Everything happens in .venv; nothing is installed elsewhere.
PYTHON ?= python3
LINES ?= 5000
FILES ?= 3000
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-ray test-browser test-pythons fuzz lint bench results claims readme notebooks book clean

demo: .venv/installed
	@echo "Training REINFORCE, then REINFORCE with a baseline: CartPole-v1, ten seeds each."
	$(BIN)/pgzoo run reinforce --env CartPole-v1
	$(BIN)/pgzoo run reinforce-baseline --env CartPole-v1
	@echo
	@echo "The results are in the folders under runs/ named above. The commands named there need"
	@echo "    source .venv/bin/activate"
	@echo "once. To see the curves:"
	@echo "    $(BIN)/pgzoo tensorboard     and open the address it prints"

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-ray: .venv/installed-test .venv/installed-ray
	$(BIN)/python -m pytest tests/learning/test_on_ray.py

test-browser: .venv/installed-test .venv/installed-browser
	$(BIN)/python -m pytest tests/browser

test-pythons:
	$(PYTHON) tests/pythons.py $(ARGUMENTS)

fuzz: .venv/installed-test
	$(BIN)/python -m tests.fuzz --report $(if $(SEED),--seed $(SEED)) \
	    --lines $(LINES) --files $(FILES)

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-bench
	$(BIN)/python benchmarks/collection_speed.py
	$(BIN)/python benchmarks/lab_speed.py
	$(BIN)/python benchmarks/diagnostics_overhead.py

results: .venv/installed
	$(BIN)/python benchmarks/results.py

claims: .venv/installed
	$(BIN)/python benchmarks/claims.py

readme: .venv/installed-course
	$(BIN)/python benchmarks/results.py --table-only
	$(BIN)/python notebooks/build.py --tables

notebooks: .venv/installed-course
	$(BIN)/python notebooks/build.py $(CHAPTER)

book: .venv/installed-book
	$(BIN)/python -m sphinx -E -W --keep-going -q -c book -d book/_build/doctrees . book/_build/html
	@echo "The book is book/_build/html/index.html: open it in a browser."

clean:
	rm -rf .venv .venvs build book/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -o -name '*.egg-info' | xargs rm -rf

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "pgzoo needs Python 3.11 or later; give one as in: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg constraints.txt
	@echo "Installing pgzoo and its dependencies into .venv (a minute or two) …"
	$(INSTALL) -e .
	@touch $@

.venv/installed-%: .venv/installed
	$(INSTALL) -e '.[$*]'
	@touch $@
