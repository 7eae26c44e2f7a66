//! [`Experiment`]: what an experiment's file says, checked as a whole before anything is done.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use wellspring_eval::{Baseline, Schedule};
use wellspring_ingest::{Equation, SimulateOptions};
use wellspring_store::Split;
use wellspring_train::{CheckpointChoice, Config};

use super::training::TrainingRun;

/// Files of `experiments` by their names.
macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../experiments/", $name, ".toml")))),+]
    };
}

/// Files that come with the program, by their names.
pub const SHIPPED: [(&str, &str); 8] = shipped![
    "demo",
    "demo-tiny",
    "reproduce-tiny",
    "reproduce-tiny-walls",
    "reproduce-tiny-3d",
    "reproduce-tiny-baselines",
    "reproduce-25M",
    "reproduce-100M",
];

/// Keys of a configuration that an experiment gives by itself.
const OWN_KEYS: [[&str; 2]; 4] = [
    ["data", "root"],
    ["train", "steps"],
    ["train", "epochs"],
    ["train", "hours"],
];

/// An experiment: every model is trained on every data set with every seed, and evaluated.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Heading of the report.
    pub title: String,
    /// Seeds of the weights and of the order of training, each a run of its own; without them there is one run.
    #[serde(skip_serializing_if = "Option::is_none")]
    seeds: Option<Vec<u64>>,
    /// The data sets by their names.
    pub data: BTreeMap<String, DataSection>,
    /// What a model is trained for, for each of its patch sizes.
    budget: Budget,
    /// Settings of every run, as in its configuration.
    #[serde(default)]
    settings: Table,
    /// The models by their names: settings laid over those of every run.
    pub models: BTreeMap<String, Table>,
    /// What is predicted with each model.
    pub evaluation: EvaluationSection,
}

/// A data set: simulated, converted from a source, or there already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataSection {
    /// An equation to simulate.
    Simulate(SimulateSection),
    /// HDF5 of The Well to ingest: a folder or a URL.
    Ingest(String),
    /// A data set that is there: a folder or a URL.
    Root(String),
}

/// A simulation; what is left out is the equation's default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulateSection {
    equation: String,
    shape: Option<Vec<usize>>,
    frames: Option<usize>,
    train: Option<usize>,
    valid: Option<usize>,
    test: Option<usize>,
    #[serde(default)]
    seed: u64,
}

impl SimulateSection {
    pub fn equation(&self) -> Result<Equation> {
        Ok(self.equation.parse()?)
    }

    pub fn options(&self) -> Result<SimulateOptions> {
        let given = SimulateOptions::of(self.equation()?);
        Ok(SimulateOptions {
            shape: self.shape.clone().unwrap_or(given.shape),
            frames: self.frames.unwrap_or(given.frames),
            train: self.train.unwrap_or(given.train),
            valid: self.valid.unwrap_or(given.valid),
            test: self.test.unwrap_or(given.test),
            seed: self.seed,
            overwrite: false,
        })
    }
}

/// What a model is trained for at each of its patch sizes. One with three sizes gets three times as much as one with a
/// single size, so an elastic model costs what the fixed ones of its sizes cost together (the paper's section 4).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// Equal by counted work: steps.
    Steps(u64),
    /// Equal by counted work: passes over the data.
    Epochs(u64),
    /// Equal by the clock.
    Hours(f64),
}

/// What is predicted with each model, and from what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSection {
    /// Frames to predict from each start.
    pub rollout: usize,
    /// Schedules of models with several patch sizes, beside each of their sizes alone.
    #[serde(default)]
    schedules: Vec<String>,
    /// Baselines beside the models.
    #[serde(default)]
    pub baselines: Vec<String>,
    #[serde(default = "test")]
    split: String,
    /// Steps between two starts in a trajectory; by default the length of a rollout.
    pub every: Option<usize>,
    /// Starts that are rolled out together.
    #[serde(default = "four")]
    pub batch: usize,
    /// Rollouts whose frames are kept for pictures.
    #[serde(default = "one")]
    pub keep: usize,
    /// The checkpoint: newest, best, or a step.
    #[serde(default = "newest")]
    step: String,
}

fn test() -> String {
    "test".into()
}

fn newest() -> String {
    "newest".into()
}

fn four() -> usize {
    4
}

fn one() -> usize {
    1
}

impl EvaluationSection {
    pub fn split(&self) -> Result<Split> {
        self.split.parse().context("evaluation.split")
    }

