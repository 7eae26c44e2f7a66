//! Matrix products over strided views of slices, by the `gemm` crate that Candle uses too.

use gemm::{Parallelism, gemm};

/// A matrix somewhere in a slice: element (i, j) is at `i * strides.0 + j * strides.1`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    strides: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows lie `stride` apart.
    pub(super) fn rows(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        check(data.len(), rows, columns, stride);
        Self {
            data,
            rows,
            columns,
            strides: (stride, 1),
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            strides: (self.strides.1, self.strides.0),
            ..self
        }
    }
}

/// A matrix to write to, by rows that lie `stride` apart.
pub(super) struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a> MatrixMut<'a> {
    pub(super) fn rows(data: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        check(data.len(), rows, columns, stride);
        Self {
            data,
            rows,
            columns,
            stride,
        }
    }

    /// self = (self +) scale · a · b, on one thread or on all.
    pub(super) fn product(
        self,
        accumulate: bool,
        scale: f32,
        a: Matrix<'_>,
        b: Matrix<'_>,
        threads: usize,
    ) {
        assert_eq!(
            (self.rows, self.columns, a.columns),
            (a.rows, b.columns, b.rows)
        );
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let parallelism = if threads > 1 {
            Parallelism::Rayon(threads)
        } else {
            Parallelism::None
        };
        let stride = |n: usize| n as isize;
        // SAFETY: the constructors have checked that every element of the three views lies within
        // its slice, and the views' shapes were compared above.
        #[expect(unsafe_code, reason = "gemm takes pointers")]
        unsafe {
            gemm(
                self.rows,
                self.columns,
                a.columns,
                self.data.as_mut_ptr(),
                1,
                stride(self.stride),
                accumulate,
                a.data.as_ptr(),
                stride(a.strides.1),
                stride(a.strides.0),
                b.data.as_ptr(),
                stride(b.strides.1),
                stride(b.strides.0),
                1.0,
                scale,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

fn check(length: usize, rows: usize, columns: usize, stride: usize) {
    assert!(rows == 0 || (rows - 1) * stride + columns <= length && columns <= stride.max(columns));
}
