//! [`estimate()`]: the memory of a step before a run begins.
//!
//! Counted are weights, gradients, moments and a moving average; on the CPU, the copy that a checkpoint is written from;
//! the tensors that blocks keep until their backward pass, and those of one block that is computed again; the frames,
//! normalized, cut into patches and put together again; and the features of the first convolution. How many arrays of
//! each kind live at once was measured (`bench step`, whose figures have both the estimate and the measured peak).

use std::sync::Arc;

use wellspring_store::{Dataset, Patch};

use crate::checkpoint::fresh;
use crate::device::activation_bytes;
use crate::domain::{Domain, Domains};
use crate::inputs::InputReader;
use crate::memory::mebibytes;
use crate::model::{Layers, Surrogate};
use crate::{Config, Result};

/// A program without a model, in bytes.
const PROGRAM: u64 = 60 << 20;

/// Arrays as large as the context's frames.
const FRAME_ARRAYS: u64 = 11;

/// Arrays as large as the features of the first convolution.
const FEATURE_ARRAYS: u64 = 12;

/// What a baseline keeps is counted twice: for the backward pass, whose gradients are as large.
const BASELINE_ARRAYS: u64 = 2;

/// The memory of a run's steps.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryEstimate {
    /// Numbers that the model learns.
    pub parameters: usize,
    /// Bytes of weights, gradients, moments and a moving average.
    pub learned: u64,
    /// Bytes of the copy in this machine's memory while a checkpoint is written.
    pub checkpoint: u64,
    /// A step at each patch size of each data set.
    pub steps: Vec<StepMemory>,
}

/// The memory of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepMemory {
    /// Name of the data set.
    pub data: String,
    /// The patch size.
    pub patch: Patch,
    /// Tokens of a frame.
    pub tokens: usize,
    /// Bytes at its peak on the device, `learned` included, and on the CPU `checkpoint`.
    pub peak: u64,
    /// The most windows of a batch that fit; none where one is too many.
    pub largest_batch: Option<usize>,
}

/// What a step of a run takes of each of some ranks, and how large its batch can be in `memory` bytes of each. The first
/// rank takes the most.
///
/// # Errors
/// As [`crate::train`] before its first step.
pub fn estimate(
    config: &Config,
    datasets: &[Arc<Dataset>],
    ranks: usize,
    memory: u64,
) -> Result<MemoryEstimate> {
    config.validate()?;
    config.check_ranks(ranks)?;
    let domain = |data: &Arc<Dataset>| Domain::of(data, &config.model.inputs);
    let domains = Domains::new(datasets.iter().map(domain).collect::<Result<_>>()?)?;
    let device = config.train.device.open()?;
    let model = fresh(config, &domains, &device)?;
    let limit = match config.train.activations_mib {
        Some(mib) => mebibytes(mib),
        None => activation_bytes(&device)?,
    };
    let weights = 4 * model.parameters().count() as u64;
    let averages = u64::from(config.optim.ema.is_some());
    let moments = 2 * weights / ranks as u64;
    let learned = (2 + averages) * weights + moments;
    let checkpoint = (1 + averages) * weights + moments;
    // Gradients that are sent, and weights that come, of all ranks.
    let exchanged = if ranks > 1 { 2 * weights } else { 0 };
    let beside = if device.is_cpu() { checkpoint } else { 0 };
    let mut steps = Vec::new();
    for domain in domains.iter() {
        let view = model.view(domains.places(domain)?, domain.boundaries.clone())?;
        let view = view.seeing(InputReader::new(domain, &domains)?.places())?;
        for size in config.model.patches() {
            let patch = size.on(domain.space.len())?;
            let parts = config.optim.accumulate;
            let peak = |batch: usize| {
                let samples = batch.div_ceil(parts.max(ranks));
                let shape = [config.data.context, samples];
                let kept = step_bytes(&view, &patch, &domain.space, shape, limit)?;
                Ok(PROGRAM + learned + beside + exchanged + kept)
            };
            steps.push(StepMemory {
                data: domain.name.clone(),
                tokens: view.tokens(&patch, &domain.space)?,
                peak: peak(config.train.batch)?,
                largest_batch: largest(memory, peak)?,
                patch,
            });
        }
    }
    Ok(MemoryEstimate {
        parameters: model.parameters().count(),
        learned,
        checkpoint,
        steps,
    })
}

/// The largest batch whose peak is within some memory, where a peak grows with its batch.
fn largest(memory: u64, peak: impl Fn(usize) -> Result<u64>) -> Result<Option<usize>> {
    let mut fits = 0;
    let mut beyond = 1;
    while beyond < 1 << 20 && peak(beyond)? <= memory {
        (fits, beyond) = (beyond, 2 * beyond);
    }
    while fits + 1 < beyond {
        let middle = (fits + beyond) / 2;
        match peak(middle)? <= memory {
            true => fits = middle,
            false => beyond = middle,
        }
    }
    Ok((fits > 0).then_some(fits))
}

/// Bytes at the peak of a step of a model, its program included.
pub(crate) fn peak_bytes(
    model: &Surrogate,
    patch: &Patch,
    space: &[usize],
    shape: [usize; 2],
    limit: u64,
) -> Result<u64> {
    Ok(PROGRAM + learned_bytes(model) + step_bytes(model, patch, space, shape, limit)?)
}

/// Weights, their gradients and two moments.
fn learned_bytes(model: &Surrogate) -> u64 {
    4 * 4 * model.parameters().count() as u64
}

/// What a step adds, for `[time, batch]` frames.
fn step_bytes(
    model: &Surrogate,
    patch: &Patch,
    space: &[usize],
    [time, batch]: [usize; 2],
    limit: u64,
) -> Result<u64> {
    let tokens = model.tokens(patch, space)? as u64;
    let frames = (time * batch) as u64;
    let cells = space.iter().product::<usize>() as u64 * model.seen() as u64;
    let layers = match model.layers() {
        Layers::Transformer(layers) => layers,
        Layers::Baseline(layers) => {
            let kept = layers.kept(space, time * model.seen()) * batch as u64;
            return Ok(4 * (frames * FRAME_ARRAYS * cells + BASELINE_ARRAYS * kept));
        }
    };
    let (blocks, dim) = (layers.config.blocks as u64, layers.config.dim as u64);
    let features = layers.first_features(patch, space)?;
    let block = model
        .block_bytes(layers, tokens as usize, time * batch)
        .max(1);
    let kept = (limit / block).min(blocks);
    let again = blocks - kept;
    let arrays = 4 * frames * (FRAME_ARRAYS * cells + FEATURE_ARRAYS * features);
    let inputs = 4 * frames * tokens * dim * again;
    Ok(arrays + (kept + again.min(1)) * block + inputs)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_largest_batch_is_the_last_that_fits() {
        let peak = |batch: usize| Ok(100 + 7 * batch as u64);
        assert_eq!(largest(106, peak).unwrap(), None);
        for (memory, batch) in [(107, 1), (113, 1), (114, 2), (807, 101)] {
            assert_eq!(largest(memory, peak).unwrap(), Some(batch), "{memory}");
        }
    }
}
