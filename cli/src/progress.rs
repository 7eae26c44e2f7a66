//! Shows what the libraries report: on a terminal a bar with rate and time left. In the log file of a batch job there
//! are notes, and now and then a line on how the work stands. For a program that shows it itself there are lines of
//! JSON, each an object with one key: `begin`, `done`, `status`, `end`, `line` or `error`.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use wellspring_store::Reporter;

use crate::plain::{is_silent, plain};

/// Time between two lines on how the work stands, where no bar is drawn.
const NOW_AND_THEN: Duration = Duration::from_secs(120);

/// Time between two lines of JSON on how much is done.
const OFTEN: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Not at all.
    Nothing,
    /// As bars that are drawn.
    Bars,
    /// As a line now and then.
    Lines,
    /// As lines of JSON.
    Json,
}

impl Show {
    /// What was asked for, or what suits standard error.
    pub fn new(quiet: bool, json: bool) -> Self {
        match (quiet, json) {
            (true, _) => Self::Nothing,
            (_, true) => Self::Json,
            _ if std::io::stderr().is_terminal() => Self::Bars,
            _ => Self::Lines,
        }
    }
}

/// Shows progress and notes on standard error, one line at a time.
pub struct Terminal {
    show: Show,
    bar: Mutex<Option<Stage>>,
}

struct Stage {
    bar: ProgressBar,
    name: String,
    unit: String,
    total: Option<u64>,
    /// When a line last told how the work stands.
    told: Instant,
}

impl Terminal {
    pub fn new(show: Show) -> Self {
        IS_JSON.store(show == Show::Json, Ordering::Relaxed);
        Self {
            show,
            bar: Mutex::new(None),
        }
    }

    /// A line that stays. The bar makes room for it.
    pub fn line(&self, text: &str) {
        match self.stage().as_ref() {
            Some(stage) => stage.bar.suspend(|| line(text)),
            None => line(text),
        }
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Option<Stage>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for Terminal {
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str) {
        if self.show == Show::Nothing || is_silent() {
            return;
        }
        let draws = self.show == Show::Bars;
        let target = match draws {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(total, target);
        bar.set_style(style(total, unit, ""));
        bar.set_prefix(plain(stage).into_owned());
        if draws {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        if self.show == Show::Json {
            json(
                "begin",
                json!({ "stage": stage, "total": total, "unit": unit }),
            );
        }
        *self.stage() = Some(Stage {
            bar,
            name: stage.to_owned(),
            unit: unit.to_owned(),
            total,
            told: Instant::now(),
        });
    }

    fn advance(&self, by: u64) {
        if let Some(stage) = self.stage().as_mut() {
            stage.bar.inc(by);
            if self.show == Show::Json && stage.may_tell(OFTEN) {
                json("done", stage.bar.position().into());
            }
        }
    }

    fn status(&self, words: &str) {
        if let Some(stage) = self.stage().as_mut() {
            match self.show {
                Show::Bars => {
                    let below = "\n    {wide_msg}";
                    let style = style(stage.total, &stage.unit, below);
                    stage.bar.set_style(style);
                    stage.bar.set_message(plain(words).into_owned());
                }
                Show::Json => json("status", words.into()),
                Show::Lines | Show::Nothing => stage.tell(words),
            }
        }
    }

    fn end(&self) {
        let Some(stage) = self.stage().take() else {
            return;
        };
        if self.show == Show::Json {
            json("end", stage.bar.position().into());
        }
        if self.show == Show::Bars {
            stage.bar.finish_and_clear();
            let done = stage.total.unwrap_or(stage.bar.position());
            let amount = match stage.unit.as_str() {
                "bytes" => HumanBytes(done).to_string(),
                unit => format!("{done} {unit}"),
            };
            let seconds = stage.bar.elapsed().as_secs_f64();
            line(&format!("  {:<24} {amount} in {seconds:.1} s", stage.name));
        }
    }

    fn note(&self, message: &str) {
        if self.show == Show::Nothing {
            return;
        }
        self.line(&format!("  {message}"));
    }
}

impl Stage {
    /// Whether the last line on how the work stands was written some time ago; if so, one is written now.
    fn may_tell(&mut self, every: Duration) -> bool {
        let may = self.told.elapsed() >= every;
        if may {
            self.told = Instant::now();
        }
        may
    }

    /// Writes a line on how the work stands, unless there was one a moment ago.
    fn tell(&mut self, words: &str) {
        if !self.may_tell(NOW_AND_THEN) {
            return;
        }
        let (name, unit, done) = (&self.name, &self.unit, self.bar.position());
        let of = self
            .total
            .map_or_else(String::new, |total| format!(" of {total}"));
        let left = match self.total {
            Some(_) => format!(", {} left", HumanDuration(self.bar.eta())),
            None => String::new(),
        };
        let rate = self.bar.per_sec();
        line(&format!(
            "  {name}: {done}{of} {unit}, {rate:.2} a second{left}; {words}"
        ));
    }
}

/// How a bar is drawn; words on how the work stands have a line of their own below it, since a terminal of 80 columns
/// has no room beside it.
fn style(total: Option<u64>, unit: &str, below: &str) -> ProgressStyle {
    let bar = match (total, unit) {
        (Some(_), "bytes") => {
            "  {prefix:<24} {bar:16} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left"
        }
        (Some(_), _) => "  {prefix:<24} {bar:16} {pos}/{len}  {per_sec}  {eta} left",
        (None, _) => "  {prefix:<24} {spinner} {pos}  {per_sec}",
    };
    let style = ProgressStyle::with_template(&format!("{bar}{below}"));
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Whether another program reads what is said here.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// A line for the person at the terminal.
pub fn line(text: &str) {
    if is_silent() {
        return;
    }
    let text = wellspring_store::masked(text);
    match IS_JSON.load(Ordering::Relaxed) {
        true => json("line", text.as_ref().into()),
        false => write_line(&plain(&text)),
    }
}

/// An error for the person at the terminal; `is_misuse` if it is of what was typed.
pub fn error(text: &str, is_misuse: bool) {
    match IS_JSON.load(Ordering::Relaxed) {
        true => json(
            "error",
            json!({ "message": wellspring_store::masked(text), "is_misuse": is_misuse }),
        ),
        false => line(&format!("error: {text}")),
    }
}

/// An object with one key, for a program that reads standard error.
fn json(key: &str, value: serde_json::Value) {
    write_line(&json!({ key: value }).to_string());
}

fn write_line(text: &str) {
    // A closed standard error must not stop the work.
    let _ = writeln!(std::io::stderr(), "{text}");
}
