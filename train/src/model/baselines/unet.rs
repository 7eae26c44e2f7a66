//! [`Unet`]: The Well's U-net (`UNetClassic`; Ronneberger et al. 2015, Takamoto et al. 2022), with batch norms and tanh.
//!
//! Four times two convolutions and a halving of the grid by the largest of its neighbours; two convolutions; and four
//! times a doubling and two convolutions that see what was there before the halving. Features double with each halving.

use candle_core::{D, Tensor};

use super::batch_norm::BatchNorm;
use super::conv::{Conv, ConvShape, Place, Transposed};
use super::{Setting, numbers};
use crate::Result;
use crate::config::UnetConfig;
use crate::model::Columns;
use crate::model::weight::Scope;
use crate::ops::{Tiling, unfold};

/// Halvings of the grid.
const LEVELS: usize = 4;

#[derive(Debug)]
pub(crate) struct Unet<T> {
    /// On the way down, the finest first.
    down: Vec<Block<T>>,
    bottleneck: Block<T>,
    /// On the way up, the coarsest first.
    up: Vec<(Transposed<T>, Block<T>)>,
    last: Transposed<T>,
    features: usize,
    axes: usize,
}

/// Two convolutions of three cells along each axis, each with a norm and tanh.
#[derive(Debug)]
struct Block<T>([(Conv<T>, BatchNorm<T>); 2]);

impl<T> Block<T> {
    /// `name` is what the names of its layers begin with.
    fn new(
        mut scope: Scope<'_, T>,
        name: &str,
        shape: ConvShape,
        columns: Option<Columns>,
    ) -> Result<Self> {
        let mut layer = |index: usize, shape: ConvShape, columns: Option<Columns>| {
            let conv = scope.within(format_args!("{name}conv{index}"));
            let conv = match columns {
                Some(columns) => Conv::first(conv, shape, columns, false)?,
                None => Conv::without_bias(conv, shape)?,
            };
            let norm = scope.within(format_args!("{name}norm{index}"));
            Ok::<_, crate::Error>((conv, BatchNorm::new(norm, shape.outputs)?))
        };
        let again = ConvShape {
            inputs: shape.outputs,
            ..shape
        };
        Ok(Self([layer(1, shape, columns)?, layer(2, again, None)?]))
    }
}

impl Block<Tensor> {
    fn forward(&self, x: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        let [(first, norm1), (second, norm2)] = &self.0;
        norm2.of(second, &norm1.of(first, x, setting)?, setting)
    }
}

impl<T> Unet<T> {
    pub(super) fn new(
        mut scope: Scope<'_, T>,
        config: &UnetConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        let features = config.init_features;
        let width = |level: usize| features << level;
        let shape = |cells, inputs, outputs| ConvShape {
            inputs,
            outputs,
            cells,
            axes,
        };
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for level in 0..LEVELS {
            let (inputs, columns) = match level {
                0 => (columns.of_context(), Some(columns)),
                _ => (width(level - 1), None),
            };
            let block = scope.within(format_args!("encoder{}", level + 1));
            let name = format!("enc{}", level + 1);
            down.push(Block::new(
                block,
                &name,
                shape(3, inputs, width(level)),
                columns,
            )?);
        }
        let coarsest = shape(3, width(LEVELS - 1), width(LEVELS));
        let bottleneck = Block::new(scope.within("bottleneck"), "bottleneck", coarsest, None)?;
        for level in (0..LEVELS).rev() {
            let (number, wide) = (level + 1, width(level));
            let finer = scope.within(format_args!("upconv{number}"));
            let finer = Transposed::new(finer, shape(2, 2 * wide, wide), Place::Within)?;
            let block = scope.within(format_args!("decoder{number}"));
            let block = Block::new(
                block,
                &format!("dec{number}"),
                shape(3, 2 * wide, wide),
                None,
            )?;
            up.push((finer, block));
        }
        let last = shape(1, features, columns.fields);
        Ok(Self {
            down,
            bottleneck,
            up,
            last: Transposed::new(scope.within("conv"), last, Place::Last)?,
            features,
            axes,
        })
    }
}

impl Unet<Tensor> {
    pub(super) fn forward(&self, x: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        let (mut x, mut skipped) = (x.clone(), Vec::new());
        for block in &self.down {
            let y = block.forward(&x, setting)?;
            x = largest_of_neighbours(&y, self.axes)?;
            skipped.push(y);
        }
        x = self.bottleneck.forward(&x, setting)?;
        for ((finer, block), skipped) in self.up.iter().zip(skipped.iter().rev()) {
            let y = Tensor::cat(&[&finer.forward(&x, setting)?, skipped], D::Minus1)?;
            x = block.forward(&y, setting)?;
        }
        self.last.forward(&x, setting)
    }
}

impl<T> Unet<T> {
    /// What is kept for the gradient, in numbers. Each convolution keeps its padded and unfolded input, its result, and that of norm and tanh; each level what is
    /// pooled, and put together.
    pub(super) fn kept(&self, space: &[usize], channels: usize) -> u64 {
        let cells = 3_usize.pow(self.axes as u32) + 1;
        let block = |inputs: usize, features: usize| cells * (inputs + features) + 4 * features;
        let mut sum = 0;
        for level in 0..=LEVELS {
            let grid: Vec<usize> = space.iter().map(|n| n >> level).collect();
            let wide = self.features << level;
            let inputs = if level == 0 { channels } else { wide / 2 };
            let down = block(inputs, wide);
            let up = if level == LEVELS {
                0
            } else {
                block(2 * wide, wide) + 6 * wide
            };
            sum += numbers(&grid, down + up);
        }
        sum
    }
}

/// The largest of 2 (4, 8) neighbours of each feature: half as many points along each axis. Where several are equal the
/// gradient goes to the first.
fn largest_of_neighbours(x: &Tensor, axes: usize) -> Result<Tensor> {
    let tiling = Tiling {
        space: x.dims()[1..=axes].to_vec(),
        kernel: vec![2; axes],
        stride: vec![2; axes],
    };
    let features = x.dim(D::Minus1)?;
    let rows = unfold(x, &tiling)?;
    let cell = |index: usize| rows.narrow(2, index * features, features)?.contiguous();
    let mut most = cell(0)?;
    for index in 1..1 << axes {
        let next = cell(index)?;
        most = most.ge(&next)?.where_cond(&most, &next)?;
    }
    let items = x.dim(0)?;
    Ok(most.reshape([&[items], tiling.grid().as_slice(), &[features]].concat())?)
}
