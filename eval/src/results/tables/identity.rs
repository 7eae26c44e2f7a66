//! Decides whether two evaluations are equal, and what happens to a second one with the same name.

use serde::Deserialize;
use wellspring_store::checksum;

use super::{RunRecord, file_name};
use crate::{Error, Result};

/// What an evaluation does if another has its name, data set, split and schedule. Two such evaluations are
/// equal if their weights, rollouts, contexts, starts and bands are equal too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// It replaces an equal evaluation; it is refused if the one there is different.
    Renew,
    /// It replaces whatever is there.
    Replace,
    /// It is added beside whatever is there.
    Add,
    /// It is refused, whatever is there.
    Refuse,
    /// It is skipped if an equal evaluation is there, and refused if the one there is different.
    Skip,
}

impl OnExisting {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Renew,
        Self::Replace,
        Self::Add,
        Self::Refuse,
        Self::Skip,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::Replace => "replace",
            Self::Add => "add",
            Self::Refuse => "refuse",
            Self::Skip => "skip",
        }
    }
}

/// What an evaluation is called: at most one row of `runs` has it, unless more were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) task: String,
    pub(crate) dataset_id: String,
    pub(crate) split: String,
    pub(crate) schedule: String,
}

impl Key {
    /// Whether two keys are one. Older tables know the data set's identity alone.
    fn is_that_of(&self, other: &Self) -> bool {
        let same_data = self.task == other.task || self.dataset_id == other.dataset_id;
        same_data
            && (&self.name, &self.split, &self.schedule)
                == (&other.name, &other.split, &other.schedule)
    }

    /// Name of its row's file: equal for equal keys, so that of two writers one creates it.
    fn row(&self) -> String {
        let text = format!(
            "{:?}",
            (&self.name, &self.task, &self.split, &self.schedule)
        );
        file_name(&self.name, &self.schedule, &checksum(text.as_bytes()))
    }
}

/// What decides an evaluation's numbers besides its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Work {
    /// Identity of the weights; none in rows of version 1, and for baselines up to version 3.
    pub(crate) weights: Option<String>,
    pub(crate) strategy: String,
    pub(crate) train_steps: u64,
    pub(crate) bands: Option<String>,
    pub(crate) context: u64,
    pub(crate) rollout: u64,
    pub(crate) starts: u64,
    /// Steps between two starts; none in rows up to version 3.
    pub(crate) every: Option<u64>,
}

impl Work {
    /// What differs between an evaluation that is there and this one; nothing where both are the same.
    fn differences(&self, there: &Self) -> Vec<String> {
        let (here_model, there_model) = self.models(there);
        let bands = |work: &Self| work.bands.clone().unwrap_or_else(|| "The Well's".into());
        let every = |work: &Self| work.every.or(self.every).or(there.every);
        let every = [every(there), every(self)].map(Option::unwrap_or_default);
        let parts = [
            ("weights", there_model, here_model),
            (
                "rollout",
                there.rollout.to_string(),
                self.rollout.to_string(),
            ),
            (
                "context",
                there.context.to_string(),
                self.context.to_string(),
            ),
            ("starts", there.starts.to_string(), self.starts.to_string()),
            ("every", every[0].to_string(), every[1].to_string()),
            ("bands", bands(there), bands(self)),
        ];
        let parts = parts.into_iter().filter(|(_, there, here)| there != here);
        parts
            .map(|(what, there, here)| format!("{what} ({there} there, {here} here)"))
            .collect()
    }

    /// Both models in words, as far as both tables tell them apart.
    fn models(&self, there: &Self) -> (String, String) {
        let words = |work: &Self| {
            let steps = format!("{} after {} steps", work.strategy, work.train_steps);
            match (&self.weights, &there.weights, &work.weights) {
                (Some(_), Some(_), Some(weights)) if work.strategy == "baseline" => weights.clone(),
                (Some(here), Some(there), Some(weights)) if here != there => {
                    format!("{steps}, {weights}")
                }
                // Equal weights are the same model, however they came to be.
                (Some(_), Some(_), _) => String::new(),
                _ => steps,
            }
        };
        (words(self), words(there))
    }
}

/// A committed evaluation.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CommittedEvaluation {
    /// Name of its files.
    pub(crate) run: String,
    #[serde(flatten)]
    pub(crate) key: Key,
    #[serde(flatten)]
    pub(crate) work: Work,
}

