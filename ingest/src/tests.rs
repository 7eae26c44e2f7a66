//! Ingest from HDF5 files to shards and back, with every quirk of The Well's layout.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod append;
mod damage;
mod everything;
mod findings;
mod hostile;
mod hub;
mod ledger;
mod odd;
mod on_demand;
mod pieces;
mod quirks;
mod remote;
mod scales;
mod selection;
mod simulations;
mod transforms;
mod unwritten;

use std::path::Path;

use hdf5::File;
use wellspring_store::{
    Boundary, Dataset, Frames, Location, Manifest, Normalization, Silent, Split,
};

use self::quirks::{FRAMES, SAMPLES, value, write_file};
use crate::{Error, IngestOptions, ingest};

/// A file with everything that the format allows. Tests run in their package's folder; its path at the
/// time of the build may be gone, where clones share a build folder.
fn everything_file() -> std::path::PathBuf {
    "tests/data/h5py.hdf5".into()
}

fn place(path: &Path) -> Location {
    Location::parse(path.to_str().unwrap()).unwrap()
}

async fn convert(source: &Path, options: &IngestOptions) -> Result<(Location, Manifest), Error> {
    let root = Location::parse("memory:///ds").unwrap();
    let manifest = ingest(&place(source), &root, options, &Silent).await?;
    Ok((root, manifest))
}

fn small_shards() -> IngestOptions {
    IngestOptions {
        shard_bytes: 3 * 8 * 24 * 4,
        ..IngestOptions::default()
    }
}

#[tokio::test]
async fn every_quirk_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write_file(&folder.path().join("a.hdf5"));
    for normalization in [
        Normalization::Zscore,
        Normalization::Rms,
        Normalization::None,
    ] {
        let options = IngestOptions {
            normalization,
            ..small_shards()
        };
        let (root, manifest) = convert(folder.path(), &options).await.unwrap();
        let dataset = Dataset::open(&root).await.unwrap();
        let (_, flaws) = wellspring_store::verify(&root, &Silent).await.unwrap();
        assert!(flaws.is_empty(), "{flaws:?}");
        let channels = [
            "pressure",
            "height",
            "velocity_x",
            "velocity_y",
            "D_xx",
            "D_xy",
            "D_yx",
            "D_yy",
        ];
        assert_eq!(manifest.schema.channels(), channels);
        for sample in 0..SAMPLES {
            let mut frames = dataset.read(Split::Train, sample, 0..FRAMES).await.unwrap();
            manifest.normalizer().unwrap().denormalize(&mut frames);
            compare(&frames, sample);
        }
    }
}

