#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::plan::rows::RowIndex;
use crate::{Length, Shard, sample};

const SEQUENTIAL: Order = Order::Sequential;

/// A manifest of trajectories with the given frames, in shards of `rows` rows.
fn manifest(frames: &[usize], rows: usize) -> Manifest {
    let mut manifest = sample::manifest(Split::Train, frames);
    let total: usize = frames.iter().sum();
    let shards = (0..total).step_by(rows.max(1));
    let shards = shards.map(|row| Shard::of(format!("{row}"), rows.min(total - row), b""));
    manifest.splits.get_mut(&Split::Train).unwrap().shards = shards.collect();
    manifest
}

fn plan(frames: &[usize], length: usize, order: Order, share: Share) -> Plan {
    let spec = WindowSpec::of_length(length);
    Plan::new(&manifest(frames, 5), Split::Train, spec, order, share).unwrap()
}

#[test]
fn a_world_may_be_larger_than_the_plan() {
    let of = |rank| Share {
        rank,
        world: usize::MAX,
    };
    assert_eq!(plan(&[9], 2, SEQUENTIAL, of(3)).len(), 1);
    let none = plan(&[9], 2, SEQUENTIAL, of(usize::MAX - 1));
    assert_eq!((none.len(), none.get(0)), (0, None));
}

fn orders() -> impl Strategy<Value = Order> {
    (any::<u64>(), 0..3_u64, 0..3_usize, 1..12_usize).prop_map(|(seed, epoch, kind, lanes)| {
        match kind {
            0 => Order::Sequential,
            1 => Order::Shuffled { seed, epoch },
            _ => Order::Streamed { seed, epoch, lanes },
        }
    })
}

fn specs() -> impl Strategy<Value = WindowSpec> {
    let length = prop_oneof![
        3 => (1..5_usize).prop_map(Length::Frames),
        1 => Just(Length::Trajectory),
    ];
    let most = prop::option::of(1..6_usize);
    (length, 1..4_usize, 1..4_usize, most).prop_map(|(length, stride, every, most)| WindowSpec {
        length,
        stride,
        every,
        most,
    })
}

/// Every window that a specification means, found the slow way.
fn windows(frames: &[usize], spec: WindowSpec) -> BTreeSet<Window> {
    let mut all = BTreeSet::new();
    for (trajectory, &frames) in frames.iter().enumerate() {
        let starts = (0..frames).step_by(spec.every);
        let fit = starts.filter(|start| match spec.length {
            Length::Frames(length) => start + (length - 1) * spec.stride < frames,
            Length::Trajectory => *start == 0,
        });
        all.extend(fit.take(spec.most.unwrap_or(frames)).map(|start| Window {
            trajectory: trajectory as u32,
            start: start as u32,
        }));
    }
    all
}

