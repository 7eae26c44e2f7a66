//! [`Setting`]: what the layers of a block are told beside what they compute on.

use crate::Precision;
use crate::config::TransformerConfig;
use crate::ops::Rotation;

/// Strength of a residual before it has learned anything (LayerScale).
pub(super) const LAYER_SCALE: f32 = 1e-6;

/// What all blocks share in one pass.
pub(super) struct Setting<'a> {
    pub(super) config: &'a TransformerConfig,
    pub(super) precision: Precision,
    pub(super) rotation: Rotation,
    pub(super) time: usize,
    pub(super) batch: usize,
}
