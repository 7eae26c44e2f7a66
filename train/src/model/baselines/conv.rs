//! [`Conv`]: convolutions over grids, channels last, and their transposes.

use candle_core::Tensor;

use super::{Setting, first, last};
use crate::Result;
use crate::model::Columns;
use crate::model::convolution::{kernel_rows, transposed};
use crate::model::weight::{ChannelAxis, Initial, Scope};
use crate::ops::{PaddingMode, Tiling, View, linear, unfold, window};

/// Where a layer is in its network: at its ends it has columns or rows for channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Within,
    First,
    Last,
}

/// Shape of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvShape {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Cells of the kernel along each axis.
    pub(super) cells: usize,
    pub(super) axes: usize,
}

/// A convolution whose kernel (out, in, *k) is odd along each axis and moves by one cell over the grid, with zeros
/// beyond its ends; or one of two cells, which halves the grid.
#[derive(Debug)]
pub(super) struct Conv<T> {
    kernel: T,
    bias: Option<T>,
    place: Place,
    shape: ConvShape,
}

impl<T> Conv<T> {
    pub(super) fn new(scope: Scope<'_, T>, shape: ConvShape) -> Result<Self> {
        Self::made(scope, shape, (Place::Within, None, None), true)
    }

    pub(super) fn without_bias(scope: Scope<'_, T>, shape: ConvShape) -> Result<Self> {
        Self::made(scope, shape, (Place::Within, None, None), false)
    }

    /// The layer that sees the context.
    pub(super) fn first(
        scope: Scope<'_, T>,
        shape: ConvShape,
        columns: Columns,
        has_bias: bool,
    ) -> Result<Self> {
        let ends = (Place::First, Some(first(columns, 1)), None);
        Self::made(scope, shape, ends, has_bias)
    }

    /// The layer that gives the change.
    pub(super) fn last(scope: Scope<'_, T>, shape: ConvShape) -> Result<Self> {
        Self::made(
            scope,
            shape,
            (Place::Last, Some(last(0)), Some(last(0))),
            true,
        )
    }

    fn made(
        mut scope: Scope<'_, T>,
        shape: ConvShape,
        (place, kernel, bias): (Place, Option<ChannelAxis>, Option<ChannelAxis>),
        has_bias: bool,
    ) -> Result<Self> {
        let sizes = shape.sizes([shape.outputs, shape.inputs]);
        let initial = Initial::convolution(&sizes);
        Ok(Self {
            kernel: asked(&mut scope, "weight", &sizes, initial, kernel)?,
            bias: match has_bias {
                true => Some(asked(&mut scope, "bias", &sizes[..1], initial, bias)?),
                false => None,
            },
            place,
            shape,
        })
    }
}

impl ConvShape {
    /// A kernel's shape.
    fn sizes(self, channels: [usize; 2]) -> Vec<usize> {
        let mut sizes = channels.to_vec();
        sizes.resize(2 + self.axes, self.cells);
        sizes
    }
}

/// Asks for a weight that may have places for channels.
fn asked<T>(
    scope: &mut Scope<'_, T>,
    name: &str,
    shape: &[usize],
    initial: Initial,
    channels: Option<ChannelAxis>,
) -> Result<T> {
    match channels {
        Some(channels) => scope.weight_by_channel(name, shape, initial, channels),
        None => scope.weight(name, shape, initial),
    }
}

impl Conv<Tensor> {
    /// (N, *space, in) → (N, *space or half of it, out).
    pub(super) fn forward(&self, x: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        self.scaled(x, setting, None)
    }