fn compare(frames: &Frames, sample: usize) {
    for time in 0..FRAMES {
        for cell in 0..24 {
            let (x, y) = (cell / 6, cell % 6);
            let at = |channel: usize| f64::from(frames.channel(time, 0, channel)[cell]);
            let expected = [
                (0, value(&[sample, time, x, y])),
                (1, value(&[time, x])),
                (2, value(&[sample, time, x, y, 0])),
                (3, value(&[sample, time, x, y, 1])),
                (5, value(&[sample, time, x, y, 0, 1])),
                (6, value(&[sample, time, x, y, 1, 0])),
            ];
            for (channel, expected) in expected {
                assert!(
                    (at(channel) - expected).abs() < 2e-6 * 13.0,
                    "{channel}: {} {expected}",
                    at(channel)
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_field_is_kept_too() {
    let folder = tempfile::tempdir().unwrap();
    write_file(&folder.path().join("a.hdf5"));
    std::fs::write(folder.path().join("README.md"), "foreign").unwrap();
    let (root, manifest) = convert(folder.path(), &small_shards()).await.unwrap();
    use Boundary::{Open, Periodic, Wall};
    assert_eq!(
        manifest.schema.boundaries(),
        [[Periodic, Periodic], [Wall, Open]]
    );
    let trajectory = &manifest.split(Split::Train).unwrap().trajectories[1];
    assert_eq!(trajectory.parameters["gravity"], 9.81);
    assert_eq!(trajectory.series["forcing"], [10.0, 11.0, 12.0, 13.0, 14.0]);
    assert_eq!(trajectory.source, "a.hdf5#1");
    let dataset = Dataset::open(&root).await.unwrap();
    let times = dataset.times(Split::Train, 0, 0..FRAMES).await.unwrap();
    assert_eq!(times, [0.0, 0.25, 0.5, 0.75, 1.0]);
    let mut depth = dataset.constants(Split::Train, 1).await.unwrap().unwrap();
    let normalizer = manifest.constant_normalizer().unwrap();
    normalizer.denormalize(&mut depth);
    for cell in 0..24 {
        assert!((f64::from(depth.data()[cell]) - value(&[1, cell % 6])).abs() < 1e-5);
    }
}

#[tokio::test]
async fn statistics_are_those_of_all_values_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write_file(&folder.path().join("a.hdf5"));
    let (_, manifest) = convert(folder.path(), &small_shards()).await.unwrap();
    let values: Vec<Vec<f64>> = (0..SAMPLES * FRAMES)
        .map(|i| {
            (0..24)
                .map(|cell| value(&[i / FRAMES, i % FRAMES, cell / 6, cell % 6]))
                .collect()
        })
        .collect();
    let deltas: Vec<f64> = (0..SAMPLES * FRAMES)
        .filter(|i| i % FRAMES > 0)
        .flat_map(|i| (0..24).map(move |cell| (i, cell)))
        .map(|(i, cell)| values[i][cell] - values[i - 1][cell])
        .collect();
    let all: Vec<f64> = values.concat();
    let mean = |xs: &[f64]| xs.iter().sum::<f64>() / xs.len() as f64;
    let std = |xs: &[f64]| {
        mean(
            &xs.iter()
                .map(|x| (x - mean(xs)).powi(2))
                .collect::<Vec<_>>(),
        )
        .sqrt()
    };
    let found = manifest.statistics.channel("pressure").unwrap();
    for (found, expected) in [
        (found.mean, mean(&all)),
        (found.std, std(&all)),
        (found.mean_delta, mean(&deltas)),
        (found.std_delta, std(&deltas)),
    ] {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[tokio::test]
async fn threads_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_file(&folder.path().join("a.hdf5"));
    write_file(&folder.path().join("b.hdf5"));
    let of = |threads| IngestOptions {
        threads,
        ..small_shards()
    };
    let (_, one) = convert(folder.path(), &of(1)).await.unwrap();
    let (_, four) = convert(folder.path(), &of(4)).await.unwrap();
    assert_eq!(one.id(), four.id());
}

#[tokio::test]
async fn bad_files_are_refused_by_name() {
    type Damage = fn(&Path);
    let cases: [(Damage, &str); 5] = [
        (|path| truncate(path, 2000), "bad.hdf5 as HDF5"),
        (
            |path| std::fs::write(path, b"not at all").unwrap(),
            "bad.hdf5 as HDF5",
        ),
        (
            |path| edit(path, |file| file.unlink("t1_fields/velocity").unwrap()),
            "t1_fields/velocity is missing",
        ),
        (
            |path| edit(path, |file| file.unlink("dimensions/x").unwrap()),
            "dimensions/x is missing",
        ),
        (
            |path| {
                edit(path, |file| {
                    let nan = ndarray::Array1::from_elem(1, f64::NAN);
                    file.dataset("t0_fields/pressure")
                        .unwrap()
                        .write_slice(&nan, (1, 3, 2, 4..5))
                        .unwrap();
                });
            },
            "t0_fields/pressure has a value that is not finite at trajectory 1, step 3",
        ),
    ];
    for (damage, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        write_file(&folder.path().join("a.hdf5"));
        let bad = folder.path().join("bad.hdf5");
        write_file(&bad);
        damage(&bad);
        let error = convert(folder.path(), &small_shards()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error} / {expected}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        convert(empty.path(), &small_shards()).await.unwrap_err(),
        Error::NoFiles { .. }
    ));
}

fn truncate(path: &Path, length: u64) {
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(length)
        .unwrap();
}

fn edit(path: &Path, change: impl Fn(&File)) {
    change(&File::open_rw(path).unwrap());
}
