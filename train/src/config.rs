//! The configuration of a run. Every key has a default but `data.root`.

mod data;
mod model;
mod preset;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use crate::{DeviceChoice, Error, Precision, RateSchedule, Result, checkpoint};

pub(crate) use data::mebibytes;
pub use data::{DataConfig, Roots};
pub use model::{Mlp, ModelConfig, PatchSize, Strategy};
pub use preset::Preset;

/// Everything that determines a run; it is written to the run, and starts an equal run again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The data sets, and how they are read.
    pub data: DataConfig,
    /// The model.
    pub model: ModelConfig,
    /// The optimizer.
    pub optim: OptimConfig,
    /// Length and course of the training.
    pub train: TrainConfig,
}

/// The most steps of a run: a resumed one counts through them to find its place.
pub(crate) const MOST_STEPS: u64 = 1_000_000_000;

/// `[optim]`: AdamW, and a learning rate with a linear warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// Highest learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// What the rate does after the warm-up: cosine, constant, warmup-stable-decay or inverse-sqrt.
    pub schedule: RateSchedule,
    /// Part of the horizon over which warmup-stable-decay falls to zero.
    pub decay: f64,
    /// The step at which the schedule ends. By default the number of steps that the run begins with; it is
    /// written into its configuration, so that a run that is extended keeps its schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<u64>,
    /// Largest norm of the gradient over all weights; a larger gradient is scaled to it. By default no
    /// limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 1e-4,
            warmup: 500,
            schedule: RateSchedule::default(),
            decay: 0.2,
            horizon: None,
            clip: None,
        }
    }
}

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Total number of steps.
    pub steps: u64,
    /// Total number of passes over the data, instead of `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Windows of a step.
    pub batch: usize,
    /// Seed of the weights, the order of windows and the drawing of patch sizes.
    pub seed: u64,
    /// Whether to shift the grid under the patches at random: periodic axes are rolled, and other axes of
    /// a csm model are padded by one patch more, split at random.
    pub jitter: bool,
    /// Stochastic depth: the probability with which the last block's residuals are left out of a sample.
    /// It is zero for the first block, and linear in between.
    pub drop_path: f64,
    /// Memory in MiB for tensors that blocks keep until their backward pass. If all blocks need more, the
    /// first ones are computed again instead. By default 512 on a CPU, and three quarters of the free
    /// memory on a GPU when training begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activations_mib: Option<u64>,
    /// Device to train on: cpu or cuda.
    pub device: DeviceChoice,
    /// Precision of products: f32, tf32 or bf16.
    pub precision: Precision,
    /// Number of steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Number of newest checkpoints that are kept.
    pub keep: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 20_000,
            epochs: None,
            batch: 2,
            seed: 0,
            jitter: false,
            drop_path: 0.0,
            activations_mib: None,
            device: DeviceChoice::Cpu,
            precision: Precision::F32,
            checkpoint_every: 500,
            keep: 2,
        }
    }
}

