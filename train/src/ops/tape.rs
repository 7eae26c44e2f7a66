//! Reverse-mode differentiation for the blocks of a step: a tape records the ops and replays them backwards.
//!
//! Candle's own graph starts every gradient with zeros and adds to it: a buffer is filled and a sum is made
//! for each argument of each op. That takes a third of a step on a GPU, and on a CPU it runs on one thread.
//! On a tape the first gradient of a tensor is the op's result, and two gradients are added only if a
//! tensor was used twice. The tensors of a record are freed as soon as its gradient is known.
//!
//! While a thread records, the functions of this module record each op over a tensor that learns: a
//! variable, a watched tensor, or a result of these. Otherwise they leave it to Candle's graph.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Shape, Tensor, TensorId, Var, bail};

use super::gradients::Gradients;
use super::join::joined;
use super::kept::{Recipe, SavedTensor};
use super::seed::backward_from;

/// Gives the gradients of an op's inputs from those of its outputs.
type Backward = Box<dyn Fn(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>>;

struct Record {
    /// Those that learn; none in the place of one that does not.
    inputs: Vec<Option<TensorId>>,
    outputs: Vec<TensorId>,
    backward: Backward,
}

#[derive(Default)]
struct Recording {
    on: bool,
    records: Vec<Record>,
    learns: HashSet<TensorId>,
    /// How tensors that are not kept are made again.
    recipes: HashMap<TensorId, Rc<Recipe>>,
}

thread_local! {
    static RECORDING: RefCell<Recording> = RefCell::default();
}

/// What a thread recorded.
pub(crate) struct Tape {
    records: Vec<Record>,
    learns: HashSet<TensorId>,
}

impl Tape {
    /// Records the ops of `body` over variables and over `start`, which is watched.
    ///
    /// # Errors
    /// Those of `body`.
    pub(crate) fn record<E>(
        start: &Tensor,
        body: impl FnOnce() -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<(Tensor, Self), E> {
        let recording = OuterRecording::begin(Recording {
            on: true,
            learns: HashSet::from([start.id()]),
            ..Recording::default()
        });
        let output = body()?;
        let Recording {
            records, learns, ..
        } = recording.end();
        Ok((output, Self { records, learns }))
    }

    /// Adds the gradients of variables and of what was watched, from that of an output.
    ///
    /// # Errors
    /// Those of the ops.
    pub(crate) fn backward(
        self,
        output: &Tensor,
        gradient: Tensor,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let _learns = OuterRecording::begin(Recording {
            learns: self.learns,
            ..Recording::default()
        });
        gradients.add(output, gradient)?;
        for record in self.records.into_iter().rev() {
            let outputs = record.outputs.iter();
            let slopes: Vec<_> = outputs.map(|id| gradients.0.remove(id)).collect();
            if slopes.iter().all(Option::is_none) {
                continue;
            }
            let found = (record.backward)(&slopes)?;
            if found.len() != record.inputs.len() {
                bail!(
                    "{} gradients for {} inputs",
                    found.len(),
                    record.inputs.len()
                );
            }
            for (input, gradient) in record.inputs.into_iter().zip(found) {
                if let (Some(input), Some(gradient)) = (input, gradient) {
                    gradients.add_to(input, gradient)?;
                }
            }
        }
        Ok(())
    }
}

/// The thread's recording for a while; the one before comes back after it.
struct OuterRecording(Option<Recording>);

impl OuterRecording {
    fn begin(recording: Recording) -> Self {
        Self(Some(RECORDING.replace(recording)))
    }

    fn end(mut self) -> Recording {
        RECORDING.replace(self.0.take().unwrap_or_default())
    }
}

impl Drop for OuterRecording {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            RECORDING.set(before);
        }
    }
}

/// Whether a gradient of a tensor is wanted, by the tape or by Candle's graph.
pub(super) fn learns(x: &Tensor) -> bool {
    x.track_op() || RECORDING.with_borrow(|recording| recording.learns.contains(&x.id()))
}

/// Lets a tensor learn, which stands for one that was recorded.
fn learn(x: &Tensor) {
    RECORDING.with_borrow_mut(|recording| recording.learns.insert(x.id()));
}

/// Whether this thread records.
pub(super) fn is_on() -> bool {
    RECORDING.with_borrow(|recording| recording.on)
}

