//! Files that mean harm, or were harmed: an error that names what is wrong, in good time.

use std::path::{Path, PathBuf};

use hdf5::{File, Hyperslab};
use wellspring_store::{Location, Silent};

use super::quirks::write_file;
use super::{edit, everything_file, place, remote, small_shards};
use crate::{Error, ingest};

/// What an ingest of a file says, from the disk and from elsewhere.
async fn told(path: &Path) -> [String; 2] {
    let far = Location::parse("memory:///a.hdf5").unwrap();
    far.put(std::fs::read(path).unwrap()).await.unwrap();
    let mut told = Vec::new();
    for source in [place(path), far] {
        let root = Location::parse("memory:///ds").unwrap();
        let error = ingest(&source, &root, &small_shards(), &Silent).await;
        let error = error.unwrap_err();
        let causes = remote::told(&error);
        assert!(
            matches!(
                error,
                Error::Layout { .. } | Error::Read { .. } | Error::Bytes { .. }
            ),
            "{causes}"
        );
        told.push(causes);
    }
    told.try_into().unwrap()
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("a.hdf5");
    write_file(&path);
    path
}

/// The library would walk from an object of no size to itself.
#[tokio::test]
async fn a_heap_that_would_never_end_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdf5");
    let mut bytes = std::fs::read(everything_file()).unwrap();
    let heaps: Vec<usize> = (0..bytes.len() - 40)
        .filter(|&at| bytes[at..].starts_with(b"GCOL\x01\0\0\0"))
        .collect();
    assert!(!heaps.is_empty());
    for heap in heaps {
        bytes[heap + 16..heap + 32].fill(0);
    }
    std::fs::write(&path, bytes).unwrap();
    for told in told(&path).await {
        assert!(told.contains("global heap"), "{told}");
    }
}

#[tokio::test]
async fn values_in_other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, [7; 4096]).unwrap();
    let secret = secret.to_str().unwrap();

    let path = file(&folder);
    edit(&path, |file: &File| {
        let builder = file.new_dataset::<f32>().external(secret, 0, 96);
        builder.shape([24]).create("borrowed").unwrap();
    });
    for told in told(&path).await {
        assert!(
            told.contains("borrowed has its values in other files"),
            "{told}"
        );
    }

    let path = file(&folder);
    edit(&path, |file: &File| {
        let all = || Hyperslab::from(..);
        let builder = file.new_dataset::<f32>();
        let builder = builder.virtual_map(secret, "x", 24, all(), 24, all());
        builder.shape([24]).create("borrowed").unwrap();
    });
    for told in told(&path).await {
        assert!(
            told.contains("borrowed has its values in other files"),
            "{told}"
        );
    }

    // A field, whose offsets would be looked up in the wrong file.
    let other = folder.path().join("b.hdf5");
    write_file(&other);
    let path = file(&folder);
    edit(&path, |file: &File| {
        let fields = file.group("t0_fields").unwrap();
        fields.unlink("pressure").unwrap();
        let (other, field) = (other.to_str().unwrap(), "t0_fields/pressure");
        fields.link_external(other, field, "pressure").unwrap();
    });
    for told in told(&path).await {
        assert!(told.contains("t0_fields/pressure"), "{told}");
    }
}

#[tokio::test]
async fn groups_that_hold_themselves_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    edit(&path, |file: &File| file.link_soft("/", "again").unwrap());
    for told in told(&path).await {
        assert!(
            told.contains("again is a group that is linked to twice"),
            "{told}"
        );
    }
}

/// For a chunk that is read in part the library takes memory for all of it.
#[tokio::test]
async fn a_chunk_larger_than_the_file_can_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    edit(&path, |file: &File| {
        let dataset = file.new_dataset::<f64>().shape((1..,)).chunk(1 << 28);
        dataset.create("vast").unwrap();
    });
    for told in told(&path).await {
        assert!(told.contains("vast claims chunks larger"), "{told}");
    }
}
