//! The format from outside: one conformance suite for every kind of location.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conditions;
pub(crate) mod counted;
mod damage;
mod far;
mod hostile;
pub(crate) mod power;
mod remote;

use std::sync::Arc;

use object_store::path::Path;

use crate::{
    Compression, Dataset, Dtype, Error, Loader, LoaderOptions, Location, Normalization, Order,
    Plan, Share, Silent, Split, WindowSpec, sample,
};

const FRAMES: [usize; 3] = [7, 4, 6];

fn local() -> (tempfile::TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    let place = Location::parse(folder.path().to_str().unwrap()).unwrap();
    (folder, place)
}

/// What was written comes back, through every door.
async fn round_trip(
    root: &Location,
    dtype: Dtype,
    compression: Compression,
    normalization: Normalization,
) {
    let mut options = sample::options(&FRAMES);
    (options.dtype, options.compression, options.normalization) =
        (dtype, compression, normalization);
    sample::write(root, &FRAMES, options).await.unwrap();
    let dataset = sample::open(root).await;
    assert!(flaws(root).await.is_empty());
    let normalizer = dataset.manifest().normalizer().unwrap();
    let tolerance = match dtype {
        Dtype::F32 => 1e-6,
        Dtype::F16 => 2e-3,
    };
    for (trajectory, frames) in FRAMES.into_iter().enumerate() {
        let mut read = dataset
            .read(Split::Train, trajectory, 0..frames)
            .await
            .unwrap();
        normalizer.denormalize(&mut read);
        for step in 0..frames {
            let expected = sample::frame(trajectory, step);
            for (x, y) in read.frame(step).data().iter().zip(expected.data()) {
                assert!((x - y).abs() <= tolerance * (1.0 + y.abs()), "{x} {y}");
            }
        }
        let times = dataset.times(Split::Train, trajectory, 1..3).await.unwrap();
        assert_eq!(times, [0.5, 1.0]);
        assert!(
            dataset
                .constants(Split::Train, trajectory)
                .await
                .unwrap()
                .is_some()
        );
    }
}

/// Everything that is wrong with a data set.
async fn flaws(root: &Location) -> Vec<Error> {
    let (_, flaws) = crate::verify(root, &Silent).await.unwrap();
    flaws.into_iter().map(|flaw| flaw.error).collect()
}

#[tokio::test]
async fn every_format_round_trips_on_every_kind_of_place() {
    let server = wellspring_s3_testing::Server::start().unwrap();
    for dtype in [Dtype::F32, Dtype::F16] {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            for normalization in [
                Normalization::Zscore,
                Normalization::Rms,
                Normalization::None,
            ] {
                let (_folder, disk) = local();
                round_trip(&disk, dtype, compression, normalization).await;
                let memory = Location::parse("memory:///ds").unwrap();
                round_trip(&memory, dtype, compression, normalization).await;
                let bucket = Location::parse_with("s3://bucket/ds", &server.settings()).unwrap();
                let bucket = bucket.join(&format!("{dtype:?}-{compression:?}-{normalization:?}"));
                round_trip(&bucket, dtype, compression, normalization).await;
            }
        }
    }
}

/// Batches of a type are what is stored, rounded once.
#[test]
fn batches_are_of_the_type_asked_for() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for dtype in [Dtype::F32, Dtype::F16] {
        let root = Location::parse("memory:///typed").unwrap();
        let mut options = sample::options(&FRAMES);
        options.dtype = dtype;
        let written = runtime.block_on(sample::write(&root, &FRAMES, options));
        let (manifest, dataset) = (written.unwrap(), runtime.block_on(sample::open(&root)));
        let (dataset, spec) = (Arc::new(dataset), WindowSpec::of_length(3));
        let plan = Plan::new(
            &manifest,
            Split::Train,
            spec,
            Order::Sequential,
            Share::WHOLE,
        );
        let (plan, options) = (plan.unwrap(), LoaderOptions::default());
        macro_rules! check {
            ($type:ty) => {
                let plain = Loader::spawn(dataset.clone(), plan.clone(), options, runtime.handle());
                let typed = Loader::<$type>::spawn_as(
                    dataset.clone(),
                    plan.clone(),
                    options,
                    runtime.handle(),
                );
                let mut batches = 0;
                for (plain, typed) in plain.zip(typed) {
                    let (plain, typed) = (plain.unwrap(), typed.unwrap());
                    assert_eq!(plain.windows, typed.windows);
                    let stored = plain.frames.data().iter();
                    let rounded: Vec<$type> = stored.map(|&x| <$type>::from_f32(x)).collect();
                    assert_eq!(typed.frames.data(), rounded);
                    batches += 1;
                }
                assert_eq!(batches, plan.len());
            };
        }
        check!(half::f16);
        check!(half::bf16);
    }
}

