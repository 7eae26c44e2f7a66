//! Shows what the libraries report: on a terminal a bar with rate and time left; notes also in the log file of a
//! batch job.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use wellspring_store::Reporter;

use crate::plain::plain;

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
        if !self.draws {
            return;
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        bar.set_style(style(total, unit));
        bar.set_prefix(plain(stage).into_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.stage() = Some(Stage {
            bar,
            name: stage.to_owned(),
            unit: unit.to_owned(),
            total,
        });
    }

    fn advance(&self, by: u64) {
        if let Some(stage) = self.stage().as_ref() {
            stage.bar.inc(by);
        }
    }

    fn end(&self) {
        if let Some(stage) = self.stage().take() {
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

/// A line for the person at the terminal.
pub fn line(text: &str) {
    use std::io::Write as _;
    // A closed standard error must not stop the work.
    let _ = writeln!(
        std::io::stderr(),
        "{}",
        plain(&wellspring_store::masked(text))
    );
}
