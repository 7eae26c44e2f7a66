//! Fields in units of any size: their stored values, their normalization, and the notes about them.

use std::path::Path;

use wellspring_store::{
    ChannelStatistics, Dataset, Dtype, Location, Manifest, Normalization, Notes, ScaleBound, Split,
};

use super::pieces::{options, waves};
use super::place;
use crate::{Error, IngestOptions, Packing, ingest};

pub(super) const SHAPE: [usize; 4] = [2, 9, 8, 12];

/// Values of order 1 that differ in all cells and steps.
fn wave(i: usize) -> f64 {
    (i as f64 * 0.37).sin() + 0.3 * (i as f64 * 0.011).cos()
}

/// A file whose pressure has these values, in f32 or f64.
pub(super) fn write(folder: &Path, split: &str, wide: bool, value: impl Fn(usize) -> f64) {
    let path = folder.join(format!("data/{split}/waves.hdf5"));
    waves(Packing::Contiguous).write(&path, 1).unwrap();
    let file = hdf5::File::open_rw(&path).unwrap();
    let group = file.group("t0_fields").unwrap();
    group.unlink("pressure").unwrap();
    let values: Vec<f64> = (0..SHAPE.iter().product()).map(value).collect();
    let dataset = match wide {
        true => {
            let dataset = group
                .new_dataset::<f64>()
                .shape(SHAPE)
                .create("pressure")
                .unwrap();
            dataset.write_raw(&values).unwrap();
            dataset
        }
        false => {
            let dataset = group
                .new_dataset::<f32>()
                .shape(SHAPE)
                .create("pressure")
                .unwrap();
            let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
            dataset.write_raw(&values).unwrap();
            dataset
        }
    };
    let varies = dataset
        .new_attr::<bool>()
        .shape([2])
        .create("dim_varying")
        .unwrap();
    varies.write_raw(&[true, true]).unwrap();
    for name in ["sample_varying", "time_varying"] {
        let flag = dataset.new_attr::<bool>().create(name).unwrap();
        flag.write_scalar(&true).unwrap();
    }
}

async fn made(
    folder: &Path,
    options: &IngestOptions,
) -> (Location, Result<Manifest, Error>, Vec<String>) {
    let root = Location::parse("memory:///ds").unwrap();
    let notes = Notes::default();
    let manifest = ingest(&place(folder), &root, options, &notes).await;
    (root, manifest, notes.take())
}

/// Mean and deviation of the wave and of its changes from frame to frame.
fn expected() -> (f64, f64, f64, f64) {
    let moments = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = |x: &f64| (x - mean) * (x - mean);
        let variance = values.iter().map(square).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt())
    };
    let all: Vec<f64> = (0..SHAPE.iter().product()).map(wave).collect();
    let frame = SHAPE[2] * SHAPE[3];
    let changes = (0..all.len()).filter(|i| i % (SHAPE[1] * frame) >= frame);
    let changes: Vec<f64> = changes.map(|i| all[i] - all[i - frame]).collect();
    let ((mean, std), (mean_delta, std_delta)) = (moments(&all), moments(&changes));
    (mean, std, mean_delta, std_delta)
}

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() < tolerance,
        "{found:e} {expected:e}"
    );
}