impl Config {
    /// Reads TOML.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown key or a wrong type, [`Error::Value`] for a value that
    /// cannot be.
    pub fn from_toml(text: &str) -> Result<Self> {
        let read = || match text.parse::<toml::Table>()? {
            typed if typed.contains_key("preset") => preset::unfolded(typed)?.try_into(),
            // From the text itself: errors show its lines.
            _ => toml::from_str(text),
        };
        let config: Self = read().map_err(|error: toml::de::Error| Error::Config {
            reason: error.to_string().trim_end().to_owned(),
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration of a run.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] when there is no run, [`Error::Damaged`] when its `config.toml` is
    /// not what a run writes.
    pub async fn load(run: &Location) -> Result<Self> {
        let place = run.join("config.toml");
        let damaged = |reason: String| Error::Damaged {
            object: place.to_string(),
            reason,
        };
        let Some(bytes) = place.get_opt().await? else {
            if !checkpoint::folders(run).await?.is_empty() {
                let reason = "it is missing, and there are checkpoints; an import that was stopped leaves \
                    them: import again";
                return Err(damaged(reason.into()));
            }
            return Err(Error::NoCheckpoint {
                run: run.to_string(),
                which: String::new(),
            });
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| damaged(error.to_string()))?;
        Self::from_toml(text).map_err(|error| damaged(error.to_string()))
    }

    /// Total number of steps, if an epoch has `epoch` steps.
    ///
    /// # Errors
    /// [`Error::Value`] for more than a run can have.
    pub(crate) fn steps(&self, epoch: u64) -> Result<u64> {
        let Some(epochs) = self.train.epochs else {
            return Ok(self.train.steps);
        };
        let steps = epochs.saturating_mul(epoch);
        let most = format!("at most {MOST_STEPS} steps; an epoch has {epoch}");
        need(steps <= MOST_STEPS, "train.epochs", epochs, &most)?;
        Ok(steps)
    }

    /// Keys whose values are other ones than before: "optim.lr = 0.0005 (was 0.001)".
    pub(crate) fn changes(&self, before: &Self) -> Result<Vec<String>> {
        let table = |config: &Self| {
            toml::Table::try_from(config).map_err(|error| Error::Config {
                reason: error.to_string(),
            })
        };
        let (before, now) = (table(before)?, table(self)?);
        let mut changes = Vec::new();
        for (section, held) in &now {
            let was = before.get(section).and_then(toml::Value::as_table);
            let is = held.as_table();
            let keys: BTreeSet<&String> = was.iter().chain(&is).flat_map(|t| t.keys()).collect();
            for key in keys {
                let [was, is] = [was, is].map(|table| table.and_then(|table| table.get(key)));
                if was != is {
                    let said = |value: Option<&toml::Value>| {
                        value.map_or_else(|| "not said".to_owned(), toml::Value::to_string)
                    };
                    changes.push(format!(
                        "{section}.{key} = {} (was {})",
                        said(is),
                        said(was)
                    ));
                }
            }
        }
        Ok(changes)
    }

    /// All keys with their values, as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] when a number is larger than TOML's.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Config {
            reason: error.to_string(),
        })
    }

    /// Checks that the numbers fit one another.
    ///
    /// # Errors
    /// [`Error::Value`] or [`Error::LongContext`].
    pub fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.data.validate()?;
        let train = &self.train;
        let steps = format!("at most {MOST_STEPS}");
        need(
            train.steps <= MOST_STEPS,
            "train.steps",
            train.steps,
            &steps,
        )?;
        counted("train.batch", train.batch as u64, 1_000_000)?;
        need(train.keep > 0, "train.keep", train.keep, "at least 1")?;
        let every = train.checkpoint_every;
        need(every > 0, "train.checkpoint_every", every, "at least 1")?;
        if let Some(horizon) = self.optim.horizon {
            need(horizon > 0, "optim.horizon", horizon, "at least 1")?;
        }
        if let Some(clip) = self.optim.clip {
            let positive = clip.is_finite() && clip > 0.0;
            need(positive, "optim.clip", clip, "a positive number")?;
        }
        let decay = self.optim.decay;
        let part = decay > 0.0 && decay <= 1.0;
        need(part, "optim.decay", decay, "more than 0 and at most 1")?;
        let lr = self.optim.lr;
        need(
            lr.is_finite() && lr > 0.0,
            "optim.lr",
            lr,
            "a positive number",
        )?;
        let decay = self.optim.weight_decay;
        need(
            (0.0..1.0).contains(&decay),
            "optim.weight_decay",
            decay,
            "a number from 0 to 1",
        )?;
        let drop = self.train.drop_path;
        need(
            (0.0..1.0).contains(&drop),
            "train.drop_path",
            drop,
            "from 0 to less than 1",
        )?;
        let base = self.model.base;
        let beyond = |patch: &PatchSize| patch.sizes().is_some_and(|p| p.iter().any(|&p| p > base));
        need(
            self.model.strategy != Strategy::Csm || !self.model.patches.iter().any(beyond),
            "model.base",
            base,
            "no smaller than the patches of a csm model: a stride beyond the kernel skips cells",
        )?;
        let limit = self.model.context_limit();
        if self.data.context > limit {
            return Err(Error::LongContext {
                context: self.data.context,
                limit,
            });
        }
        Ok(())
    }
}

