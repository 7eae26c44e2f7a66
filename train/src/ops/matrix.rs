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

/// Sees to it that every element lies within the slice and that rows do not overlap.
fn check(length: usize, rows: usize, columns: usize, stride: usize) {
    let end = match rows {
        0 => Some(0),
        rows => (rows - 1)
            .checked_mul(stride)
            .and_then(|start| start.checked_add(columns)),
    };
    assert!(
        stride >= columns && end.is_some_and(|end| end <= length),
        "{rows} rows of {columns} columns, {stride} apart, are not a matrix in {length} values"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_fits_its_slice() {
        let (data, mut more) = ([1.0, 2.0, 3.0, 4.0, 5.0], [0.0; 4]);
        let a = Matrix::rows(&data, 2, 2, 3);
        MatrixMut::rows(&mut more, 2, 2, 2).product(false, 1.0, a, a.transposed(), 1);
        assert_eq!(more, [5.0, 14.0, 14.0, 41.0]);
        Matrix::rows(&[], 0, 3, 3);
    }

    #[test]
    #[should_panic(expected = "are not a matrix")]
    fn rows_do_not_overlap() {
        Matrix::rows(&[0.0; 8], 2, 4, 3);
    }

    #[test]
    #[should_panic(expected = "are not a matrix")]
    fn the_last_row_is_whole() {
        Matrix::rows(&[0.0; 6], 2, 3, 4);
    }

    #[test]
    #[should_panic(expected = "are not a matrix")]
    fn a_place_that_overflows_is_not_in_the_slice() {
        Matrix::rows(&[0.0; 8], 3, 1, usize::MAX / 2 + 1);
    }

    #[test]
    #[should_panic(expected = "are not a matrix")]
    fn what_is_written_to_is_checked_too() {
        MatrixMut::rows(&mut [0.0; 3], 2, 2, 2);
    }
}
