//! Events of the libraries for Python's `logging`.
//!
//! They come from threads that must not wait for the interpreter. So they are put aside, and whoever waits for the
//! work in Python hands them to the logger `wellspring`.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use wellspring_store::Reporter;

/// Events that are kept at most; later ones are dropped until these are handed over.
const MOST: usize = 10_000;

static EVENTS: Mutex<Vec<(u8, String)>> = Mutex::new(Vec::new());
static LISTENS: Once = Once::new();

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
    let events = std::mem::take(&mut *EVENTS.lock().unwrap_or_else(PoisonError::into_inner));
    let logger = py
        .import("logging")?
        .call_method1("getLogger", ("wellspring",))?;
    let least: u8 = logger.call_method0("getEffectiveLevel")?.extract()?;
    LEAST.store(least, Ordering::Relaxed);
    for (level, message) in events {
        logger.call_method1("log", (level, "%s", message))?;
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

impl<S: Subscriber> Layer<S> for Listener {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("wellspring")
            && number(*metadata.level()) >= LEAST.load(Ordering::Relaxed)
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
pub struct Logged;

impl Reporter for Logged {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}

    fn note(&self, message: &str) {
        keep(WARNING, message.to_owned());
    }
}
