//! Selections, packings, parts, additions and repairs: the same values however the work is cut.

use std::path::Path;
use std::sync::Mutex;

use wellspring_store::{
    AxisSelection, Boundary, Change, Dataset, Error as StoreError, Head, Location, Manifest,
    Normalization, Place, Selection, Silent, Split, TensorOrder, verify,
};

use super::{convert, place};
use crate::convert::append;
use crate::convert::repair;
use crate::{
    Error, IngestOptions, Packing, Part, Stage, WaveField, Waves, finish, ingest, ingest_part,
};

pub(super) fn waves(packing: Packing) -> Waves {
    Waves {
        name: "waves".into(),
        axes: vec![
            ("x".into(), 8, [Boundary::Periodic; 2]),
            ("y".into(), 12, [Boundary::Wall, Boundary::Open]),
        ],
        fields: vec![
            WaveField::new("pressure", TensorOrder::Scalar),
            WaveField::new("velocity", TensorOrder::Vector),
            WaveField::new("D", TensorOrder::Tensor),
        ],
        parameters: [("Reynolds".to_owned(), 1e4)].into(),
        trajectories: 2,
        frames: 9,
        packing,
    }
}

/// Three files for training, of 9, 20 and 9 frames, and one for testing.
pub(super) fn sources(folder: &Path, packing: Packing) {
    for (index, (split, frames)) in [("train", 9), ("train", 20), ("train", 9), ("test", 5)]
        .into_iter()
        .enumerate()
    {
        let path = folder.join(format!("data/{split}/waves_{index}.hdf5"));
        let waves = Waves {
            frames,
            ..waves(packing)
        };
        waves.write(&path, index as u64).unwrap();
    }
}

pub(super) fn options() -> IngestOptions {
    IngestOptions {
        shard_bytes: 4 * 7 * 96 * 4,
        ..IngestOptions::default()
    }
}

/// Every object of a data set with its bytes.
pub(super) async fn objects(root: &Location) -> Vec<(String, Vec<u8>)> {
    let mut objects = Vec::new();
    for place in root.list().await.unwrap() {
        let bytes = place.get().await.unwrap().to_vec();
        objects.push((place.below(root).unwrap(), bytes));
    }
    objects
}

async fn made(source: &Path, options: &IngestOptions) -> (Location, Manifest) {
    convert(source, options).await.unwrap()
}

#[tokio::test]
async fn packings_make_no_difference() {
    let mut shards = Vec::new();
    for packing in [Packing::Contiguous, Packing::Chunked, Packing::Gzip(4)] {
        let folder = tempfile::tempdir().unwrap();
        sources(folder.path(), packing);
        let (root, manifest) = made(folder.path(), &options()).await;
        assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
        let made = manifest.provenance.unwrap();
        let sums: Vec<String> = made
            .sources
            .into_iter()
            .map(|source| source.checksum)
            .collect();
        // Files of other bytes are another source, whose shards have other names.
        let held = manifest.splits.into_values().map(|mut split| {
            let files = split.shards.iter_mut().chain(&mut split.constants);
            files.for_each(|shard| shard.path.clear());
            split
        });
        shards.push((manifest.statistics, held.collect::<Vec<_>>(), sums));
    }
    assert_eq!(shards[0], shards[1]);
    assert_eq!(shards[0], shards[2]);
}

#[tokio::test]
async fn any_number_of_parts_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Contiguous);
    let source = place(folder.path());
    let (whole, _) = made(folder.path(), &options()).await;
    let whole = objects(&whole).await;
    assert!(!whole.iter().any(|(name, _)| name.starts_with("ingest/")));
    for count in [1, 2, 5, 40] {
        let root = Location::parse("memory:///parts").unwrap();
        let options = IngestOptions {
            threads: count % 3 + 1,
            ..options()
        };
        let part = |index| format!("{index}/{count}").parse::<Part>().unwrap();
        if count > 1 {
            let early = Stage::Shards;
            let error = ingest_part(&source, &root, &options, part(0), early, &Silent)
                .await
                .unwrap_err();
            assert!(matches!(error, Error::Waiting { .. }), "{error}");
        }
        for stage in [Stage::Statistics, Stage::Shards] {
            for index in (0..count).rev() {
                if (stage, index) == (Stage::Shards, 0) && count < 10 {
                    let error = finish(&source, &root, &options, &Silent).await.unwrap_err();
                    assert!(matches!(error, Error::Unfinished { .. }), "{error}");
                }
                ingest_part(&source, &root, &options, part(index), stage, &Silent)
                    .await
                    .unwrap();
            }
        }
        assert!(!root.join("manifest.json").exists().await.unwrap());
        finish(&source, &root, &options, &Silent).await.unwrap();
        assert_eq!(objects(&root).await, whole, "{count} parts");
    }
}

#[tokio::test]
async fn a_finished_ingest_is_not_done_again_and_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Contiguous);
    let source = place(folder.path());
    let (root, manifest) = made(folder.path(), &options()).await;
    let before = objects(&root).await;
    let again = ingest(&source, &root, &options(), &Silent).await.unwrap();
    assert_eq!((again, objects(&root).await), (manifest, before));
    let other = IngestOptions {
        normalization: Normalization::Rms,
        ..options()
    };
    let error = ingest(&source, &root, &other, &Silent).await.unwrap_err();
    assert!(
        matches!(error, Error::Store(StoreError::Exists { .. })),
        "{error}"
    );
    // One that was begun keeps its place until it is overwritten.
    let root = Location::parse("memory:///begun").unwrap();
    let (part, until) = ("0/2".parse().unwrap(), Stage::Statistics);
    ingest_part(&source, &root, &options(), part, until, &Silent)
        .await
        .unwrap();
    let error = ingest(&source, &root, &other, &Silent).await.unwrap_err();
    assert!(
        matches!(error, Error::Store(StoreError::Underway { .. })),
        "{error}"
    );
    let other = IngestOptions {
        overwrite: true,
        ..other
    };
    ingest(&source, &root, &other, &Silent).await.unwrap();
    assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
}

