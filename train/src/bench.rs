//! Times of a forward pass and a training step: the cases of the PyTorch reference's benchmark
//! (batch 1, six causal frames, f32), so that the two can be run one after another and compared.

use std::time::Instant;

use candle_core::Device;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use wellspring_store::{Boundary, Frames, Patch};

use crate::config::{ModelConfig, Strategy, TrainConfig};
use crate::model::{Perturbation, Surrogate};
use crate::optim::AdamW;
use crate::{Result, predict, training_gradients};

/// A model, a grid and the patch sizes to time.
struct Case {
    name: &'static str,
    strategy: Strategy,
    fields: usize,
    space: &'static [usize],
    dim: usize,
    heads: usize,
    patches: &'static [usize],
}

const CASES: [Case; 4] = [
    // 2048 tokens are not in the reference's benchmark: their memory is what matters.
    Case {
        patches: &[16, 8, 4],
        ..Case::new("2d-7.6M", Strategy::Ckm, 4, &[128, 256], 192, 3)
    },
    Case::new("2d-7.6M", Strategy::Csm, 4, &[128, 256], 192, 3),
    Case::new("2d-25M", Strategy::Ckm, 4, &[128, 256], 384, 6),
    Case::new("3d-7.6M", Strategy::Ckm, 6, &[64, 64, 64], 192, 3),
];

impl Case {
    const fn new(
        name: &'static str,
        strategy: Strategy,
        fields: usize,
        space: &'static [usize],
        dim: usize,
        heads: usize,
    ) -> Self {
        Self {
            name,
            strategy,
            fields,
            space,
            dim,
            heads,
            patches: &[16, 8],
        }
    }
}

/// Figures of one case at one patch size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepFigure {
    /// Size of the model.
    pub case: String,
    /// ckm or csm.
    pub strategy: &'static str,
    /// Patch size.
    pub patch: usize,
    /// Tokens of a frame.
    pub tokens: usize,
    /// Shortest time of a forward pass.
    pub forward_seconds: f64,
    /// Shortest time of a step: forward, backward, AdamW.
    pub step_seconds: f64,
    /// Most memory that the process had, in MiB; nothing where the system does not tell.
    pub peak_mib: Option<f64>,
}

/// Times the cases whose name and strategy hold `only`; `each` hears of every figure at once.
///
/// # Errors
/// As [`Surrogate::forward`].
pub fn bench_step(
    only: &str,
    repeat: usize,
    mut each: impl FnMut(&StepFigure),
) -> Result<Vec<StepFigure>> {
    let mut figures = Vec::new();
    let named = |case: &&Case| format!("{}-{}", case.name, case.strategy.name()).contains(only);
    for case in CASES.iter().filter(named) {
        for &patch in case.patches {
            let figure = time(case, patch, repeat.max(1))?;
            each(&figure);
            figures.push(figure);
        }
    }
    Ok(figures)
}

fn time(case: &Case, size: usize, repeat: usize) -> Result<StepFigure> {
    let config = ModelConfig {
        strategy: case.strategy,
        dim: case.dim,
        heads: case.heads,
        ..ModelConfig::default()
    };
    reset_peak();
    let boundaries = vec![[Boundary::Periodic; 2]; case.space.len()];
    let model = Surrogate::new(&config, case.fields, boundaries, 0, &Device::Cpu)?;
    let mut optimizer = AdamW::new(model.parameters())?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let count = 7 * case.fields * case.space.iter().product::<usize>();
    let values = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    let frames = Frames::new(7, 1, case.fields, case.space.to_vec(), values)?;
    let context = frames.slice_time(0..6);
    let patch = Patch::uniform(size, case.space.len());
    let (mut forward, mut step) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..repeat {
        let began = Instant::now();
        predict(&model, &context, &patch, &Device::Cpu)?;
        forward = forward.min(began.elapsed().as_secs_f64());
        let began = Instant::now();
        let (_, gradients) = training_gradients(
            &model,
            &frames,
            &patch,
            &Perturbation::none(),
            TrainConfig::default().activations_mib << 20,
            &Device::Cpu,
        )?;
        optimizer.step(model.parameters(), &gradients, 1e-3, 1e-4)?;
        step = step.min(began.elapsed().as_secs_f64());
    }
    Ok(StepFigure {
        case: case.name.into(),
        strategy: case.strategy.name(),
        patch: size,
        tokens: model.tokens(&patch, case.space)?,
        forward_seconds: forward,
        step_seconds: step,
        peak_mib: peak_mib(),
    })
}

/// Lets Linux count the peak of resident memory anew.
#[allow(
    clippy::disallowed_methods,
    reason = "a switch of the system, not stored data"
)]
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").ok();
}

#[allow(
    clippy::disallowed_methods,
    reason = "a counter of the system, not stored data"
)]
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}
