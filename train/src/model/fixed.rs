//! The baseline strategy: one fixed patch size.

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
        let stages = Stages::along(patch, space.len())?;
        Geometry::new(space, stages.clone(), stages)
    }
}
