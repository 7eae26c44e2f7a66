//! More trajectories for a data set, alone and beside other writers.

use std::sync::Mutex;

use wellspring_store::{
    Change, Dataset, Error as StoreError, Head, Location, Manifest, Silent, Split, verify,
};

use super::pieces::{made, options, sources, waves};
use super::place;
use crate::convert::append;
use crate::convert::repair;
use crate::{Error, Packing};

#[tokio::test]
async fn trajectories_are_added_and_read_like_the_others() {
    let (first, more) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sources(first.path(), Packing::Contiguous);
    let (root, old) = made(first.path(), &options()).await;
    waves(Packing::Gzip(2))
        .write(&more.path().join("data/train/later.hdf5"), 70)
        .unwrap();
    waves(Packing::Chunked)
        .write(&more.path().join("data/valid/other.hdf5"), 80)
        .unwrap();
    let source = place(more.path());
    let new = append(&source, &root, &options(), &Silent).await.unwrap();
    assert_eq!(new.generation, 1);
    assert_eq!(new.statistics, old.statistics);
    assert_eq!(new.splits[&Split::Train].trajectories.len(), 8);
    assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
    let dataset = Dataset::open(&root).await.unwrap();
    let mut read = dataset.read(Split::Train, 6, 0..9).await.unwrap();
    new.normalizer().unwrap().denormalize(&mut read);
    let later = more.path().join("data/train/later.hdf5");
    let later = Location::parse(later.to_str().unwrap()).unwrap();
    let (_, own) = crate::read_frame(&later, 0, 4).await.unwrap();
    for (x, y) in read.frame(4).data().iter().zip(own.data()) {
        assert!((x - y).abs() < 1e-5, "{x} {y}");
    }
    // The old generation is there too, and the same files are not added twice.
    let shard = &old.splits[&Split::Train].shards[0];
    shard
        .check(&root.join(&shard.path).get().await.unwrap(), "old")
        .unwrap();
    // Whoever was stopped after its end asks again.
    let again = append(&source, &root, &options(), &Silent).await.unwrap();
    assert_eq!(
        (again, Manifest::load(&root).await.unwrap()),
        (new.clone(), new)
    );
    waves(Packing::Chunked)
        .write(&more.path().join("data/valid/another.hdf5"), 81)
        .unwrap();
    let error = append(&source, &root, &options(), &Silent)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("is in the data set already"),
        "{error}"
    );
    let error = append(
        &place(&super::everything_file()),
        &root,
        &options(),
        &Silent,
    )
    .await;
    assert!(matches!(error, Err(Error::Unlike { .. })));
}

/// Once a shard is written, somebody else changes the data set.
struct Rival {
    root: Location,
    done: Mutex<bool>,
}

