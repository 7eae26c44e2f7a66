//! Hostile and damaged files: they give an error that names what is wrong, without delay.

use std::path::{Path, PathBuf};

use hdf5::{File, Hyperslab};
use wellspring_store::{Location, Silent, with_causes};

use super::quirks::write_file;
use super::{edit, everything_file, place, small_shards};
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
        let causes = with_causes(&error);
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

    type Borrow = fn(&hdf5::Group, &str);
    let borrows: [Borrow; 2] = [
        |group, secret| {
            let builder = group.new_dataset::<f32>().external(secret, 0, 960);
            builder.shape([2, 5, 4, 6]).create("pressure").unwrap();
        },
        |group, secret| {
            let all = || Hyperslab::from((.., .., .., ..));
            let builder = group.new_dataset::<f32>();
            let builder =
                builder.virtual_map(secret, "x", [2, 5, 4, 6], all(), [2, 5, 4, 6], all());
            builder.shape([2, 5, 4, 6]).create("pressure").unwrap();
        },
    ];
    for borrow in borrows {
        let path = file(&folder);
        edit(&path, |file: &File| {
            let fields = file.group("t0_fields").unwrap();
            fields.unlink("pressure").unwrap();
            borrow(&fields, secret);
        });
        for told in told(&path).await {
            let expected = "t0_fields/pressure cannot be read: its values are in other files";
            assert!(told.contains(expected), "{told}");
        }
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
        assert!(
            told.contains("t0_fields/pressure lies in another file"),
            "{told}"
        );
    }
}

/// A walk through groups that hold one another ends.
#[tokio::test]
async fn groups_that_hold_themselves_are_walked_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    edit(&path, |file: &File| {
        file.link_soft("/", "again").unwrap();
        let group = file.create_group("loop").unwrap();
        group.link_hard("/", "root").unwrap();
        group.link_hard("/loop", "itself").unwrap();
        let mut deep = file.create_group("deep").unwrap();
        for _ in 0..100 {
            deep = deep.create_group("d").unwrap();
        }
    });
    let root = Location::parse("memory:///ds").unwrap();
    ingest(&place(&path), &root, &small_shards(), &Silent)
        .await
        .unwrap();
}

/// The library takes memory for a whole chunk even if it reads only a part of it.
#[tokio::test]
async fn a_chunk_larger_than_the_file_can_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    edit(&path, |file: &File| {
        let fields = file.group("t0_fields").unwrap();
        fields.unlink("pressure").unwrap();
        let dataset = fields.new_dataset::<f64>().shape((2.., 5.., 4.., 6..));
        dataset
            .chunk([1, 1 << 7, 1 << 8, 1 << 9])
            .create("pressure")
            .unwrap();
    });
    for told in told(&path).await {
        assert!(
            told.contains("its chunks are larger than the file"),
            "{told}"
        );
    }
}
