//! The `wellspring` program: the command line of the libraries. Nothing is computed here.
//!
//! [`args`] has the arguments and their help, [`commands`] one file for each command, [`progress`] shows the
//! reports of the libraries, [`failure`] turns errors into a message and an exit code, and [`plain`] makes
//! untrusted text safe for a terminal.

#![allow(unreachable_pub, reason = "a program has no public interface")]

mod args;
mod commands;
mod failure;
mod interrupt;
mod plain;
mod progress;
mod settings;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// A training step takes and gives back memory by the hundred megabytes; this allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps freed memory for a second before the system gets it back, not for mimalloc's 10 ms: pages
/// that each training step has cleared anew are a seventh of its time.
#[expect(unsafe_code, reason = "mimalloc is a C library")]
fn keep_freed_memory() {
    /// `mi_option_purge_delay` of mimalloc.h, in milliseconds.
    const PURGE_DELAY: std::ffi::c_int = 15;
    unsafe extern "C" {
        fn mi_option_set(option: std::ffi::c_int, value: std::ffi::c_long);
    }
    // SAFETY: the function stores a number; no other thread runs yet.
    unsafe {
        mi_option_set(PURGE_DELAY, 1000);
    }
}

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = args::Cli::parse();
    start_logging(cli.quiet);
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

/// Warnings go to standard error, and facts for developers when `RUST_LOG` asks for them.
fn start_logging(quiet: bool) {
    let level = if quiet {
        "error"
    } else {
        "error,wellspring=warn"
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(asked) if !asked.is_empty() => EnvFilter::builder().parse_lossy(asked),
        _ => EnvFilter::builder().parse_lossy(level),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colours would be written out, like everything that is not a letter.
        .with_ansi(false)
        .with_writer(|| plain::Log)
        .init();
}
