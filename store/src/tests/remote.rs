//! Data sets in a bucket that is slow or fails.
#![expect(clippy::disallowed_methods, reason = "the cache folder is looked into")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use wellspring_s3_testing::{Fault, Link, Trouble};

use super::far::{Far, STREAMED, TEN};
use super::*;
use crate::Window;

#[test]
fn a_streamed_epoch_fetches_each_shard_once_in_bounded_memory_and_as_planned() {
    let far = Far::of(&TEN);
    // Four lanes of two shards each, and one ahead of them.
    let dataset = far.in_memory(10);
    let before = far.server.seen();
    far.epoch(&dataset, STREAMED);
    let (statistics, seen) = (dataset.io_statistics(), far.server.seen());
    assert_eq!(statistics.bytes, seen.bytes - before.bytes);
    assert_eq!(statistics.requests, seen.gets - before.gets);
    let ratio = statistics.bytes as f64 / far.all_bytes() as f64;
    assert!((1.0..=1.05).contains(&ratio), "{ratio}");
    assert!(statistics.peak <= 10 * far.shard_bytes(), "{statistics:?}");

    let options = LoaderOptions {
        batch: 4,
        ..LoaderOptions::default()
    };
    let plan = far.plan(STREAMED);
    let cost = dataset
        .read_cost([plan.clone()], plan.len() as u64, options)
        .unwrap();
    assert_eq!(
        (cost.requests, cost.fetched),
        (statistics.requests, statistics.bytes)
    );
    assert!(
        cost.peak <= 10 * far.shard_bytes() && cost.peak >= statistics.peak / 2,
        "{cost:?}"
    );
}

#[test]
fn a_global_shuffle_of_what_fits_fetches_each_shard_once() {
    let far = Far::of(&[20, 20]);
    let dataset = far.in_memory(8);
    for epoch in 0..2 {
        far.epoch(&dataset, Order::Shuffled { seed: 1, epoch });
        assert_eq!(dataset.io_statistics().bytes, far.all_bytes());
    }
}

#[test]
fn a_global_shuffle_of_more_than_fits_is_right_if_not_cheap() {
    let far = Far::of(&[20, 20]);
    // A batch of four windows lies in up to eight shards.
    let dataset = far.in_memory(8);
    let small = far.in_memory(3);
    let order = Order::Shuffled { seed: 1, epoch: 0 };
    let all = far.epoch(&dataset, order);
    let error = far.loader(&small, order).find_map(Result::err).unwrap();
    assert!(matches!(error, Error::Budget { .. }), "{error}");
    let single = LoaderOptions::default();
    let loader = Loader::spawn(
        Arc::clone(&small),
        far.plan(order),
        single,
        far.runtime.handle(),
    );
    let seen: BTreeSet<Window> = loader
        .flat_map(|batch| batch.unwrap().windows.clone())
        .collect();
    assert_eq!(seen, all);
    let statistics = small.io_statistics();
    assert!(statistics.peak <= 3 * far.shard_bytes(), "{statistics:?}");
}

#[test]
fn lanes_that_do_not_fit_are_refused_with_both_numbers() {
    let far = Far::of(&TEN);
    let dataset = far.in_memory(3);
    let error = far
        .loader(&dataset, STREAMED)
        .find_map(Result::err)
        .unwrap();
    assert!(
        matches!(error, Error::Budget { limit, .. } if limit == 3 * far.shard_bytes()),
        "{error}"
    );
}

#[test]
fn a_slow_consumer_does_not_make_the_memory_grow() {
    let far = Far::of(&TEN);
    let dataset = far.in_memory(12);
    let mut loader = far.loader(&dataset, STREAMED);
    let first = loader.next().unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let statistics = dataset.io_statistics();
    assert!(statistics.peak <= 12 * far.shard_bytes(), "{statistics:?}");
    assert!(statistics.bytes < far.all_bytes() / 2, "{statistics:?}");
    drop(first);
    assert_eq!(loader.count() + 1, far.plan(STREAMED).len().div_ceil(4));
}

#[test]
fn what_networks_do_wrong_is_put_right() {
    let far = Far::of(&[20, 20]);
    let faults = [
        (Fault::Status(500), 4),
        (Fault::Status(503), 4),
        (Fault::Reset { after: 100 }, 4),
        (Fault::Short { by: 7 }, 4),
        (Fault::Gone, 4),
        // Damage is looked for a second time, no more: which shard is hit twice would be chance.
        (Fault::Corrupt, 1),
    ];
    for (fault, times) in faults {
        let trouble = Trouble {
            method: "GET",
            fault,
            every: 3,
            times,
        };
        let dataset = far.in_memory(8);
        let before = far.server.seen().faults;
        far.server.trouble(trouble);
        far.epoch(&dataset, STREAMED);
        assert!(far.server.seen().faults > before, "{fault:?}");
        assert!(dataset.io_statistics().retries > 0, "{fault:?}");
        far.server.calm();
    }
}

#[test]
fn what_stays_wrong_has_an_end_that_names_the_object() {
    let far = Far::patient(&[20], "1s");
    let ends = [
        (Fault::Short { by: 1 }, " tries within "),
        (Fault::Status(503), " tries within "),
        (Fault::Corrupt, "is damaged"),
        (Fault::Status(403), "reading"),
    ];
    for (fault, said) in ends {
        let dataset = far.in_memory(8);
        far.server.trouble(Trouble {
            method: "GET",
            fault,
            every: 1,
            times: u64::MAX,
        });
        let error = far
            .loader(&dataset, STREAMED)
            .find_map(Result::err)
            .unwrap();
        let text = error.to_string();
        assert!(
            text.contains(said) && text.contains("s3://bucket/ds/train/0000"),
            "{text}"
        );
        far.server.calm();
    }
}

