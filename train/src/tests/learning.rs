//! Choices of the optimizer and of the loss in whole runs.

use candle_core::Tensor;
use std::collections::HashMap;

use super::run::{Run, nine_steps};
use super::*;
use crate::{LossKind, Optimizer, WeightChoice};

fn tensors(run: &Run, file: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load_buffer(&run.files()[file], &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference of weights after nine steps.
fn distance(a: &Run, b: &Run) -> f32 {
    let [a, b] = [a, b].map(|run| tensors(run, "checkpoints/00000009/model.safetensors"));
    let pairs = a.iter().flat_map(|(name, a)| {
        let (a, b) = (values(a), values(&b[name]));
        a.into_iter().zip(b).map(|(a, b)| (a - b).abs())
    });
    pairs.fold(0.0, f32::max)
}

fn trained(change: impl Fn(&mut Config)) -> Run {
    let (run, mut config) = (Run::new(), nine_steps());
    change(&mut config);
    run.go(&config).unwrap();
    run
}

/// Stopped after four steps and resumed.
fn in_parts(change: impl Fn(&mut Config)) -> Run {
    let (run, mut config) = (Run::new(), nine_steps());
    change(&mut config);
    run.stop_after(&config, 4);
    run.go(&config).unwrap();
    run
}

#[test]
fn a_batch_in_parts_is_the_same_step() {
    let stochastic = |accumulate| {
        move |config: &mut Config| {
            (config.train.drop_path, config.train.jitter) = (0.3, true);
            config.optim.accumulate = accumulate;
        }
    };
    let whole = trained(stochastic(1));
    // Three windows in parts of two and one, and of one each.
    for accumulate in [2, 3, 100] {
        let parts = trained(stochastic(accumulate));
        let distance = distance(&whole, &parts);
        assert!(
            distance > 0.0 && distance < 1e-5,
            "{accumulate}: {distance}"
        );
    }
}

#[test]
fn every_choice_makes_another_run_that_resumes_bit_for_bit() {
    let choices: [&dyn Fn(&mut Config); 10] = [
        &|config| config.augment.stride = 2,
        &|config| (config.augment.flip, config.augment.noise) = (vec!["x".into()], 0.01),
        &|config| config.augment.turn = vec!["x".into(), "y".into()],
        &|_| {},
        &|config| (config.optim.kind, config.optim.weight_decay) = (Optimizer::Adam, 0.1),
        &|config| config.loss.kind = LossKind::Mae,
        &|config| config.loss.kind = LossKind::Huber,
        &|config| config.loss.kind = LossKind::RelativeL2,
        &|config| config.loss.weights = [("v".to_owned(), 3.0)].into(),
        &|config| (config.optim.ema, config.optim.accumulate) = (Some(0.9), 2),
    ];
    let mut seen = Vec::new();
    for change in choices {
        let (whole, parts) = (trained(change), in_parts(change));
        let (mut a, mut b) = (whole.learned(), parts.learned());
        // The log has times.
        a.retain(|path, _| path.starts_with("checkpoints"));
        b.retain(|path, _| path.starts_with("checkpoints"));
        assert!(a == b);
        let weights = a["checkpoints/00000009/model.safetensors"].clone();
        assert!(!seen.contains(&weights));
        seen.push(weights);
    }
}

#[test]
fn frozen_weights_stay_and_the_others_move() {
    let frozen = trained(|config| config.optim.freeze = vec!["embed.*".into(), "*.bias".into()]);
    let model = Surrogate::new(
        &nine_steps().model,
        2,
        vec![[Boundary::Periodic; 2]; 2],
        0,
        &Device::Cpu,
    );
    let learned = tensors(&frozen, "checkpoints/00000009/model.safetensors");
    for (name, before) in model.unwrap().parameters().iter() {
        let stays = name.starts_with("embed.") || name.ends_with(".bias");
        let moved = values(&learned[name]) != values(before.as_tensor());
        assert!(!(stays && moved), "{name}");
        assert!(stays || moved || name.contains("pad"), "{name}");
    }
    for (patterns, expected) in [(["nothing.*"], "names of weights"), (["*"], "not all")] {
        let mut config = nine_steps();
        config.optim.freeze = patterns.map(Into::into).to_vec();
        let error = Run::new().go(&config).unwrap_err().to_string();
        assert!(
            error.contains("optim.freeze") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn an_average_follows_the_weights_and_is_what_predicts() {
    let run = trained(|config| {
        config.optim.ema = Some(0.5);
        (config.train.checkpoint_every, config.train.keep) = (1, 20);
    });
    let at = |step: u64, file: &str| tensors(&run, &format!("checkpoints/{step:08}/{file}"));
    let name = "embed.norm1.weight";
    let mut mean = vec![1.0_f32; values(&at(1, "model.safetensors")[name]).len()];
    for step in 1..=9 {
        let beta = f32::min(0.5, (1.0 + step as f32) / (10.0 + step as f32));
        let weights = values(&at(step, "model.safetensors")[name]);
        for (mean, weight) in mean.iter_mut().zip(weights) {
            *mean = beta * *mean + (1.0 - beta) * weight;
        }
        let found = values(&at(step, "average.safetensors")[name]);
        let near = found.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near, "{step}");
    }
    let found = |weights| {
        let choice = ModelChoice {
            weights,
            ..ModelChoice::default()
        };
        let found = Checkpoint::find(&run.place, choice, &Silent);
        run.runtime.block_on(found).unwrap().weights().to_vec()
    };
    let file = |name: &str| run.files()[&format!("checkpoints/00000009/{name}")].clone();
    assert!(found(WeightChoice::Average) == file("average.safetensors"));
    assert!(found(WeightChoice::Trained) == file("model.safetensors"));
}

#[test]
fn weights_of_unknown_fields_are_refused() {
    let mut config = nine_steps();
    config.loss.weights = [("w".to_owned(), 3.0)].into();
    let error = Run::new().go(&config).unwrap_err().to_string();
    assert!(
        error.contains("loss.weights = w") && error.contains("u, v"),
        "{error}"
    );
}

/// A cell whose squares are infinite, in the windows that begin with the first frame.
#[test]
fn steps_that_are_not_finite_move_nothing_until_there_are_too_many() {
    let spoiled = || {
        let runtime = Runtime::new().unwrap();
        let kind = Waves {
            outlier: Some(1e30),
            ..Waves::default()
        };
        Run {
            dataset: waves(&runtime, &kind),
            ..Run::new()
        }
    };
    let mut config = nine_steps();
    (config.train.steps, config.train.max_skipped) = (30, 1000);
    let run = spoiled();
    let outcome = run.go(&config).unwrap();
    assert_eq!(outcome.step, 30);
    let told = run.told();
    assert!(
        told.contains("trajectory") && told.contains("no weight was changed"),
        "{told}"
    );
    let moved = run.rates().len();
    assert!(moved > 0 && moved < 30, "{moved}");
    let state = |run: &Run| {
        let found = Checkpoint::find(&run.place, ModelChoice::default(), &Silent);
        run.runtime.block_on(found).unwrap().state
    };
    assert_eq!(state(&run).progress.updates, Some(moved as u64));
    // The optimizer counts its updates on.
    let parts = spoiled();
    parts.stop_after(&config, 13);
    parts.go(&config).unwrap();
    assert_eq!(state(&parts).progress, state(&run).progress);
    assert!(weights(&run.runtime, &run.place) == weights(&parts.runtime, &parts.place));

    config.train.max_skipped = 1;
    let error = spoiled().go(&config).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    let error = error.to_string();
    assert!(
        error.contains("last of 2") && error.contains("trajectory"),
        "{error}"
    );
}

#[test]
fn the_clock_ends_a_run_and_is_kept() {
    let mut config = nine_steps();
    config.train.hours = Some(3.0 / 3600.0);
    let run = Run::new();
    run.stop_after(&config, 2);
    let first = run.go(&config).unwrap();
    assert!(first.step > 2 && !first.stopped, "{first:?}");
    let again = run.go(&config).unwrap();
    assert_eq!((again.step, again.begun), (first.step, first.step));
    let rates = run.rates();
    assert!(rates[rates.len() - 1] < 0.2 * rates[1], "{rates:?}");
    // A second more stretches the schedule.
    config.train.hours = Some(4.0 / 3600.0);
    let more = run.go(&config).unwrap();
    assert!(more.step > first.step, "{more:?}");
    let told = run.told();
    assert!(told.contains("train.hours"), "{told}");
}

#[test]
fn some_checkpoints_are_kept_for_ever() {
    let run = trained(|config| {
        (config.train.checkpoint_every, config.train.keep) = (1, 1);
        config.train.keep_every = Some(4);
    });
    assert_eq!(run.steps(), [4, 8, 9]);
}
