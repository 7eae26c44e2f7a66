//! Splits a patch size into two stages of downsampling.

use wellspring_store::Patch;

use crate::{Error, Result};

/// Factors of the two convolutions along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stages {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

impl Stages {
    /// 4 = 2·2, 8 = 4·2, 16 = 4·4, 32 = 8·4.
    pub(crate) fn of(size: usize) -> Option<Self> {
        let (first, second) = match size {
            4 => (2, 2),
            8 => (4, 2),
            16 => (4, 4),
            32 => (8, 4),
            _ => return None,
        };
        Some(Self { first, second })
    }

    /// Along every axis of a grid.
    pub(crate) fn along(patch: &Patch, axes: usize) -> Result<Vec<Self>> {
        let unknown = || Error::NoPatch {
            patch: patch.to_string(),
            available: "4, 8, 16 and 32 along each axis".into(),
        };
        if patch.sizes().len() != axes {
            return Err(unknown());
        }
        patch
            .sizes()
            .iter()
            .map(|&size| Self::of(size).ok_or_else(unknown))
            .collect()
    }
}