#[test]
fn what_could_not_be_fetched_takes_no_room_in_the_folder() {
    let far = Far::patient(&[20], "1s");
    let folder = tempfile::tempdir().unwrap();
    let dataset = far.in_folder(&folder, 100);
    for fault in [Fault::Short { by: 1 }, Fault::Corrupt] {
        far.server.trouble(Trouble {
            method: "GET",
            fault,
            every: 1,
            times: u64::MAX,
        });
        assert!(far.loader(&dataset, STREAMED).any(|batch| batch.is_err()));
        far.server.calm();
    }
    drop(dataset);
    let parts = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".part"))
            .count()
    };
    // What was begun ahead ends by itself; who waited for another's part may begin one of its own.
    let (began, mut quiet) = (std::time::Instant::now(), 0);
    while quiet < 25 {
        std::thread::sleep(Duration::from_millis(20));
        quiet = if parts() == 0 { quiet + 1 } else { 0 };
        assert!(began.elapsed() < Duration::from_secs(120), "{}", parts());
    }
    far.epoch(&far.in_folder(&folder, 100), STREAMED);
}

#[test]
fn latency_is_hidden_by_reading_ahead() {
    let far = Far::of(&TEN);
    far.server.link(Link {
        latency: Duration::from_millis(100),
        bandwidth: None,
    });
    let dataset = far.in_memory(24);
    let began = std::time::Instant::now();
    far.epoch(&dataset, STREAMED);
    // A hundred requests one after another would take ten seconds.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn a_folder_is_shared_and_keeps_its_limit() {
    let far = Far::of(&TEN);
    let folder = tempfile::tempdir().unwrap();
    let room = 30;
    let size = || -> u64 {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    };
    let dataset = far.in_folder(&folder, room);
    let before = far.server.seen().bytes;
    far.epoch(&dataset, STREAMED);
    let ratio = (far.server.seen().bytes - before) as f64 / far.all_bytes() as f64;
    assert!((1.0..=1.05).contains(&ratio), "{ratio}");
    assert!(size() <= room * far.shard_bytes());

    // Those that were read last are there for the next who opens the folder.
    let plan = far.plan(STREAMED);
    let rest = plan.after(plan.total() - 4, Share::WHOLE).unwrap();
    let next = far.in_folder(&folder, room);
    let opened = far.server.seen();
    let options = LoaderOptions {
        batch: 4,
        ..LoaderOptions::default()
    };
    let mut loader = Loader::spawn(next, rest, options, far.runtime.handle());
    loader.next().unwrap().unwrap();
    assert_eq!(far.server.seen(), opened);
}

#[test]
fn of_many_readers_one_fetches() {
    let far = Far::of(&[20, 20]);
    let folder = tempfile::tempdir().unwrap();
    let readers: Vec<_> = (0..4).map(|_| far.in_folder(&folder, 100)).collect();
    far.server.link(Link {
        latency: Duration::from_millis(5),
        bandwidth: None,
    });
    let before = far.server.seen();
    std::thread::scope(|scope| {
        for (reader, dataset) in readers.iter().enumerate() {
            let order = Order::Shuffled {
                seed: reader as u64,
                epoch: 0,
            };
            let far = &far;
            scope.spawn(move || far.epoch(dataset, order));
        }
    });
    let shards = far.manifest.splits[&Split::Train].shards.len() as u64;
    assert_eq!(far.server.seen().gets - before.gets, shards);
}

#[test]
fn what_a_dead_process_left_in_a_folder_does_no_harm() {
    let far = Far::of(&[20]);
    let folder = tempfile::tempdir().unwrap();
    let shard = &far.manifest.splits[&Split::Train].shards[0];
    let file = folder
        .path()
        .join(format!("{}-{}.arrow", shard.checksum, shard.bytes));
    let part = folder
        .path()
        .join(format!("{}-{}.arrow.part", shard.checksum, shard.bytes));
    let stranger = folder.path().join("0-0.arrow.part");
    std::fs::write(&part, "half").unwrap();
    std::fs::write(&stranger, "another's").unwrap();
    far.epoch(&far.in_folder(&folder, 100), STREAMED);
    assert!(!part.exists() && !stranger.exists() && file.exists());

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
    far.epoch(&far.in_folder(&folder, 100), STREAMED);
}

/// A file cannot be written to while it is mapped.
#[cfg(unix)]
#[test]
fn a_file_of_the_folder_does_not_change_under_a_reader() {
    use std::os::unix::fs::PermissionsExt as _;
    let far = Far::of(&[20]);
    let folder = tempfile::tempdir().unwrap();
    far.epoch(&far.in_folder(&folder, 100), STREAMED);
    let files = || std::fs::read_dir(folder.path()).unwrap();
    let files = files().map(|file| file.unwrap().path());
    let shards: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
    assert_eq!(
        shards.len(),
        far.manifest.splits[&Split::Train].shards.len()
    );
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert!(shards.iter().all(|path| mode(path) == 0o400));

    // One that was made writable is not any longer.
    std::fs::set_permissions(&shards[0], std::fs::Permissions::from_mode(0o666)).unwrap();
    // One is a link to a file that somebody could cut off while its values are read.
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    std::fs::rename(&shards[1], &target).unwrap();
    std::os::unix::fs::symlink(&target, &shards[1]).unwrap();
    let dataset = far.in_folder(&folder, 100);
    let error = far.loader(&dataset, STREAMED).find_map(Result::err);
    let error = crate::with_causes(&error.unwrap());
    assert!(error.contains("is a link"), "{error}");
    std::fs::remove_file(&shards[1]).unwrap();
    far.epoch(&far.in_folder(&folder, 100), STREAMED);
    assert_eq!((mode(&shards[0]), mode(&shards[1])), (0o400, 0o400));
}
