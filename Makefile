# make demo          build, then simulate, ingest, train, evaluate and report on this machine
# make test          everything that the project tests in Rust
# make test-python   what pyarrow, DuckDB, PyTorch and The Well's own library make of our files and our package
# make test-mpi      training by several processes, as mpirun starts them; installs Open MPI where it may
# make test-cloud    the way through buckets of S3 and Azure, as moto and azurite emulate them
# make check         format, lints, docs, and the CUDA code's types (no GPU needed)
# make wheel         the Python package, with the program: dist/wellspring-*.whl
# make docs          the book: target/book/index.html
# make bench         the benchmarks, as text
# make cuda          compiles the kernels with a real nvcc; docs/cuda-kernels.md says what each takes
# make ptx           the kernels for builds where there is no nvcc
# make test-crash    every command, stopped at each change that it makes to files; a sample is in make test
# make test-driver   what training asks of a CUDA driver, counted by one that has no GPU
# make cuda-kit      what cuda-kit/device checks and times on a machine with a GPU, in one folder

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo build wheel test test-mpi test-crash test-python test-cloud check docs bench cuda ptx test-driver cuda-kit

# HDF5 is built from source and needs a newer CMake than some distributions have.
cargo = tools=$$(.ci/cmake) && PATH="$$tools:$$PATH" cargo
target := $(or $(CARGO_TARGET_DIR),target)
demo ?= demo
# cluster: SQL on Ballista; mpi: training by several processes. `make build features=` leaves both out and builds
# faster.
features ?= cluster

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

build:
	@$(cargo) build --release --locked -p wellspring --features "$(features)"

wheel:
	@.ci/wheel dist "$(features)"

demo:
	@$(cargo) build --release --locked -p wellspring
	@$(target)/release/wellspring demo --out $(demo)

test:
	@$(cargo) test --release --locked --workspace --no-fail-fast --features "$(features)"

test-mpi:
	@.ci/mpi
	@$(cargo) test --release --locked -p wellspring --features "$(features) mpi" --test program -- ranks::

test-crash:
	@export WELLSPRING_CRASH=all; $(cargo) test --release --locked --workspace --features "$(features)" --test program -- crash:: --nocapture

test-python: build wheel
	@tests/python/run $(target)/release/wellspring dist/wellspring-*.whl

test-cloud: build
	@tests/cloud/run $(target)/release/wellspring

# A stand-in for nvcc lets the CUDA code's types be checked where there is no CUDA.
check: export NVCC = $(CURDIR)/.ci/stub-nvcc
check: export CUDA_COMPUTE_CAP = 90
check: export CUDARC_CUDA_VERSION = 13000
check: all = $(features) cuda $(if $(filter mpi,$(features)),nccl)
check:
	@cargo fmt --all --check
	@$(cargo) clippy --release --locked --workspace --all-targets --features "$(all)" -- -D warnings
	@export RUSTDOCFLAGS="-D warnings"; $(cargo) doc --release --locked --workspace --no-deps --features "$(all)"

docs:
	@tool=$$(.ci/mdbook) && "$$tool" build docs && echo target/book/index.html

bench: build
	@$(target)/release/wellspring bench step
	@$(target)/release/wellspring bench loader
	@$(target)/release/wellspring bench metrics

cuda:
	@.ci/cuda-kernels check docs/cuda-kernels.md

ptx:
	@.ci/cuda-kernels ptx train/ptx

test-driver:
	@tools=$$(.ci/cmake) && PATH="$$tools:$$PATH" .ci/with-cuda tests/cuda/driver/test

cuda-kit:
	@tools=$$(.ci/cmake) && PATH="$$tools:$$PATH" .ci/with-cuda tests/cuda/pack cuda-kit
