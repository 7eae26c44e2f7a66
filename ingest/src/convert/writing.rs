//! Writes the missing shards of a data set, several at a time, each with a record.

use std::collections::BTreeMap;
use std::sync::Arc;

use wellspring_store::{DatasetWriter, Reporter, ShardWriter, Split};

use crate::Result;
use crate::catalogue::options::IngestOptions;
use crate::catalogue::{Catalogue, Row};
use crate::convert::ledger::{self, Ledger, ShardRecord};
use crate::convert::shards::{Filled, fill, fill_constants};
use crate::convert::work::in_order_of_failure;

/// A shard to be written.
pub(crate) struct Job {
    pub(crate) split: Split,
    pub(crate) index: usize,
    pub(crate) rows: Vec<Row>,
}

/// The inputs of shards that are written, and the ledger that records them.
pub(crate) struct Writing<'a> {
    pub(crate) catalogue: &'a Arc<Catalogue>,
    pub(crate) writer: &'a DatasetWriter,
    pub(crate) ledger: &'a Ledger,
    pub(crate) options: &'a IngestOptions,
    pub(crate) reporter: &'a dyn Reporter,
}

impl Writing<'_> {
    /// Writes the shards of all splits, whose trajectories are numbered from a start on.
    pub(crate) async fn all_shards(&self, starts: &BTreeMap<Split, usize>) -> Result<()> {
        self.shards(jobs(self.catalogue, self.writer, starts)).await
    }

    /// Writes the shards that are not there yet.
    pub(crate) async fn shards(&self, jobs: Vec<Job>) -> Result<()> {
        let mut missing = Vec::new();
        for job in jobs {
            let name = ledger::shard(job.split, job.index);
            if self.ledger.shard(&name).await?.is_none() {
                missing.push(job);
            }
        }
        let rows = missing.iter().map(|job| job.rows.len() as u64);
        let total = rows.clone().sum::<u64>() * self.catalogue.frame_bytes();
        let largest = rows.max().unwrap_or(1) * self.writer.row_bytes() as u64;
        let at_once = self.options.at_once(largest);
        self.reporter.begin("shards", Some(total), "bytes");
        let tasks = missing.into_iter().map(|job| self.shard(job));
        in_order_of_failure(tasks, at_once).await?;
        self.reporter.end();
        Ok(())
    }

    async fn shard(&self, job: Job) -> Result<()> {
        let shard = self.writer.shard(job.split, job.index)?;
        let (rows, affine) = (job.rows.len() as u64, self.writer.affine().clone());
        let catalogue = Arc::clone(self.catalogue);
        let filled = fill(catalogue, job.split, job.rows, affine, shard).await?;
        self.keep(&ledger::shard(job.split, job.index), filled)
            .await?;
        self.reporter.advance(rows * self.catalogue.frame_bytes());
        Ok(())
    }

    /// Writes the constants of a split, if there are any and they are not there yet; its trajectories
    /// are numbered from `first` on, and `earlier` writes those before.
    pub(crate) async fn constants(
        &self,
        split: Split,
        first: usize,
        earlier: impl AsyncFnOnce(ShardWriter) -> Result<ShardWriter>,
    ) -> Result<()> {
        let (name, affine) = (ledger::constants(split), self.writer.constant_affine());
        if affine.shift.is_empty() || self.ledger.shard(&name).await?.is_some() {
            return Ok(());
        }
        let shard = earlier(self.writer.constants(split)?).await?;
        let filled = fill_constants(self.catalogue, split, first, affine, shard).await?;
        self.keep(&name, filled).await
    }

    async fn keep(&self, name: &str, filled: Filled) -> Result<()> {
        let record = ShardRecord {
            shard: filled.shard.finish().await?,
            digests: filled.digests,
            tracks: filled.tracks,
        };
        self.ledger.put(name, &record).await
    }
}

/// The shards of every split, whose trajectories are numbered from a start on, or from 0.
pub(crate) fn jobs(
    catalogue: &Catalogue,
    writer: &DatasetWriter,
    starts: &BTreeMap<Split, usize>,
) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &split in catalogue.splits.keys() {
        let rows = catalogue.rows(split, starts.get(&split).copied().unwrap_or(0));
        let frames = catalogue.splits[&split].iter();
        let frames = frames.map(|entry| entry.trajectory.frames);
        let ranges = writer.shards(frames).into_iter().enumerate();
        jobs.extend(ranges.map(|(index, range)| Job {
            split,
            index,
            rows: rows[range].to_vec(),
        }));
    }
    jobs
}
