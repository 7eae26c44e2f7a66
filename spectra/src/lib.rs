//! Spectra of fields on a periodic grid: Fourier transforms, wavenumbers, bins and power. This crate has
//! only the mathematics, without input or output.
//!
//! **Transform.** X(k) = Σₓ u(x) exp(−i k·x) over all grid points x, unnormalized as in NumPy and
//! PyTorch; the inverse divides by the number of points N, so it undoes the transform. Fields are
//! real, so the last axis keeps only its non-negative half; a [`Power`] counts the modes of the other
//! half with their mirror images. Everything is f64 once a field is read.
//!
//! **Wavenumbers** are in radians per cell: k = 2π·fftfreq(n) along an axis, |k| = (Σ kᵢ²)^½, at
//! most π·√d. They are computed in f32 in the order of The Well's code (`the_well.benchmark.metrics.
//! spectral`), since on grids of 64 or 128 points many modes lie exactly on the edge of a bin, where
//! rounding decides.
//!
//! **Bins.** [`Bins::isotropic`]: ⌊√(min n)⌋ edges, evenly from 0 to max |k| + 10⁻⁶.
//! [`Bins::bands`]: three bands, edges logarithmically even from 2π/max n to π√d + 10⁻⁶, the first
//! then moved to 0. A mode belongs to the bin whose lower edge is the last not above |k|.
//!
//! **Power.** By Plancherel Σₓ u² = Σₖ |X|² / N, so the mean square of a field is the sum over bins
//! of Σ |X|² / N²: the *energy* of a bin. A power *spectrum* is instead the mean of |X|² over the
//! modes of a bin, as The Well gives it.
//!
//! **Units.** Fields are often stored normalized. [`Transform::powers_in`] takes stored values and a field's
//! [`Units`], so that neither a small difference on a large mean nor 10⁻³⁰ or 10³⁰ costs a digit.
//!
//! **Relative errors per band.** The paper (Eq. 16) divides the energy of the residual in a band by
//! that of the prediction, The Well's code by that of the truth; see [`Relative`].
//!
//! # Example
//!
//! The energy of cos(2π·3x/32) lies in one mode, and is ½:
//!
//! ```
//! use wellspring_spectra::{Bins, Transform};
//!
//! # fn main() -> wellspring_spectra::Result<()> {
//! let wave = |i: usize| (2.0 * std::f32::consts::PI * 3.0 * (i / 32) as f32 / 32.0).cos();
//! let field: Vec<f32> = (0..32 * 32).map(wave).collect();
//! let transform = Transform::new(&[32, 32])?;
//! let power = transform.power(&field)?;
//! assert!((power.axes()[0][3] - 0.5).abs() < 1e-6);
//! let energy: f64 = Bins::bands(&transform).energy(&power).iter().sum();
//! assert!((energy - 0.5).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

// A dependency that nothing uses is to be removed. Tests have more of them.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

mod bins;
mod error;
mod power;
mod transform;
mod units;

pub use bins::{Band, Bins, EPSILON, Relative};
pub use error::{Error, Result};
pub use power::Power;
pub use rustfft::num_complex::Complex;
pub use transform::Transform;
pub use units::Units;
