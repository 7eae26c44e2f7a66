//! Files with flipped bits: if one still opens, its values are compared with the truth.
//!
//! A damaged value that no checksum covers cannot be told from another value. Everything else is required:
//! in a file of the newer format every structure has a checksum, so damage outside the values changes
//! nothing or is refused. The older format, which h5py writes by default, has no checksums: there an
//! address, a type or the mark of a filter can become another valid one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use hdf5::File;
use wellspring_store::{Dataset, Location, Manifest, Split};

use super::everything::options;
use super::quirks::write_into;
use super::{convert, everything_file};
use crate::Error;

/// Copies of a file with some bits turned over, of the bytes at some places, and which bytes these are;
/// in every copy others, and the same in every run.
pub(super) fn mutants(
    whole: Vec<u8>,
    places: Vec<usize>,
    bits: usize,
) -> impl Iterator<Item = (Vec<u8>, Vec<usize>)> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        let (mut bytes, mut turned) = (whole.clone(), Vec::new());
        for _ in 0..bits {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = places[(state >> 20) as usize % places.len()];
            bytes[at] ^= 1 << (state >> 60 & 7);
            turned.push(at);
        }
        (bytes, turned)
    })
}

/// The bits of all values of each field; the times of all frames go by the name of their dataset.
async fn values(root: &Location, manifest: &Manifest) -> BTreeMap<String, Vec<u64>> {
    let dataset = Dataset::open(root).await.unwrap();
    let mut values: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (sample, held) in manifest.splits[&Split::Train]
        .trajectories
        .iter()
        .enumerate()
    {
        let frames = dataset
            .read(Split::Train, sample, 0..held.frames)
            .await
            .unwrap();
        let constants = dataset.constants(Split::Train, sample).await.unwrap();
        let times = dataset.times(Split::Train, sample, 0..held.frames).await;
        let times = times.unwrap().into_iter().map(f64::to_bits);
        values.entry("time".into()).or_default().extend(times);
        let (mut moving, mut still) = (0, 0);
        for field in &manifest.schema.fields {
            let own = values.entry(field.name.clone()).or_default();
            for _ in field.channels(&manifest.schema.grid) {
                let mut add =
                    |plane: &[f32]| own.extend(plane.iter().map(|x| u64::from(x.to_bits())));
                match (&constants, field.time_varying) {
                    (_, true) => {
                        (0..held.frames).for_each(|step| add(frames.channel(step, 0, moving)));
                        moving += 1;
                    }
                    (Some(constants), false) => {
                        add(constants.channel(0, 0, still));
                        still += 1;
                    }
                    (None, false) => panic!("{} is lost", field.name),
                }
            }
        }
    }
    values
}

/// Ranges of a file that hold the values of each field and the times, unless a checksum covers them.
fn stored(path: &Path) -> BTreeMap<String, Vec<Range<usize>>> {
    let file = File::open(path).unwrap();
    let mut stored = BTreeMap::new();
    for group in ["t0_fields", "t1_fields", "t2_fields", "dimensions"] {
        for dataset in file.group(group).unwrap().datasets().unwrap() {
            let name = dataset.name();
            let name = name.rsplit('/').next().unwrap().to_owned();
            let mut places = Vec::new();
            if let Some(offset) = dataset.offset() {
                places.push(offset as usize..(offset + dataset.storage_size()) as usize);
            }
            for index in 0..dataset.num_chunks().unwrap_or(0) {
                let chunk = dataset.chunk_info(index).unwrap();
                places.push(chunk.addr as usize..(chunk.addr + chunk.size) as usize);
            }
            if name != "fletcher" {
                stored.insert(name, places);
            }
        }
    }
    stored
}

/// What was read of mutants.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    /// Number of damaged files with the values of the whole file.
    true_values: usize,
    /// Number of files with other values, all of fields of which a stored byte without a checksum is damaged.
    damaged_values: usize,
    /// Places of the damage in files with other values although their bytes are whole.
    silent: Vec<Vec<usize>>,
}

/// Reads mutants of a file, and compares.
async fn compared(path: &Path, places: Vec<usize>, bits: usize, count: usize) -> Tally {
    let (root, manifest) = convert(path, &options()).await.unwrap();
    let truth = values(&root, &manifest).await;
    let stored = stored(path);
    let whole = std::fs::read(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mutant = folder.path().join("a.hdf5");
    let mut tally = Tally::default();
    for (bytes, turned) in mutants(whole, places, bits).take(count) {
        // The library takes a file that it may still have open for the same one.
        let _ = std::fs::remove_file(&mutant);
        std::fs::write(&mutant, bytes).unwrap();
        let (root, manifest) = match convert(folder.path(), &options()).await {
            // A panic on another thread.
            Err(Error::Task { reason }) => panic!("{reason}"),
            Err(_) => {
                tally.refused += 1;
                continue;
            }
            Ok(made) => made,
        };
        let found = values(&root, &manifest).await;
        let names: BTreeSet<&String> = truth.keys().chain(found.keys()).collect();
        let names = names.into_iter();
        let changed: Vec<&String> = names
            .filter(|&name| truth.get(name) != found.get(name))
            .collect();
        let hit = |name: &&String| {
            let mut places = stored.get(*name).into_iter().flatten();
            places.any(|place| turned.iter().any(|at| place.contains(at)))
        };
        match changed.as_slice() {
            [] => tally.true_values += 1,
            changed if changed.iter().all(hit) => tally.damaged_values += 1,
            _ => tally.silent.push(turned),
        }
    }
    assert!(!folder.path().join("manifest.json").exists());
    tally
}

fn count(otherwise: usize) -> usize {
    let mutants = std::env::var("MUTANTS").ok();
    mutants.and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// Every structure of the newer format has a checksum.
#[tokio::test]
async fn damage_outside_the_values_of_a_new_file_is_harmless_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.hdf5");
    let file = File::with_options();
    let file = { file }
        .with_fapl(|p| p.libver_latest())
        .create(&path)
        .unwrap();
    write_into(&file);
    drop(file);
    let stored = stored(&path);
    let length = std::fs::metadata(&path).unwrap().len() as usize;
    let values = |at: &usize| stored.values().flatten().any(|place| place.contains(at));
    let outside = (0..length).filter(|at| !values(at)).collect();
    let tally = compared(&path, outside, 1, count(400)).await;
    assert!(tally.refused > 20, "{tally:?}");
    assert_eq!(tally.damaged_values, 0, "{tally:?}");
    assert!(tally.silent.is_empty(), "{tally:?}");
}

/// Whatever becomes of a file's bytes, reading it ends with data or an error. `MUTANTS=100000` takes
/// a quarter of an hour.
#[tokio::test]
async fn damage_to_an_old_file_is_seen_but_in_values_and_few_structures() {
    let path = everything_file();
    let length = std::fs::metadata(&path).unwrap().len() as usize;
    let count = count(500);
    let tally = compared(&path, (0..length).collect(), 8, count).await;
    assert!(tally.refused > 20, "{tally:?}");
    assert!(tally.silent.len() <= count / 50, "{tally:?}");
}
