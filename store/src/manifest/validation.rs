//! Checks that the parts of a manifest are consistent, and that its files are large enough for their content.

use super::{Compression, Manifest, SplitManifest, version_of};
use crate::{Error, Result};

/// Bytes that rows may take beyond what their file can hold: too few to harm, and found when it is read.
const HARMLESS: u128 = 1 << 16;

/// No store holds an object of more bytes.
const LARGEST: u64 = 1 << 50;

/// Whether a path leads out of the data set.
fn outside(path: &str) -> bool {
    path.split('/').any(|part| part.is_empty() || part == "..")
}

impl Compression {
    /// So many bytes at most come out of one: by LZ4's longest matches, and by Zstandard's blocks of
    /// 128 KiB, of which the smallest take four bytes.
    fn most(self) -> u128 {
        match self {
            Self::None => 1,
            Self::Lz4 => 255,
            Self::Zstd => 1 << 15,
        }
    }
}

impl Manifest {
    pub(super) fn validate(&self, object: &str) -> Result<()> {
        self.schema.validate()?;
        if self.generation == u64::MAX {
            return Err(Error::malformed(
                object,
                "no generation comes after this one",
            ));
        }
        let needed = version_of(&self.schema, self.scale_bound);
        if self.format_version < needed {
            let reason = format!(
                "version {} has no scale bound or transform, and it says what version {needed} does",
                self.format_version
            );
            return Err(Error::malformed(object, reason));
        }
        for (split, held) in &self.splits {
            let rows = held
                .shards
                .iter()
                .try_fold(0_usize, |sum, shard| sum.checked_add(shard.rows));
            let frames = held
                .trajectories
                .iter()
                .try_fold(0_usize, |sum, trajectory| {
                    sum.checked_add(trajectory.frames)
                });
            if rows.is_none() || rows != frames {
                let reason = format!("the {split} shards hold {rows:?} rows for {frames:?} frames");
                return Err(Error::malformed(object, reason));
            }
            if held.trajectories.len() > u32::MAX as usize || frames > Some(u32::MAX as usize) {
                return Err(Error::malformed(
                    object,
                    format!("the {split} split has too many rows"),
                ));
            }
            let constants = held.constants.as_ref().map(|constants| constants.rows);
            if constants.is_some_and(|rows| rows != held.trajectories.len()) {
                let rows = constants.unwrap_or(0);
                let reason =
                    format!("{split} has {rows} rows of constants, and not one a trajectory");
                return Err(Error::malformed(object, reason));
            }
            for shard in held.files() {
                if outside(&shard.path) || shard.rows == 0 {
                    let reason = format!("shard {:?} cannot be", shard.path);
                    return Err(Error::malformed(object, reason));
                }
            }
        }
        let sources = self.provenance.iter().flat_map(|made| &made.sources);
        let attached = sources.map(|source| source.structure.bytes);
        let files = self.splits.values().flat_map(SplitManifest::files);
        let mut sizes = files.map(|shard| shard.bytes).chain(attached);
        if sizes.try_fold(0_u64, u64::checked_add).is_none() {
            return Err(Error::malformed(
                object,
                "no store holds as many bytes as it says",
            ));
        }
        for source in self.provenance.iter().flat_map(|made| &made.sources) {
            if outside(&source.structure.path) {
                let reason = format!("object {:?} cannot be", source.structure.path);
                return Err(Error::malformed(object, reason));
            }
        }
        self.normalizer()?;
        self.constant_normalizer().map(drop)
    }

    /// Whether the files of a split can hold the rows that they are said to.
    pub(super) fn plausible(&self, held: &SplitManifest, object: &str) -> Result<()> {
        let frames = self.row_bytes(self.schema.channels().len());
        let constants = self.row_bytes(self.schema.constant_channels().len());
        let shards = held.shards.iter().map(|shard| (shard, frames));
        for (shard, row) in shards.chain(held.constants.iter().map(|file| (file, constants))) {
            let claimed = row.saturating_mul(shard.rows as u128);
            let most = u128::from(shard.bytes) * self.compression.most() + HARMLESS;
            if claimed > most || shard.bytes > LARGEST {
                let reason = format!(
                    "shard {:?} cannot have {} rows in {} bytes; a row takes {row}",
                    shard.path, shard.rows, shard.bytes
                );
                return Err(Error::malformed(object, reason));
            }
        }
        Ok(())
    }

    /// Uncompressed bytes of a row with `channels` channels: trajectory, step, time, and the values.
    fn row_bytes(&self, channels: usize) -> u128 {
        let cells = self.schema.grid.cells() as u128;
        16 + channels as u128 * cells * self.dtype.bytes() as u128
    }
}
