//! Validations while a run goes on, by a validator that answers what it is told to.

use std::sync::Mutex;

use super::run::{Run, nine_steps};
use super::*;
use crate::{CheckpointChoice, Measurement, Validate, ValidationError};

/// VRMSE of each validation in turn, and what was asked for.
#[derive(Default)]
struct Scripted {
    scores: Vec<f64>,
    asked: Mutex<Vec<(u64, &'static str)>>,
}

impl Scripted {
    fn of(scores: &[f64]) -> Self {
        Self {
            scores: scores.to_vec(),
            ..Self::default()
        }
    }

    fn answer(
        &self,
        model: &Predictor,
        what: &'static str,
        lead: u64,
    ) -> Result<Vec<Measurement>, ValidationError> {
        let mut asked = self.asked.lock().unwrap();
        asked.push((model.step(), what));
        let done = asked.iter().filter(|(_, asked)| *asked == what).count();
        let vrmse = *self.scores.get(done - 1).ok_or("there is no answer")?;
        Ok(vec![Measurement {
            data: "waves".into(),
            patch: "16x16".into(),
            lead,
            vrmse,
            seconds: 0.0,
        }])
    }
}

impl Validate for Scripted {
    fn next_frames(
        &self,
        model: &Predictor,
        _: Share,
    ) -> Result<Vec<Measurement>, ValidationError> {
        self.answer(model, "step", 1)
    }

    fn rollouts(&self, model: &Predictor, _: Share) -> Result<Vec<Measurement>, ValidationError> {
        self.answer(model, "rollout", 12)
    }
}

fn go(run: &Run, config: &Config, validator: &Scripted) -> crate::Outcome {
    let options = TrainOptions {
        config,
        datasets: vec![Arc::clone(&run.dataset)],
        start: Start::Resume,
        validator: Some(validator),
        stop: &Stop::default(),
        collective: &SingleProcess,
    };
    train(&run.place, options, run.runtime.handle(), &run.notes).unwrap()
}

fn every_two_steps() -> Config {
    let mut config = nine_steps();
    (config.validation.every, config.validation.rollout_every) = (2, 4);
    config.train.keep = 1;
    config
}

#[test]
fn the_best_checkpoint_is_kept_beside_the_last() {
    let run = Run::new();
    let script = Scripted::of(&[0.9, 0.4, 0.6, 0.5, 0.45]);
    let outcome = go(&run, &every_two_steps(), &script);
    let best = outcome.best.unwrap();
    assert_eq!((outcome.step, best.step, best.vrmse), (9, 4, 0.4));
    let asked = script.asked.into_inner().unwrap();
    let steps = [2, 4, 6, 8, 9].map(|step| (step, "step"));
    let rollouts = [4, 8, 9].map(|step| (step, "rollout"));
    for asked in asked {
        assert!(
            steps.contains(&asked) || rollouts.contains(&asked),
            "{asked:?}"
        );
    }
    assert_eq!(run.steps(), [4, 9]);
    let find = |choice: CheckpointChoice| {
        let found = Checkpoint::find(&run.place, choice.into(), &Silent);
        run.runtime.block_on(found).unwrap().state.step
    };
    assert_eq!(find(CheckpointChoice::Best), 4);
    assert_eq!(find(CheckpointChoice::Newest), 9);
}

#[test]
fn validation_changes_nothing_that_is_learned() {
    let (with, without) = (Run::new(), Run::new());
    let mut config = every_two_steps();
    go(&with, &config, &Scripted::of(&[0.9; 9]));
    config.validation.every = 0;
    go(&without, &config, &Scripted::of(&[]));
    assert!(weights(&with.runtime, &with.place) == weights(&without.runtime, &without.place));
    let error = Checkpoint::find(&without.place, CheckpointChoice::Best.into(), &Silent);
    let error = without.runtime.block_on(error).unwrap_err().to_string();
    assert!(error.contains("validation.every"), "{error}");
}

#[test]
fn a_run_that_gets_no_better_ends() {
    let run = Run::new();
    let mut config = every_two_steps();
    config.validation.patience = Some(2);
    let scores = [0.5, f64::NAN, 0.6, 0.1];
    let outcome = go(&run, &config, &Scripted::of(&scores));
    assert_eq!((outcome.step, outcome.stopped), (6, false));
    assert!(run.told().contains("validation.patience"));
    // It has ended: the same command does nothing more, and more patience goes on.
    let again = go(&run, &config, &Scripted::of(&[]));
    assert_eq!((again.begun, again.step), (6, 6));
    config.validation.patience = Some(3);
    let more = go(&run, &config, &Scripted::of(&[0.1, 0.05]));
    assert_eq!((more.step, more.best.unwrap().step), (9, 9));
}

#[test]
fn a_validation_that_fails_is_told_and_the_run_goes_on() {
    let run = Run::new();
    let outcome = go(&run, &every_two_steps(), &Scripted::of(&[0.5]));
    assert_eq!((outcome.step, outcome.best.unwrap().step), (9, 2));
    let told = run.told();
    assert!(
        told.contains("after step 4 failed: there is no answer"),
        "{told}"
    );
}
