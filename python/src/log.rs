//! Events of the libraries for Python's `logging`.
//!
//! They come from threads that must not wait for the interpreter. So they are put aside, and whoever waits for the
//! work in Python hands them to the logger `wellspring`.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use wellspring_store::Reporter;

/// Events that are kept at most; later ones are dropped until these are handed over.
const MOST: usize = 10_000;

static EVENTS: Mutex<Vec<(u8, String)>> = Mutex::new(Vec::new());
static LISTENS: Once = Once::new();
static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The least level that the logger wants, in Python's numbers.
static LEAST: AtomicU8 = AtomicU8::new(WARNING);

const WARNING: u8 = 30;

/// Python's number of a level.
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => WARNING,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// Gives the logger what has happened, and asks it what it wants to hear.
pub fn hand_over(py: Python<'_>) -> PyResult<()> {
    LISTENS.call_once(|| {
        let listener = tracing_subscriber::registry().with(Listener);
        // Another subscriber is there where the program itself runs.
        let _ = tracing::subscriber::set_global_default(listener);
    });
    let logger = LOGGER.get_or_try_init(py, || {
        let logging = py.import("logging")?;
        let logger = logging.call_method1("getLogger", ("wellspring",))?;
        PyResult::Ok(logger.unbind())
    })?;
    let least: u8 = logger
        .call_method0(py, intern!(py, "getEffectiveLevel"))?
        .extract(py)?;
    LEAST.store(least, Ordering::Relaxed);
    let events = std::mem::take(&mut *EVENTS.lock().unwrap_or_else(PoisonError::into_inner));
    for (level, message) in events {
        logger.call_method1(py, intern!(py, "log"), (level, "%s", message))?;
    }
    Ok(())
}

fn keep(level: u8, message: String) {
    let mut events = EVENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if events.len() < MOST {
        events.push((level, message));
    }
}

struct Listener;

/// What is under way: its fields, and when it began.
struct OpenSpan(Line, Instant);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    /// The logger may want more or less at any time.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("wellspring")
            && number(*metadata.level()) >= LEAST.load(Ordering::Relaxed)
    }

    fn on_new_span(&self, of: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut line = Line(of.metadata().name().to_owned());
        of.record(&mut line);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(OpenSpan(line, Instant::now()));
        }
    }

    /// Work is one line, at its end, with the time that it took.
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        if let Some(OpenSpan(line, began)) = span.extensions().get() {
            let took = format!("{} took {:.1?}", line.0, began.elapsed());
            keep(number(*span.metadata().level()), took);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        keep(number(*event.metadata().level()), line.0);
    }
}

/// An event as one line: its message, then its fields.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// Gives the notes of quick work to the logger, as warnings; it has no progress.
pub struct LogNotes;

impl Reporter for LogNotes {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}

    fn note(&self, message: &str) {
        keep(WARNING, message.to_owned());
    }
}
