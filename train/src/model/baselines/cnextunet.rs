//! [`CnextUnet`]: The Well's U-net of ConvNeXt blocks (`UNetConvNext`; Liu et al. 2022, Ronneberger et al. 2015).
//!
//! A convolution, four stages of blocks that each end in a halving of the grid, one of a block alone, four that each end
//! in a doubling and, but for the first, begin with a pointwise map of what comes and of what was there before the
//! halving; and a convolution.

use candle_core::{D, Tensor};

use super::conv::{Conv, ConvShape, Place, Transposed};
use super::{Setting, numbers};
use crate::Result;
use crate::config::CnextUnetConfig;
use crate::model::Columns;
use crate::model::layers::{Linear, Norm};
use crate::model::weight::{Initial, Scope};
use crate::ops::{PaddingMode, View, depthwise, gelu, residual, window};

/// Halvings of the grid.
const LEVELS: usize = 4;

/// Cells of a depthwise kernel along each axis.
const WINDOW: usize = 7;

/// Features between the two maps of a block, for each of its own.
const WIDER: usize = 4;

/// ε of all norms.
const EPSILON: f64 = 1e-6;

#[derive(Debug)]
pub(crate) struct CnextUnet<T> {
    first: Conv<T>,
    /// The finest first.
    down: Vec<DownStage<T>>,
    neck: Block<T>,
    /// The coarsest first.
    up: Vec<UpStage<T>>,
    last: Conv<T>,
    features: usize,
    axes: usize,
}

/// x + γ ∘ W₂ gelu(W₁ norm(depthwise convolution of x)).
#[derive(Debug)]
struct Block<T> {
    /// (C, 1, *7)
    kernel: T,
    bias: T,
    norm: Norm<T>,
    up: Linear<T>,
    down: Linear<T>,
    gamma: T,
    axes: usize,
}

/// Scales the features of each point to length 1, and then each by its gain; the bias is there, and is not used.
#[derive(Debug)]
struct UnitNorm<T> {
    gain: T,
    #[expect(dead_code, reason = "the package has it and does not use it either")]
    bias: T,
}

/// Blocks, and a halving of the grid.
#[derive(Debug)]
struct DownStage<T> {
    blocks: Vec<Block<T>>,
    norm: UnitNorm<T>,
    coarser: Conv<T>,
}

/// A map of what comes and what was there before, blocks, and a doubling of the grid.
#[derive(Debug)]
struct UpStage<T> {
    joined: Option<Conv<T>>,
    blocks: Vec<Block<T>>,
    norm: UnitNorm<T>,
    finer: Transposed<T>,
}

impl<T> CnextUnet<T> {
    pub(super) fn new(
        mut scope: Scope<'_, T>,
        config: &CnextUnetConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        let features = config.init_features;
        let shape = |cells, inputs, outputs| ConvShape {
            inputs,
            outputs,
            cells,
            axes,
        };
        let blocks = |scope: &mut Scope<'_, T>, wide: usize| {
            let block =
                |index: usize| Block::new(scope.within(format_args!("blocks.{index}")), wide, axes);
            (0..config.blocks_per_stage)
                .map(block)
                .collect::<Result<Vec<_>>>()
        };
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for level in 0..LEVELS {
            let wide = features << level;
            let mut stage = scope.within(format_args!("encoder.{level}"));
            let blocks = blocks(&mut stage, wide)?;
            let mut resample = stage.within("resample.block");
            down.push(DownStage {
                blocks,
                norm: UnitNorm::new(resample.within(0), wide, axes)?,
                coarser: Conv::new(resample.within(1), shape(2, wide, 2 * wide))?,
            });
        }
        let neck = Block::new(scope.within("neck.blocks.0"), features << LEVELS, axes)?;
        for stage in 0..LEVELS {
            let wide = features << (LEVELS - stage);
            let mut scope = scope.within(format_args!("decoder.{stage}"));
            let joined = match stage {
                0 => None,
                _ => Some(Conv::new(
                    scope.within("skip_proj"),
                    shape(1, 2 * wide, wide),
                )?),
            };
            let blocks = blocks(&mut scope, wide)?;
            let mut resample = scope.within("resample.block");
            let finer = shape(2, wide, wide / 2);
            up.push(UpStage {
                joined,
                blocks,
                norm: UnitNorm::new(resample.within(0), wide, axes)?,
                finer: Transposed::new(resample.within(1), finer, Place::Within)?,
            });
        }
        let first = shape(3, columns.of_context(), features);
        Ok(Self {
            first: Conv::first(scope.within("in_proj"), first, columns, true)?,
            down,
            neck,
            up,
            last: Conv::last(scope.within("out_proj"), shape(3, features, columns.fields))?,
            features,
            axes,
        })
    }

    /// What is kept for the gradient, in numbers. Each block keeps its input, padded too, the convolution, the norm, the features between the maps before and after
    /// gelu, and what is added; of each level what is joined and resampled; and the first and last convolutions.
    pub(super) fn kept(&self, space: &[usize], channels: usize) -> u64 {
        let block = 5 + 2 * WIDER;
        let cells = 3_usize.pow(self.axes as u32) + 1;
        let mut sum = numbers(space, cells * (channels + self.features));
        for level in 0..=LEVELS {
            let grid: Vec<usize> = space.iter().map(|n| n >> level).collect();
            let blocks = match self.down.get(level) {
                Some(stage) => 2 * stage.blocks.len(),
                None => 1,
            };
            sum += numbers(&grid, (self.features << level) * (blocks * block + 12));
        }
        sum
    }
}

