//! Errors of the libraries as exceptions of Python.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyIndexError, PyValueError};
use pyo3::prelude::*;
use wellspring_store::{Error as StoreError, masked, with_causes};

create_exception!(
    wellspring,
    Error,
    PyException,
    "What failed, on which object, and what to do."
);

/// An exception that a library's error became.
#[derive(Debug)]
pub struct Failure(PyErr);

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl From<Failure> for PyErr {
    fn from(Failure(error): Failure) -> Self {
        error
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self(error)
    }
}

/// An argument that makes no sense.
pub fn misuse(reason: impl Into<String>) -> Failure {
    Failure(PyValueError::new_err(reason.into()))
}

/// The value that a word stands for.
pub fn one_of<T: Copy, const N: usize>(
    what: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
    word: &str,
) -> Result<T> {
    let named = all.into_iter().find(|&value| name(value) == word);
    named.ok_or_else(|| {
        misuse(format!(
            "{what}={word:?}: choose one of {}",
            all.map(name).join(", ")
        ))
    })
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure(Error::new_err(words(error)))
}

/// What went wrong with all its causes, without secrets.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    masked(&with_causes(error)).into_owned()
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let words = words(&error);
        Self(match error {
            StoreError::OutOfRange { .. } => PyIndexError::new_err(words),
            StoreError::Choice { .. }
            | StoreError::NoSplit { .. }
            | StoreError::NoWindows { .. } => PyValueError::new_err(words),
            _ => Error::new_err(words),
        })
    }
}

impl From<wellspring_ingest::Error> for Failure {
    fn from(error: wellspring_ingest::Error) -> Self {
        match error {
            wellspring_ingest::Error::Store(error) => error.into(),
            error => failed(&error),
        }
    }
}

impl From<wellspring_eval::Error> for Failure {
    fn from(error: wellspring_eval::Error) -> Self {
        match error {
            wellspring_eval::Error::Store(error) => error.into(),
            error @ (wellspring_eval::Error::Schedule { .. }
            | wellspring_eval::Error::Patch { .. }) => misuse(words(&error)),
            error => failed(&error),
        }
    }
}

impl From<wellspring_train::Error> for Failure {
    fn from(error: wellspring_train::Error) -> Self {
        failed(&error)
    }
}
