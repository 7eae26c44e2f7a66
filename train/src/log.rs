//! The log of a run as its trainer sees it: a log that cannot be written is reported, and ends nothing.

use tokio::runtime::Handle;
pub use wellspring_log::Event;
use wellspring_log::{LogWriter, Result};
use wellspring_store::{Location, Reporter, with_causes};

/// The events of this process, on their way into the run's log.
#[derive(Debug)]
pub(crate) struct Log(Option<LogWriter>);

impl Log {
    /// The log of a process that goes on after a step.
    pub(crate) fn new(run: &Location, step: u64) -> Self {
        Self(Some(LogWriter::new(run, step)))
    }

    /// A log of nothing: of several ranks, one writes.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn push(&mut self, event: Event) {
        if let Some(writer) = &mut self.0 {
            writer.push(event);
        }
    }

    /// Writes what was pushed.
    pub(crate) async fn write(&mut self, reporter: &dyn Reporter) {
        if let Some(writer) = &mut self.0 {
            tell(writer.write().await, reporter);
        }
    }

    /// Writes what was pushed if it is time to, beside the next steps.
    pub(crate) fn write_when_due(&mut self, runtime: &Handle, reporter: &dyn Reporter) {
        if let Some(writer) = &mut self.0 {
            tell(writer.write_when_due(runtime), reporter);
        }
    }
}

/// The log is a record: nothing that is computed depends on it.
fn tell(written: Result<()>, reporter: &dyn Reporter) {
    if let Err(error) = written {
        let error = with_causes(&error);
        reporter.note(&format!("warning: the log could not be written: {error}"));
    }
}
