//! Convolutional kernel modulation: the paper's Algorithm 1.
//!
//! For a patch size p the base kernel W is resized to the sampled size by the pseudo-inverse of
//! interpolation, W' = (Bᵀ)⁺ W (its equation for PI-resize, after FlexiViT), and moves by its own
//! size: tokens do not overlap, and a grid that p does not divide is padded (`padding.rs`).
//! `resize.rs` holds the resizing; here the kernel is as large as the stride.

use wellspring_store::Patch;

use super::modulation::{Geometry, Modulation};
use super::stages::Stages;
use crate::Result;

pub(super) struct Ckm;

impl Modulation for Ckm {
    fn geometry(&self, _base: usize, patch: &Patch, space: &[usize]) -> Result<Geometry> {
        let stages = Stages::along(patch, space.len())?;
        Geometry::new(space, stages.clone(), stages)
    }
}
