//! One step of training, without what surrounds it: the loss of a batch of frames.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use wellspring_store::{Frames, Patch};

use crate::model::{Perturbation, Surrogate};
use crate::ops::mse;
use crate::revin::Revin;
use crate::{Error, Result};

/// Mean squared error of the normalised change, over every context frame for a causal model, else
/// the last: a scalar that `backward` can start from. Frames are (T + 1, B, C, *space).
///
/// # Errors
/// As [`Surrogate::forward`].
pub fn training_loss(
    model: &Surrogate,
    frames: &Frames,
    patch: &Patch,
    perturbation: &Perturbation,
    device: &Device,
) -> Result<Tensor> {
    let time = context(frames, 1)?;
    let revin = Revin::of(frames, time);
    let input = revin.input(frames, time, device)?;
    let output = model.forward_perturbed(&input, patch, perturbation)?;
    let target = revin.target(frames, time - output.dim(0)?, device)?;
    Ok(mse(&output, &target)?)
}

/// The same loss and its gradients, within a limit of memory for what blocks keep for their backward
/// pass. The first blocks keep only their input where all would not fit, and are computed again when
/// their gradient is due (Chen et al. 2016): at most one more forward pass for a memory that hardly
/// grows with depth.
///
/// # Errors
/// As [`Surrogate::forward`].
pub fn training_gradients(
    model: &Surrogate,
    frames: &Frames,
    patch: &Patch,
    perturbation: &Perturbation,
    limit: u64,
    device: &Device,
) -> Result<(f32, GradStore)> {
    let time = context(frames, 1)?;
    let revin = Revin::of(frames, time);
    let input = revin.input(frames, time, device)?;
    let pass = model.pass(&input, patch, perturbation)?;
    let blocks = model.config().blocks;
    let tokens = pass.encode(&input)?;
    let kept = (limit / pass.block_bytes(&tokens).max(1)).min(blocks as u64) as usize;
    let again = blocks - kept;

    let mut inputs = Vec::new();
    let mut at = tokens.detach();
    if again > 0 {
        let frozen = model.frozen();
        let quick = frozen.pass(&input, patch, perturbation)?;
        for block in 0..again {
            inputs.push(at.clone());
            at = quick.blocks(&at, block..block + 1)?;
        }
    }
    let start = Var::from_tensor(&at)?;
    let (value, mut gradients) = {
        let output = pass.decode(&pass.blocks(&start, again..blocks)?)?;
        let target = revin.target(frames, time - output.dim(0)?, device)?;
        let loss = mse(&output, &target)?;
        (loss.to_scalar()?, loss.backward()?)
    };
    let mut slope = slope_of(&mut gradients, &start)?;
    for (block, input) in inputs.into_iter().enumerate().rev() {
        let input = Var::from_tensor(&input)?;
        let output = pass.blocks(&input, block..block + 1)?;
        let mut found = (output * slope)?.sum_all()?.backward()?;
        slope = slope_of(&mut found, &input)?;
        take(&mut gradients, &mut found, model);
    }
    let mut found = (tokens * slope)?.sum_all()?.backward()?;
    take(&mut gradients, &mut found, model);
    Ok((value, gradients))
}

/// dL/dx, cut off from the graph that it came from.
fn slope_of(gradients: &mut GradStore, x: &Var) -> Result<Tensor> {
    let slope = gradients.remove(x);
    Ok(slope.map_or_else(|| x.zeros_like(), |slope| Ok(slope.detach()))?)
}

/// Moves the gradients of weights, which no other part of the pass shares.
fn take(gradients: &mut GradStore, found: &mut GradStore, model: &Surrogate) {
    for (_, var) in model.parameters().iter() {
        if let Some(gradient) = found.remove(var) {
            gradients.insert(var, gradient);
        }
    }
}

/// Frames of a context, of which so many are its future.
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
pub fn predict(
    model: &Surrogate,
    context: &Frames,
    patch: &Patch,
    device: &Device,
) -> Result<Frames> {
    let time = self::context(context, 0)?;
    let revin = Revin::of(context, time);
    let input = revin.input(context, time, device)?;
    let (frozen, still) = (model.frozen(), Perturbation::none());
    let pass = frozen.pass(&input, patch, &still)?;
    let tokens = pass.blocks(&pass.encode(&input)?, 0..model.config().blocks)?;
    revin.next(&context.frame(time - 1), &pass.decode_last(&tokens)?)
}