/// Stored values are equal in units from 1e-30 to 1e30, and on an offset eleven orders larger.
#[tokio::test]
async fn a_wave_is_stored_alike_in_all_units() {
    let (mean, std, mean_delta, std_delta) = expected();
    for (wide, offset, unit, dtype) in [
        (false, 0.0, 1.0, Dtype::F32),
        (false, 3e-24, 1e-24, Dtype::F32),
        (false, 3e-24, 1e-24, Dtype::F16),
        (true, 0.0, 1e-30, Dtype::F32),
        (true, 0.0, 1e30, Dtype::F32),
        (true, 1e8, 1.0 / 1024.0, Dtype::F32),
        (true, 1e8, 1.0 / 1024.0, Dtype::F16),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train", wide, |i| offset + unit * wave(i));
        let options = IngestOptions { dtype, ..options() };
        let (root, manifest, notes) = made(folder.path(), &options).await;
        let manifest = manifest.unwrap();
        assert!(
            notes.iter().all(|note| !note.contains("pressure")),
            "{notes:?}"
        );
        let held: ChannelStatistics = manifest.statistics.channel("pressure").unwrap();
        // Values are rounded to the digits of their type, and so is the mean: offset included.
        let digits = 1e-6 * (1.0 + if wide { 0.0 } else { 2.0 * offset / unit });
        let rounded = 4.0 * offset * f64::EPSILON;
        near(held.mean, offset + mean * unit, unit * digits + rounded);
        near(held.std, std * unit, unit * digits);
        near(held.rms, held.mean.hypot(held.std), 1e-6 * held.rms);
        near(held.mean_delta, mean_delta * unit, unit * digits);
        near(held.std_delta, std_delta * unit, unit * digits);
        let dataset = Dataset::open(&root).await.unwrap();
        let tolerance = match dtype {
            Dtype::F32 => 3.0 * digits + rounded / unit,
            Dtype::F16 => 2e-3,
        };
        for (trajectory, step) in [(0, 0), (1, 8)] {
            let steps = step..step + 1;
            let read = dataset.read(Split::Train, trajectory, steps).await.unwrap();
            let frame = SHAPE[2] * SHAPE[3];
            let first = (trajectory * SHAPE[1] + step) * frame;
            for (cell, &stored) in read.channel(0, 0, 0).iter().enumerate() {
                let wanted = (wave(first + cell) - mean) / std;
                let error = (f64::from(stored) - wanted).abs();
                assert!(
                    error < tolerance,
                    "{offset:e} ± {unit:e}: {stored} {wanted}"
                );
            }
        }
        // An older program reads the data set if it would read the same.
        let is_small = unit < 1e-4 && offset < 1.0;
        let version = if is_small { 2 } else { 1 };
        assert_eq!(manifest.format_version, version);
        assert_eq!(manifest.scale_bound == ScaleBound::Relative, is_small);
    }
}

#[tokio::test]
async fn a_channel_that_hardly_varies_is_named() {
    for (offset, unit, scale) in [(1.0, 1e-7, 1e-4), (1e-10, 1e-17, 1e-14)] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train", true, |i| offset + unit * wave(i));
        let (_, manifest, notes) = made(folder.path(), &options()).await;
        let manifest = manifest.unwrap();
        let std = manifest.statistics.channel("pressure").unwrap().std;
        let found = manifest.normalizer().unwrap().channels()[0].scale;
        assert!((found / scale - 1.0).abs() < 1e-6, "{found:e}");
        let note = notes.iter().find(|note| note.contains("pressure")).unwrap();
        for number in [std, found] {
            assert!(note.contains(&format!("{number:e}")), "{note}");
        }
    }
}

#[tokio::test]
async fn what_f32_cannot_hold_is_refused_for_that() {
    for (split, wide, value, is_number) in [
        ("train", true, 1e39, true),
        ("valid", true, -1e39, true),
        ("train", true, f64::NAN, false),
        ("valid", true, f64::INFINITY, false),
        ("train", false, f64::NAN, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train", wide, wave);
        let bad = SHAPE[2] * SHAPE[3] * (SHAPE[1] + 3) + 5;
        write(folder.path(), split, wide, |i| {
            if i == bad { value } else { wave(i) }
        });
        for normalization in [Normalization::Zscore, Normalization::None] {
            let options = IngestOptions {
                normalization,
                ..options()
            };
            let error = made(folder.path(), &options).await.1.unwrap_err();
            let text = error.to_string();
            for named in ["pressure", "trajectory 1", "step 3"] {
                assert!(text.contains(named), "{text}");
            }
            match error {
                Error::TooLarge { value: found, .. } => {
                    assert_eq!((found, is_number), (value, true))
                }
                Error::NotFinite { .. } => assert!(!is_number, "{text}"),
                _ => panic!("{text}"),
            }
        }
    }
}

/// Half precision ends at 65504 and loses digits below 6e-5.
#[tokio::test]
async fn what_f16_cannot_hold_is_refused_for_that() {
    let half = |normalization| IngestOptions {
        dtype: Dtype::F16,
        normalization,
        ..options()
    };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train", false, |i| 1e-24 * wave(i));
    let refused = made(folder.path(), &half(Normalization::None))
        .await
        .1
        .unwrap_err();
    assert!(
        matches!(
            &refused,
            Error::Store(wellspring_store::Error::Vanishing { channel, .. }) if channel == "pressure"
        ),
        "{refused}"
    );
    made(folder.path(), &half(Normalization::Rms))
        .await
        .1
        .unwrap();

    // One cell of the validation split, far from all that the statistics know.
    write(folder.path(), "valid", false, |i| {
        if i == 100 { 1e-18 } else { 1e-24 * wave(i) }
    });
    let refused = made(folder.path(), &half(Normalization::Zscore))
        .await
        .1
        .unwrap_err();
    let text = refused.to_string();
    for named in ["pressure", "trajectory 0 step 1", "f16"] {
        assert!(text.contains(named), "{text}");
    }
    made(folder.path(), &options()).await.1.unwrap();
}
