//! Packings, parts and repairs: the same values however the work is cut.

use std::path::Path;

use wellspring_store::{
    Boundary, Error as StoreError, Location, Manifest, Normalization, Place, Silent, Split,
    TensorOrder, verify,
};

use super::{convert, place};
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

pub(super) async fn made(source: &Path, options: &IngestOptions) -> (Location, Manifest) {
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
