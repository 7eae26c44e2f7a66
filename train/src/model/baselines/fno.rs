//! [`Fno`]: the Fourier neural operator (Li et al. 2021), and with its weights in Tucker factors the tensorized one
//! (Kossaifi et al. 2024), as The Well's benchmark has them: `neuraloperator` 0.3.
//!
//! A pointwise lifting through 256 features; four layers y = gelu(F⁻¹ R F x + b + W x), the last without gelu; and a
//! pointwise projection through 256 features. Of each axis `modes` frequencies have weights R. Tucker's factors are
//! as wide as the axes of R, which is the package's default. One difference: along an axis of odd length, but for the
//! last, the package moves each frequency by one on the way back; here they stay.

use candle_core::Tensor;

use super::conv::{Conv, ConvShape};
use super::spectral::{Transforms, half};
use super::{Setting, numbers};
use crate::config::FnoConfig;
use crate::model::Columns;
use crate::model::weight::{Initial, Scope};
use crate::ops::{gelu, linear};
use crate::{Precision, Result};

/// Fourier layers.
const LAYERS: usize = 4;

/// Features between the two maps of lifting and projection.
const WIDE: usize = 256;

/// How weights of frequencies are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factors {
    Dense,
    Tucker,
}

#[derive(Debug)]
pub(crate) struct Fno<T> {
    lifting: [Conv<T>; 2],
    layers: Vec<FourierLayer<T>>,
    /// The biases of all layers: (layers, hidden, 1, …).
    bias: T,
    projection: [Conv<T>; 2],
    modes: usize,
    hidden: usize,
}

#[derive(Debug)]
struct FourierLayer<T> {
    spectrum: Spectrum<T>,
    /// (hidden, hidden, 1, …)
    skip: T,
}

/// Complex weights of frequencies (in, out, *modes), the last axis of each array being real and imaginary parts.
#[derive(Debug)]
enum Spectrum<T> {
    Dense(T),
    /// A core, and for each of its axes a factor (to, from).
    Tucker(T, Vec<T>),
}

impl<T> Fno<T> {
    pub(super) fn new(
        mut scope: Scope<'_, T>,
        config: &FnoConfig,
        factors: Factors,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        let FnoConfig { modes, hidden } = *config;
        let shape = |inputs, outputs| ConvShape {
            inputs,
            outputs,
            cells: 1,
            axes,
        };
        let mut scope = scope.within("model");
        let mut lifting = scope.within("lifting");
        let into = shape(columns.of_context(), WIDE);
        let lifting = [
            Conv::first(lifting.within("fcs.0"), into, columns, true)?,
            Conv::new(lifting.within("fcs.1"), shape(WIDE, hidden))?,
        ];
        let mut blocks = scope.within("fno_blocks");
        let ones = vec![1; axes];
        let skip = [&[hidden, hidden], ones.as_slice()].concat();
        let mut layers = Vec::new();
        for index in 0..LAYERS {
            let weight = blocks.within(format_args!("convs.weight.{index}"));
            let spectrum = Spectrum::new(weight, factors, hidden, &kept(modes, axes))?;
            let name = format!("fno_skips.{index}.weight");
            let skip = blocks.weight(&name, &skip, Initial::convolution(&skip))?;
            layers.push(FourierLayer { spectrum, skip });
        }
        let bias = [&[LAYERS, hidden], ones.as_slice()].concat();
        let bias = blocks.weight("convs.bias", &bias, Initial::Scaled(deviation(hidden)))?;
        let mut projection = scope.within("projection");
        Ok(Self {
            lifting,
            layers,
            bias,
            projection: [
                Conv::new(projection.within("fcs.0"), shape(hidden, WIDE))?,
                Conv::last(projection.within("fcs.1"), shape(WIDE, columns.fields))?,
            ],
            modes,
            hidden,
        })
    }

    /// What is kept for the gradient, in numbers. A point keeps the features of lifting and projection, before and after gelu,
    /// and each layer its input in two
    /// layouts, what comes back of the spectrum in two layouts, the skip, and their sum before and after gelu.
    pub(super) fn kept(&self, space: &[usize]) -> u64 {
        numbers(space, 4 * WIDE + 8 * LAYERS * self.hidden)
    }
}

