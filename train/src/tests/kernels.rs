//! Compares a whole step by GPU kernels with the CPU's.

use candle_core::{Device, Tensor};

use super::*;
use crate::ops::testing::on_kernels;
use crate::{AdamW, LossAndNorm, StepSettings};

/// Two steps, and the gradients of the second.
struct TwoSteps {
    descents: [LossAndNorm; 2],
    gradients: BTreeMap<String, Tensor>,
}

fn stepped(config: &ModelConfig, precision: Precision, limit: u64, device: &Device) -> TwoSteps {
    let frames = (0..4 * 2 * 2 * 36 * 36).map(|i| (i as f32 * 0.37).sin());
    let frames = Frames::new(4, 2, 2, vec![36, 36], frames.collect()).unwrap();
    let sides = vec![[Boundary::Wall, Boundary::Open], [Boundary::Periodic; 2]];
    let model = Surrogate::new(config, 2, sides, 0, device).unwrap();
    let model = model.in_precision(precision);
    let patch = config.patches()[0].on(2).unwrap();
    let still = Perturbation::none();
    let pace = StepSettings {
        lr: 1e-3,
        decay: 0.1,
        l2: 0.0,
        clip: Some(0.5),
    };
    let mut optimizer = AdamW::new(model.parameters()).unwrap();
    let mut gradients = BTreeMap::new();
    let descents = [0, 1].map(|_| {
        let (loss, found) =
            training_gradients(&model, &frames, &patch, &still, &Loss::default(), limit).unwrap();
        for (name, var) in model.parameters().iter() {
            let gradient = found.get(var).expect("every weight gets a gradient");
            gradients.insert(name.to_owned(), gradient.to_device(&Device::Cpu).unwrap());
        }
        let step = optimizer.step(model.parameters(), &loss, &found, pace);
        step.unwrap()
    });
    TwoSteps {
        descents,
        gradients,
    }
}

fn norm(x: &Tensor) -> f32 {
    let squares = x.sqr().unwrap().sum_all().unwrap();
    squares.to_scalar::<f32>().unwrap().sqrt()
}

#[test]
fn steps_by_kernels_are_those_of_the_cpu() {
    for (strategy, size, mlp, limit) in [
        (Strategy::Ckm, 4, Mlp::Swiglu, u64::MAX),
        (Strategy::Csm, 8, Mlp::Gelu, 0),
        (Strategy::Fixed, 8, Mlp::Swiglu, 0),
    ] {
        // Heads of 32, which attention over space has kernels for, or of 16, where it is composed.
        let dim = if limit == 0 { 32 } else { 64 };
        let config = TransformerConfig {
            mlp,
            dim,
            blocks: 2,
            patches: vec![size.into()],
            ..transformer(&mut config(strategy)).clone()
        };
        let config = config.into();
        let expected = stepped(&config, Precision::F32, limit, &Device::Cpu);
        for (precision, tolerance) in [(Precision::F32, 2e-3), (Precision::Bf16, 0.1)] {
            let what = format!("{strategy:?} {precision}");
            let found = on_kernels(|device| stepped(&config, precision, limit, device));
            for (found, expected) in found.descents.iter().zip(&expected.descents) {
                let near = |a: f64, b: f64| (a - b).abs() <= 0.2 * f64::from(tolerance) * b;
                let losses = near(found.loss.into(), expected.loss.into());
                assert!(losses, "{what}: {found:?} {expected:?}");
                assert!(
                    near(found.norm, expected.norm),
                    "{what}: {found:?} {expected:?}"
                );
            }
            for (name, gradient) in &expected.gradients {
                let apart = norm(&(gradient - &found.gradients[name]).unwrap());
                let most = tolerance * norm(gradient) + 1e-4;
                assert!(apart <= most, "{what} {name}: {apart} {most}");
            }
        }
    }
}
