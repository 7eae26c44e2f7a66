//! One patch size for ever: the baseline.

use wellspring_store::Patch;

use super::modulation::{Geometry, Modulation};
use super::stages::Stages;
use crate::{Error, Result};

pub(super) struct Fixed;

impl Modulation for Fixed {
    fn geometry(&self, base: usize, patch: &Patch, space: &[usize]) -> Result<Geometry> {
        let own = Patch::uniform(base, space.len());
        if *patch != own {
            return Err(Error::NoPatch {
                patch: patch.to_string(),
                available: own.to_string(),
            });
        }
        without_overlap(patch, space, Stages::along(patch, space.len())?)
    }
}

/// Kernels that move by their own size, and tile the grid.
pub(super) fn without_overlap(
    patch: &Patch,
    space: &[usize],
    stages: Vec<Stages>,
) -> Result<Geometry> {
    for (axis, (&length, &size)) in space.iter().zip(patch.sizes()).enumerate() {
        if length == 0 || !length.is_multiple_of(size) {
            return Err(Error::Indivisible {
                patch: patch.to_string(),
                space: space.to_vec(),
                axis,
                length,
                size,
            });
        }
    }
    Ok(Geometry {
        space: space.to_vec(),
        padding: vec![(0, 0); space.len()],
        kernel: stages.clone(),
        stride: stages,
    })
}
