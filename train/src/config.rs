//! The configuration of a run. Every key has a default but `data.root`.

mod augment;
mod baselines;
mod data;
mod keys;
mod loss;
mod model;
mod optim;
mod preset;
mod train;
mod transformer;
mod validation;

use std::collections::{BTreeMap, BTreeSet};

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use crate::checkpoint::folders::folders;
use crate::{Error, Result};

pub use augment::AugmentConfig;
pub use baselines::{BaselineConfig, CnextUnetConfig, FnoConfig, UnetConfig};
pub use data::{DataConfig, Roots};
pub use loss::{LossConfig, LossKind};
pub use model::{Architecture, ModelConfig};
pub use optim::{OptimConfig, Optimizer};
pub use preset::Preset;
pub use train::TrainConfig;
pub use transformer::{Mlp, PatchSize, Strategy, TransformerConfig};
pub use validation::ValidationConfig;

/// Everything that determines a run; it is written to the run, and starts an equal run again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The data sets, and how they are read.
    pub data: DataConfig,
    /// The model.
    pub model: ModelConfig,
    /// The optimizer.
    pub optim: OptimConfig,
    /// What the optimizer makes small.
    pub loss: LossConfig,
    /// Random changes of the data.
    pub augment: AugmentConfig,
    /// Length and course of the training.
    pub train: TrainConfig,
    /// Measurements of the model while it is trained.
    pub validation: ValidationConfig,
}

/// The most steps of a run: a resumed one counts through them to find its place.
pub(crate) const MOST_STEPS: u64 = 1_000_000_000;

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
            reason: with_nearest(error.to_string().trim_end()),
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
            if !folders(run).await?.is_empty() {
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

    /// Total number of steps, if an epoch has `epoch` steps; the most that there can be where the clock ends the
    /// run.
    ///
    /// # Errors
    /// [`Error::Value`] for more than a run can have.
    pub(crate) fn steps(&self, epoch: u64) -> Result<u64> {
        if self.train.hours.is_some() {
            return Ok(MOST_STEPS);
        }
        let Some(epochs) = self.train.epochs else {
            return Ok(self.train.steps);
        };
        let steps = epochs.saturating_mul(epoch);
        let most = format!("at most {MOST_STEPS} steps; an epoch has {epoch}");
        need(steps <= MOST_STEPS, "train.epochs", epochs, &most)?;
        Ok(steps)
    }

    /// Keys whose values are other ones than before: "optim.lr = 0.0005 (was 0.001)".
    ///
    /// # Errors
    /// [`Error::Config`] for what TOML cannot say.
    pub fn changes(&self, before: &Self) -> Result<Vec<String>> {
        let (before, now) = (before.entries()?, self.entries()?);
        let changes = differences(&before, &now).into_iter();
        let said = changes.map(|[key, was, is]| format!("{key} = {is} (was {was})"));
        Ok(said.collect())
    }

    /// The value of each key, `section.key`.
    ///
    /// # Errors
    /// [`Error::Config`] for what TOML cannot say.
    pub(crate) fn entries(&self) -> Result<BTreeMap<String, String>> {
        let sections = toml::Table::try_from(self).map_err(|error| Error::Config {
            reason: error.to_string(),
        })?;
        let mut entries = BTreeMap::new();
        for (section, held) in &sections {
            for (key, value) in held.as_table().into_iter().flatten() {
                entries.insert(format!("{section}.{key}"), value.to_string());
            }
        }
        Ok(entries)
    }

    /// Refuses a batch that so many ranks cannot share out evenly.
    ///
    /// # Errors
    /// [`Error::Value`].
    pub(crate) fn check_ranks(&self, ranks: usize) -> Result<()> {
        let batch = self.train.batch;
        need(
            batch.is_multiple_of(ranks),
            "train.batch",
            batch,
            &format!("must be a multiple of the {ranks} ranks that share it"),
        )
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
        self.optim.validate()?;
        self.loss.validate()?;
        self.augment.validate()?;
        self.train.validate()?;
        self.validation.validate()?;
        let of_blocks = self.model.transformer().is_some();
        let none = "left out: it belongs to the transformer";
        need(
            of_blocks || !self.train.jitter,
            "train.jitter",
            self.train.jitter,
            none,
        )?;
        need(
            of_blocks || self.train.drop_path == 0.0,
            "train.drop_path",
            self.train.drop_path,
            none,
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

/// Keys whose values differ between two tables, with both values.
pub(crate) fn differences<'a>(
    one: &'a BTreeMap<String, String>,
    other: &'a BTreeMap<String, String>,
) -> Vec<[&'a str; 3]> {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let both = keys.into_iter().map(|key| {
        let value =
            |table: &'a BTreeMap<String, String>| table.get(key).map_or("not said", String::as_str);
        [key.as_str(), value(one), value(other)]
    });
    both.filter(|[_, one, other]| one != other).collect()
}

/// An error's words, with the known key that is most like an unknown one.
fn with_nearest(words: &str) -> String {
    let quoted = words.split('`').skip(1).step_by(2);
    let mut keys = quoted.skip_while(|_| !words.contains("unknown field"));
    let Some(unknown) = keys.next() else {
        return words.to_owned();
    };
    let known = keys.map(|key| (strsim::jaro_winkler(unknown, key), key));
    match known.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((likeness, key)) if likeness > 0.7 => format!("{words}; did you mean {key}?"),
        _ => words.to_owned(),
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
    fn an_unknown_key_names_the_nearest_one() {
        for (text, nearest) in [
            ("[optim]\nlearning_rat = 1", Some("lr")),
            ("[optim]\nweight_decai = 1", Some("weight_decay")),
            ("[train]\nepoch = 1", Some("epochs")),
            ("[train]\nqqq = 1", None),
            ("[validaton]\nevery = 1", Some("validation")),
            ("preset = \"released\"\n[loss]\nweight = 1", Some("weights")),
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            let mean = error.split("did you mean ").nth(1);
            assert_eq!(
                mean.map(|key| key.trim_end_matches('?')),
                nearest,
                "{error}"
            );
        }
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
            ("[optim]\nema = 1.0", "optim.ema"),
            ("[optim]\naccumulate = 0", "optim.accumulate"),
            ("[loss]\nkind = \"l1\"", "relative-l2"),
            ("[loss]\ndelta = 0.0", "loss.delta"),
            ("[loss]\nweights = { u = -1.0 }", "loss.weights"),
            ("[train]\nhours = 0.0", "train.hours"),
            ("[augment]\nturn = [\"x\"]", "augment.turn"),
            ("[augment]\nnoise = -1.0", "augment.noise"),
            ("[augment]\nstride = 0", "augment.stride"),
            ("[train]\nkeep_every = 0", "train.keep_every"),
            ("[validation]\nwindows = 0", "validation.windows"),
            (
                "[validation]\nevery = 0\npatience = 3",
                "validation.patience",
            ),
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
