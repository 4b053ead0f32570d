# One command each for everything the course does; `make` alone lists them.
# For Linux and macOS: notebooks/using_it.md gives the lines to type on Windows.

## Python to build .venv with, 3.11 or newer
PYTHON ?= python3
# Pinned, so that everybody compares the committed outputs with the same build of torch.
## torch to install at the first set-up (run `make clean` before changing it)
TORCH ?= torch==2.13.0
# On Linux the default package index serves a build with several GB of CUDA libraries.
## address of the CPU or CUDA package index, from the install page of pytorch.org
TORCH_INDEX ?=
## world that the demo generates from: heads, utkface or celeba
WORLD ?= heads
## what the demo makes even, such as gender,ancestry (unset: the demo's own default)
TARGET ?=
## faces the demo generates per method (unset: the demo's own default)
N ?=
## seed of the demo (unset: the demo's own default)
SEED ?=

## tests that run side by side: no more than cores, each takes up to 3 GB
JOBS ?= 2

RUN := .venv/bin/python
READY := .venv/ready
# a quarter of an hour for a cell: that finds what hangs, and not a slow or busy machine
NBVAL := $(RUN) -m pytest --nbval --nbval-current-env --nbval-cell-timeout=900 \
  --nbval-kernel-startup-timeout=900 \
  --nbval-sanitize-with=tests/nbval_sanitize.cfg
# a file's tests share what it takes long to make, so they stay together
SIDE_BY_SIDE := --numprocesses $(JOBS) --dist loadfile
# networks as small as the tests' are slower on several threads
TESTS := OMP_NUM_THREADS=1 $(RUN) -m pytest tests $(SIDE_BY_SIDE)

.DEFAULT_GOAL := help
.PHONY: help demo check test lint-course lab dashboard book results bench times clean

## list the targets and the variables
help:
	@echo "make TARGET [VARIABLE=value ...]; the first run sets up .venv, later ones need no network"
	@awk '/^## / { text = substr($$0, 4); next } \
	  text && /^[a-z-]+:/ { sub(/:.*/, ""); printf "  %-12s %s\n", $$0, text } \
	  text && /^[A-Z_]+ \?=/ { name = $$1; sub(/^[A-Z_]+ \?= */, ""); variables = variables \
	    sprintf("  %-12s %s%s\n", name, text, $$0 == "" ? "" : " [" $$0 "]") } \
	  { text = "" } \
	  END { printf "variables, with what they are unless set:\n%s", variables }' Makefile

# Both use only the worlds that lie in data/: no model hub is ever asked.
demo check test bench times dashboard: export HF_HUB_OFFLINE = 1

## generate faces plainly and fairly, and compare what comes out
demo: $(READY)
	$(RUN) -m fairgen_utils demo --world "$(WORLD)" \
	  $(if $(TARGET),--target "$(TARGET)") $(if $(N),--n "$(N)") $(if $(SEED),--seed "$(SEED)")

## check style and course, and run the fast tests: two minutes
check: $(READY)
	$(RUN) -m ruff check .
	$(RUN) tests/lint_course.py
	$(TESTS) -m "not slow and not browser" --durations=5 --durations-min=3

## check everything: style, course, all tests, every notebook against its committed outputs
test: $(READY)
	$(RUN) -m ruff check .
	$(RUN) tests/lint_course.py
	$(TESTS)
	$(NBVAL) $(SIDE_BY_SIDE) notebooks

## lint what chapters promise their readers: goals, alternative texts, links, claims
lint-course: $(READY)
	$(RUN) tests/lint_course.py

## read the course in JupyterLab
lab: $(READY)
	$(RUN) -m jupyterlab --notebook-dir=notebooks

## open the bias dashboard: one page to project in a workshop
dashboard: $(READY)
	$(RUN) -m fairgen_utils dashboard

## make a website of the notebooks, in outputs/book
book: $(READY)
	$(RUN) -m sphinx -W --keep-going -q -c notebooks -d outputs/book_cache . outputs/book
	@echo "open outputs/book/index.html"

## measure what data/results lacks, and write the tables of README and cards from it
results: $(READY)
	$(RUN) data/recipes/measure_worlds.py
	$(RUN) data/recipes/measure_ablations.py
	$(RUN) data/recipes/write_tables.py

## time plain diffusers, our samplers and their rivals on this machine, side by side
bench: $(READY)
	$(RUN) -m fairgen_utils bench

## time every notebook on this machine, with its memory, into data/results/course_times.csv
times: $(READY)
	$(NBVAL) --times data/results/course_times.csv notebooks

## remove .venv and the tools' caches; what you made in outputs/ and runs/ stays
clean:
	rm -rf .venv .venv.lock .pytest_cache .ruff_cache .hypothesis fairgen_course.egg-info
	find fairgen_utils tests data notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	  -prune -exec rm -rf {} +

# .venv/ready marks a finished set-up; .ci/set_up.py says what it does, and waits for another one.
$(READY): pyproject.toml
	@command -v "$(PYTHON)" > /dev/null || { \
	  echo "PYTHON=$(PYTHON): there is no such program; install Python 3.11 or newer," \
	    "or name one: make PYTHON=python3.12 ..."; exit 1; }
	@"$(PYTHON)" .ci/set_up.py --torch "$(TORCH)" --index "$(TORCH_INDEX)"
