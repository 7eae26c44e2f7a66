//! Linear layers on a GPU: matrix products by CUDA's library, and kernels for everything else.

use candle_core::{DType, Result, Shape, Tensor, bail};

use crate::Precision;
use crate::ops::gpu::{Array, Backward, Kernels};
use crate::ops::launch::{Buffer, Extent, args, int};
use crate::ops::product::{Numbers, Product, Rows};
use crate::ops::program::Program;
use crate::ops::tape;

/// A linear layer with f32 factors rounded to TF32 in every precision but f32.
pub(super) struct LinearKernels {
    pub(super) precision: Precision,
}

/// Rows of x, its columns, and those of y.
#[derive(Clone, Copy)]
struct Sides {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

impl Sides {
    fn of(x: &Shape, w: &Shape) -> Result<Self> {
        let (outputs, inputs) = w.dims2()?;
        if x.dims().last() != Some(&inputs) {
            bail!("a linear layer for {inputs} inputs got {x:?}");
        }
        Ok(Self {
            rows: x.elem_count() / inputs.max(1),
            inputs,
            outputs,
        })
    }

    fn x(&self, buffer: Buffer) -> Rows {
        Rows::new(buffer, self.rows, self.inputs)
    }

    fn w(&self, buffer: Buffer) -> Rows {
        Rows::new(buffer, self.outputs, self.inputs)
    }