/// Frequencies of each axis that have weights.
fn kept(modes: usize, axes: usize) -> Vec<usize> {
    let mut kept = vec![modes; axes - 1];
    kept.push(half(modes));
    kept
}

/// The standard deviation of a Fourier layer's first weights.
fn deviation(hidden: usize) -> f64 {
    1.0 / (hidden as f64).sqrt()
}

impl<T> Spectrum<T> {
    fn new(
        mut scope: Scope<'_, T>,
        factors: Factors,
        hidden: usize,
        kept: &[usize],
    ) -> Result<Self> {
        let shape = [&[hidden, hidden], kept].concat();
        // A complex number's variance is shared by its parts.
        let parts = |sigma: f64| Initial::Scaled(sigma / 2_f64.sqrt());
        let complex = |shape: &[usize]| [shape, &[2]].concat();
        let sigma = deviation(hidden);
        match factors {
            Factors::Dense => Ok(Self::Dense(scope.weight(
                "tensor",
                &complex(&shape),
                parts(sigma),
            )?)),
            Factors::Tucker => {
                let ranks: f64 = shape.iter().map(|&rank| (rank as f64).sqrt()).product();
                let each = parts((sigma / ranks).powf(1.0 / (shape.len() as f64 + 1.0)));
                let core = scope.weight("core", &complex(&shape), each)?;
                let factors = shape.iter().enumerate();
                let factors = factors.map(|(axis, &n)| {
                    scope.weight(&format!("factors.factor_{axis}"), &[n, n, 2], each)
                });
                Ok(Self::Tucker(core, factors.collect::<Result<_>>()?))
            }
        }
    }
}

impl Spectrum<Tensor> {
    /// (in, out, *modes, 2)
    fn weight(&self) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => Ok(weight.clone()),
            Self::Tucker(core, factors) => {
                let mut weight = core.clone();
                for (axis, factor) in factors.iter().enumerate() {
                    weight = along(&weight, axis, factor)?;
                }
                Ok(weight)
            }
        }
    }
}

/// Multiplies an axis of complex numbers (…, 2) by a complex matrix (to, from, 2).
fn along(x: &Tensor, axis: usize, factor: &Tensor) -> Result<Tensor> {
    let (to, from, _) = factor.dims3()?;
    let part = |index: usize| factor.narrow(2, index, 1)?.squeeze(2);
    let (real, imaginary) = (part(0)?, part(1)?);
    let matrix = Tensor::cat(
        &[
            Tensor::cat(&[&real, &imaginary.neg()?], 1)?,
            Tensor::cat(&[&imaginary, &real], 1)?,
        ],
        0,
    )?;
    // The parts and then the axis come last.
    let parts = x.rank() - 1;
    let rest = (0..parts).filter(|&other| other != axis);
    let order: Vec<usize> = rest.chain([parts, axis]).collect();
    let mut shape: Vec<usize> = order.iter().map(|&axis| x.dims()[axis]).collect();
    let rows = x
        .permute(order.as_slice())?
        .contiguous()?
        .reshape(((), 2 * from))?;
    let y = linear(&rows, &matrix, None, Precision::F32)?;
    shape[parts] = to;
    let mut back = vec![0; x.rank()];
    order
        .iter()
        .enumerate()
        .for_each(|(place, &axis)| back[axis] = place);
    Ok(y.reshape(shape)?.permute(back)?)
}

impl Fno<Tensor> {
    pub(super) fn forward(&self, x: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        let pointwise = |[wide, narrow]: &[Conv<Tensor>; 2], x: &Tensor| {
            narrow.forward(&gelu(&wide.forward(x, setting)?)?, setting)
        };
        let mut x = pointwise(&self.lifting, x)?;
        let space = &x.dims()[1..x.rank() - 1];
        let transforms = Transforms::new(space, self.modes, x.device())?;
        for (index, layer) in self.layers.iter().enumerate() {
            let skip = layer.skip.reshape((self.hidden, self.hidden))?;
            let bias = self.bias.get(index)?.flatten_all()?;
            let skipped = linear(&x, &skip, Some(&bias), setting.precision)?;
            let y = transforms.convolve(&x, &layer.spectrum.weight()?)?;
            let sum = (y + skipped)?;
            x = match index + 1 < LAYERS {
                true => gelu(&sum)?,
                false => sum,
            };
        }
        pointwise(&self.projection, &x)
    }
}