proptest! {
    #[test]
    fn every_window_comes_once_for_any_world_and_any_rest(
        frames in prop::collection::vec(0..40_usize, 1..6), rows in 1..30_usize,
        order in orders(), spec in specs(), before in 1..5_usize, world in 1..5_usize,
        batch in 1..4_usize, steps in 0..8_usize,
    ) {
        let expected = windows(&frames, spec);
        prop_assume!(!expected.is_empty());
        let manifest = manifest(&frames, rows);
        let whole = Plan::new(&manifest, Split::Train, spec, order, Share::WHOLE).unwrap();
        prop_assert_eq!(whole.total(), expected.len());

        // Some steps of all ranks of one world, the rest by the ranks of another.
        let mut seen = Vec::new();
        for rank in 0..before {
            let share = whole.after(0, Share { rank, world: before }).unwrap();
            prop_assert_eq!(share.iter().count(), share.len());
            seen.extend(share.iter().take(steps * batch));
        }
        for rank in 0..world {
            let share = Share { rank, world };
            let rest = whole.after(steps * batch * before, share).unwrap();
            prop_assert_eq!(rest.iter().count(), rest.len());
            seen.extend(rest.iter());
        }
        prop_assert_eq!(seen.len(), expected.len());
        prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn a_stage_holds_the_shards_of_its_windows_and_few_others(
        frames in prop::collection::vec(1..40_usize, 1..8), rows in 1..30_usize,
        seed: u64, lanes in 1..12_usize, length in 1..5_usize,
    ) {
        prop_assume!(frames.iter().any(|&frames| frames >= length));
        let manifest = manifest(&frames, rows);
        let index = RowIndex::of(Split::Train, &manifest.splits[&Split::Train]);
        let order = Order::Streamed { seed, epoch: 0, lanes };
        let spec = WindowSpec::of_length(length);
        let plan = Plan::new(&manifest, Split::Train, spec, order, Share::WHOLE).unwrap();
        let reach = (length - 1).div_ceil(rows) + 1;
        let mut last = 0;
        for place in 0..plan.len() {
            let stage = *plan.stages(place, place).unwrap().start();
            prop_assert!(last <= stage && stage < plan.stage_count());
            last = stage;
            let held = plan.shards(stage..stage + 1);
            prop_assert!(held.len() <= lanes.min(index.shards.len()) * reach);
            let window = plan.get(place).unwrap();
            let steps = window.start as usize..window.start as usize + length;
            for piece in index.pieces(window.trajectory as usize, steps, 1) {
                prop_assert!(held.contains(&piece.shard));
            }
        }
    }

    #[test]
    fn a_streamed_order_comes_back_to_no_shard(
        shards in 1..60_usize, seed: u64, lanes in 1..9_usize,
    ) {
        // Trajectories end where shards do: each shard must be held for one stretch of stages.
        let manifest = manifest(&vec![5; shards], 5);
        let order = Order::Streamed { seed, epoch: 1, lanes };
        let spec = WindowSpec::of_length(2);
        let plan = Plan::new(&manifest, Split::Train, spec, order, Share::WHOLE).unwrap();
        let stages = 0..plan.stage_count();
        let held: Vec<_> = stages.map(|stage| plan.shards(stage..stage + 1)).collect();
        for shard in 0..shards {
            let mut stages = held
                .iter()
                .map(|held| held.iter().any(|held| held.index == Some(shard))).collect::<Vec<_>>();
            stages.dedup();
            prop_assert!(stages.iter().filter(|&&held| held).count() == 1);
        }
    }
}

/// Frozen: a change of these orders would change every trained model's history.
#[test]
fn the_orders_of_a_seed_are_for_ever() {
    let first = |order| -> Vec<(u32, u32)> {
        let plan = plan(&[10, 20], 4, order, Share::WHOLE);
        let windows = plan.iter().take(6);
        windows
            .map(|window| (window.trajectory, window.start))
            .collect()
    };
    assert_eq!(first(Order::Shuffled { seed: 7, epoch: 1 }), SHUFFLED);
    let streamed = Order::Streamed {
        seed: 7,
        epoch: 1,
        lanes: 2,
    };
    assert_eq!(first(streamed), STREAMED);
}
const SHUFFLED: [(u32, u32); 6] = [(0, 1), (1, 16), (1, 15), (0, 5), (1, 6), (0, 2)];
const STREAMED: [(u32, u32); 6] = [(1, 5), (1, 14), (1, 13), (1, 7), (1, 11), (1, 12)];

#[test]
fn epochs_differ() {
    let windows = |order| {
        plan(&[40], 2, order, Share::WHOLE)
            .iter()
            .collect::<Vec<_>>()
    };
    let shuffled = |epoch| windows(Order::Shuffled { seed: 1, epoch });
    assert_ne!(shuffled(0), shuffled(1));
    let streamed = |epoch| {
        windows(Order::Streamed {
            seed: 1,
            epoch,
            lanes: 2,
        })
    };
    assert_ne!(streamed(0), streamed(1));
}

#[test]
fn starts_are_spaced() {
    let spec = WindowSpec {
        every: 3,
        ..WindowSpec::of_length(4)
    };
    let manifest = manifest(&[10], 5);
    let plan = Plan::new(&manifest, Split::Train, spec, SEQUENTIAL, Share::WHOLE).unwrap();
    assert_eq!(plan.iter().map(|w| w.start).collect::<Vec<_>>(), [0, 3, 6]);
}

#[test]
fn what_cannot_be_is_refused() {
    let manifest = manifest(&[10], 5);
    let new = |length, share| {
        let spec = WindowSpec::of_length(length);
        Plan::new(&manifest, Split::Train, spec, SEQUENTIAL, share).unwrap_err()
    };
    let error = new(11, Share::WHOLE).to_string();
    assert!(error.contains("11 frames (the longest has 10)"), "{error}");
    let error = new(2, Share { rank: 2, world: 2 }).to_string();
    assert!(error.contains("choose 0 to 1"), "{error}");
}
