//! One step of training, without what surrounds it: the loss of a batch of frames.

use candle_core::{Device, Tensor};
use wellspring_store::{Frames, Patch};

use crate::Result;
use crate::model::{Perturbation, Surrogate};
use crate::revin::Revin;

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
    let time = frames.time() - 1;
    let revin = Revin::of(frames, time);
    let input = revin.input(frames, time, device)?;
    let output = model.forward_perturbed(&input, patch, perturbation)?;
    let target = revin.target(frames, time - output.dim(0)?, device)?;
    Ok((output - target)?.sqr()?.mean_all()?)
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
    let time = context.time();
    let revin = Revin::of(context, time);
    let output = model.forward(&revin.input(context, time, device)?.detach(), patch)?;
    let last = output.narrow(0, output.dim(0)? - 1, 1)?;
    revin.next(&context.frame(time - 1), &last)
}
