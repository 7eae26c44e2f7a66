//! Reversible instance normalization on a GPU, of frames in its memory: (T, B, C, cells) in f32. The formulas
//! are in `crate::revin`, which has the form for the CPU.

use candle_core::{DType, Result, Tensor};

use super::launch::{Arg, Extent, args, int};
use super::norm::share;
use super::program::Program;

const THREADS: usize = 256;

/// Numbers of a scale, as in revin.cu.
const SCALE: usize = 5;

/// Frames on a GPU, and means and deviations of the first of them.
#[derive(Debug, Clone)]
pub(crate) struct NormalizedFrames {
    /// (T, B, C, cells).
    frames: Tensor,
    /// Frames that the scales are of.
    time: usize,
    /// (B·C, 5).
    scales: Tensor,
}

impl NormalizedFrames {
    /// Normalizes by the statistics of the first `time` frames.
    pub(crate) fn new(frames: &Tensor, time: usize) -> Result<Self> {
        let (_, batch, channels, cells) = frames.dims4()?;
        let rows = batch * channels;
        let sizes = [64, 32, 16, 8, 4, 2, 1].map(|k| k * THREADS);
        let (chunk, chunks) = share(time * cells, sizes.into_iter(), rows);
        let mut program = Program::new("revin", 1);
        let scales = program.result((rows, SCALE), DType::F32);
        let partial = program.scratch(rows * chunks * 4, DType::F64);
        int(time * cells)?;
        let (time_there, cells) = (int(time)?, int(cells)?);
        let mut extent = Extent::covering(chunks * THREADS, THREADS as u32);
        extent.grid[1] = int(rows)? as u32;
        let args = args![program.input(0), partial, time_there, cells, int(chunk)?];
        program.launch("revin_sums", DType::F32, extent, args);
        let args = args![
            program.input(0),
            partial,
            scales,
            time_there,
            cells,
            int(chunks)?
        ];
        program.launch(
            "revin_scales",
            DType::F32,
            Extent::covering(rows * 32, 32),
            args,
        );
        Ok(Self {
            scales: program.run(&[frames])?.remove(0),
            frames: frames.clone(),
            time,
        })
    }

    /// The frames that the scales are of, as the model sees them: (T, B, cells, C).
    pub(crate) fn input(&self) -> Result<Tensor> {
        self.turned("revin_input", self.time, &[])
    }

    /// Normalized changes from frames `first..` to the next: (T − first, B, cells, C).
    pub(crate) fn target(&self, first: usize) -> Result<Tensor> {
        let times = self.frames.dim(0)? - 1 - first;
        self.turned("revin_target", times, &[first])
    }

    /// The frame after the last that the scales are of, (1, B, C, cells), by a normalized change
    /// (1, B, cells, C).
    pub(crate) fn next(&self, change: &Tensor) -> Result<Tensor> {
        let (_, batch, channels, cells) = self.frames.dims4()?;
        let mut program = Program::new("revin", 3);
        let next = program.result((1, batch, channels, cells), DType::F32);
        let [frames, scales, change_there] = [0, 1, 2].map(|i| program.input(i));
        let mut args = args![frames, scales, change_there, next];
        args.extend(self.ints(1, &[self.time - 1])?);
        let extent = Extent::covering(batch * channels * cells, THREADS as u32);
        program.launch("revin_next", DType::F32, extent, args);
        Ok(program
            .run(&[&self.frames, &self.scales, change])?
            .remove(0))
    }

    /// Copies `frames` frames with channels last.
    fn turned(&self, kernel: &str, times: usize, more: &[usize]) -> Result<Tensor> {
        let (_, batch, channels, cells) = self.frames.dims4()?;
        let mut program = Program::new("revin", 2);
        let y = program.result((times, batch, cells, channels), DType::F32);
        let mut args = args![program.input(0), program.input(1), y];
        args.extend(self.ints(times, more)?);
        let extent = Extent::covering(times * batch * cells * channels, THREADS as u32);
        program.launch(kernel, DType::F32, extent, args);
        Ok(program.run(&[&self.frames, &self.scales])?.remove(0))
    }

    /// Numbers of the result, the frames' shape, and what a kernel wants beside them.
    fn ints(&self, times: usize, more: &[usize]) -> Result<Vec<Arg>> {
        let (_, batch, channels, cells) = self.frames.dims4()?;
        let all = [times * batch * channels * cells, batch, channels, cells];
        let all = all.iter().chain(more);
        all.map(|&n| int(n).map(Arg::from)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;
    use wellspring_store::Frames;

    use super::*;
    use crate::ops::testing::on_kernels;
    use crate::revin::Revin;

    /// What a model sees, what it is to predict, and the frame after a context by that.
    fn normalized(frames: &Frames, time: usize, device: &Device) -> [Vec<f32>; 3] {
        let revin = Revin::of(frames, time, device).unwrap();
        let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let target = revin.target(time - 1).unwrap();
        let next = revin.next(&target).unwrap();
        [
            values(&revin.input().unwrap()),
            values(&target),
            next.data().to_vec(),
        ]
    }

    #[test]
    fn kernels_equal_the_cpu() {
        let wave = |i: usize| ((i * i) as f32 * 0.37).sin() + (i as f32 * 0.01).cos();
        let plain = |i: usize| wave(i);
        let offset = |i: usize| 1e8 + 1e3 * wave(i);
        let outlier = |i: usize| if i == 0 { 1e8 } else { 1e-3 * wave(i) };
        let large = |i: usize| 1e30 * wave(i);
        let small = |i: usize| 1e-24 * wave(i);
        let still = |_: usize| -1e7;
        let values: [&dyn Fn(usize) -> f32; 6] =
            [&plain, &offset, &outlier, &large, &small, &still];
        for (batch, channels, space) in [(1, 1, [1, 1]), (2, 3, [5, 7]), (1, 2, [40, 33])] {
            for value in values {
                let count = 4 * batch * channels * space[0] * space[1];
                let data = (0..count).map(value).collect();
                let frames = Frames::new(4, batch, channels, space.to_vec(), data).unwrap();
                for time in [1, 3] {
                    let found = on_kernels(|device| normalized(&frames, time, device));
                    let expected = normalized(&frames, time, &Device::Cpu);
                    for (found, expected) in found.iter().zip(&expected) {
                        close(found, expected);
                    }
                }
            }
        }
    }

    /// Asserts that values agree to 1e-6 of the largest magnitude.
    fn close(found: &[f32], expected: &[f32]) {
        let most = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        assert_eq!(found.len(), expected.len());
        for (x, y) in found.iter().zip(expected) {
            assert!((x - y).abs() <= 1e-6 * most, "{x} {y}");
        }
    }
}
