//! Matrix products of a program, in the convention of BLAS: column-major.
//!
//! d = op(a) op(b) + bias with op(a): m × k, op(b): k × n, d: m × n and one number of the bias for each row
//! of d. Candle's matrices are row-major, which is the transposed matrix in column-major order; so
//! d = left · right of row-major matrices is computed as dᵀ = rightᵀ · leftᵀ.

use candle_core::{DType, Result, bail};

use super::launch::Buffer;
#[cfg(any(test, feature = "cuda"))]
use super::launch::{Extent, Launch, args};

/// A matrix product, summed in f32.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Product {
    pub(super) a: Operand,
    pub(super) b: Operand,
    pub(super) bias: Option<Buffer>,
    pub(super) d: Buffer,
    pub(super) sizes: Sizes,
    pub(super) numbers: Numbers,
}

/// A factor. Its columns begin `leading` numbers after one another; op transposes it or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operand {
    pub(super) buffer: Buffer,
    pub(super) leading: usize,
    pub(super) transposed: bool,
}

/// Rows and columns of d, and the length of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

/// Number types of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Numbers {
    /// Type of both factors.
    pub(super) factors: DType,
    /// Type of d and the bias.
    pub(super) result: DType,
    /// Whether f32 factors may be rounded to TF32.
    pub(super) tf32: bool,
}

/// A matrix that lies row by row, taken as it is or transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) buffer: Buffer,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) transposed: bool,
}

impl Rows {
    pub(super) fn new(buffer: Buffer, rows: usize, columns: usize) -> Self {
        Self {
            buffer,
            rows,
            columns,
            transposed: false,
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// Rows and columns as it is taken.
    fn taken(&self) -> (usize, usize) {
        match self.transposed {
            false => (self.rows, self.columns),
            true => (self.columns, self.rows),
        }
    }

    /// Read column by column, it is its own transpose.
    fn operand(&self) -> Operand {
        Operand {
            buffer: self.buffer,
            leading: self.columns,
            transposed: self.transposed,
        }
    }
}

impl Product {
    /// d = left · right, and to each row of d a bias.
    pub(super) fn of(
        left: Rows,
        right: Rows,
        bias: Option<Buffer>,
        d: Buffer,
        numbers: Numbers,
    ) -> Result<Self> {
        let ((n, k), (inner, m)) = (left.taken(), right.taken());
        if k != inner {
            bail!("{n} × {k} and {inner} × {m} have no product");
        }
        Ok(Self {
            a: right.operand(),
            b: left.operand(),
            bias,
            d,
            sizes: Sizes { m, n, k },
            numbers,
        })
    }
    /// Launches a kernel of product.cu for this product, where the library has none.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn launch(&self) -> Launch {
        let (Sizes { m, n, k }, numbers) = (self.sizes, self.numbers);
        let [factors, result] = [numbers.factors, numbers.result].map(|dtype| dtype.as_str());
        let (a, b) = (self.a, self.b);
        Launch {
            kernel: format!("product_{factors}_{result}"),
            extent: Extent::covering(m * n, 256),
            args: args![
                a.buffer,
                a.leading,
                i32::from(a.transposed),
                b.buffer,
                b.leading,
                i32::from(b.transposed),
                self.bias,
                self.d,
                m,
                n,
                k,
            ],
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::ops::program::{Program, Step};
    use crate::ops::testing::on_kernels;

    /// d of matrices of 7 × 5 and 5 × 3, each lying as it is or transposed.
    fn product(transposed: [bool; 2], numbers: Numbers, by_kernel: bool) -> Vec<f32> {
        let matrix = |buffer, (rows, columns), transposed| match transposed {
            false => Rows::new(buffer, rows, columns),
            true => Rows::new(buffer, columns, rows).transposed(),
        };
        let mut program = Program::new("product", 3);
        let [left, right, bias] = [0, 1, 2].map(|input| program.input(input));
        let d = program.result((7, 3), numbers.result);
        let left = matrix(left, (7, 5), transposed[0]);
        let right = matrix(right, (5, 3), transposed[1]);
        let product = Product::of(left, right, Some(bias), d, numbers).unwrap();
        program.steps.push(match by_kernel {
            true => Step::Launch(product.launch()),
            false => Step::Product(product),
        });
        on_kernels(|device| {
            let values = |count: usize, dtype: DType| {
                let values: Vec<f32> = (0..count).map(|i| (i as f32).sin()).collect();
                let values = Tensor::from_vec(values, count, device).unwrap();
                values.to_dtype(dtype).unwrap()
            };
            let (left, right) = (values(35, numbers.factors), values(15, numbers.factors));
            let found = program.run(&[&left, &right, &values(3, numbers.result)]);
            let found = found.unwrap()[0].to_dtype(DType::F32).unwrap();
            let found = found.to_device(&Device::Cpu).unwrap();
            found.flatten_all().unwrap().to_vec1().unwrap()
        })
    }

    #[test]
    fn the_kernel_makes_what_the_library_would() {
        for (factors, result) in [
            (DType::F32, DType::F32),
            (DType::BF16, DType::F32),
            (DType::BF16, DType::BF16),
        ] {
            let numbers = Numbers {
                factors,
                result,
                tf32: false,
            };
            for transposed in [[false, false], [false, true], [true, false], [true, true]] {
                let [found, expected] =
                    [true, false].map(|by_kernel| product(transposed, numbers, by_kernel));
                let tolerance = if result == DType::BF16 { 2e-2 } else { 1e-5 };
                for (a, b) in found.iter().zip(&expected) {
                    assert!(
                        (a - b).abs() < tolerance,
                        "{numbers:?} {transposed:?}: {a} {b}"
                    );
                }
            }
        }
    }
}
