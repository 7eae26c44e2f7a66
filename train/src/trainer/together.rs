//! A step of several ranks: gradients are summed over them, each moves the weights that it owns, and all agree on what
//! comes next.

use std::collections::{BTreeMap, BTreeSet};

use std::time::Instant;

use serde::{Deserialize, Serialize};
use wellspring_store::{Patch, checksum};

use super::Trainer;
use crate::claim::host;
use crate::collective::exchange_json;
use crate::device::identity;
use crate::feed::StepBatch;
use crate::model::Perturbation;
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

/// Gradients over all windows of a step, of the weights that this rank owns.
pub(super) struct SummedGradients {
    /// What this rank's windows add to the loss.
    loss: f64,
    gradients: Gradients,
    /// When this rank had computed its own.
    pub(super) busy_until: Instant,
}

/// What a rank is about to train.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// Its machine.
    host: String,
    /// Its GPU, if it computes on one.
    gpu: Option<String>,
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

/// Two ranks on one GPU take each other's memory and time.
fn refuse_shared_gpus(all: &[Description]) -> Result<()> {
    for (rank, own) in all.iter().enumerate() {
        let same = |other: &Description| own.gpu.is_some() && other.gpu == own.gpu;
        if let Some(other) = all[..rank].iter().position(same) {
            return Err(Error::Collective {
                what: format!(
                    "ranks {other} and {rank} have the same GPU of {}: start one rank for each GPU, or show each rank its \
                     own by CUDA_VISIBLE_DEVICES",
                    own.host
                ),
            });
        }
    }
    Ok(())
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

    /// The gradients of a step, of the weights that this rank owns, summed over all ranks. They are on their way while
    /// others are computed.
    pub(super) fn summed_gradients(
        &self,
        batch: &StepBatch,
        patch: &Patch,
        perturbation: &Perturbation,
    ) -> Result<SummedGradients> {
        let (collective, share) = (self.collective, self.collective.share());
        let windows = batch.own.as_ref().map_or(0, |own| own.windows.len());
        let factor = windows as f64 / batch.windows as f64;
        let wire = self.config.train.wire;
        let mut outbox = self
            .owners
            .outbox(collective, self.model.parameters(), wire, factor);
        // With fewer windows than ranks some have none, and do not know which weights have gradients.
        let is_shared_by_all = batch.windows >= share.world;
        let (mut loss, mut gradients) = (0.0, Gradients::default());
        if let Some(own) = &batch.own {
            let places: Vec<usize> = (0..windows).map(|sample| share.place(sample)).collect();
            let perturbation = perturbation.of(&places);
            let ready = &mut |block: usize, gradients: &Gradients| match is_shared_by_all {
                true => outbox.send_from(block, gradients),
                false => Ok(()),
            };
            let found = self.gradients(own, patch, &perturbation, ready)?;
            loss = factor * f64::from(found.0.to_scalar::<f32>()?);
            gradients = found.1;
        }
        let busy_until = Instant::now();
        if !is_shared_by_all {
            outbox = outbox.with_present(self.present(&gradients)?);
        }
        Ok(SummedGradients {
            loss,
            gradients: outbox.sums(&gradients)?,
            busy_until,
        })
    }

    /// Moves the weights by the gradients of all ranks.
    pub(super) fn step_together(
        &mut self,
        mut own: RankReport,
        summed: &SummedGradients,
        pace: Pace,
    ) -> Result<Descent> {
        let parameters = self.model.parameters();
        own.loss = summed.loss;
        own.squares = squares(parameters, &summed.gradients)?;
        let agreement = self.agree(own)?;
        let found = agreement.descent();
        self.optimizer
            .step_of_some(parameters, &summed.gradients, found, pace)?;
        if found.is_finite() {
            self.owners.spread(self.collective, parameters)?;
        }
        let first = agreement.reports.first();
        self.clock.follow(first.map_or(0.0, |first| first.used));
        self.rank_times.add(&agreement.reports);
        self.agreement = agreement;
        Ok(found)
    }

    /// Names of the weights that have a gradient on any rank. The first rank has windows where any has.
    fn present(&self, gradients: &Gradients) -> Result<BTreeSet<String>> {
        let weights = self.model.parameters().iter();
        let own = weights.filter(|(_, var)| gradients.get(var).is_some());
        let own: BTreeSet<String> = own.map(|(name, _)| name.to_owned()).collect();
        let said = exchange_json(self.collective, &own)?;
        Ok(said.into_iter().next().unwrap_or_default())
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
        refuse_shared_gpus(&all)?;
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
            gpu: identity(&self.model.device()),
            facts,
        })
    }

    /// Refuses to go on where a rank has come to other weights than the first: its machine does not compute as theirs do.
    pub(super) fn check_weights(&self) -> Result<()> {
        if self.collective.is_alone() {
            return Ok(());
        }
        let own = checksum(&self.model.parameters().to_safetensors()?);
        let all = exchange_json(self.collective, &(host(), own))?;
        let (_, first) = &all[0];
        match all
            .iter()
            .enumerate()
            .find(|(_, (_, other))| other != first)
        {
            None => Ok(()),
            Some((rank, (host, _))) => Err(Error::Collective {
                what: format!(
                    "after step {} rank {rank} on {host} has other weights than rank 0; its memory, its network or its \
                     processor is at fault: the last checkpoint is good, leave that machine out and --resume",
                    self.step
                ),
            }),
        }
    }

    /// Tells the other ranks of this one, and hears of them.
    fn agree(&self, own: RankReport) -> Result<Agreement> {
        let reports = self.collective.exchange_numbers(&own.numbers())?;
        let reports = reports.iter().filter_map(|numbers| RankReport::of(numbers));
        Ok(Agreement::of(reports.collect()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn description(host: &str, gpu: Option<&str>, lr: &str) -> Description {
        Description {
            host: host.into(),
            gpu: gpu.map(str::to_owned),
            facts: BTreeMap::from([("optim.lr".into(), lr.into())]),
        }
    }

    #[test]
    fn two_ranks_on_one_gpu_are_refused() {
        let on = |gpu| description("node1", gpu, "0.1");
        assert!(refuse_shared_gpus(&[on(Some("a")), on(Some("b"))]).is_ok());
        assert!(refuse_shared_gpus(&[on(None), on(None)]).is_ok());
        let shared = [on(Some("a")), on(Some("b")), on(Some("a"))];
        let error = refuse_shared_gpus(&shared).unwrap_err().to_string();
        assert!(
            error.contains("ranks 0 and 2") && error.contains("node1"),
            "{error}"
        );
    }

    #[test]
    fn the_first_fact_in_which_ranks_differ_is_named() {
        let [own, other] = ["0.1", "0.2"].map(|lr| description("node1", None, lr));
        assert_eq!(own.difference(&own), None);
        let difference = own.difference(&other);
        assert_eq!(difference.as_deref(), Some("optim.lr is 0.1, and 0.2"));
    }

    #[test]
    fn a_report_survives_the_way_to_numbers_and_back() {
        let report = RankReport {
            loss: 0.5,
            squares: 2.0,
            busy: 1.0,
            waited: 0.25,
            used: 9.0,
            is_asked_to_stop: true,
            has_written: false,
        };
        assert_eq!(RankReport::of(&report.numbers()), Some(report));
        assert_eq!(RankReport::of(&[1.0]), None);
    }
}
