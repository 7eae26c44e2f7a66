//! Measures how well orders mix windows, in comparison with other loaders at equal memory:
//! `cargo test quality -- --nocapture` prints the table.
//!
//! Samples come from 256 shards of 64. *Held* is how many shards lie between their first and their last
//! use, at most: what must be kept if each is fetched once. *In a batch* is how many shards 64 successive
//! samples come from on average. *Near* is how much likelier than in a global shuffle a sample lies
//! within a shard's length of the one before it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Order, Plan, Shard, Share, Split, WindowSpec, sample};

const SHARDS: usize = 256;
const SIZE: usize = 64;
const BATCH: usize = 64;

/// A number from 0 to 1, drawn by seed and index.
fn random(seed: u64, index: usize) -> f64 {
    let bits = xxh3_64_with_seed(&(index as u64).to_le_bytes(), seed);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

fn sorted_by<T: Copy>(items: &[T], key: impl Fn(usize) -> f64) -> Vec<T> {
    let mut keyed: Vec<(f64, T)> = items
        .iter()
        .enumerate()
        .map(|(i, &x)| (key(i), x))
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    keyed.into_iter().map(|(_, item)| item).collect()
}

/// Samples with their shards in a drawn order.
fn by_shards() -> Vec<usize> {
    let shards: Vec<usize> = (0..SHARDS).collect();
    let shards = sorted_by(&shards, |i| random(1, i));
    shards
        .into_iter()
        .flat_map(|shard| shard * SIZE..(shard + 1) * SIZE)
        .collect()
}

/// Shards in a drawn order, samples shuffled within each: litdata's chunks, streaming's `py1s`.
fn within_shards() -> Vec<usize> {
    sorted_by(&by_shards(), |i| (i / SIZE) as f64 + random(2, i))
}

/// Shards in a drawn order, samples shuffled within blocks of so many: streaming's `py1b`.
fn within_blocks(shards: usize) -> Vec<usize> {
    sorted_by(&by_shards(), |i| {
        (i / (SIZE * shards)) as f64 + random(3, i)
    })
}

/// Shards in a drawn order, each sample moved by up to half so many shards: streaming's `py1e`.
fn expanded(shards: f64) -> Vec<usize> {
    let moved = |i: usize| i as f64 + (random(4, i) - 0.5) * shards * SIZE as f64;
    sorted_by(&by_shards(), moved)
}

fn plan(order: Order) -> Vec<usize> {
    let mut manifest = sample::manifest(Split::Train, &[SIZE; SHARDS]);
    let shards = (0..SHARDS).map(|shard| Shard::of(format!("{shard}"), SIZE, b""));
    manifest.splits.get_mut(&Split::Train).unwrap().shards = shards.collect();
    let spec = WindowSpec::of_length(1);
    let plan = Plan::new(&manifest, Split::Train, spec, order, Share::WHOLE).unwrap();
    let windows = plan.iter();
    windows
        .map(|window| window.trajectory as usize * SIZE + window.start as usize)
        .collect()
}

fn streamed(lanes: usize) -> Vec<usize> {
    plan(Order::Streamed {
        seed: 1,
        epoch: 0,
        lanes,
    })
}

#[derive(Debug, Clone, Copy)]
struct Quality {
    held: usize,
    in_a_batch: f64,
    near: f64,
}

fn quality(order: &[usize]) -> Quality {
    let mut uses = vec![(usize::MAX, 0); SHARDS];
    for (place, sample) in order.iter().enumerate() {
        let (first, last) = &mut uses[sample / SIZE];
        (*first, *last) = (place.min(*first), place.max(*last));
    }
    let held = (0..order.len()).map(|place| {
        let under_way = |(first, last): &&(usize, usize)| (*first..=*last).contains(&place);
        uses.iter().filter(under_way).count()
    });
    let distinct = order.chunks(BATCH).map(|batch| {
        let mut shards: Vec<usize> = batch.iter().map(|sample| sample / SIZE).collect();
        shards.sort_unstable();
        shards.dedup();
        shards.len() as f64
    });
    let near = order
        .windows(2)
        .filter(|pair| pair[0].abs_diff(pair[1]) < SIZE)
        .count() as f64;
    Quality {
        held: held.max().unwrap_or(0),
        in_a_batch: distinct.sum::<f64>() / order.len().div_ceil(BATCH) as f64,
        near: near / order.len() as f64 / (2.0 / SHARDS as f64),
    }
}

#[test]
fn quality_of_orders_at_equal_memory() {
    let rows = [
        (
            "global shuffle",
            plan(Order::Shuffled { seed: 1, epoch: 0 }),
        ),
        ("streamed, 32 lanes", streamed(32)),
        ("streamed, 16 lanes", streamed(16)),
        ("streamed, 8 lanes", streamed(8)),
        ("py1e over 15 shards", expanded(15.0)),
        ("py1b of 16 shards", within_blocks(16)),
        ("py1s, litdata", within_shards()),
    ];
    let found = rows.map(|(name, order)| {
        let found = quality(&order);
        let Quality {
            held,
            in_a_batch,
            near,
        } = found;
        #[expect(clippy::print_stdout, reason = "a measurement for people to read")]
        {
            println!("{name:<22} held {held:>3}  in a batch {in_a_batch:>5.1}  near {near:>5.2}");
        }
        let mut all = order;
        all.sort_unstable();
        assert!(all.into_iter().eq(0..SHARDS * SIZE), "{name}");
        found
    });
    let [global, many, some, few, expanded, blocks, shards] = found;
    assert!(
        some.held <= 17 && few.held <= 9 && many.held <= 33,
        "{found:?}"
    );
    // As many shards in a batch as a fair draw from those held gives, and no fewer than at the
    // same memory elsewhere.
    let fair = |held: f64| held * (1.0 - (1.0 - 1.0 / held).powi(BATCH as i32));
    for (found, lanes) in [(many, 32.0), (some, 16.0), (few, 8.0)] {
        assert!(found.in_a_batch > 0.97 * fair(lanes), "{found:?}");
    }
    assert!(some.in_a_batch >= 0.98 * expanded.in_a_batch.min(blocks.in_a_batch));
    assert!(some.near < 1.1 * expanded.near && few.near < shards.near);
    assert!(global.in_a_batch > many.in_a_batch && global.near < 1.2);
}
