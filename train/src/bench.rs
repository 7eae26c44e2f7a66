//! Times a forward pass and a training step, at the sizes of the paper's models with six causal frames. The
//! cases on a CPU match the PyTorch reference's benchmark, those on CUDA `tests/cuda/step.py`.

use std::time::Instant;

use candle_core::Device;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use wellspring_store::{Boundary, Frames, Patch};

use crate::config::{Strategy, TransformerConfig};
use crate::device::activation_bytes;
use crate::estimate::peak_bytes;
use crate::memory::{peak_mib, reset_peak};
use crate::model::{Perturbation, Surrogate};
use crate::optim::{AdamW, StepSettings};
use crate::{DeviceChoice, Loss, Precision, Result, predict, training_gradients};

/// A model, a grid and the patch sizes to time.
struct Case {
    name: &'static str,
    strategy: Strategy,
    /// Dimension of the tokens, and heads.
    dim: usize,
    heads: usize,
    grid: Grid,
    patches: &'static [usize],
    batches: &'static [usize],
}

struct Grid {
    fields: usize,
    space: &'static [usize],
}

const PLANE: Grid = Grid {
    fields: 4,
    space: &[128, 256],
};
const CUBE: Grid = Grid {
    fields: 6,
    space: &[64, 64, 64],
};

/// Cases of the reference's benchmark, and one of 2048 tokens, which tests memory.
const ON_A_CPU: [Case; 4] = [
    Case {
        patches: &[16, 8, 4],
        ..Case::new("2d-7.6M", 192, 3, PLANE)
    },
    Case {
        strategy: Strategy::Csm,
        ..Case::new("2d-7.6M", 192, 3, PLANE)
    },
    Case::new("2d-25M", 384, 6, PLANE),
    Case::new("3d-7.6M", 192, 3, CUBE),
];

const ON_CUDA: [Case; 6] = [
    Case {
        patches: &[16, 8, 4],
        ..Case::new("2d-7.6M", 192, 3, PLANE)
    },
    Case {
        patches: &[16, 8, 4],
        ..Case::new("2d-25M", 384, 6, PLANE)
    },
    Case {
        patches: &[16, 8, 4],
        batches: &[1, 2],
        ..Case::new("2d-100M", 768, 12, PLANE)
    },
    Case {
        patches: &[8, 4],
        ..Case::new("3d-7.6M", 192, 3, CUBE)
    },
    Case {
        patches: &[8, 4],
        ..Case::new("3d-25M", 384, 6, CUBE)
    },
    Case {
        patches: &[8, 4],
        ..Case::new("3d-100M", 768, 12, CUBE)
    },
];

impl Case {
    const fn new(name: &'static str, dim: usize, heads: usize, grid: Grid) -> Self {
        Self {
            name,
            strategy: Strategy::Ckm,
            dim,
            heads,
            grid,
            patches: &[16, 8],
            batches: &[1],
        }
    }
}

/// What to time, where and how often.
#[derive(Debug, Clone, Default)]
pub struct StepBench {
    /// Only cases whose name contains this text; a name is `2d-7.6M-ckm-p16-b1`, with patch size and batch.
    pub only: String,
    /// Repetitions. On a CPU the shortest counts. On CUDA, where steps follow each other without a
    /// wait, a repetition is five steps in a row, and the median counts.
    pub repeat: usize,
    /// The cases are the device's own.
    pub device: DeviceChoice,
    /// Numbers of the products within blocks.
    pub precision: Precision,
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
    /// Samples of a step.
    pub batch: usize,
    /// Tokens of a frame.
    pub tokens: usize,
    /// Device on which it ran.
    pub device: DeviceChoice,
    /// Numbers of the products within blocks.
    pub precision: Precision,
    /// Numbers that the model learns.
    pub parameters: usize,
    /// Time of a prediction.
    pub forward_seconds: f64,
    /// Time of a step: forward, backward, AdamW.
    pub step_seconds: f64,
    /// Most memory in use by then, in MiB: the process's, or of CUDA's pool; nothing where the system
    /// does not tell.
    pub peak_mib: Option<f64>,
    /// What `train --estimate` says of it, in MiB.
    pub estimated_mib: f64,
}

