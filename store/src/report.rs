//! [`Reporter`]: how the libraries report progress and notes. Only the program prints them.

use std::sync::{Mutex, PoisonError};

/// Listens to long work. Calls may come from any thread.
pub trait Reporter: Send + Sync {
    /// A stage of work begins: a phrase such as "statistics", how much there is to do if that is
    /// known, and of what ("bytes", "frames", "steps").
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str);
    /// Reports that `by` more units are done.
    fn advance(&self, by: u64);
    /// The stage is over.
    fn end(&self);
    /// Something worth a person's notice.
    fn note(&self, message: &str);
}

impl<T: Reporter + ?Sized> Reporter for std::sync::Arc<T> {
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str) {
        (**self).begin(stage, total, unit);
    }

    fn advance(&self, by: u64) {
        (**self).advance(by);
    }

    fn end(&self) {
        (**self).end();
    }

    fn note(&self, message: &str) {
        (**self).note(message);
    }
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, _: &str) {}
}

/// Remembers notes, for whoever asks later what was told.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Vec<String>>);

impl Notes {
    /// The notes since this was asked last, in the order in which they came.
    pub fn take(&self) -> Vec<String> {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut notes)
    }
}

impl Reporter for Notes {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, message: &str) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(message.to_owned());
    }
}
