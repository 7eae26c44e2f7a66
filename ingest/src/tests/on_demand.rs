//! Data sets on demand: shards are made when they are read, and the result is that of any ingest.

use wellspring_store::{
    CacheOptions, Dataset, Error as StoreError, Location, Manifest, Order, Plan, Share, Silent,
    Split, WindowSpec, verify,
};

use super::pieces::{objects, options, sources};
use super::quirks::write_file;
use super::{place, small_shards};
use crate::{Error, IngestOptions, Packing, ingest, open, promise};

/// A folder for a data set.
fn folder() -> (tempfile::TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    let root = place(folder.path()).join("ds");
    (folder, root)
}

async fn opened(root: &Location) -> Result<Dataset, Error> {
    open(root, CacheOptions::default(), Location::parse, &Silent).await
}

async fn read_all(dataset: &Dataset, split: Split) {
    let trajectories = &dataset.manifest().split(split).unwrap().trajectories;
    for (index, trajectory) in trajectories.iter().enumerate() {
        let steps = 0..trajectory.frames;
        dataset.read(split, index, steps).await.unwrap();
        dataset.constants(split, index).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_made_and_the_last_shard_commits() {
    let source = tempfile::tempdir().unwrap();
    sources(source.path(), Packing::Chunked);
    let (_whole_folder, whole) = folder();
    let manifest = ingest(&place(source.path()), &whole, &options(), &Silent).await;
    let manifest = manifest.unwrap();

    let (_folder, root) = folder();
    let promised = promise(&place(source.path()), &root, &options(), &Silent).await;
    assert_eq!(promised.unwrap(), None);
    let error = Dataset::open(&root).await.unwrap_err();
    assert!(matches!(error, StoreError::NotADataset { .. }), "{error}");

    let dataset = opened(&root).await.unwrap();
    assert_eq!(*dataset.manifest(), manifest.outline());
    let all = dataset.origin().unwrap().missing();
    let known = Dataset::open(&whole).await.unwrap();
    let window = dataset.read(Split::Train, 1, 3..5).await.unwrap();
    let same = known.read(Split::Train, 1, 3..5).await.unwrap();
    assert_eq!(window, same);
    let missing = dataset.origin().unwrap().missing();
    assert!(missing + 2 >= all && missing < all, "{missing} of {all}");
    assert_eq!(
        dataset.times(Split::Train, 1, 3..5).await.unwrap(),
        known.times(Split::Train, 1, 3..5).await.unwrap()
    );

    read_all(&dataset, Split::Train).await;
    assert!(Dataset::open(&root).await.is_err());
    // Whoever opens it now finds what was made.
    let other = opened(&root).await.unwrap();
    assert_eq!(
        other.origin().unwrap().missing(),
        dataset.origin().unwrap().missing()
    );
    read_all(&other, Split::Test).await;
    assert_eq!(other.origin().unwrap().missing(), 0);
    assert_eq!(Manifest::load(&root).await.unwrap(), manifest);
    assert_eq!(objects(&root).await, objects(&whole).await);
    // The first one's records are gone; it reads on.
    read_all(&dataset, Split::Test).await;
    assert!(opened(&root).await.unwrap().origin().is_none());
    assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
    assert_eq!(objects(&root).await, objects(&whole).await);
}

/// Plans of what is promised are plans of the whole, so a run may go on when it is kept.
#[tokio::test]
async fn an_outline_has_the_plans_of_the_whole() {
    let source = tempfile::tempdir().unwrap();
    sources(source.path(), Packing::Contiguous);
    let root = Location::parse("memory:///ds").unwrap();
    let manifest = ingest(&place(source.path()), &root, &options(), &Silent).await;
    let manifest = manifest.unwrap();
    let lanes = Order::Streamed {
        seed: 3,
        epoch: 1,
        lanes: 2,
    };
    let windows = |manifest: &Manifest| {
        let spec = WindowSpec::of_length(3);
        let plan = Plan::new(manifest, Split::Train, spec, lanes, Share::WHOLE).unwrap();
        (0..plan.len())
            .map(|place| plan.get(place))
            .collect::<Vec<_>>()
    };
    assert_eq!(windows(&manifest.outline()), windows(&manifest));
    assert_eq!(manifest.outline().id(), manifest.outline().outline().id());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_makes_the_rest_and_readers_may_be_many() {
    let source = tempfile::tempdir().unwrap();
    for split in ["train", "valid"] {
        let folder = source.path().join("data").join(split);
        std::fs::create_dir_all(&folder).unwrap();
        write_file(&folder.join("a.hdf5"));
    }
    let from = place(source.path());
    let (_whole_folder, whole) = folder();
    let options = small_shards();
    ingest(&from, &whole, &options, &Silent).await.unwrap();
    let whole = objects(&whole).await;

    let (_folder, root) = folder();
    promise(&from, &root, &options, &Silent).await.unwrap();
    let one = opened(&root).await.unwrap();
    one.read(Split::Train, 1, 0..2).await.unwrap();
    one.constants(Split::Train, 0).await.unwrap();
    ingest(&from, &root, &options, &Silent).await.unwrap();
    assert_eq!(objects(&root).await, whole);

    // In a bucket, what one has made is fetched by the other.
    let root = Location::parse("memory:///ds").unwrap();
    promise(&from, &root, &options, &Silent).await.unwrap();
    let (one, two) = (opened(&root).await.unwrap(), opened(&root).await.unwrap());
    tokio::join!(
        read_all(&one, Split::Train),
        read_all(&two, Split::Train),
        read_all(&two, Split::Valid),
        read_all(&one, Split::Valid),
    );
    assert!(Manifest::load(&root).await.is_ok());
    assert_eq!(objects(&root).await, whole);
}

/// The old data set stays until the last shard of the new one is made.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_anew_is_what_is_opened() {
    let source = tempfile::tempdir().unwrap();
    sources(source.path(), Packing::Contiguous);
    let from = place(source.path());
    let (_folder, root) = folder();
    let old = ingest(&from, &root, &small_shards(), &Silent)
        .await
        .unwrap();
    let anew = IngestOptions {
        overwrite: true,
        ..options()
    };
    let promised = promise(&from, &root, &anew, &Silent).await.unwrap();
    assert_eq!(promised, None);
    assert_eq!(Manifest::load(&root).await.unwrap(), old);
    let dataset = opened(&root).await.unwrap();
    assert!(dataset.origin().unwrap().missing() > 0);
    assert_ne!(dataset.manifest().splits, old.splits);
    read_all(&dataset, Split::Train).await;
    assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
    assert_eq!(Manifest::load(&root).await.unwrap(), old);
    read_all(&dataset, Split::Test).await;
    let new = Manifest::load(&root).await.unwrap();
    assert_eq!((new.generation, &new.outline()), (1, dataset.manifest()));
    // Nothing of the old one is left.
    let named = new.paths().chain(["manifest.json", "stats.yaml"]);
    let named: std::collections::BTreeSet<String> = named.map(String::from).collect();
    let there = objects(&root).await.into_iter().map(|(path, _)| path);
    assert_eq!(there.collect::<std::collections::BTreeSet<_>>(), named);
}

#[tokio::test]
async fn another_source_than_was_promised_is_refused() {
    let source = tempfile::tempdir().unwrap();
    sources(source.path(), Packing::Contiguous);
    let from = place(source.path());
    let (_folder, root) = folder();
    promise(&from, &root, &options(), &Silent).await.unwrap();
    let others = IngestOptions {
        shard_bytes: 1 << 20,
        ..options()
    };
    let error = ingest(&from, &root, &others, &Silent).await.unwrap_err();
    assert!(
        matches!(error, Error::Store(StoreError::Underway { .. })),
        "{error}"
    );
    std::fs::remove_file(source.path().join("data/train/waves_2.hdf5")).unwrap();
    let error = opened(&root).await.unwrap_err();
    assert!(matches!(error, Error::Unlike { .. }), "{error}");
    assert!(error.to_string().contains("promise"), "{error}");
}

/// A source that goes away after the data set was opened.
#[tokio::test]
async fn a_shard_that_cannot_be_made_is_named() {
    let source = tempfile::tempdir().unwrap();
    sources(source.path(), Packing::Gzip(3));
    let (_folder, root) = folder();
    promise(&place(source.path()), &root, &options(), &Silent)
        .await
        .unwrap();
    let dataset = opened(&root).await.unwrap();
    for entry in std::fs::read_dir(source.path().join("data/train")).unwrap() {
        super::truncate(&entry.unwrap().path(), 3000);
    }
    let error = dataset.read(Split::Train, 2, 0..9).await.unwrap_err();
    let told = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(told.contains("train/") && told.contains(".hdf5"), "{told}");
    assert!(matches!(error, StoreError::ShardProvider { .. }), "{told}");
}
