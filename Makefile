# make demo          build, then simulate, ingest, train, evaluate and report on this machine
# make test          everything that the project tests in Rust
# make test-python   what pyarrow, DuckDB, PyTorch and The Well's own library read of ours
# make test-cloud    the way through buckets of S3 and Azure, as moto and azurite emulate them
# make check         format, lints, docs, and the CUDA code's types (no GPU needed)
# make bench         the benchmarks, as text

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo build test test-python test-cloud check bench

# HDF5 is built from source and needs a newer CMake than some distributions have.
cargo = tools=$$(.ci/cmake) && PATH="$$tools:$$PATH" cargo
target := $(or $(CARGO_TARGET_DIR),target)
demo ?= demo
# cluster: SQL on Ballista. `make build features=` leaves it out and builds faster.
features ?= cluster

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

build:
	@$(cargo) build --release --locked -p wellspring --features "$(features)"

demo: build
	@$(target)/release/wellspring demo --out $(demo)

test:
	@$(cargo) test --release --locked --workspace --features "$(features)"

test-python: build
	@tests/python/run $(target)/release/wellspring

test-cloud: build
	@tests/cloud/run $(target)/release/wellspring

# A stand-in for nvcc lets the CUDA code's types be checked where there is no CUDA.
check: export NVCC = $(CURDIR)/.ci/stub-nvcc
check: export CUDA_COMPUTE_CAP = 90
check: export CUDARC_CUDA_VERSION = 13000
check: export CUDAFORGE_HOME = $(abspath $(target))/cudaforge
check:
	@cargo fmt --all --check
	@$(cargo) clippy --release --locked --workspace --all-targets --features "$(features)" -- -D warnings
	@export RUSTDOCFLAGS="-D warnings"; $(cargo) doc --release --locked --workspace --no-deps --features "$(features)"
	@.ci/stub-cutlass
	@$(cargo) clippy --release --locked -p wellspring --features "$(features) flash-attn" -- -D warnings

bench: build
	@$(target)/release/wellspring bench step
	@$(target)/release/wellspring bench loader
	@$(target)/release/wellspring bench metrics
