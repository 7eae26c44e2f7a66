//! The loss of a batch of frames and its gradients, for one step of training.

use candle_core::{Tensor, Var};
use wellspring_store::{Frames, Patch};

use crate::inputs::Example;
use crate::loss::Loss;
use crate::model::{Baseline, BatchStatistics, Layers, Perturbation, Surrogate, Transformer};
use crate::ops::{Gradients, Tape, backward_from};
use crate::revin::Revin;
use crate::{Error, Result};

/// The loss of the normalized change, over every context frame for a causal model, else the last: a
/// scalar that `backward` can start from. Frames are (T + 1, B, C, *space).
///
/// # Errors
/// As [`Surrogate::forward`].
pub fn training_loss<'a>(
    model: &Surrogate,
    example: impl Into<Example<'a>>,
    patch: &Patch,
    perturbation: &Perturbation,
    loss: &Loss,
) -> Result<Tensor> {
    let example = example.into();
    let time = context(example.frames, 1)?;
    let revin = Revin::of(example.frames, time, &model.device())?;
    let input = example.input(&revin)?;
    let output = model.forward_perturbed(&input, patch, perturbation)?;
    let target = revin.target(time - output.dim(0)?)?;
    loss.of(&output, &target)
}

/// [`training_gradients_by_block`] for who waits for all of them.
///
/// # Errors
/// As [`Surrogate::forward`].
pub fn training_gradients<'a>(
    model: &Surrogate,
    example: impl Into<Example<'a>>,
    patch: &Patch,
    perturbation: &Perturbation,
    loss: &Loss,
    limit: u64,
) -> Result<(Tensor, Gradients)> {
    let wait = &mut |_: usize, _: &Gradients| Ok(());
    training_gradients_by_block(model, example, patch, perturbation, loss, limit, wait)
}

/// The loss of [`training_loss`] as a constant, and its gradients; where the model has running statistics, what they are to
/// move by is among them. `limit` is the memory, in bytes, for what a transformer's blocks
/// keep for their backward pass. The first blocks keep only their input where all would not fit, and are computed again when
/// their gradient is due (Chen et al. 2016): at most one more forward pass for a memory that hardly
/// grows with depth.
///
/// `ready` is told, now and then, from which block on the gradients are whole. A baseline has no such blocks.
///
/// # Errors
/// As [`Surrogate::forward`], and what `ready` gives.
pub fn training_gradients_by_block<'a>(
    model: &Surrogate,
    example: impl Into<Example<'a>>,
    patch: &Patch,
    perturbation: &Perturbation,
    loss: &Loss,
    limit: u64,
    ready: &mut dyn FnMut(usize, &Gradients) -> Result<()>,
) -> Result<(Tensor, Gradients)> {
    let example = example.into();
    let time = context(example.frames, 1)?;
    let revin = Revin::of(example.frames, time, &model.device())?;
    let step = Step {
        model,
        patch,
        input: example.input(&revin)?,
        revin,
        time,
        loss,
    };
    match model.layers() {
        Layers::Transformer(layers) => step.by_block(layers, perturbation, limit, ready),
        Layers::Baseline(layers) => step.whole(layers),
    }
}

/// A step on a batch of normalized frames.
struct Step<'a> {
    model: &'a Surrogate,
    patch: &'a Patch,
    input: Tensor,
    revin: Revin<'a>,
    time: usize,
    loss: &'a Loss,
}

impl Step<'_> {
    /// The loss of a model's output.
    fn loss_of(&self, output: &Tensor) -> Result<Tensor> {
        let target = self.revin.target(self.time - output.dim(0)?)?;
        self.loss.of(output, &target)
    }

    /// From one graph of the whole model.
    fn whole(&self, layers: &Baseline<Tensor>) -> Result<(Tensor, Gradients)> {
        let statistics = BatchStatistics::default();
        let model = self.model;
        let output = model.on_grid(layers, &self.input, self.patch, Some(&statistics))?;
        let loss = self.loss_of(&output)?;
        let mut gradients = Gradients::default();
        gradients.take(&mut loss.backward()?, model.parameters().variables())?;
        statistics.add_to(&mut gradients)?;
        Ok((loss.detach(), gradients))
    }

    /// From graphs of the blocks of a transformer.
    fn by_block(
        &self,
        layers: &Transformer,
        perturbation: &Perturbation,
        limit: u64,
        ready: &mut dyn FnMut(usize, &Gradients) -> Result<()>,
    ) -> Result<(Tensor, Gradients)> {
        let Self {
            model,
            patch,
            input,
            ..
        } = self;
        let pass = model.pass(layers, input, patch, perturbation)?;
        let blocks = layers.config.blocks;
        let tokens = pass.encode(input)?;
        let kept = (limit / pass.block_bytes().max(1)).min(blocks as u64) as usize;
        let again = blocks - kept;

        let mut inputs = Vec::new();
        let mut at = tokens.detach();
        if again > 0 {
            let frozen = layers.frozen(model)?;
            let quick = model.pass(&frozen, input, patch, perturbation)?;
            for block in 0..again {
                inputs.push(at.clone());
                at = quick.blocks(&at, block..block + 1)?;
            }
        }
        let mut gradients = Gradients::default();
        let (output, tape) = Tape::record(&at, || pass.blocks(&at, again..blocks))?;
        let (value, slope) = {
            let end = Var::from_tensor(&output)?;
            let loss = self.loss_of(&pass.decode(&end)?)?;
            let mut found = loss.backward()?;
            gradients.take(&mut found, model.parameters().variables())?;
            (loss.detach(), slope_of(found.remove(&end), &end)?)
        };
        tape.backward(&output, slope, &mut gradients)?;
        ready(again, &gradients)?;
        let mut slope = slope_of(gradients.remove(&at), &at)?;
        for (block, input) in inputs.into_iter().enumerate().rev() {
            let (output, tape) = Tape::record(&input, || pass.blocks(&input, block..block + 1))?;
            tape.backward(&output, slope, &mut gradients)?;
            ready(block, &gradients)?;
            slope = slope_of(gradients.remove(&input), &input)?;
        }
        let mut found = backward_from(&tokens, slope)?;
        gradients.take(&mut found, model.parameters().variables())?;
        Ok((value, gradients))
    }
}

/// dL/dx cut off from any graph, zero where nothing came of x.
fn slope_of(slope: Option<Tensor>, x: &Tensor) -> Result<Tensor> {
    Ok(slope.map_or_else(|| x.zeros_like(), |slope| Ok(slope.detach()))?)
}

/// Number of frames of the context, if the last `future` frames are its future.
fn context(frames: &Frames, future: usize) -> Result<usize> {
    let time = frames.time().checked_sub(future).filter(|&time| time > 0);
    time.ok_or_else(|| Error::Shape {
        what: "frames in time",
        expected: format!("at least {}", future + 1),
        found: frames.time().to_string(),
    })
}

/// The frame after a context (T, B, C, *space) in the units of the context: (1, B, C, *space).
///
/// # Errors
/// As [`Surrogate::forward`].
pub fn predict<'a>(
    model: &Surrogate,
    context: impl Into<Example<'a>>,
    patch: &Patch,
) -> Result<Frames> {
    let example = context.into();
    let time = self::context(example.frames, 0)?;
    let revin = Revin::of(example.frames, time, &model.device())?;
    let input = example.input(&revin)?;
    revin.next(&model.frozen()?.predict(&input, patch)?)
}