    fn y(&self, buffer: Buffer) -> Rows {
        Rows::new(buffer, self.rows, self.outputs)
    }
}

impl LinearKernels {
    fn numbers(&self, factors: DType, result: DType) -> Numbers {
        Numbers {
            factors,
            result,
            tf32: self.precision != Precision::F32,
        }
    }
}

/// W and b in bf16. W is kept for the backward pass.
fn cast(
    program: &mut Program,
    sides: Sides,
    w: Buffer,
    b: Option<Buffer>,
) -> (Buffer, Option<Buffer>) {
    let (outputs, weights) = (sides.outputs, sides.outputs * sides.inputs);
    let w_cast = program.result((outputs, sides.inputs), DType::BF16);
    let b_cast = b.map(|_| program.scratch(outputs, DType::BF16));
    let biases = if b.is_some() { outputs } else { 0 };
    let extent = Extent::covering((weights + biases).div_ceil(4), 256);
    let from = (w, b.unwrap_or(w));
    let to = (w_cast, b_cast.unwrap_or(w_cast));
    let args = args![from.0, from.1, to.0, to.1, weights, biases];
    program.launch("linear_cast", DType::BF16, extent, args);
    (w_cast, b_cast)
}

/// db in two launches: sums over parts of the rows, then over the parts.
fn sums_of_columns(
    program: &mut Program,
    dy: Buffer,
    sides: Sides,
    dtype: DType,
) -> Result<Buffer> {
    /// Columns of a block, rows that it takes at once, and blocks that keep a large card busy.
    const WIDTH: usize = 32;
    const WARPS: usize = 8;
    const BLOCKS: usize = 512;
    let (rows, columns) = (sides.rows, sides.outputs);
    let across = columns.div_ceil(WIDTH);
    let most = BLOCKS.div_ceil(across).min(rows.div_ceil(WARPS)).max(1);
    let height = rows.div_ceil(most).max(1);
    let parts = rows.div_ceil(height).max(1);
    let extent = |parts: usize| Extent {
        grid: [across as u32, parts as u32, 1],
        threads: (WIDTH * WARPS) as u32,
        shared: 0,
    };
    let db = program.result(columns, DType::F32);
    let partial = program.scratch(parts * columns, DType::F32);
    let args = args![dy, partial, int(rows)?, int(columns)?, int(height)?];
    program.launch("linear_part_sums", dtype, extent(parts), args);
    let args = args![partial, db, int(parts)?, int(columns)?];
    program.launch("linear_sums", DType::F32, extent(1), args);
    Ok(db)
}

impl Kernels for LinearKernels {
    const NAME: &'static str = "linear";

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let [x, w, ..] = inputs else {
            bail!("a linear layer has two or three inputs")
        };
        let sides = Sides::of(&x.shape, &w.shape)?;
        let mut shape = x.shape.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = sides.outputs;
        }
        let mut program = Program::new("linear", inputs.len());
        let y = program.result(shape, x.dtype);
        let mut w = program.input(1);
        let mut b = (inputs.len() > 2).then(|| program.input(2));
        if x.dtype == DType::BF16 {
            (w, b) = cast(&mut program, sides, w, b);
        }
        let (x, numbers) = (program.input(0), self.numbers(x.dtype, x.dtype));
        let (left, right) = (sides.x(x), sides.w(w).transposed());
        program.product(Product::of(left, right, b, y, numbers)?);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, w) = (at.inputs[0], at.inputs[1]);
        let (sides, dtype) = (Sides::of(x.shape(), w.shape())?, x.dtype());
        let mut program = Program::new("linear", 3);
        let [x_at, w_at, dy] = [0, 1, 2].map(|input| program.input(input));
        let dw = program.result(w.shape(), DType::F32);
        let numbers = self.numbers(dtype, DType::F32);
        let (left, right) = (sides.y(dy).transposed(), sides.x(x_at));
        program.product(Product::of(left, right, None, dw, numbers)?);
        // The first layer sees frames, which nothing learns.
        let learns = tape::learns(x);
        if learns {
            let dx = program.result(x.shape(), dtype);
            let (left, right) = (sides.y(dy), sides.w(w_at));
            let numbers = self.numbers(dtype, dtype);
            program.product(Product::of(left, right, None, dx, numbers)?);
        }
        if at.inputs.len() > 2 {
            sums_of_columns(&mut program, dy, sides, dtype)?;
        }
        let w = at.kept.first().unwrap_or(w);
        let mut found = program.run(&[x, w, at.gradient])?.into_iter();
        let dw = found.next();
        let dx = if learns { found.next() } else { None };
        let gradients = [dx, dw, found.next()];
        Ok(gradients.into_iter().take(at.inputs.len()).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops::linear::{composed, linear};
    use crate::ops::product::{Operand, Sizes};
    use crate::ops::program::Step;
    use crate::ops::testing::{check_kernels, on_kernels};

    const F32: Precision = Precision::F32;

    #[test]
    fn kernels_equal_the_composed_operation() {
        for (rows, inputs, outputs) in [(1, 5, 3), (7, 1, 1), (130, 12, 70)] {
            check_kernels(
                &[&[2, rows, inputs], &[outputs, inputs], &[outputs]],
                |v, dtype| linear(&v[0].to_dtype(dtype)?, &v[1], Some(&v[2]), F32),
                |v| composed(&v[0], &v[1], Some(&v[2])),
            );
            check_kernels(
                &[&[rows, inputs], &[outputs, inputs]],
                |v, dtype| linear(&v[0].to_dtype(dtype)?, &v[1], None, F32),
                |v| composed(&v[0], &v[1], None),
            );
        }
    }

    /// A part of a weight, as the block's fused layer has, that does not begin at sixteen bytes.
    #[test]
    fn a_part_of_a_weight_is_taken_at_its_place() {
        let part = |w: &Tensor, b: &Tensor| -> Result<(Tensor, Tensor)> {
            Ok((w.narrow(0, 3, 4)?, b.narrow(0, 3, 4)?))
        };
        check_kernels(
            &[&[9, 5], &[8, 5], &[8]],
            |v, dtype| {
                let (w, b) = part(&v[1], &v[2])?;
                linear(&v[0].to_dtype(dtype)?, &w, Some(&b), F32)
            },
            |v| {
                let (w, b) = part(&v[1], &v[2])?;
                composed(&v[0], &w, Some(&b))
            },
        );
    }

    /// x W: (rows, I) and (O, I), each seen by columns; y is O × rows, so its column is a row of y.
    #[test]
    fn products_are_asked_for_by_columns() {
        let array = |shape: &[usize]| Array {
            shape: shape.into(),
            dtype: DType::F32,
        };
        let op = LinearKernels { precision: F32 };
        let program = op.forward(&[array(&[2, 5, 7]), array(&[3, 7]), array(&[3])]);
        let program = program.unwrap();
        let [Step::Product(product)] = program.steps.as_slice() else {
            panic!("one product, {program:?}");
        };
        let [x, w, b] = [0, 1, 2].map(|input| program.input(input));
        let factor = |buffer, leading, transposed| Operand {
            buffer,
            leading,
            transposed,
        };
        assert_eq!(product.sizes, Sizes { m: 3, n: 10, k: 7 });
        assert_eq!(
            (product.a, product.b),
            (factor(w, 7, true), factor(x, 7, false))
        );
        assert_eq!((product.bias, product.d), (Some(b), Buffer(3)));
    }

    #[test]
    fn columns_are_summed_over_all_rows() {
        // So many rows that several parts are summed, and some parts are shorter.
        let (rows, columns) = (4_105, 33);
        let sides = Sides {
            rows,
            inputs: 1,
            outputs: columns,
        };
        let mut program = Program::new("linear", 1);
        sums_of_columns(&mut program, Buffer(0), sides, DType::F32).unwrap();
        let dy: Vec<f32> = (0..rows * columns).map(|i| (i % 3) as f32).collect();
        let dy = Tensor::from_vec(dy, (rows, columns), &Device::Cpu).unwrap();
        let db = on_kernels(|device| program.run(&[&dy.to_device(device)?])).unwrap();
        let expected = dy.sum(0).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(db[0].to_vec1::<f32>().unwrap(), expected);
    }
}