/// Times the chosen cases; `each` hears of every figure at once.
///
/// # Errors
/// As [`DeviceChoice::open`] and [`Surrogate::forward`].
pub fn bench_step(bench: &StepBench, mut each: impl FnMut(&StepFigure)) -> Result<Vec<StepFigure>> {
    let device = bench.device.open()?;
    let cases: &[Case] = match bench.device {
        DeviceChoice::Cpu => &ON_A_CPU,
        DeviceChoice::Cuda => &ON_CUDA,
    };
    let mut figures = Vec::new();
    for case in cases {
        for &batch in case.batches {
            for &patch in case.patches {
                let name = format!("{}-{}-p{patch}-b{batch}", case.name, case.strategy.name());
                if name.contains(&bench.only) {
                    let figure = time(case, patch, batch, bench, &device)?;
                    each(&figure);
                    figures.push(figure);
                }
            }
        }
    }
    Ok(figures)
}

fn time(
    case: &Case,
    size: usize,
    batch: usize,
    bench: &StepBench,
    device: &Device,
) -> Result<StepFigure> {
    let config = TransformerConfig {
        strategy: case.strategy,
        dim: case.dim,
        heads: case.heads,
        ..TransformerConfig::default()
    };
    reset_peak(device);
    let boundaries = vec![[Boundary::Periodic; 2]; case.grid.space.len()];
    let model = Surrogate::new(&config.into(), case.grid.fields, boundaries, 0, device)?
        .in_precision(bench.precision);
    let mut optimizer = AdamW::new(model.parameters())?;
    let frames = noise(&case.grid, batch)?;
    let context = frames.slice_time(0..frames.time() - 1);
    let patch = Patch::uniform(size, case.grid.space.len());
    let step_seconds = seconds(bench, device, || {
        let (loss, gradients) = training_gradients(
            &model,
            &frames,
            &patch,
            &Perturbation::none(),
            &Loss::default(),
            activation_bytes(device)?,
        )?;
        let pace = StepSettings {
            lr: 1e-3,
            decay: 1e-4,
            l2: 0.0,
            clip: None,
        };
        optimizer
            .step(model.parameters(), &loss, &gradients, pace)
            .map(drop)
    })?;
    let peak_mib = peak_mib(device);
    let shape = [context.time(), batch];
    let limit = activation_bytes(device)?;
    let estimated = peak_bytes(&model, &patch, case.grid.space, shape, limit)?;
    let forward_seconds = seconds(bench, device, || {
        predict(&model, &context, &patch).map(drop)
    })?;
    Ok(StepFigure {
        case: case.name.into(),
        strategy: case.strategy.name(),
        patch: size,
        batch,
        tokens: model.tokens(&patch, case.grid.space)?,
        device: bench.device,
        precision: bench.precision,
        parameters: model
            .parameters()
            .iter()
            .map(|(_, var)| var.elem_count())
            .sum(),
        forward_seconds,
        step_seconds,
        peak_mib,
        estimated_mib: estimated as f64 / f64::from(1 << 20),
    })
}

/// Seven frames.
fn noise(grid: &Grid, batch: usize) -> Result<Frames> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let count = 7 * batch * grid.fields * grid.space.iter().product::<usize>();
    let values = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
    Ok(Frames::new(
        7,
        batch,
        grid.fields,
        grid.space.to_vec(),
        values,
    )?)
}

/// Time of one call, when all that it asked of the device is done.
fn seconds(
    bench: &StepBench,
    device: &Device,
    mut call: impl FnMut() -> Result<()>,
) -> Result<f64> {
    let (warm_up, calls) = match device {
        Device::Cpu => (0, 1),
        _ => (3, 5),
    };
    for _ in 0..warm_up {
        call()?;
    }
    let mut times = Vec::new();
    for _ in 0..bench.repeat.max(1) {
        device.synchronize()?;
        let began = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        device.synchronize()?;
        times.push(began.elapsed().as_secs_f64() / f64::from(calls));
    }
    times.sort_by(f64::total_cmp);
    Ok(match device {
        Device::Cpu => times[0],
        _ => times[times.len() / 2],
    })
}
