//! The `optim` section of a configuration: the optimizer, and the learning rate of each step.

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::{counted, need};
use crate::{RateSchedule, Result};

/// How weight decay enters a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Decay beside the gradient (Loshchilov and Hutter 2019).
    #[default]
    AdamW,
    /// Decay as a part of the gradient: L2 regularization (Kingma and Ba 2015).
    Adam,
}

/// `[optim]`: a learning rate with a linear warm-up, for Adam or AdamW.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// The optimizer: adamw, or adam with L2 regularization.
    pub kind: Optimizer,
    /// Highest learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// What the rate does after the warm-up: cosine, constant, warmup-stable-decay or inverse-sqrt.
    pub schedule: RateSchedule,
    /// Part of the horizon over which warmup-stable-decay falls to zero.
    pub decay: f64,
    /// The step at which the schedule ends. By default the number of steps that the run begins with; it is
    /// written into its configuration, so that a run that is extended keeps its schedule. A run that the clock
    /// ends (`train.hours`) has none: its schedule follows the share of its time that is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<u64>,
    /// Largest norm of the gradient over all weights; a larger gradient is scaled to it. By default no
    /// limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Parts of a batch that are computed one after another, and their gradients added: less memory for the same
    /// step.
    pub accumulate: usize,
    /// Decay of an exponential moving average of the weights, such as 0.999; it is validated, and evaluated unless
    /// another choice is made. By default there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Weights that stay as they are, by their names; `*` stands for anything: `["embed.*"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            kind: Optimizer::default(),
            lr: 1e-3,
            weight_decay: 1e-4,
            warmup: 500,
            schedule: RateSchedule::default(),
            decay: 0.2,
            horizon: None,
            clip: None,
            accumulate: 1,
            ema: None,
            freeze: Vec::new(),
        }
    }
}

impl OptimConfig {
    /// Whether a weight stays as it is.
    pub(crate) fn freezes(&self, name: &str) -> bool {
        self.freeze.iter().any(|pattern| matches(pattern, name))
    }

    /// Refuses a pattern that freezes nothing, and patterns that freeze everything.
    pub(crate) fn check_frozen<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<()> {
        let names: Vec<&str> = names.collect();
        let is_idle = |pattern: &&String| !names.iter().any(|name| matches(pattern, name));
        if let Some(pattern) = self.freeze.iter().find(is_idle) {
            let some = names.first().copied().unwrap_or_default();
            let expected = format!("the names of weights of this model, such as {some}");
            return need(false, "optim.freeze", pattern, &expected);
        }
        let learns = names.iter().any(|name| !self.freezes(name));
        let patterns = self.freeze.join(", ");
        need(
            learns,
            "optim.freeze",
            patterns,
            "some of the weights, not all",
        )
    }

    pub(super) fn validate(&self) -> Result<()> {
        if let Some(horizon) = self.horizon {
            need(horizon > 0, "optim.horizon", horizon, "at least 1")?;
        }
        if let Some(clip) = self.clip {
            let positive = clip.is_finite() && clip > 0.0;
            need(positive, "optim.clip", clip, "a positive number")?;
        }
        if let Some(ema) = self.ema {
            let average = (0.0..1.0).contains(&ema);
            need(average, "optim.ema", ema, "from 0 to less than 1")?;
        }
        let part = self.decay > 0.0 && self.decay <= 1.0;
        need(part, "optim.decay", self.decay, "more than 0 and at most 1")?;
        let lr = self.lr;
        need(
            lr.is_finite() && lr > 0.0,
            "optim.lr",
            lr,
            "a positive number",
        )?;
        let decay = self.weight_decay;
        need(
            (0.0..1.0).contains(&decay),
            "optim.weight_decay",
            decay,
            "a number from 0 to 1",
        )?;
        counted("optim.accumulate", self.accumulate as u64, 1_000_000)
    }
}

/// Whether a name is as a pattern says, in which each `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(tail) = name.strip_prefix(head) else {
        return false;
    };
    let starts = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
    starts.into_iter().any(|at| matches(rest, &tail[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("embed.norm1.weight", "embed.norm1.weight", true),
            ("embed.*", "embed.norm1.weight", true),
            ("*.bias", "embed.norm1.bias", true),
            ("*norm*weight", "embed.norm1.weight", true),
            ("embed.*", "debed.norm1.weight", false),
            ("*.bias", "embed.bias.weight", false),
            ("embed", "embed.norm1.weight", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
