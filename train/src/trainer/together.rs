//! A step of several ranks: gradients are summed over them, each moves the weights that it owns, and all agree on what
//! comes next.

use std::collections::BTreeSet;
use std::time::Instant;

use wellspring_store::{Patch, checksum};

use super::Trainer;
use super::agreement::RankReport;
use crate::claim::host;
use crate::collective::exchange_json;
use crate::feed::StepBatch;
use crate::model::Perturbation;
use crate::ops::Gradients;
use crate::optim::{LossAndNorm, StepSettings, squares};
use crate::{Error, Result};

/// Gradients over all windows of a step, of the weights that this rank owns.
struct SummedGradients {
    /// What this rank's windows add to the loss.
    loss: f64,
    gradients: Gradients,
    /// When this rank had computed its own.
    busy_until: Instant,
}

impl Trainer<'_> {
    /// The gradients of a step, of the weights that this rank owns, summed over all ranks. They are on their way while
    /// others are computed.
    fn summed_gradients(
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

    /// Moves the weights by the gradients of all ranks; with the time at which the step began, and what this rank has to
    /// say of it.
    pub(super) fn step_together(
        &mut self,
        batch: &StepBatch,
        patch: &Patch,
        perturbation: &Perturbation,
        pace: StepSettings,
        (began, report): (Instant, RankReport),
    ) -> Result<LossAndNorm> {
        let summed = self.summed_gradients(batch, patch, perturbation)?;
        self.whole = false;
        let parameters = self.model.parameters();
        let until = summed.busy_until.duration_since(began).as_secs_f64();
        let agreement = self.agree(RankReport {
            loss: summed.loss,
            squares: squares(parameters, &summed.gradients)?,
            busy: until - report.waited,
            ..report
        })?;
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
}
