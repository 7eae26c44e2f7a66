//! Writes the missing shards of a data set, several at a time, each with a record.

use std::sync::Arc;

use wellspring_store::{DatasetWriter, Reporter, ShardId, ShardWriter, Split};

use crate::Result;
use crate::catalogue::Catalogue;
use crate::catalogue::options::IngestOptions;
use crate::convert::layout::ShardLayout;
use crate::convert::ledger::{Ledger, ShardRecord};
use crate::convert::shards::{FilledShard, fill, fill_constants};
use crate::convert::tasks::in_order_of_failure;

/// What a work writes: its only writer, and which rows each shard gets.
pub(crate) struct Output {
    pub(crate) writer: DatasetWriter,
    pub(crate) layout: ShardLayout,
}

/// The inputs of shards that are written, and the ledger that records them.
pub(crate) struct ShardInputs<'a> {
    pub(crate) catalogue: &'a Arc<Catalogue>,
    pub(crate) output: &'a Output,
    pub(crate) ledger: &'a Ledger,
    pub(crate) options: &'a IngestOptions,
    pub(crate) reporter: &'a dyn Reporter,
}

impl ShardInputs<'_> {
    /// Writes those of some shards of frames that are not there yet.
    pub(crate) async fn shards(&self, ids: &[ShardId]) -> Result<()> {
        let mut missing = Vec::new();
        for &id in ids {
            if self.ledger.shard(id).await?.is_none() {
                missing.push(id);
            }
        }
        let layout = &self.output.layout;
        let rows = missing.iter().map(|&id| layout.row_count(id) as u64);
        let total = rows.clone().sum::<u64>() * self.catalogue.frame_bytes();
        let largest = rows.max().unwrap_or(1) * self.output.writer.row_bytes() as u64;
        let at_once = self.options.at_once(largest);
        self.reporter.begin("shards", Some(total), "bytes");
        let tasks = missing.into_iter().map(|id| self.shard(id));
        in_order_of_failure(tasks, at_once).await?;
        self.reporter.end();
        Ok(())
    }

    async fn shard(&self, id: ShardId) -> Result<()> {
        let Some(index) = id.index else { return Ok(()) };
        let Output { writer, layout } = self.output;
        let shard = writer.shard(id.split, index)?;
        let rows = layout.rows(id.split, index);
        let normalizer = writer.normalizer().clone();
        let bytes = rows.len() as u64 * self.catalogue.frame_bytes();
        let catalogue = Arc::clone(self.catalogue);
        let filled = fill(catalogue, id.split, rows, normalizer, shard).await?;
        self.keep(id, filled).await?;
        self.reporter.advance(bytes);
        Ok(())
    }

    /// Writes the constants of a split, if there are any and they are not there yet; `earlier` writes those
    /// of the trajectories that the data set has already.
    pub(crate) async fn constants(
        &self,
        split: Split,
        earlier: impl AsyncFnOnce(ShardWriter) -> Result<ShardWriter>,
    ) -> Result<()> {
        let id = ShardId { split, index: None };
        let Output { writer, layout } = self.output;
        let normalizer = writer.constant_normalizer();
        let known = self.ledger.shard(id);
        if normalizer.channels().is_empty() || known.await?.is_some() {
            return Ok(());
        }
        let shard = earlier(writer.constants(split)?).await?;
        let first = layout.first(split);
        let filled = fill_constants(self.catalogue, split, first, normalizer, shard).await?;
        self.keep(id, filled).await
    }

    async fn keep(&self, id: ShardId, filled: FilledShard) -> Result<()> {
        let record = ShardRecord {
            shard: filled.shard.finish().await?,
            digests: filled.digests,
            tracks: filled.tracks,
        };
        self.ledger.put(&id.to_string(), &record).await
    }
}
