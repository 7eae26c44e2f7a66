//! Damaged shards, and shards that are cut while they are open.

use super::*;
use crate::CacheOptions;

#[tokio::test]
async fn a_flipped_byte_is_found_wherever_it_is_read() {
    for place in [
        "memory:///ds".to_owned(),
        local().0.keep().to_str().unwrap().to_owned(),
    ] {
        let root = Location::parse(&place).unwrap();
        sample::write(&root, &FRAMES, sample::options(&FRAMES))
            .await
            .unwrap();
        let shard = root.join("train/00001.arrow");
        let mut bytes = shard.get().await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        shard.put(bytes).await.unwrap();
        let dataset = sample::open(&root).await;
        for error in [
            flaws(&root).await.remove(0),
            dataset.read(Split::Train, 0, 0..7).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
            assert!(
                error
                    .to_string()
                    .contains("train/00001.arrow is damaged: its checksum"),
                "{error}"
            );
        }
        dataset.read(Split::Train, 0, 0..4).await.unwrap();
    }
}

/// A mapped file that is cut ends the process; one that is read is an error.
#[tokio::test]
async fn a_shard_that_is_cut_while_it_is_open_is_an_error_where_nothing_is_mapped() {
    let (_folder, root) = local();
    let manifest = sample::write(&root, &FRAMES, sample::options(&FRAMES))
        .await
        .unwrap();
    let cache = CacheOptions {
        map: false,
        ..CacheOptions::default()
    };
    let dataset = Dataset::open_with(&root, cache).await.unwrap();
    let mapped = Dataset::open(&root).await.unwrap();
    let read = dataset.read(Split::Train, 0, 0..7).await.unwrap();
    assert_eq!(
        read.data(),
        mapped.read(Split::Train, 0, 0..7).await.unwrap().data()
    );
    let (reading, shards) = (
        dataset.io_statistics(),
        &manifest.splits[&Split::Train].shards,
    );
    assert!(
        reading.bytes > 0 && reading.peak >= reading.bytes,
        "{reading:?}"
    );
    drop(mapped);

    for shard in shards {
        let path = root.join(&shard.path).local_path().unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(100).unwrap();
    }
    // What is in memory is as it was.
    let again = dataset.read(Split::Train, 0, 0..7).await.unwrap();
    assert_eq!(again.data(), read.data());
    let error = dataset.read(Split::Train, 2, 0..6).await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("/train/0000") && error.contains("gave 100 bytes"),
        "{error}"
    );
}
