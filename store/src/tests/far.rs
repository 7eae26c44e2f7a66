//! A data set in a bucket that is far away.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::runtime::Runtime;
use wellspring_s3_testing::Server;

use super::*;
use crate::{CacheOptions, Manifest, Window};

/// A hundred shards of five frames.
pub(super) const TEN: [usize; 10] = [50; 10];

pub(super) const STREAMED: Order = Order::Streamed {
    seed: 5,
    epoch: 0,
    lanes: 4,
};

/// A data set in a bucket.
pub(super) struct Far {
    pub(super) runtime: Runtime,
    pub(super) server: Server,
    pub(super) root: Location,
    pub(super) manifest: Manifest,
}

impl Far {
    pub(super) fn of(frames: &[usize]) -> Self {
        Self::patient(frames, "1m")
    }

    /// Its store is asked again for so long.
    pub(super) fn patient(frames: &[usize], retry_for: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = Server::start().unwrap();
        let mut settings = server.settings();
        settings.push(("retry_for".into(), retry_for.into()));
        let root = Location::parse_with("s3://bucket/ds", &settings).unwrap();
        let written = sample::write(&root, frames, sample::options(frames));
        Self {
            manifest: runtime.block_on(written).unwrap(),
            runtime,
            server,
            root,
        }
    }

    pub(super) fn shard_bytes(&self) -> u64 {
        let shards = &self.manifest.splits[&Split::Train].shards;
        shards.iter().map(|shard| shard.bytes).max().unwrap()
    }

    pub(super) fn all_bytes(&self) -> u64 {
        let shards = &self.manifest.splits[&Split::Train].shards;
        shards.iter().map(|shard| shard.bytes).sum()
    }

    pub(super) fn open(&self, cache: CacheOptions) -> Arc<Dataset> {
        let opened = Dataset::open_with(&self.root, cache);
        Arc::new(self.runtime.block_on(opened).unwrap())
    }

    pub(super) fn in_memory(&self, shards: u64) -> Arc<Dataset> {
        self.open(CacheOptions {
            memory: shards * self.shard_bytes(),
            ..CacheOptions::default()
        })
    }

    pub(super) fn in_folder(&self, folder: &tempfile::TempDir, shards: u64) -> Arc<Dataset> {
        self.open(CacheOptions {
            folder: Some((folder.path().to_owned(), shards * self.shard_bytes())),
            ..CacheOptions::default()
        })
    }

    pub(super) fn plan(&self, order: Order) -> Plan {
        let spec = WindowSpec::of_length(3);
        Plan::new(&self.manifest, Split::Train, spec, order, Share::WHOLE).unwrap()
    }

    pub(super) fn loader(&self, dataset: &Arc<Dataset>, order: Order) -> Loader {
        let options = LoaderOptions {
            batch: 4,
            ..LoaderOptions::default()
        };
        Loader::spawn(
            Arc::clone(dataset),
            self.plan(order),
            options,
            self.runtime.handle(),
        )
    }

    /// Reads an epoch and compares every value with what was written.
    pub(super) fn epoch(&self, dataset: &Arc<Dataset>, order: Order) -> BTreeSet<Window> {
        let normalizer = self.manifest.normalizer().unwrap();
        let mut seen = BTreeSet::new();
        for batch in self.loader(dataset, order) {
            let mut batch = batch.unwrap();
            normalizer.denormalize(&mut batch.frames);
            for (place, window) in batch.windows.iter().enumerate() {
                for time in 0..3 {
                    let step = window.start as usize + time;
                    let expected = sample::frame(window.trajectory as usize, step);
                    let found = batch.frames.channel(time, place, 1);
                    for (x, y) in found.iter().zip(expected.channel(0, 0, 1)) {
                        assert!(
                            (x - y).abs() <= 1e-5 * (1.0 + y.abs()),
                            "{window:?} {x} {y}"
                        );
                    }
                }
            }
            seen.extend(&batch.windows);
        }
        assert_eq!(seen.len(), self.plan(order).total());
        seen
    }
}
