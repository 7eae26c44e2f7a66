//! [`Reporter`]: how the libraries report progress and notes. Only the program prints them.

use std::sync::{Mutex, PoisonError};

/// Receives the progress and the notes of long work. Calls may come from any thread.
pub trait Reporter: Send + Sync {
    /// Begins a stage of work: its name, such as "statistics", its size if that is known, and the unit
    /// of the size ("bytes", "frames", "steps").
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str);
    /// Reports that `by` more units are done.
    fn advance(&self, by: u64);
    /// Says how the stage stands, in a few words such as "loss 0.12". The last words count.
    fn status(&self, _: &str) {}
    /// Ends the stage.
    fn end(&self);
    /// Reports something that a person should notice.
    fn note(&self, message: &str);
}

impl<T: Reporter + ?Sized> Reporter for std::sync::Arc<T> {
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str) {
        (**self).begin(stage, total, unit);
    }

    fn advance(&self, by: u64) {
        (**self).advance(by);
    }

    fn status(&self, words: &str) {
        (**self).status(words);
    }

    fn end(&self) {
        (**self).end();
    }

    fn note(&self, message: &str) {
        (**self).note(message);
    }
}

/// Ignores all reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, _: &str) {}
}

/// Collects notes for later.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Vec<String>>);

impl Notes {
    /// The notes since the last call, in order.
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