/// Writes an op down, if one of its inputs learns.
fn push(
    inputs: &[&Tensor],
    outputs: &[&Tensor],
    backward: impl Fn(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> + 'static,
) {
    let inputs = inputs.iter().map(|input| learns(input).then(|| input.id()));
    let inputs: Vec<Option<TensorId>> = inputs.collect();
    if inputs.iter().all(Option::is_none) {
        return;
    }
    let outputs: Vec<TensorId> = outputs.iter().map(|output| output.id()).collect();
    RECORDING.with_borrow_mut(|recording| {
        recording.learns.extend(&outputs);
        recording.records.push(Record {
            inputs,
            outputs,
            backward: Box::new(backward),
        });
    });
}

/// What a record keeps of a tensor.
pub(super) fn kept(x: &Tensor) -> SavedTensor {
    let recipe = RECORDING.with_borrow(|recording| recording.recipes.get(&x.id()).cloned());
    recipe.map_or_else(|| SavedTensor::Tensor(x.clone()), SavedTensor::Recipe)
}

/// Has records keep the recipe of a tensor in its stead.
pub(super) fn make_again(x: &Tensor, make: impl Fn() -> Result<Tensor> + 'static) {
    let recipe = Rc::new(Recipe::new(move || {
        let made = make()?;
        learn(&made);
        Ok(made)
    }));
    RECORDING.with_borrow_mut(|recording| recording.recipes.insert(x.id(), recipe));
}

/// Writes an op of one output down.
pub(super) fn push_one(
    inputs: &[&Tensor],
    output: &Tensor,
    backward: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + 'static,
) {
    push(inputs, &[output], move |slopes| match slopes {
        [Some(slope)] => backward(slope),
        _ => bail!("an op of one output got {} gradients", slopes.len()),
    });
}

/// An op of one input.
pub(super) fn apply1(x: &Tensor, op: impl CustomOp1 + Send + Sync + 'static) -> Result<Tensor> {
    if !is_on() {
        return x.apply_op1(op);
    }
    let y = x.apply_op1_no_bwd(&op)?;
    let (input, result) = (x.clone(), y.clone());
    push_one(&[x], &y, move |dy| Ok(vec![op.bwd(&input, &result, dy)?]));
    Ok(y)
}

/// An op of two inputs.
pub(super) fn apply2(
    [a, b]: [&Tensor; 2],
    op: impl CustomOp2 + Send + Sync + 'static,
) -> Result<Tensor> {
    if !is_on() {
        return a.apply_op2(b, op);
    }
    let y = a.apply_op2_no_bwd(b, &op)?;
    let (first, second, result) = (a.clone(), b.clone(), y.clone());
    push_one(&[a, b], &y, move |dy| {
        let (da, db) = op.bwd(&first, &second, &result, dy)?;
        Ok(vec![da, db])
    });
    Ok(y)
}

/// An op of three inputs.
pub(super) fn apply3(
    [a, b, c]: [&Tensor; 3],
    op: impl CustomOp3 + Send + Sync + 'static,
) -> Result<Tensor> {
    if !is_on() {
        return a.apply_op3(b, c, op);
    }
    let y = a.apply_op3_no_bwd(b, c, &op)?;
    let (first, second, third, result) = (a.clone(), b.clone(), c.clone(), y.clone());
    push_one(&[a, b, c], &y, move |dy| {
        let (da, db, dc) = op.bwd(&first, &second, &third, &result, dy)?;
        Ok(vec![da, db, dc])
    });
    Ok(y)
}

/// Any function of tensors by Candle's operations, whose own graph gives the gradients.
pub(super) fn composed<const N: usize>(
    inputs: [&Tensor; N],
    function: impl Fn([&Tensor; N]) -> Result<Tensor>,
) -> Result<Tensor> {
    if !is_on() {
        return function(inputs);
    }
    let leaves = inputs
        .iter()
        .map(|input| Var::from_tensor(&input.detach()))
        .collect::<Result<Vec<_>>>()?;
    let graph = function(std::array::from_fn(|i| leaves[i].as_tensor()))?;
    let y = graph.detach();
    push_one(&inputs, &y, move |dy| {
        let mut found = backward_from(&graph, dy.clone())?;
        Ok(leaves.iter().map(|leaf| found.remove(leaf)).collect())
    });
    Ok(y)
}

/// Reshapes a tensor; the gradient takes the old shape again.
pub(crate) fn reshape(x: &Tensor, shape: impl Into<Shape>) -> Result<Tensor> {
    if !is_on() {
        return x.reshape(shape.into());
    }
    let (y, before) = (x.detach().reshape(shape.into())?, x.shape().clone());
    if let whole @ SavedTensor::Recipe(_) = kept(x) {
        let shape = y.shape().clone();
        make_again(&y, move || whole.tensor()?.reshape(&shape));
    }
    push_one(&[x], &y, move |dy| Ok(vec![Some(dy.reshape(&before)?)]));
    Ok(y)
}

/// Copies a tensor as `prepare` does, which must keep its shape; the gradient passes unchanged.
pub(super) fn laid(x: &Tensor, prepare: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let y = prepare(x)?;
    if !is_on() || y.id() == x.id() {
        return Ok(y);
    }
    let y = y.detach();
    push_one(&[x], &y, |dy| Ok(vec![Some(dy.clone())]));
    Ok(y)
}

/// Makes a tensor contiguous; the gradient passes unchanged.
pub(super) fn contiguous(x: &Tensor) -> Result<Tensor> {
    laid(x, Tensor::contiguous)
}

/// Parts of a tensor along its first axis, by their lengths, which add up to its own.
pub(crate) fn split<const N: usize>(x: &Tensor, lengths: [usize; N]) -> Result<[Tensor; N]> {
    let whole = if is_on() { x.detach() } else { x.clone() };
    let mut from = 0;
    let parts = lengths.map(|length| {
        from += length;
        whole.narrow(0, from - length, length)
    });
    let parts: Vec<Tensor> = parts.into_iter().collect::<Result<_>>()?;
    let parts: [Tensor; N] = std::array::from_fn(|i| parts[i].clone());
    if is_on() {
        let shapes = parts
            .clone()
            .map(|part| (part.shape().clone(), part.dtype()));
        let device = x.device().clone();
        push(&[x], &parts.each_ref(), move |slopes| {
            let slopes = slopes.iter().zip(&shapes);
            let slopes = slopes.map(|(slope, (shape, dtype))| match slope {
                Some(slope) => Ok(slope.clone()),
                None => Tensor::zeros(shape, *dtype, &device),
            });
            let slopes = slopes.collect::<Result<Vec<_>>>()?;
            Ok(vec![Some(joined(&slopes)?)])
        });
    }
    Ok(parts)
}

/// Tensors one after another along their first axis.
pub(crate) fn cat<const N: usize>(parts: [&Tensor; N]) -> Result<Tensor> {
    if !is_on() {
        return Tensor::cat(&parts, 0);
    }
    let y = joined(&parts.map(Tensor::detach))?;
    let lengths = parts.map(|part| part.dims().first().copied().unwrap_or(1));
    push_one(&parts, &y, move |dy| {
        let mut from = 0;
        let slices = lengths.iter().map(|&length| {
            from += length;
            Ok(Some(dy.narrow(0, from - length, length)?))
        });
        slices.collect()
    });
    Ok(y)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::Precision;
    use crate::ops::testing::close;
    use crate::ops::{gelu, layer_scale, linear, residual};

    /// A layer with all that a tape knows: parts of a weight, a weight of joined parts, a residual.
    fn layer(x: &Tensor, w: &Tensor, gamma: [&Tensor; 2]) -> Result<Tensor> {
        let [up, down] = split(w, [6, 4])?;
        let hidden = gelu(&linear(x, &up, None, Precision::F32)?)?;
        let gamma = cat(gamma)?;
        let down = reshape(&layer_scale(&down, &gamma, DType::F32)?, (4, 4))?;
        let hidden = reshape(&hidden, (2, 9, 4))?;
        let y = linear(&hidden, &down, None, Precision::F32)?;
        let y = reshape(&composed([&y], |[y]| y.sqr())?, (3, 6, 4))?;
        residual(&reshape(&y, (3, 6, 4))?, &y, None, None)
    }

    #[test]
    fn gradients_are_those_of_candles_graph() {
        let values = |n: usize, seed: usize| -> Vec<f32> {
            (0..n)
                .map(|i| ((i * 7 + seed) as f32 * 0.37).sin())
                .collect()
        };
        let var = |shape: &[usize], seed| {
            let count = shape.iter().product();
            let values = Tensor::from_vec(values(count, seed), shape, &Device::Cpu);
            Var::from_tensor(&values.unwrap()).unwrap()
        };
        let (x, w) = (var(&[3, 4, 4], 1), var(&[10, 4], 2));
        let gamma = [var(&[1], 3), var(&[3], 4)];
        let seed = Tensor::from_vec(values(72, 5), (3, 6, 4), &Device::Cpu).unwrap();
        let run = || layer(&x, &w, [&gamma[0], &gamma[1]]).unwrap();

        let expected = (run() * &seed)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        let (y, tape) = Tape::record(&x, || Ok::<_, candle_core::Error>(run())).unwrap();
        let mut found = Gradients::default();
        tape.backward(&y, seed, &mut found).unwrap();
        for var in [&x, &w, &gamma[0], &gamma[1]] {
            let found = found.get(var).expect("a gradient");
            close(found, expected.get(var).unwrap(), 1e-6, "gradient");
        }
        assert!(!is_on() && !y.track_op());
    }
}