impl wellspring_store::Reporter for Rival {
    fn begin(&self, stage: &str, _: Option<u64>, _: &str) {
        let mut done = self.done.lock().unwrap();
        if stage == "shards" && !*done {
            *done = true;
            let dropped = wellspring_store::drop_split(&self.root, Split::Test);
            // In memory, nothing has to be waited for.
            futures::executor::block_on(dropped).unwrap();
        }
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {}

    fn note(&self, _: &str) {}
}

#[tokio::test]
async fn an_append_that_was_overtaken_changes_nothing_and_bars_nobody() {
    let (first, more) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sources(first.path(), Packing::Contiguous);
    let (root, _) = made(first.path(), &options()).await;
    waves(Packing::Gzip(2))
        .write(&more.path().join("data/train/later.hdf5"), 70)
        .unwrap();
    let rival = Rival {
        root: root.clone(),
        done: Mutex::new(false),
    };
    let source = place(more.path());
    let overtaken = append(&source, &root, &options(), &rival).await;
    let overtaken = overtaken.unwrap_err();
    assert!(
        matches!(
            overtaken,
            Error::Store(wellspring_store::Error::Overtaken { generation: 1, .. })
        ),
        "{overtaken}"
    );
    let now = Manifest::load(&root).await.unwrap();
    assert_eq!((now.generation, now.splits.len()), (1, 1));
    let new = append(&source, &root, &options(), &Silent).await.unwrap();
    assert_eq!(new.generation, 2);
    assert!(!wellspring_store::purge(&root).await.unwrap().is_empty());
    assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
}

/// An append that is run again where a killed one of the same was begun, before and after somebody else has
/// changed the data set; and one that was killed between its manifest and its tidying up.
#[tokio::test]
async fn a_killed_append_is_run_again() {
    let (first, more) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sources(first.path(), Packing::Contiguous);
    waves(Packing::Gzip(2))
        .write(&more.path().join("data/train/later.hdf5"), 70)
        .unwrap();
    let (root, _) = made(first.path(), &options()).await;
    let source = place(more.path());
    let head = Head::load(&root).await.unwrap();
    let killed = Change::extend(&root, head, "killed", false).await.unwrap();
    let record = killed.unwrap().records().join("train/00000.json");
    record.put("{}").await.unwrap();
    let error = append(&source, &root, &options(), &Silent)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Store(StoreError::Underway { .. })),
        "{error}"
    );
    wellspring_store::drop_split(&root, Split::Test)
        .await
        .unwrap();
    let new = append(&source, &root, &options(), &Silent).await.unwrap();
    assert!(!record.exists().await.unwrap());
    let head = Head::load(&root).await.unwrap();
    // As it was before it tidied up.
    root.join("stats.yaml").delete().await.unwrap();
    root.join("train/00000.g2-killed.arrow")
        .put("left")
        .await
        .unwrap();
    record.put("{}").await.unwrap();
    let again = append(&source, &root, &options(), &Silent).await.unwrap();
    assert_eq!((again, head.manifest().unwrap()), (new.clone(), new));
    assert!(root.join("stats.yaml").exists().await.unwrap());
    assert!(!record.exists().await.unwrap());
    let left = root.join("train/00000.g2-killed.arrow");
    assert!(!left.exists().await.unwrap());
}

/// What a file holds beside fields may be what a file that was dropped did, which may be deleted any moment.
#[tokio::test]
async fn an_append_names_nothing_that_a_purge_deletes() {
    let first = tempfile::tempdir().unwrap();
    sources(first.path(), Packing::Contiguous);
    let (root, old) = made(first.path(), &options()).await;
    wellspring_store::drop_split(&root, Split::Test)
        .await
        .unwrap();
    let more = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(more.path().join("data/test")).unwrap();
    let path = "data/test/waves_3.hdf5";
    std::fs::copy(first.path().join(path), more.path().join(path)).unwrap();
    let new = append(&place(more.path()), &root, &options(), &Silent)
        .await
        .unwrap();
    let paths: Vec<&str> = old.paths().collect();
    let kept: Vec<&str> = new.splits[&Split::Train]
        .files()
        .map(|shard| shard.path.as_str())
        .collect();
    let made = new.provenance.as_ref().unwrap();
    let train = made
        .sources
        .iter()
        .filter(|source| source.split == Split::Train);
    let kept: Vec<&str> = kept
        .into_iter()
        .chain(train.map(|source| source.structure.path.as_str()))
        .collect();
    for path in new.paths().filter(|path| !kept.contains(path)) {
        assert!(!paths.contains(&path), "{path} was there before");
    }
    assert!(!wellspring_store::purge(&root).await.unwrap().is_empty());
    let (manifest, flaws) = verify(&root, &Silent).await.unwrap();
    assert!(flaws.is_empty(), "{flaws:?}");
    // What was added can be made again.
    let structure = &made.sources.last().unwrap().structure.path;
    root.join(structure).delete().await.unwrap();
    let flaws = verify(&root, &Silent).await.unwrap().1;
    assert_eq!(flaws.len(), 1);
    repair(&place(first.path()), &root, &manifest, &flaws, &Silent)
        .await
        .unwrap();
    assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
}