impl<T> Block<T> {
    fn new(mut scope: Scope<'_, T>, features: usize, axes: usize) -> Result<Self> {
        let mut kernel = vec![features, 1];
        kernel.resize(2 + axes, WINDOW);
        let initial = Initial::convolution(&kernel);
        Ok(Self {
            kernel: scope.weight("dwconv.weight", &kernel, initial)?,
            bias: scope.weight("dwconv.bias", &[features], initial)?,
            norm: Norm::new(scope.within("norm"), features)?,
            up: Linear::new(scope.within("pwconv1"), features, WIDER * features)?,
            down: Linear::new(scope.within("pwconv2"), WIDER * features, features)?,
            gamma: scope.weight("gamma", &[features], Initial::Constant(1e-6))?,
            axes,
        })
    }
}

impl<T> UnitNorm<T> {
    fn new(mut scope: Scope<'_, T>, features: usize, axes: usize) -> Result<Self> {
        let mut shape = vec![features];
        shape.resize(1 + axes, 1);
        Ok(Self {
            gain: scope.weight("weight", &shape, Initial::Constant(1.0))?,
            bias: scope.weight("bias", &shape, Initial::Constant(0.0))?,
        })
    }
}

impl CnextUnet<Tensor> {
    pub(super) fn forward(&self, x: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        let blocks = |blocks: &[Block<Tensor>], x: Tensor| {
            let mut blocks = blocks.iter();
            blocks.try_fold(x, |x, block| block.forward(&x, setting))
        };
        let (mut x, mut skipped) = (self.first.forward(x, setting)?, Vec::new());
        for stage in &self.down {
            skipped.push(x.clone());
            x = stage.norm.forward(&blocks(&stage.blocks, x)?)?;
            x = stage.coarser.forward(&x, setting)?;
        }
        x = self.neck.forward(&x, setting)?;
        for stage in &self.up {
            if let Some(joined) = &stage.joined
                && let Some(skipped) = skipped.pop()
            {
                x = joined.forward(&Tensor::cat(&[&x, &skipped], D::Minus1)?, setting)?;
            }
            x = stage.norm.forward(&blocks(&stage.blocks, x)?)?;
            x = stage.finer.forward(&x, setting)?;
        }
        self.last.forward(&x, setting)
    }
}

impl Block<Tensor> {
    fn forward(&self, x: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        let dims = x.dims();
        let (items, features) = (dims[0], dims[dims.len() - 1]);
        let rows = (
            items,
            dims[1..=self.axes].iter().product::<usize>(),
            features,
        );
        let beside = WINDOW / 2;
        let views = dims[1..=self.axes].iter().map(|&n| View {
            from: -(beside as isize),
            length: n + 2 * beside,
            beyond: PaddingMode::Zeros,
        });
        let padded = window(x, &views.collect::<Vec<_>>())?;
        let kernel = self.kernel.reshape((features, ()))?.t()?.contiguous()?;
        let y = depthwise(&padded, &kernel, &self.bias, &vec![WINDOW; self.axes])?;
        let y = self.norm.of_rows(&y.reshape(rows)?, EPSILON)?;
        let y = gelu(&self.up.forward(&y, setting.precision)?)?;
        let y = self.down.scaled(&y, &self.gamma, setting.precision)?;
        let sum = residual(&x.reshape(rows)?, &y, None, None)?;
        Ok(sum.reshape(dims)?)
    }
}

impl UnitNorm<Tensor> {
    /// x / max(‖x‖, ε) · gain over the features of x (N, *space, C).
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // The root of zero has no slope; that of the smallest numbers has one.
        let squares = (x.sqr()?.sum_keepdim(D::Minus1)? + 1e-30)?;
        let length = squares.sqrt()?.maximum(EPSILON)?;
        Ok(x.broadcast_div(&length)?
            .broadcast_mul(&self.gain.flatten_all()?)?)
    }
}
