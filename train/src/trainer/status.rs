//! How a run stands, for whoever looks at it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use wellspring_store::Reporter;

use super::Trainer;
use crate::memory::peak_mib;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// When the run was last looked at, and its last validation.
#[derive(Debug, Default)]
pub(super) struct Status {
    told: Option<Instant>,
    /// Mean one-step VRMSE.
    pub(super) vrmse: Option<f64>,
}

impl Trainer<'_> {
    /// Says the loss, the last validation, the share of time that steps wait for data, and the memory in use; not
    /// after every step, where they are short.
    pub(super) fn say_status(&mut self, reporter: &dyn Reporter) {
        if self.status.told.is_some_and(|told| told.elapsed() < PAUSE) {
            return;
        }
        self.status.told = Some(Instant::now());
        let mut words = String::new();
        let recent = &self.losses[self.losses.len().saturating_sub(20)..];
        if !recent.is_empty() {
            let mean = recent.iter().sum::<f32>() / recent.len() as f32;
            let _ = write!(words, "loss {mean:.4}");
        }
        if let Some(vrmse) = self.status.vrmse {
            let _ = write!(words, "  VRMSE {vrmse:.4}");
        }
        let _ = write!(words, "  waits {:.0} %", 100.0 * self.wait.overall());
        if let Some(rank) = self.rank_times.slowest() {
            let _ = write!(words, "  slowest rank {rank}");
        }
        if let Some(mib) = peak_mib(&self.model.device()) {
            let _ = write!(words, "  {mib:.0} MiB");
        }
        reporter.status(words.trim_start());
    }
}