    /// γ ∘ (this convolution) + β, of one without a bias: what is known of a norm after it.
    pub(super) fn scaled(
        &self,
        x: &Tensor,
        setting: &Setting<'_>,
        affine: Option<(&Tensor, &Tensor)>,
    ) -> Result<Tensor> {
        let channels = setting.channels;
        let (kernel, own) = match (self.place, &self.bias) {
            (Place::Within, bias) => (self.kernel.clone(), bias.clone()),
            (Place::First, bias) => (channels.of_context(&self.kernel, 1)?, bias.clone()),
            (Place::Last, bias) => {
                let bias = bias.as_ref().map(|bias| channels.of_state(bias, 0));
                (channels.of_state(&self.kernel, 0)?, bias.transpose()?)
            }
        };
        let mut rows = kernel_rows(&kernel)?;
        let mut bias = own;
        if let Some((gain, shift)) = affine {
            rows = rows.broadcast_mul(&gain.reshape(((), 1))?)?;
            bias = Some(shift.clone());
        }
        let (x, tiling) = self.tiled(x)?;
        let dims = x.dims();
        let (items, inputs) = (dims[0], dims[dims.len() - 1]);
        let unfolded = match self.shape.cells {
            1 => x.reshape((items, (), inputs))?,
            _ => unfold(&x, &tiling)?,
        };
        let y = linear(&unfolded, &rows, bias.as_ref(), setting.precision)?;
        let outputs = y.dim(2)?;
        Ok(y.reshape([&[items], tiling.grid().as_slice(), &[outputs]].concat())?)
    }

    /// The grid with the zeros around it, and the kernel's places on it.
    fn tiled(&self, x: &Tensor) -> Result<(Tensor, Tiling)> {
        let (cells, axes) = (self.shape.cells, self.shape.axes);
        let (beside, stride) = match cells {
            2 => (0, 2),
            cells => (cells / 2, 1),
        };
        let views = x.dims()[1..=axes].iter().map(|&n| View {
            from: -(beside as isize),
            length: n + 2 * beside,
            beyond: PaddingMode::Zeros,
        });
        let x = window(x, &views.collect::<Vec<_>>())?;
        let tiling = Tiling {
            space: x.dims()[1..=axes].to_vec(),
            kernel: vec![cells; axes],
            stride: vec![stride; axes],
        };
        Ok((x, tiling))
    }
}

/// A transposed convolution by a kernel (in, out, *k) of cells that lie side by side, which makes the grid so many
/// times finer.
#[derive(Debug)]
pub(super) struct Transposed<T> {
    kernel: T,
    bias: T,
    place: Place,
    shape: ConvShape,
}

impl<T> Transposed<T> {
    pub(super) fn new(mut scope: Scope<'_, T>, shape: ConvShape, place: Place) -> Result<Self> {
        let sizes = shape.sizes([shape.inputs, shape.outputs]);
        let initial = Initial::convolution(&sizes);
        let is_last = place == Place::Last;
        let (kernel, bias) = (is_last.then(|| last(1)), is_last.then(|| last(0)));
        Ok(Self {
            kernel: asked(&mut scope, "weight", &sizes, initial, kernel)?,
            bias: asked(&mut scope, "bias", &sizes[1..2], initial, bias)?,
            place,
            shape,
        })
    }
}

impl Transposed<Tensor> {
    /// (N, *space, in) → (N, *finer space, out).
    pub(super) fn forward(&self, x: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        let (kernel, bias) = match self.place {
            Place::Last => (
                setting.channels.of_state(&self.kernel, 1)?,
                setting.channels.of_state(&self.bias, 0)?,
            ),
            Place::Within | Place::First => (self.kernel.clone(), self.bias.clone()),
        };
        let ConvShape { cells, axes, .. } = self.shape;
        let tiling = Tiling {
            space: x.dims()[1..=axes].iter().map(|n| n * cells).collect(),
            kernel: vec![cells; axes],
            stride: vec![cells; axes],
        };
        let dims = x.dims();
        let rows = x.reshape((dims[0], (), dims[dims.len() - 1]))?;
        let y = transposed(&rows, &kernel, &tiling, setting.precision)?;
        Ok(y.broadcast_add(&bias)?)
    }
}
