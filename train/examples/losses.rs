//! The loss of each step of a small run on travelling waves, as one line of JSON:
//! `losses DEVICE PRECISION [STEPS]`. Runs of two devices, side by side, show whether both learn alike.
#![allow(clippy::print_stdout, reason = "its result")]

use std::error::Error;

use wellspring_store::{Boundary, Frames, Patch};
use wellspring_train::{
    AdamW, DeviceChoice, Loss, Perturbation, Precision, StepSettings, Surrogate, TransformerConfig,
    training_gradients,
};

const FRAMES: usize = 7;
const FIELDS: usize = 2;
const SIDE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text =
        |place: usize, default: &str| arguments.get(place).cloned().unwrap_or(default.into());
    let device = text(0, "cpu").parse::<DeviceChoice>()?.open()?;
    let precision: Precision = text(1, "f32").parse()?;
    let steps: usize = text(2, "50").parse()?;

    let config = TransformerConfig {
        blocks: 3,
        ..TransformerConfig::default()
    };
    let sides = vec![[Boundary::Periodic; 2]; 2];
    let model = Surrogate::new(&config.into(), FIELDS, sides, 0, &device)?.in_precision(precision);
    let mut optimizer = AdamW::new(model.parameters())?;
    let mut losses = Vec::new();
    for step in 0..steps {
        let patch = Patch::uniform([8, 4, 16][step % 3], 2);
        let (loss, gradients) = training_gradients(
            &model,
            &waves(step)?,
            &patch,
            &Perturbation::none(),
            &Loss::default(),
            u64::MAX,
        )?;
        let pace = StepSettings {
            lr: 1e-3,
            decay: 1e-4,
            l2: 0.0,
            clip: None,
        };
        let taken = optimizer.step(model.parameters(), &loss, &gradients, pace)?;
        losses.push(taken.loss);
    }
    println!("{}", serde_json::to_string(&losses)?);
    Ok(())
}

/// Plane waves of a length, direction and speed that depend on the step.
fn waves(step: usize) -> Result<Frames, wellspring_store::Error> {
    let mut values = Vec::with_capacity(FRAMES * FIELDS * SIDE * SIDE);
    for time in 0..FRAMES {
        for field in 0..FIELDS {
            let (along, across) = (1 + (step + field) % 3, step % 2);
            for i in 0..SIDE * SIDE {
                let (row, column) = (i / SIDE, i % SIDE);
                let place = (along * row + across * column) as f32 / SIDE as f32;
                let turns = place + 0.03 * (time + step) as f32;
                values.push((std::f32::consts::TAU * turns).sin());
            }
        }
    }
    Frames::new(FRAMES, 1, FIELDS, vec![SIDE, SIDE], values)
}