#[test]
fn the_loader_delivers_every_window_and_goes_on_where_it_was() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_folder, root) = local();
    runtime
        .block_on(sample::write(&root, &FRAMES, sample::options(&FRAMES)))
        .unwrap();
    let dataset = Arc::new(runtime.block_on(sample::open(&root)));
    let order = Order::Shuffled { seed: 3, epoch: 0 };
    let plan = Plan::new(
        dataset.manifest(),
        Split::Train,
        WindowSpec::of_length(3),
        order,
        Share::WHOLE,
    )
    .unwrap();
    let load = |seen, threads| {
        let options = LoaderOptions {
            batch: 2,
            threads,
            ..LoaderOptions::default()
        };
        let rest = plan.after(seen, Share::WHOLE).unwrap();
        let loader = Loader::spawn(Arc::clone(&dataset), rest, options, runtime.handle());
        loader.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let all = load(0, 1);
    assert_eq!(
        all.iter()
            .flat_map(|batch| batch.windows.clone())
            .collect::<Vec<_>>(),
        plan.iter().collect::<Vec<_>>()
    );
    assert_eq!(all[3..], load(6, 1)[..]);
    assert_eq!(all, load(0, 3));
    for batch in &all {
        for (b, window) in batch.windows.iter().enumerate() {
            let (trajectory, start) = (window.trajectory as usize, window.start as usize);
            let alone = runtime
                .block_on(dataset.read(Split::Train, trajectory, start..start + 3))
                .unwrap();
            for time in 0..3 {
                assert_eq!(batch.frames.channel(time, b, 1), alone.channel(time, 0, 1));
            }
        }
    }
}