    pub fn checkpoint(&self) -> Result<CheckpointChoice> {
        let choice = self.step.parse();
        choice.map_err(|reason: String| anyhow!("evaluation.step: {reason}"))
    }
}

impl Experiment {
    /// Says what in it cannot be done.
    pub fn check(&self) -> Result<()> {
        if self.data.is_empty() || self.models.is_empty() {
            bail!(
                "an experiment needs at least one data set and one model: [data.NAME], [models.NAME]"
            );
        }
        for name in self.data.keys().chain(self.models.keys()) {
            let is_plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
            if name.starts_with('.') || !name.chars().all(is_plain) {
                bail!("the name {name:?} becomes that of a folder; use letters, digits, _ and -");
            }
            if Baseline::named(name).is_some() {
                bail!("{name} is the name of a baseline; call the model otherwise");
            }
        }
        for data in self.data.values() {
            if let DataSection::Simulate(simulation) = data {
                simulation.options()?;
            }
        }
        for name in &self.evaluation.baselines {
            if Baseline::named(name).is_none() {
                bail!(
                    "evaluation.baselines: {name} is none; there are persistence, mean and linear"
                );
            }
        }
        if self.evaluation.rollout == 0 {
            bail!("evaluation.rollout = 0: predict at least one frame");
        }
        for text in &self.evaluation.schedules {
            Schedule::parse(text, 2).or_else(|_| Schedule::parse(text, 3))?;
        }
        self.evaluation.split()?;
        self.evaluation.checkpoint()?;
        for run in self.runs() {
            self.config(&run, "DATA")?;
        }
        Ok(())
    }

    /// All trainings, in the order in which parts are dealt out.
    pub fn runs(&self) -> Vec<TrainingRun> {
        let seeds: Vec<Option<u64>> = match &self.seeds {
            Some(seeds) => seeds.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let mut runs = Vec::new();
        for &seed in &seeds {
            for data in self.data.keys() {
                runs.extend(self.models.keys().map(|model| TrainingRun {
                    data: data.clone(),
                    model: model.clone(),
                    seed,
                }));
            }
        }
        runs
    }

    /// The configuration of a run on a data set.
    pub fn config(&self, run: &TrainingRun, root: &str) -> Result<Config> {
        let about = || format!("models.{} of the experiment", run.model);
        let mut table = self.settings.clone();
        if let Some(own) = self.models.get(&run.model) {
            leave_other_architectures(&mut table, own);
            lay_over(&mut table, own);
        }
        for [section, key] in OWN_KEYS {
            if table
                .get(section)
                .is_some_and(|held| held.get(key).is_some())
            {
                bail!(
                    "{}: {section}.{key} is given by [data] and [budget]; leave it out",
                    about()
                );
            }
        }
        if self.seeds.is_some()
            && table
                .get("train")
                .is_some_and(|held| held.get("seed").is_some())
        {
            bail!("{}: train.seed is one of seeds; leave it out", about());
        }
        let text = toml::to_string(&table)?;
        let mut config = Config::from_toml(&text).with_context(about)?;
        config.data.root = root.to_owned().into();
        let sizes = config.model.patches().len() as u64;
        (config.train.epochs, config.train.hours) = (None, None);
        match self.budget {
            Budget::Steps(steps) => config.train.steps = steps.saturating_mul(sizes),
            Budget::Epochs(epochs) => config.train.epochs = Some(epochs.saturating_mul(sizes)),
            Budget::Hours(hours) => config.train.hours = Some(hours * sizes as f64),
        }
        if let Some(seed) = run.seed {
            config.train.seed = seed;
        }
        config.validate().with_context(about)?;
        Ok(config)
    }

    /// The schedules that a model is evaluated with: each of its patch sizes, and those of the file if it has several.
    pub fn schedules(&self, config: &Config) -> Vec<String> {
        let patches = config.model.patches();
        let mut schedules: Vec<String> = patches.iter().map(ToString::to_string).collect();
        if patches.len() > 1 {
            schedules.extend(self.evaluation.schedules.iter().cloned());
        }
        schedules
    }
}

/// Takes the keys of another architecture than a model's own out of the settings of all: they are not its. What a model sees is.
fn leave_other_architectures(settings: &mut Table, own: &Table) {
    let architecture = |table: &Table| {
        let model = table.get("model")?.as_table()?;
        Some(model.get("architecture")?.as_str()?.to_owned())
    };
    let theirs = architecture(settings).unwrap_or_else(|| "transformer".into());
    if architecture(own).is_some_and(|own| own != theirs)
        && let Some(Value::Table(model)) = settings.get_mut("model")
    {
        model.retain(|key, _| key == "inputs");
    }
}

/// Lays one table over another, section by section.
fn lay_over(below: &mut Table, above: &Table) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn experiment(text: &str) -> Result<Experiment> {
        let experiment: Experiment = toml::from_str(text)?;
        experiment.check()?;
        Ok(experiment)
    }

