# Every target makes its own virtual environment first; Python and make are all it takes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# torch: on Linux, PyPI offers a build with gigabytes of CUDA. PyTorch's own index has the CPU build
# of the version in constraints.txt, which pip prefers to PyPI's. It is asked only where it can be reached: pip
# would retry in vain for minutes elsewhere. Set PIP_FLAGS to choose for yourself.
CPU_INDEX := https://download.pytorch.org/whl/cpu
PIP_FLAGS ?= $(shell $(PYTHON) -c "from urllib.request import urlopen; \
	urlopen('$(CPU_INDEX)/torch/', timeout=5)" 2>/dev/null && echo --extra-index-url $(CPU_INDEX))

PYTEST_FLAGS ?= -n 2
CODE := src tests scripts benchmarks

.PHONY: demo docs docs-serve test soak check format lint types layers fix bench bench-search bench-search-quick clean

demo: $(VENV)/.demo
	$(BIN)/nestvec demo

# Into build/site; links to other sites are listed in build/external-links.txt, and not followed.
docs: $(VENV)/.dev
	$(BIN)/python -m scripts.site build

docs-serve: $(VENV)/.dev
	$(BIN)/python -m scripts.site serve

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

# The long form of the tests that kill writers, damage files and read while others write: ~1 hour.
soak: $(VENV)/.dev
	$(BIN)/python -m pytest --soak $(PYTEST_FLAGS) tests/index/test_kill.py \
	  tests/index/test_fuzz.py tests/index/test_soak.py tests/index/test_change.py

check: format lint types layers docs test

format: $(VENV)/.dev
	$(BIN)/ruff format --check $(CODE)

# The second line holds names, docstrings, import circles and sizes against scripts/house/words.py.
lint: $(VENV)/.dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/python -m scripts.house --check

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

# Hours on two cores, most of it embedding and building the peers' graphs, which are kept.
SETS ?= $(foreach rows,50000 100000 200000 500000,arxiv-sentences-$(rows)) arxiv-titles \
	wordnet-definitions fashion-mnist synthetic-768 synthetic-1536

bench: bench-search
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.filters
	$(BIN)/python -m benchmarks.guarantee --pool 3000 --rounds 250
	$(BIN)/python -m benchmarks.tuned
	$(BIN)/python -m benchmarks.audit
	$(BIN)/python -m benchmarks.examples
	$(BIN)/python -m benchmarks.adapt
	$(BIN)/python -m benchmarks.losses
	$(BIN)/python -m benchmarks.classify
	$(BIN)/python benchmarks/readme.py

bench-search: $(VENV)/.bench
	$(BIN)/python -m benchmarks.search --dataset $(SETS) $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks.search.exact $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks.search.report --write

# Some minutes once the vectors are made; writes into no result file that is quoted.
bench-search-quick: $(VENV)/.bench
	$(BIN)/python -m benchmarks.search --quick --out benchmarks/data/quick.json

clean:
	rm -rf $(VENV)

# One stamp per set of packages, renewed when pyproject.toml changes. `test -x` first: an unfinished
# environment has no stamp and is completed, not trusted.
$(VENV)/.demo: EXTRAS := demo
$(VENV)/.dev: EXTRAS := all,dev,docs
$(VENV)/.bench: EXTRAS := all,bench
$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt $(PIP_FLAGS) --editable '.[$(EXTRAS)]'
	touch $@
