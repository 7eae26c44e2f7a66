//! AdamW on a GPU: the gradient's norm, clipping and the update of all weights, without waiting for the host.

use candle_core::{DType, Result, Tensor, Var};

use super::{LossAndNorm, StepSettings, Update, WeightUpdate};
use crate::ops::launch::{Buffer, Extent, TABLE, args, int};
use crate::ops::program::Program;

/// Numbers that a block works on, as in adamw.cu.
const NUMBERS: usize = 1 << 14;

/// Blocks for weights of some sizes.
fn blocks(sizes: &[usize]) -> usize {
    sizes.iter().map(|n| n.div_ceil(NUMBERS)).sum()
}

fn extent(blocks: usize, threads: u32) -> Extent {
    Extent::covering(blocks * threads as usize, threads)
}

/// Takes a step by kernels. All launches are issued before the host reads any result.
pub(super) fn by_kernels(
    all: &[WeightUpdate<'_>],
    loss: &Tensor,
    step: u64,
    pace: StepSettings,
) -> Result<LossAndNorm> {
    let sizes: Vec<usize> = all
        .iter()
        .map(|moving| moving.weight.elem_count())
        .collect();
    let mut inputs = vec![loss];
    for moving in all {
        let vars = [moving.weight, moving.first, moving.second];
        inputs.extend(vars.map(|var| var.as_tensor()));
        inputs.push(moving.gradient);
    }
    let found = program(&sizes, step, pace)?.run(&inputs)?;
    let found: Vec<f64> = found[0].to_vec1()?;
    Ok(LossAndNorm {
        loss: found[0] as f32,
        norm: found[1],
    })
}

/// Inputs are the loss, then for each weight of some size itself, its moments and its gradient. The result
/// is the loss, the norm, and the factor that clips.
fn program(sizes: &[usize], step: u64, pace: StepSettings) -> Result<Program> {
    let mut program = Program::new("adamw", 1 + 4 * sizes.len());
    let found = program.result(3, DType::F64);
    let squares = program.scratch(blocks(sizes), DType::F64);
    let groups: Vec<&[usize]> = sizes.chunks(TABLE).collect();
    // A role of the weights of a group: 0 itself, 1 and 2 its moments, 3 its gradient.
    let table = |program: &Program, group: usize, role: usize| -> Vec<Buffer> {
        let first = group * TABLE;
        let weights = first..first + groups[group].len();
        weights
            .map(|weight| program.input(1 + 4 * weight + role))
            .collect()
    };
    let mut summed = 0;
    for (group, &sizes) in groups.iter().enumerate() {
        let gradients = table(&program, group, 3);
        let args = args![gradients, sizes.to_vec(), squares, int(summed)?];
        program.launch(
            "adamw_squares",
            DType::F32,
            extent(blocks(sizes), 256),
            args,
        );
        summed += blocks(sizes);
    }
    let limit = pace.clip.map_or(f32::INFINITY, |limit| limit as f32);
    let args = args![squares, int(summed)?, program.input(0), limit, found];
    program.launch("adamw_norm", DType::F32, extent(1, 1024), args);
    let Update { keep, rate, scale } = Update::new(step, pace);
    let l2 = pace.l2 as f32;
    for (group, &sizes) in groups.iter().enumerate() {
        let [weights, firsts, seconds, gradients] =
            [0, 1, 2, 3].map(|role| table(&program, group, role));
        let args = args![
            weights,
            firsts,
            seconds,
            gradients,
            sizes.to_vec(),
            found,
            keep,
            rate,
            scale,
            l2,
        ];
        program.launch("adamw_update", DType::F32, extent(blocks(sizes), 256), args);
    }
    Ok(program)
}

/// Moves the average of each weight, given as pairs of both.
pub(super) fn average_by_kernels(pairs: &[(&Var, &Var)], beta: f32) -> Result<()> {
    let inputs: Vec<&Tensor> = pairs
        .iter()
        .flat_map(|(average, weight)| [average.as_tensor(), weight.as_tensor()])
        .collect();
    let mut program = Program::new("adamw", inputs.len());
    for (group, pairs) in pairs.chunks(TABLE).enumerate() {
        let sizes: Vec<usize> = pairs
            .iter()
            .map(|(average, _)| average.elem_count())
            .collect();
        let table = |role: usize| -> Vec<Buffer> {
            let places = (0..pairs.len()).map(|place| 2 * (group * TABLE + place) + role);
            places.map(|place| program.input(place)).collect()
        };
        let (averages, weights) = (table(0), table(1));
        let extent = extent(blocks(&sizes), 256);
        program.launch(
            "adamw_average",
            DType::F32,
            extent,
            args![averages, weights, sizes, beta],
        );
    }
    program.run(&inputs).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops::adamw::{average, one_by_one};
    use crate::ops::testing::on_kernels;

    /// Weights of sizes that fill several tables and several blocks, and some that fill no pack.
    struct Model {
        weights: Vec<[Var; 3]>,
        gradients: Vec<Tensor>,
    }

    impl Model {
        fn new(device: &Device) -> Self {
            let sizes = (0..70).map(|i| 1 + i % 7).chain([3 * (1 << 14) + 5]);
            let values = |size: usize, slope: f64| {
                let values: Vec<f32> = (0..size).map(|i| (i as f64 * slope).sin() as f32).collect();
                Tensor::from_vec(values, size, device).unwrap()
            };
            let (mut weights, mut gradients) = (Vec::new(), Vec::new());
            for size in sizes {
                let moments = values(size, 0.2).sqr().unwrap();
                let parts = [
                    values(size, 0.1),
                    moments.affine(0.1, 0.0).unwrap(),
                    moments,
                ];
                weights.push(parts.map(|part| Var::from_tensor(&part).unwrap()));
                gradients.push(values(size, 0.3));
            }
            Self { weights, gradients }
        }

        fn step(
            &self,
            step: fn(&[WeightUpdate<'_>], &Tensor, u64, StepSettings) -> Result<LossAndNorm>,
            loss: f32,
            pace: StepSettings,
        ) -> LossAndNorm {
            let pairs = self.weights.iter().zip(&self.gradients);
            let all: Vec<WeightUpdate<'_>> = pairs
                .map(|([weight, first, second], gradient)| WeightUpdate {
                    weight,
                    first,
                    second,
                    gradient,
                })
                .collect();
            step(
                &all,
                &Tensor::new(loss, self.gradients[0].device()).unwrap(),
                3,
                pace,
            )
            .unwrap()
        }

        fn values(&self) -> Vec<f32> {
            let vars = self.weights.iter().flatten();
            vars.flat_map(|var| var.to_vec1::<f32>().unwrap()).collect()
        }
    }

    const PACE: StepSettings = StepSettings {
        lr: 1e-2,
        decay: 0.1,
        l2: 0.0,
        clip: None,
    };

    #[test]
    fn kernels_move_all_weights_as_the_cpu_does() {
        let l2 = StepSettings {
            decay: 0.0,
            l2: 0.1,
            ..PACE
        };
        let clips = [None, Some(0.5), Some(1e9)];
        for pace in clips
            .map(|clip| StepSettings { clip, ..PACE })
            .into_iter()
            .chain([l2])
        {
            let (found, ours) = on_kernels(|device| {
                let model = Model::new(device);
                let found = model.step(by_kernels, 2.5, pace);
                (model.values(), found)
            });
            let expected = Model::new(&Device::Cpu);
            let theirs = expected.step(one_by_one, 2.5, pace);
            assert_eq!(ours.loss, theirs.loss);
            assert!(
                (ours.norm - theirs.norm).abs() <= 1e-12 * theirs.norm,
                "{ours:?} {theirs:?}"
            );
            for (a, b) in found.iter().zip(expected.values()) {
                assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{pace:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn kernels_leave_weights_where_loss_or_gradient_is_no_number() {
        for (loss, gradient) in [(f32::NAN, 1.0), (1.0, f32::INFINITY)] {
            on_kernels(|device| {
                let mut model = Model::new(device);
                model.gradients[69] = Tensor::full(gradient, 7, device).unwrap();
                let before = model.values();
                let found = model.step(by_kernels, loss, PACE);
                assert!(!found.is_finite(), "{found:?}");
                assert_eq!(model.values(), before);
            });
        }
    }

    #[test]
    fn kernels_average_all_weights_as_the_cpu_does() {
        let averaged = |device: &Device| {
            let model = Model::new(device);
            let pairs: Vec<_> = model.weights.iter().map(|[w, e, _]| (e, w)).collect();
            average(&pairs, 0.9).unwrap();
            model.values()
        };
        let found = on_kernels(averaged);
        for (a, b) in found.iter().zip(averaged(&Device::Cpu)) {
            assert!((a - b).abs() <= 1e-6, "{a} {b}");
        }
    }
}