/// A number of things, each of which takes memory or time.
fn counted(key: &'static str, value: u64, most: u64) -> Result<()> {
    let holds = (1..=most).contains(&value);
    need(holds, key, value, &format!("from 1 to {most}"))
}

fn need(holds: bool, key: &'static str, value: impl ToString, expected: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Value {
        key,
        value: value.to_string(),
        expected: format!("must be {expected}"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_the_way_to_text_and_back() {
        let config = Config::default();
        assert_eq!(
            Config::from_toml(&config.to_toml().unwrap()).unwrap(),
            config
        );
        assert_eq!(Config::from_toml("").unwrap(), config);
    }

    #[test]
    fn changes_name_their_keys() {
        let before = Config::default();
        let mut now = before.clone();
        (now.optim.lr, now.optim.clip) = (5e-4, Some(1.0));
        now.train.epochs = Some(2);
        let expected = [
            "optim.clip = 1.0 (was not said)",
            "optim.lr = 0.0005 (was 0.001)",
            "train.epochs = 2 (was not said)",
        ];
        assert_eq!(now.changes(&before).unwrap(), expected);
        assert!(now.changes(&now).unwrap().is_empty());
    }

    #[test]
    fn epochs_beyond_counting_are_refused() {
        let mut config = Config::default();
        config.train.epochs = Some(3);
        assert_eq!(config.steps(7).unwrap(), 21);
        config.train.epochs = Some(u64::MAX / 2);
        let error = config.steps(7).unwrap_err().to_string();
        assert!(error.contains("train.epochs"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        for (text, key) in [
            ("[optim]\nspeed = 1", "speed"),
            ("[model]\nheads = 5", "model.heads"),
            ("[model]\npatches = [5]", "model.patches"),
            ("[model]\nstrategy = \"fixed\"", "model.patches"),
            ("[data]\ncontext = 17", "17 frames"),
            ("[train]\nbatch = 0", "train.batch"),
            ("[optim]\nlr = nan", "optim.lr"),
            ("[model]\nstrategy = \"csm\"\nbase = 8", "model.base"),
            ("[model]\npatches = [\"16x9\"]", "model.patches"),
            (
                "[data]\nroot = [\"a\", \"b\"]\nweights = [1.0]",
                "data.weights",
            ),
            ("[train]\ndrop_path = 1.0", "train.drop_path"),
            ("[data]\ntemperature = 0.0", "data.temperature"),
            ("[data]\nlanes = 0", "data.lanes"),
            ("[data]\nstarts = 0", "data.starts"),
            ("[model]\npatches = [0]", "model.patches"),
            ("[model]\ndim = 0", "model.dim"),
            ("[model]\ndim = 4611686018427387904", "model.dim"),
            ("[model]\nheads = 0", "model.heads"),
            ("[model]\nblocks = 4611686018427387904", "model.blocks"),
            ("[train]\nsteps = 4611686018427387904", "train.steps"),
            ("[train]\nbatch = 4611686018427387904", "train.batch"),
            ("[train]\nsteps = -1", "steps"),
            ("[data]\nstride = 4611686018427387904", "data.stride"),
            (
                "[data]\nthreads = 1025",
                "data.threads = 1025: must be from 1 to 1024",
            ),
            ("[data]\ntemperature = 1e-300", "data.temperature"),
            (
                "[data]\nroot = [\"a\", \"b\"]\nweights = [1e308, 1e308]",
                "data.weights",
            ),
            ("[optim]\nclip = 0.0", "optim.clip"),
            ("[optim]\nclip = inf", "optim.clip"),
            ("[optim]\nhorizon = 0", "optim.horizon"),
            ("[optim]\ndecay = 0.0", "optim.decay"),
            ("[optim]\ndecay = nan", "optim.decay"),
            ("[optim]\nschedule = \"linear\"", "warmup-stable-decay"),
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
