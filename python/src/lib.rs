//! The Python package's own module, `wellspring._native`: data sets, loaders, evaluations, metrics and SQL for Python.
//!
//! It is as thin as the program is: it passes arguments to the crates and returns their results as NumPy arrays and Arrow
//! streams. The package around it, in `python/wellspring`, has the names, the defaults and the words
//! that people see, and knows PyTorch and JAX. Nothing of this module is meant to be called by anyone else.
//!
//! - `threads` has the threads of this process, and waits for them while it looks for Ctrl-C.
//! - `arrays` gives NumPy memory that Rust holds, and reads NumPy's.
//! - `conditions` has what a window comes with beside its frames.
//! - `dataset`, `loader`, `predictor`, `evaluate`, `metrics` and `database` hold one class or function each.
//! - `failure` makes exceptions of errors, `log` hands events to Python's `logging`.

#![allow(unreachable_pub, reason = "Python sees what the module exports")]

mod arrays;
mod conditions;
mod database;
mod dataset;
mod evaluate;
mod failure;
mod loader;
mod log;
mod metrics;
mod predictor;
mod threads;

use std::ffi::OsString;

use pyo3::prelude::*;

/// The module as Python sees it.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::database::{Answer, Database, report};
    #[pymodule_export]
    use super::dataset::Dataset;
    #[pymodule_export]
    use super::evaluate::evaluate;
    #[pymodule_export]
    use super::failure::Error;
    #[pymodule_export]
    use super::loader::Pass;
    #[pymodule_export]
    use super::metrics::{artefact_ratio, score, spectrum};
    #[pymodule_export]
    use super::predictor::Predictor;

    /// Does what was typed, and ends the process with the program's exit code.
    #[pyfunction]
    fn main(py: Python<'_>, words: Vec<OsString>) {
        py.detach(|| std::process::exit(wellspring::main(words).into()));
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        wellspring::keep_freed_memory();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
