//! Convolutional stride modulation: the paper's Algorithm 2.
//!
//! For a patch size p the base kernels k₁, k₂ stay and the strides become p's stages s₁, s₂: tokens
//! overlap where p is smaller than the base. Together the two look at k₁ + (k₂ − 1) s₁ cells and
//! move by s₁ s₂, so each axis of n cells is padded by
//!
//! −(n − (k₁ + (k₂ − 1) s₁)) mod s₁ s₂,
//!
//! and to what the two look at where n is smaller; `padding.rs` says with what.

use wellspring_store::Patch;

use super::modulation::{Geometry, Modulation};
use super::stages::Stages;
use crate::Result;

pub(super) struct Csm;

impl Modulation for Csm {
    fn geometry(&self, base: usize, patch: &Patch, space: &[usize]) -> Result<Geometry> {
        let kernel = Stages::along(&Patch::uniform(base, space.len()), space.len())?;
        let stride = Stages::along(patch, space.len())?;
        Geometry::new(space, kernel, stride)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn strides_tile_the_padded_grid() {
        for (n, p) in [
            (48, 4),
            (48, 8),
            (48, 16),
            (50, 4),
            (33, 8),
            (128, 16),
            (15, 8),
            (3, 4),
        ] {
            let geometry = Csm.geometry(16, &Patch::uniform(p, 2), &[n, n]).unwrap();
            let stride = geometry.stride[0];
            let first = geometry.first();
            // The last token ends where the padded axis does.
            let last = (geometry.grid()[0] - 1) * p + 4 + 3 * stride.first;
            assert_eq!(last, first.space[0], "{n} {p}");
        }
    }
}
