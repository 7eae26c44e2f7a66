//! The `wellspring` program: the command line of the libraries. Nothing is computed here.
//!
//! `args` says what can be typed, `commands` holds one file for each verb, `progress` draws what the libraries report,
//! `log` writes what they tell of their work, `failure` turns errors into a message and an exit code, and `plain` is what
//! text of others goes through on its way to a terminal. The Python package shares [`main()`] and [`ModelSubject`].

// A dependency that nothing uses is to be removed. Tests have more of them.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]
#![allow(unreachable_pub, reason = "a program has no public interface")]

mod args;
mod commands;
mod failure;
mod interrupt;
mod log;
mod plain;
mod progress;
mod settings;
mod subject;

use std::ffi::OsString;
use std::sync::Arc;

use clap::Parser;

use progress::{Show, Terminal};
pub use subject::ModelSubject;

/// A training step takes and gives back memory by the hundred megabytes; this allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps freed memory for a second before the system gets it back, not for mimalloc's 10 ms: pages
/// that each training step has cleared anew are a seventh of its time.
#[expect(unsafe_code, reason = "mimalloc is a C library")]
pub fn keep_freed_memory() {
    /// `mi_option_purge_delay` of mimalloc.h, in milliseconds.
    const PURGE_DELAY: std::ffi::c_int = 15;
    unsafe extern "C" {
        fn mi_option_set(option: std::ffi::c_int, value: std::ffi::c_long);
    }
    // SAFETY: the function stores a number.
    unsafe {
        mi_option_set(PURGE_DELAY, 1000);
    }
}

/// Does what was typed, the program's own name first, and gives its exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    keep_freed_memory();
    let cli = match args::Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let terminal = Arc::new(Terminal::new(Show::new(cli.quiet, cli.progress_json)));
    log::start(&cli, Arc::clone(&terminal));
    match commands::run(cli, terminal) {
        Ok(()) => 0,
        Err(error) => failure::report(&error),
    }
}
