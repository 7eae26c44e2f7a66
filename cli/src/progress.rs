//! Shows what the libraries report: on a terminal a bar with rate and time left. In the log file of a batch job there
//! are notes, and now and then a line on how the work stands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use wellspring_store::Reporter;

use crate::plain::plain;

/// Time between two lines on how the work stands, where no bar is drawn.
const NOW_AND_THEN: Duration = Duration::from_secs(120);

/// Shows progress and notes on standard error, one line at a time.
pub struct Terminal {
    /// Whether to show nothing.
    quiet: bool,
    /// Bars are drawn.
    draws: bool,
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
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            draws: !quiet && console_is_attended(),
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

fn console_is_attended() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal()
}

impl Reporter for Terminal {
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str) {
        if self.quiet || is_silent() {
            return;
        }
        let target = match self.draws {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(total, target);
        bar.set_style(style(total, unit));
        bar.set_prefix(plain(stage).into_owned());
        if self.draws {
            bar.enable_steady_tick(Duration::from_millis(200));
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
        if let Some(stage) = self.stage().as_ref() {
            stage.bar.inc(by);
        }
    }

    fn status(&self, words: &str) {
        if let Some(stage) = self.stage().as_mut() {
            match self.draws {
                true => stage.bar.set_message(plain(words).into_owned()),
                false => stage.tell(words),
            }
        }
    }

    fn end(&self) {
        if let Some(stage) = self.stage().take().filter(|_| self.draws) {
            stage.bar.finish_and_clear();
            let done = stage.total.unwrap_or(stage.bar.position());
            let amount = match stage.unit.as_str() {
                "bytes" => HumanBytes(done).to_string(),
                unit => format!("{done} {unit}"),
            };
            let seconds = stage.bar.elapsed().as_secs_f64();
            line(&format!("  {:<28} {amount} in {seconds:.1} s", stage.name));
        }
    }

    fn note(&self, message: &str) {
        if self.quiet {
            return;
        }
        self.line(&format!("  {message}"));
    }
}

impl Stage {
    /// Writes a line on how the work stands, unless there was one a moment ago.
    fn tell(&mut self, words: &str) {
        if self.told.elapsed() < NOW_AND_THEN {
            return;
        }
        self.told = Instant::now();
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

fn style(total: Option<u64>, unit: &str) -> ProgressStyle {
    let template = match (total, unit) {
        (Some(_), "bytes") => {
            "  {prefix:<28} {bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {wide_msg}"
        }
        (Some(_), _) => "  {prefix:<28} {bar:24} {pos}/{len}  {per_sec}  {eta} left  {wide_msg}",
        (None, _) => "  {prefix:<28} {spinner} {pos}  {per_sec}  {wide_msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Whether this process says nothing, because it is not the first of several that do the same.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// Lets this process say nothing, or speak again.
pub fn silence(is_silent: bool) {
    IS_SILENT.store(is_silent, Ordering::Relaxed);
}

/// Whether this process says nothing.
pub fn is_silent() -> bool {
    IS_SILENT.load(Ordering::Relaxed)
}

/// A line for the person at the terminal.
pub fn line(text: &str) {
    use std::io::Write as _;
    if is_silent() {
        return;
    }
    // A closed standard error must not stop the work.
    let _ = writeln!(
        std::io::stderr(),
        "{}",
        plain(&wellspring_store::masked(text))
    );
}