/// An evaluation that is there, and the name of its row's file.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) held: CommittedEvaluation,
}

/// A new evaluation among those that are there.
#[derive(Debug, Clone)]
pub(crate) struct EvaluationClaim {
    held: CommittedEvaluation,
    existing: OnExisting,
    /// URL of the folder.
    root: String,
    /// Name of its row's file.
    pub(crate) file: String,
    /// Rows that go once its own is there.
    pub(crate) replaced: Vec<Row>,
}

impl EvaluationClaim {
    /// Finds its place; nothing where the same evaluation is there and that is enough.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Clash`].
    pub(crate) fn new(
        record: &RunRecord,
        existing: OnExisting,
        root: String,
        rows: Vec<Row>,
    ) -> Result<Option<Self>> {
        let held = record.held();
        let of_name = rows.into_iter();
        let of_name = of_name.filter(|row| row.held.key.is_that_of(&held.key));
        let (same, others): (Vec<Row>, Vec<Row>) =
            of_name.partition(|row| held.work.differences(&row.held.work).is_empty());
        let mut claim = Self {
            file: held.key.row(),
            held,
            existing,
            root,
            replaced: Vec::new(),
        };
        match existing {
            OnExisting::Add => claim.file = claim.held.run.clone(),
            OnExisting::Replace => claim.replaced = same.into_iter().chain(others).collect(),
            OnExisting::Renew | OnExisting::Refuse | OnExisting::Skip => {
                // The equal one alone counts, where others were added to it.
                let Some(row) = same.first().or(others.first()) else {
                    return Ok(Some(claim));
                };
                if !claim.may_replace(&row.held.work)? {
                    return Ok(None);
                }
                claim.file = row.file.clone();
                claim.replaced = same;
            }
        }
        Ok(Some(claim))
    }

    /// Whether it takes the place of a row that is there; else that one stays, and is enough.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Clash`].
    pub(crate) fn may_replace(&self, there: &Work) -> Result<bool> {
        let differences = self.held.work.differences(there);
        let (root, key) = (self.root.clone(), self.held.key.clone());
        match (self.existing, differences.is_empty()) {
            (OnExisting::Add | OnExisting::Replace, _) | (OnExisting::Renew, true) => Ok(true),
            (OnExisting::Skip, true) => Ok(false),
            (OnExisting::Refuse, true) => Err(Error::Exists {
                root,
                name: key.name,
                schedule: key.schedule,
                split: key.split,
            }),
            (_, false) => Err(Error::Clash {
                root,
                name: key.name,
                schedule: key.schedule,
                split: key.split,
                differences: differences.join(", "),
            }),
        }
    }
}

impl RunRecord {
    fn held(&self) -> CommittedEvaluation {
        CommittedEvaluation {
            run: self.run.clone(),
            key: Key {
                name: self.name.clone(),
                task: self.task.clone(),
                dataset_id: self.dataset_id.clone(),
                split: self.split.clone(),
                schedule: self.schedule.clone(),
            },
            work: Work {
                weights: self.weights.clone(),
                strategy: self.strategy.clone(),
                train_steps: self.train_steps,
                bands: self.bands.clone(),
                context: self.context,
                rollout: self.rollout,
                starts: self.starts,
                every: Some(self.every),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(weights: Option<&str>, rollout: u64, every: Option<u64>) -> Work {
        Work {
            weights: weights.map(str::to_owned),
            strategy: "ckm".into(),
            train_steps: 10,
            bands: None,
            context: 3,
            rollout,
            starts: 7,
            every,
        }
    }

    #[test]
    fn what_differs_is_named_and_what_is_not_known_does_not_differ() {
        let here = work(Some("ab"), 4, Some(2));
        let none: [String; 0] = [];
        assert_eq!(here.differences(&here), none);
        assert_eq!(here.differences(&work(None, 4, None)), none);
        assert_eq!(
            here.differences(&work(Some("cd"), 1, Some(3))),
            [
                "weights (ckm after 10 steps, cd there, ckm after 10 steps, ab here)",
                "rollout (1 there, 4 here)",
                "every (3 there, 2 here)",
            ]
        );
        let trained = Work {
            train_steps: 20,
            ..work(None, 4, None)
        };
        assert_eq!(here.differences(&trained).len(), 1);
        // Equal weights are one model, whatever is said of their training.
        let imported = Work {
            weights: Some("ab".into()),
            ..trained
        };
        assert_eq!(here.differences(&imported), none);
    }
}