#[tokio::test]
async fn a_selection_takes_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Gzip(1));
    let bare = IngestOptions {
        normalization: Normalization::None,
        ..options()
    };
    let (root, whole) = made(folder.path(), &bare).await;
    let whole_set = Dataset::open(&root).await.unwrap();
    let axis = |start, end, stride| AxisSelection { start, end, stride };
    let selection = Selection {
        fields: vec!["velocity".into()],
        trajectories: Some((1, 4)),
        space: vec![axis(0, 8, 2), axis(3, 12, 4)],
        time_stride: 3,
        ..Selection::default()
    };
    let bare = IngestOptions { selection, ..bare };
    let (root, manifest) = made(folder.path(), &bare).await;
    let dataset = Dataset::open(&root).await.unwrap();
    let schema = &manifest.schema;
    assert_eq!(schema.channels(), ["velocity_x", "velocity_y"]);
    assert_eq!(schema.grid.shape(), [4, 3]);
    use Boundary::{Open, Periodic};
    assert_eq!(schema.boundaries(), [[Periodic, Periodic], [Open, Open]]);
    let taken = &manifest.splits[&Split::Train].trajectories;
    assert_eq!(
        taken.iter().map(|t| t.frames).collect::<Vec<_>>(),
        [3, 7, 7]
    );
    assert_eq!(manifest.splits[&Split::Test].trajectories.len(), 1);
    let sources = &whole.splits[&Split::Train].trajectories;
    assert_eq!(taken[0].source, sources[1].source);
    for (trajectory, held) in taken.iter().enumerate() {
        let small = dataset
            .read(Split::Train, trajectory, 0..held.frames)
            .await
            .unwrap();
        let frames = sources[trajectory + 1].frames;
        let large = whole_set
            .read(Split::Train, trajectory + 1, 0..frames)
            .await
            .unwrap();
        for (step, channel) in (0..held.frames).flat_map(|step| [(step, 0), (step, 1)]) {
            let large = large.channel(3 * step, 0, channel + 1);
            let expected: Vec<f32> = (0..12)
                .map(|cell| large[cell / 3 * 2 * 12 + 3 + cell % 3 * 4])
                .collect();
            assert_eq!(small.channel(step, 0, channel), expected);
        }
    }
    let kept = manifest.provenance.unwrap().selection;
    assert_eq!(kept, bare.selection);
}

#[tokio::test]
async fn a_selection_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Contiguous);
    let axis = |end, stride| AxisSelection {
        start: 0,
        end,
        stride,
    };
    let cases = [
        (
            vec!["speed"],
            vec![],
            None,
            "no field speed; there are pressure velocity D",
        ),
        (
            vec![],
            vec![axis(9, 1), axis(12, 1)],
            None,
            "0..9 are selected of axis x",
        ),
        (
            vec![],
            vec![axis(8, 3), axis(12, 1)],
            None,
            "does not divide the 8 cells",
        ),
        (vec![], vec![axis(8, 1); 3], None, "3 axes are selected"),
        (vec![], vec![], Some((50, 60)), "no split has a trajectory"),
    ];
    for (fields, space, trajectories, expected) in cases {
        let selection = Selection {
            fields: fields.into_iter().map(String::from).collect(),
            space,
            trajectories,
            time_stride: 1,
            ..Selection::default()
        };
        let options = IngestOptions {
            selection,
            ..options()
        };
        let error = convert(folder.path(), &options).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

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
    new.affine().unwrap().denormalize(&mut read);
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

#[tokio::test]
async fn what_is_damaged_is_found_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("data/train")).unwrap();
    std::fs::copy(
        super::everything_file(),
        folder.path().join("data/train/a.hdf5"),
    )
    .unwrap();
    let options = IngestOptions {
        shard_bytes: 3 * 13 * 48 * 4,
        ..IngestOptions::default()
    };
    let (root, manifest) = made(folder.path(), &options).await;
    let before = objects(&root).await;
    let structure = manifest.provenance.as_ref().unwrap().sources[0]
        .structure
        .path
        .clone();
    let train = &manifest.splits[&Split::Train];
    let constants = train.constants.as_ref().unwrap();
    let broken = [&train.shards[1].path, &constants.path, &structure];
    for path in broken {
        let object = root.join(path);
        let mut bytes = object.get().await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        object.put(bytes).await.unwrap();
    }
    root.join(&train.shards[2].path).delete().await.unwrap();
    let (manifest, flaws) = verify(&root, &Silent).await.unwrap();
    let places: Vec<&Place> = flaws.iter().map(|flaw| &flaw.place).collect();
    let expected = [
        Place::Shard(Split::Train, 1),
        Place::Shard(Split::Train, 2),
        Place::Constants(Split::Train),
        Place::Structure(0),
    ];
    assert_eq!(places, expected.iter().collect::<Vec<_>>());
    let source = place(folder.path());
    repair(&source, &root, &manifest, &flaws, &Silent)
        .await
        .unwrap();
    assert_eq!(objects(&root).await, before);
    // Another source repairs nothing.
    let other = tempfile::tempdir().unwrap();
    waves(Packing::Contiguous)
        .write(&other.path().join("a.hdf5"), 0)
        .unwrap();
    let error = repair(&place(other.path()), &root, &manifest, &flaws, &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unlike { .. }), "{error}");
}
