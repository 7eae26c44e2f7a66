//! A step of several ranks: gradients are summed over them, each moves the weights that it owns, and all agree on what
//! comes next.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wellspring_store::checksum;

use super::Trainer;
use crate::claim::host;
use crate::collective::exchange_json;
use crate::ops::Gradients;
use crate::optim::{Descent, Pace, squares};
use crate::{Error, Result};

/// What a rank tells the others of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct RankReport {
    /// What it adds to the loss.
    pub(super) loss: f64,
    /// The sum of the squares of the gradients that it owns.
    pub(super) squares: f64,
    /// Seconds in which it computed, and in which it waited for data.
    pub(super) busy: f64,
    pub(super) waited: f64,
    /// Seconds of a run that the clock ends; those of the first rank count for all.
    pub(super) used: f64,
    /// Whether it was asked to stop.
    pub(super) is_asked_to_stop: bool,
    /// Whether it has no checkpoint to write, or has written it.
    pub(super) has_written: bool,
}

impl RankReport {
    fn numbers(self) -> [f64; 7] {
        let flag = |flag: bool| f64::from(u8::from(flag));
        [
            self.loss,
            self.squares,
            self.busy,
            self.waited,
            self.used,
            flag(self.is_asked_to_stop),
            flag(self.has_written),
        ]
    }

    fn of(numbers: &[f64]) -> Option<Self> {
        let &[
            loss,
            squares,
            busy,
            waited,
            used,
            is_asked_to_stop,
            has_written,
        ] = numbers
        else {
            return None;
        };
        Some(Self {
            loss,
            squares,
            busy,
            waited,
            used,
            is_asked_to_stop: is_asked_to_stop != 0.0,
            has_written: has_written != 0.0,
        })
    }
}

/// What all ranks know after a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Agreement {
    /// Whether one of them was asked to stop.
    pub(super) stops: bool,
    /// Whether all have written the checkpoint that was begun.
    pub(super) has_written: bool,
    /// What each reported.
    pub(super) reports: Vec<RankReport>,
}

impl Agreement {
    fn of(reports: Vec<RankReport>) -> Self {
        Self {
            stops: reports.iter().any(|report| report.is_asked_to_stop),
            has_written: reports.iter().all(|report| report.has_written),
            reports,
        }
    }

    /// Loss and gradient norm over all ranks, summed in the order of ranks.
    fn descent(&self) -> Descent {
        let (loss, squares) = self
            .reports
            .iter()
            .fold((0.0, 0.0), |(loss, squares), report| {
                (loss + report.loss, squares + report.squares)
            });
        Descent {
            loss: loss as f32,
            norm: f64::sqrt(squares),
        }
    }
}

/// What a rank is about to train.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// Its machine.
    host: String,
    /// Facts by their names.
    facts: BTreeMap<String, String>,
}

impl Description {
    /// The first fact in which another rank differs.
    fn difference(&self, other: &Self) -> Option<String> {
        let names: BTreeSet<&String> = self.facts.keys().chain(other.facts.keys()).collect();
        names.into_iter().find_map(|name| {
            let [own, others] = [self, other].map(|said| {
                let fact = said.facts.get(name);
                fact.map_or("not said", String::as_str)
            });
            (own != others).then(|| format!("{name} is {own}, and {others}"))
        })
    }
}

/// The program that runs, by its version and the checksum of its file.
#[allow(
    clippy::disallowed_methods,
    reason = "the program lies on this machine's disk"
)]
fn program() -> String {
    let file = std::env::current_exe().and_then(std::fs::read);
    let file = file.map_or_else(|_| "unread".to_owned(), |bytes| checksum(&bytes));
    format!("{} ({file})", env!("CARGO_PKG_VERSION"))
}

impl Trainer<'_> {
    /// What this rank has to say beside the numbers of a step.
    pub(super) fn report(&self) -> RankReport {
        RankReport {
            used: self.clock.used(),
            has_written: self.has_written(),
            ..RankReport::default()
        }
    }

    /// Moves the weights by the gradients of all ranks. `windows` are those of the step, over all ranks.
    pub(super) fn step_together(
        &mut self,
        mut own: RankReport,
        gradients: Gradients,
        windows: usize,
        pace: Pace,
    ) -> Result<Descent> {
        let (collective, parameters) = (self.collective, self.model.parameters());
        let present = self.present(&gradients, windows)?;
        let is_present = |name: &str| present.binary_search_by(|held| (**held).cmp(name)).is_ok();
        let sums = self
            .owners
            .sum(collective, parameters, &gradients, is_present)?;
        drop(gradients);
        own.squares = squares(parameters, &sums)?;
        let agreement = self.agree(own)?;
        let found = agreement.descent();
        self.optimizer
            .step_of_some(parameters, &sums, found, pace)?;
        if found.is_finite() {
            self.owners.spread(collective, parameters, is_present)?;
        }
        self.clock
            .follow(agreement.reports.first().map_or(0.0, |first| first.used));
        self.agreement = agreement;
        Ok(found)
    }

    /// Refuses to begin where ranks differ in what they would train, and takes up the clock of the first.
    pub(super) fn agree_to_begin(&mut self) -> Result<()> {
        if self.collective.is_alone() {
            return Ok(());
        }
        let all = exchange_json(self.collective, &self.description()?)?;
        for (rank, own) in all.iter().enumerate() {
            if let Some(difference) = all[0].difference(own) {
                return Err(Error::Collective {
                    what: format!(
                        "rank 0 on {} and rank {rank} on {} differ: {difference}; start all ranks with one program, one \
                         configuration and the same data",
                        all[0].host, own.host
                    ),
                });
            }
        }
        let agreement = self.agree(self.report())?;
        self.clock.follow(agreement.reports[0].used);
        Ok(())
    }

    /// What must be the same on all ranks.
    fn description(&self) -> Result<Description> {
        let mut facts = self.config.entries()?;
        facts.insert("the program".into(), program());
        facts.insert("the step to begin after".into(), self.step.to_string());
        for source in self.sources.iter() {
            let what = format!("the data set {}", source.domain.name);
            facts.insert(what, source.manifest_id());
        }
        Ok(Description {
            host: host(),
            facts,
        })
    }

    /// Tells the other ranks of this one, and hears of them.
    fn agree(&self, own: RankReport) -> Result<Agreement> {
        let reports = self.collective.exchange_numbers(&own.numbers())?;
        let reports = reports.iter().filter_map(|numbers| RankReport::of(numbers));
        Ok(Agreement::of(reports.collect()))
    }

    /// Names of the weights that have a gradient on any rank, in order. Those of a step are alike on all ranks that have
    /// windows of it.
    fn present(&self, gradients: &Gradients, windows: usize) -> Result<Vec<String>> {
        let weights = self.model.parameters().iter();
        let own = weights.filter(|(_, var)| gradients.get(var).is_some());
        let own: Vec<&str> = own.map(|(name, _)| name).collect();
        if windows >= self.collective.share().world {
            return Ok(own.into_iter().map(str::to_owned).collect());
        }
        // The first rank has windows where any has.
        let said = self.collective.exchange(own.join("\n").as_bytes())?;
        let first = said.first().map(|bytes| String::from_utf8_lossy(bytes));
        Ok(first
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect())
    }
}
