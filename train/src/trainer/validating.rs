//! Measures the model of a run while it goes on.

use wellspring_store::Reporter;

use super::Trainer;
use crate::collective::exchange_json;
use crate::log::Event;
use crate::validation::{Measurement, ValidationError};
use crate::{Predictor, Result};

impl Trainer<'_> {
    /// Validates the model where that is due; says whether it is the best so far. A validation that fails is told
    /// of, and the run goes on: nothing that is learned depends on it.
    pub(super) fn validate_if_due(&mut self, reporter: &dyn Reporter) -> bool {
        let is_last = self.is_done();
        let options = &self.config.validation;
        if self.validator.is_none() || !options.is_due(self.step, is_last) {
            return false;
        }
        let rolls_out = options.rolls_out(self.step, is_last);
        match self.measure(rolls_out) {
            Ok(found) => self.take_measurements(found, reporter),
            Err(error) => {
                let step = self.step;
                reporter.note(&format!(
                    "warning: the validation after step {step} failed: {error}"
                ));
                false
            }
        }
    }

    fn measure(&self, rolls_out: bool) -> Result<Vec<Measurement>, ValidationError> {
        let Some(validator) = self.validator else {
            return Ok(Vec::new());
        };
        let model = match &self.average {
            Some(average) => average.model(&self.model)?,
            None => self.model.clone(),
        };
        let (config, domains) = (self.config.clone(), self.domains.clone());
        let predictor = Predictor::new(config, domains, self.step, String::new(), model)?;
        let share = self.collective.share();
        let mut found = self.of_all_ranks(validator.next_frames(&predictor, share))?;
        if rolls_out {
            found.extend(self.of_all_ranks(validator.rollouts(&predictor, share))?);
        }
        Ok(found)
    }

    /// What all ranks have measured, in the order of one that measures alone. One that fails fails for all.
    fn of_all_ranks(
        &self,
        own: Result<Vec<Measurement>, ValidationError>,
    ) -> Result<Vec<Measurement>, ValidationError> {
        if self.collective.is_alone() {
            return own;
        }
        let own = own.map_err(|error| error.to_string());
        let parts = exchange_json(self.collective, &own)?.into_iter();
        let mut parts = parts
            .map(|part| part.map(Vec::into_iter))
            .collect::<Result<Vec<_>, String>>()?;
        let mut found = Vec::new();
        // Each round has one measurement of each rank, until those of the last run out.
        while let Some(next) = parts[0].next() {
            found.push(next);
            found.extend(parts[1..].iter_mut().filter_map(Iterator::next));
        }
        Ok(found)
    }

    fn take_measurements(&mut self, found: Vec<Measurement>, reporter: &dyn Reporter) -> bool {
        let steps = found.iter().filter(|found| found.lead == 1);
        let (count, sum) = steps.fold((0, 0.0), |(n, sum), found| (n + 1, sum + found.vrmse));
        for Measurement {
            data,
            patch,
            lead,
            vrmse,
            seconds,
        } in found
        {
            let step = self.step;
            tracing::info!(step, %data, %patch, lead, vrmse, "validation");
            self.log.push(Event::Validation {
                step,
                data,
                patch,
                lead,
                vrmse,
                seconds,
            });
        }
        if count == 0 {
            return false;
        }
        let vrmse = sum / f64::from(count);
        self.status.vrmse = Some(vrmse);
        let is_best = self.progress.validated(self.step, vrmse);
        let patience = self.config.validation.patience;
        if patience.is_some_and(|patience| self.progress.stale >= patience) {
            let (step, stale) = (self.step, self.progress.stale);
            reporter.note(&format!(
                "ends after step {step}: the last {stale} validations were no better than the best one before \
                 (validation.patience)"
            ));
        }
        is_best
    }
}
