//! [`Validator`]: measures a model in training by what `eval` measures, on windows of the split `valid`.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use wellspring_eval::{SampleOptions, Schedule, WindowSample};
use wellspring_store::{Dataset, Patch, Share, Split};
use wellspring_train::{Config, Domain, Measurement, Predictor, Validate, ValidationError};

use crate::progress::line;
use crate::subject::ModelSubject;

/// The data sets of a run that have windows to validate by.
pub struct Validator<'a> {
    datasets: Vec<&'a Dataset>,
    config: &'a Config,
    runtime: &'a Handle,
}

impl<'a> Validator<'a> {
    /// A validator for a run, where it is to be validated; says which data sets have nothing to validate by.
    pub fn of(
        config: &'a Config,
        datasets: &'a [Arc<Dataset>],
        runtime: &'a Handle,
    ) -> Option<Self> {
        if config.validation.every == 0 {
            return None;
        }
        let mut found = Vec::new();
        for dataset in datasets {
            let validator = Self {
                datasets: Vec::new(),
                config,
                runtime,
            };
            match validator.sample(dataset, 1, 1) {
                Ok(_) => found.push(&**dataset),
                Err(error) => line(&format!(
                    "{} is not validated: {error}; validation.every=0 asks for no validation",
                    dataset.location()
                )),
            }
        }
        (!found.is_empty()).then_some(Self {
            datasets: found,
            config,
            runtime,
        })
    }

    fn sample(
        &self,
        dataset: &'a Dataset,
        windows: usize,
        rollout: usize,
    ) -> wellspring_eval::Result<WindowSample<'a>> {
        let options = SampleOptions {
            split: Split::Valid,
            windows,
            rollout,
            seed: self.config.validation.seed,
            batch: self.config.train.batch,
        };
        let data = &self.config.data;
        WindowSample::draw(dataset, [data.context, data.stride], options, self.runtime)
    }

    fn measure(
        &self,
        model: &Predictor,
        sample: &WindowSample<'_>,
        dataset: &Dataset,
        schedule: &Schedule,
        lead: usize,
    ) -> Result<Measurement, ValidationError> {
        let domain = Domain::of(dataset, &self.config.model.inputs)?;
        let model = model.on(&domain)?;
        let began = Instant::now();
        let vrmse = sample.vrmse(&ModelSubject::new(&model)?, schedule)?;
        Ok(Measurement {
            data: dataset.schema().name.clone(),
            patch: schedule.to_string(),
            lead: lead as u64,
            vrmse,
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

impl Validate for Validator<'_> {
    fn next_frames(
        &self,
        model: &Predictor,
        share: Share,
    ) -> Result<Vec<Measurement>, ValidationError> {
        let patches = model.patches()?;
        let mut found = Vec::new();
        for (n, &dataset) in self.datasets.iter().enumerate() {
            let before = n * patches.len();
            let own = patches
                .iter()
                .enumerate()
                .filter(|(place, _)| share.has(before + place))
                .map(|(_, patch)| Schedule::fixed(patch.clone()))
                .collect::<Vec<_>>();
            if own.is_empty() {
                continue;
            }
            let sample = self.sample(dataset, self.config.validation.windows, 1)?;
            for schedule in own {
                found.push(self.measure(model, &sample, dataset, &schedule, 1)?);
            }
        }
        Ok(found)
    }

    /// A data set whose trajectories are too short for the rollout has none.
    fn rollouts(
        &self,
        model: &Predictor,
        share: Share,
    ) -> Result<Vec<Measurement>, ValidationError> {
        let options = &self.config.validation;
        let patches = model
            .patches()?
            .iter()
            .map(Patch::to_string)
            .collect::<Vec<_>>();
        let ndim = model.domains().first().space.len();
        let schedule = Schedule::parse(&patches.join(","), ndim)?;
        let samples = self.datasets.iter().filter_map(|&dataset| {
            let sample = self.sample(dataset, options.rollouts, options.rollout);
            Some((dataset, sample.ok()?))
        });
        let mut found = Vec::new();
        for (_, (dataset, sample)) in samples.enumerate().filter(|(n, _)| share.has(*n)) {
            let lead = options.rollout;
            found.push(self.measure(model, &sample, dataset, &schedule, lead)?);
        }
        Ok(found)
    }
}
