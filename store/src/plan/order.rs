//! Permutations of windows: a global one, and one that goes through the shards.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::blocks::ShardBlocks;
use crate::Offsets;

/// The order in which windows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In the order of trajectory and start.
    Sequential,
    /// Every window once, anywhere in the split: for shards on a disk, or few enough to be held.
    Shuffled {
        /// Seed of the run.
        seed: u64,
        /// Number of the pass over the data, from 0.
        epoch: u64,
    },
    /// Every window once, mixed with those of as many shards as there are lanes: for shards in a
    /// bucket, each of which is fetched once.
    ///
    /// The split's shards form a ring that is cut into lanes of equal length at a place that the seed
    /// draws, and each lane is walked in a direction that it draws. All lanes are under way at the
    /// same time, one shard of each, and the windows of a shard are spread over the time until its
    /// lane moves on. Lanes move on one after another, so that one shard at a time is let go and one
    /// is needed. A window that ends in the next shard costs nothing, since its lane comes there next.
    Streamed {
        /// Seed of the run.
        seed: u64,
        /// Number of the pass over the data, from 0.
        epoch: u64,
        /// Shards whose windows are mixed. As many as there are shards give a global shuffle.
        lanes: usize,
    },
}

/// A streamed order.
///
/// The blocks of windows (one a shard) come in a sequence that takes one from each of the K lanes in
/// turn. The windows of the block at place q, shuffled, are cut into K parts for the stages q to
/// q + K − 1. Stages before the first with K blocks are joined to it, and those after the last to that
/// one; so every stage draws from K blocks. Within a stage, the windows are shuffled.
#[derive(Debug)]
pub(super) struct Lanes {
    seed: u64,
    epoch: u64,
    /// Lanes, K.
    count: usize,
    /// The blocks, one from each lane in turn.
    sequence: Vec<usize>,
    /// The places of each stage.
    places: Offsets,
}

impl Lanes {
    pub(super) fn of(order: Order, blocks: &ShardBlocks) -> Option<Self> {
        let Order::Streamed { seed, epoch, lanes } = order else {
            return None;
        };
        let count = lanes.clamp(1, blocks.len());
        let mut all = Self {
            seed,
            epoch,
            count,
            sequence: Vec::new(),
            places: Offsets::of([]),
        };
        all.sequence = all.walk(blocks.len());
        let windows = |stage| all.parts(stage, blocks).map(|part| part.len).sum();
        all.places = Offsets::of((0..all.stages()).map(windows));
        Some(all)
    }

    pub(super) fn stages(&self) -> usize {
        self.sequence.len() - self.count + 1
    }

    /// The stage that a place lies in.
    pub(super) fn stage(&self, place: usize) -> usize {
        self.places.find(place)
    }

    /// The window, by its index in the sequential order, at a place.
    pub(super) fn get(&self, place: usize, blocks: &ShardBlocks) -> Option<usize> {
        let stage = self.stage(place);
        let places = self.places.range(stage);
        let mut at = self.permuted("stage", stage, place - places.start, places.len());
        for part in self.parts(stage, blocks) {
            if at < part.len {
                let windows = blocks.windows(part.block);
                let at = self.permuted("block", part.block, part.first + at, windows.len());
                return Some(windows.start + at);
            }
            at -= part.len;
        }
        None
    }

    /// The shards of a stage, in any order: those of all blocks under way, whether or not one of
    /// their windows comes in this stage.
    pub(super) fn shards(&self, stage: usize, blocks: &ShardBlocks) -> Vec<usize> {
        let parts = self.parts(stage, blocks);
        parts.flat_map(|part| blocks.shards(part.block)).collect()
    }

    /// What a stage takes from each block.
    fn parts<'a>(
        &'a self,
        stage: usize,
        blocks: &'a ShardBlocks,
    ) -> impl Iterator<Item = BlockPart> + 'a {
        let (lanes, last) = (self.count, self.sequence.len() - 1);
        // The newest block of the stage; each before it has been under way for one stage more.
        let newest = stage + lanes - 1;
        (stage..=newest).map(move |place| {
            let age = newest - place;
            let low = if stage == 0 { 0 } else { age };
            let high = if newest == last { lanes } else { age + 1 };
            let block = self.sequence[place];
            let windows = blocks.windows(block).len();
            let first = low * windows / lanes;
            BlockPart {
                block,
                first,
                len: high * windows / lanes - first,
            }
        })
    }

    /// All blocks, one from each lane in turn. Longer lanes come first, so that the last round has
    /// no gap.
    fn walk(&self, blocks: usize) -> Vec<usize> {
        let (short, longer) = (blocks / self.count, blocks % self.count);
        let ring = self.key("ring", 0) as usize % blocks;
        let backwards: Vec<bool> = (0..self.count)
            .map(|lane| self.key("lane", lane) & 1 == 1)
            .collect();
        let at = |place: usize| {
            let (along, lane) = (place / self.count, place % self.count);
            let length = short + usize::from(lane < longer);
            let along = match backwards[lane] {
                true => length - 1 - along,
                false => along,
            };
            (ring + lane * short + lane.min(longer) + along) % blocks
        };
        (0..blocks).map(at).collect()
    }

    fn permuted(&self, purpose: &str, index: usize, place: usize, n: usize) -> usize {
        let seed = self.key(purpose, index);
        shuffled(place as u64, n as u64, seed, self.epoch) as usize
    }

    /// A number for a purpose, drawn by seed and epoch.
    fn key(&self, purpose: &str, index: usize) -> u64 {
        let mut bytes = [0; 24];
        bytes[..purpose.len()].copy_from_slice(purpose.as_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..].copy_from_slice(&(index as u64).to_le_bytes());
        xxh3_64_with_seed(&bytes, self.seed)
    }
}

/// Some of a block's windows, in the block's own shuffled order.
struct BlockPart {
    block: usize,
    first: usize,
    len: usize,
}

/// The image of `place` in a permutation of 0..n: four Feistel rounds over the next power of four,
/// repeated until the result lies below n. The rounds' keys are frozen: seeds keep their meaning.
pub(super) fn shuffled(place: u64, n: u64, seed: u64, epoch: u64) -> u64 {
    let half = (64 - (n.max(2) - 1).leading_zeros()).div_ceil(2);
    let mask = (1_u64 << half) - 1;
    let mut at = place;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..4_u8 {
            let mut key = [0; 17];
            key[..8].copy_from_slice(&right.to_le_bytes());
            key[8..16].copy_from_slice(&epoch.to_le_bytes());
            key[16] = round;
            (left, right) = (right, left ^ (xxh3_64_with_seed(&key, seed) & mask));
        }
        at = left << half | right;
        if at < n {
            return at;
        }
    }
}