    const SMALL: &str = r#"
        title = "t"
        seeds = [3, 4]
        data.a.root = "somewhere"
        data.b.ingest = "sims"
        budget.steps = 10
        settings.model.dim = 96
        settings.model.heads = 3
        models.fixed.model = { strategy = "fixed", patches = [8] }
        models.ckm.optim.lr = 0.5
        evaluation = { rollout = 3, schedules = ["4,8,16"] }
    "#;

    #[test]
    fn what_is_shipped_is_sound() {
        for (name, text) in SHIPPED {
            assert!(!experiment(text).unwrap().runs().is_empty(), "{name}");
        }
    }

    #[test]
    fn every_model_meets_every_data_set_and_seed_once() {
        let runs = experiment(SMALL).unwrap().runs();
        let names: Vec<String> = runs.iter().map(TrainingRun::folder).collect();
        assert_eq!(
            names,
            [
                "a/ckm-seed3",
                "a/fixed-seed3",
                "b/ckm-seed3",
                "b/fixed-seed3",
                "a/ckm-seed4",
                "a/fixed-seed4",
                "b/ckm-seed4",
                "b/fixed-seed4",
            ]
        );
    }

    #[test]
    fn an_elastic_model_has_the_sum_of_the_fixed_ones_budgets() {
        let experiment = experiment(SMALL).unwrap();
        let configs: Vec<Config> = experiment.runs()[..2]
            .iter()
            .map(|run| experiment.config(run, "ds").unwrap())
            .collect();
        assert_eq!((configs[0].train.steps, configs[1].train.steps), (30, 10));
        assert_eq!((configs[0].model.width(), configs[0].optim.lr), (96, 0.5));
        assert_eq!((configs[1].train.seed, configs[1].optim.lr), (3, 0.001));
        assert_eq!(experiment.schedules(&configs[1]), ["8"]);
        assert_eq!(
            experiment.schedules(&configs[0]),
            ["4", "8", "16", "4,8,16"]
        );
    }

    #[test]
    fn a_baseline_has_none_of_the_transformers_settings() {
        let text = SMALL.replace(
            "models.ckm.optim.lr = 0.5",
            "models.u.model = { architecture = \"unet\", init_features = 8 }",
        );
        let experiment = experiment(&text).unwrap();
        let runs = experiment.runs();
        let run = runs.iter().find(|run| run.model == "u").unwrap();
        let config = experiment.config(run, "ds").unwrap();
        assert_eq!((config.model.kind(), config.model.width()), ("unet", 8));
        assert_eq!((config.train.steps, config.train.seed), (10, 3));
        assert_eq!(experiment.schedules(&config), ["1"]);
    }

    #[test]
    fn what_cannot_be_done_is_said_before_anything_is() {
        for (from, to, expected) in [
            ("budget.steps = 10", "budget.days = 1", "unknown variant"),
            ("data.b.ingest", "data.b.copy", "unknown variant"),
            (
                "settings.model.dim = 96",
                "settings.model.dimension = 96",
                "dimension",
            ),
            (
                "settings.model.dim = 96",
                "settings.train.steps = 3",
                "train.steps is given by",
            ),
            (
                "settings.model.dim = 96",
                "settings.train.seed = 3",
                "one of seeds",
            ),
            ("rollout = 3", "rollout = 0", "at least one frame"),
            ("\"4,8,16\"", "\"4;8\"", "is not a schedule"),
            ("rollout = 3", "rollout = 3, baselines = [\"luck\"]", "luck"),
            (
                "rollout = 3",
                "rollout = 3, step = \"last\"",
                "evaluation.step",
            ),
            ("models.ckm.", "models.\"../x\".", "that of a folder"),
            ("models.ckm.", "models.linear.", "name of a baseline"),
            (
                "data.b.ingest = \"sims\"",
                "data.b.simulate.equation = \"magic\"",
                "magic",
            ),
        ] {
            let text = SMALL.replace(from, to);
            assert_ne!(text, SMALL);
            let error = format!("{:#}", experiment(&text).unwrap_err());
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