#[tokio::test]
async fn a_manifest_from_the_future_is_refused_by_its_version() {
    let root = Location::parse("memory:///ds").unwrap();
    root.join("manifest.json")
        .put(r#"{"format_version": 4, "shape": "unknown"}"#)
        .await
        .unwrap();
    let error = Dataset::open(&root).await.unwrap_err();
    assert!(
        matches!(error, Error::UnsupportedFormat { found: 4, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_data_set_is_not_written_over_unasked() {
    let root = Location::parse("memory:///ds").unwrap();
    sample::write(&root, &FRAMES, sample::options(&FRAMES))
        .await
        .unwrap();
    let error = sample::write(&root, &[3], sample::options(&[3]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    let mut options = sample::options(&[3]);
    options.overwrite = true;
    sample::write(&root, &[3], options).await.unwrap();
    assert!(flaws(&root).await.is_empty());
    // Nothing is left of the replaced data set.
    assert!(!root.join("train/00001.arrow").exists().await.unwrap());
}

#[tokio::test]
async fn reads_past_the_end_are_refused() {
    let root = Location::parse("memory:///ds").unwrap();
    sample::write(&root, &FRAMES, sample::options(&FRAMES))
        .await
        .unwrap();
    let dataset = sample::open(&root).await;
    for (trajectory, steps) in [
        (0, 5..8),
        (3, 0..1),
        (usize::MAX, 0..1),
        (3, 0..0),
        (usize::MAX, 0..0),
        (0, 8..8),
    ] {
        let error = dataset
            .read(Split::Train, trajectory, steps)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
    }
    for (trajectory, frames) in FRAMES.into_iter().enumerate() {
        for step in [0, frames] {
            let none = dataset.read(Split::Train, trajectory, step..step).await;
            assert_eq!(none.unwrap().data(), [0.0; 0]);
        }
    }
    // A window has one frame at least.
    let spec = WindowSpec {
        length: crate::Length::Frames(0),
        stride: usize::MAX,
        ..WindowSpec::of_length(1)
    };
    let window = crate::Window {
        trajectory: 2,
        start: 5,
    };
    let frame = dataset
        .read_window(Split::Train, spec, window)
        .await
        .unwrap();
    assert_eq!(frame, dataset.read(Split::Train, 2, 5..6).await.unwrap());
    assert!(matches!(
        dataset.read(Split::Test, 0, 0..1).await.unwrap_err(),
        Error::NoSplit { .. }
    ));
}

#[tokio::test]
async fn statistics_go_through_the_wells_file() {
    let root = Location::parse("memory:///ds").unwrap();
    let manifest = sample::write(&root, &FRAMES, sample::options(&FRAMES))
        .await
        .unwrap();
    let yaml = root.join("stats.yaml").get().await.unwrap();
    let text = std::str::from_utf8(&yaml).unwrap();
    let read = |text| {
        let normalization = Normalization::Zscore;
        crate::Statistics::from_yaml(text, &manifest.schema, normalization, "stats.yaml")
    };
    let known = read(text).unwrap();
    for channel in manifest.schema.channels() {
        assert_eq!(
            known.channel(&channel).unwrap(),
            manifest.statistics.channel(&channel).unwrap()
        );
    }
    let error = read("mean: {pressure: 1.0}").unwrap_err();
    assert!(error.to_string().contains("stats.yaml"), "{error}");
    // Data sets that are in git have the same text.
    let root = Location::parse("tests/data/v1").unwrap();
    let old = sample::open(&root).await;
    let text = old.manifest().statistics.to_yaml(old.schema()).unwrap();
    assert_eq!(root.join("stats.yaml").get().await.unwrap(), text);
}

/// A data set of format version 1, which must always open and hold these values.
#[tokio::test]
async fn version_1_opens_for_ever() {
    let root = Location::parse("tests/data/v1").unwrap();
    let dataset = sample::open(&root).await;
    assert!(flaws(&root).await.is_empty());
    let normalizer = dataset.manifest().normalizer().unwrap();
    let mut read = dataset.read(Split::Train, 1, 0..4).await.unwrap();
    normalizer.denormalize(&mut read);
    for (x, y) in read.frame(2).data().iter().zip(sample::frame(1, 2).data()) {
        assert!((x - y).abs() <= 1e-5, "{x} {y}");
    }
    assert_eq!(
        dataset.manifest().split(Split::Train).unwrap().trajectories[2].parameters["Reynolds"],
        200.0
    );
}

/// How `tests/data/v1` was made, once.
#[tokio::test]
#[ignore = "writes the frozen data set"]
async fn write_version_1() {
    let root = Location::parse("tests/data/v1").unwrap();
    sample::write(&root, &FRAMES, sample::options(&FRAMES))
        .await
        .unwrap();
}

/// An epoch over a bucket fetches each shard once.
#[test]
fn an_epoch_of_n_shards_is_n_plus_one_requests() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let memory = Location::parse("memory:///ds").unwrap();
    let manifest = runtime
        .block_on(sample::write(&memory, &FRAMES, sample::options(&FRAMES)))
        .unwrap();
    let counted = Arc::new(counted::CountingStore::new(Arc::clone(
        memory.object_store(),
    )));
    let root = Location::from_store(counted.clone(), Path::from("ds"), "counted:/");
    let dataset = Arc::new(runtime.block_on(sample::open(&root)));
    let spec = WindowSpec::of_length(3);
    let plan = Plan::new(
        dataset.manifest(),
        Split::Train,
        spec,
        Order::Sequential,
        Share::WHOLE,
    )
    .unwrap();
    for batch in Loader::spawn(dataset, plan, LoaderOptions::default(), runtime.handle()) {
        batch.unwrap();
    }
    assert_eq!(
        counted.gets(),
        manifest.splits[&Split::Train].shards.len() + 1
    );
}
