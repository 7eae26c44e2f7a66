//! Fields that are transformed: their stored values, their statistics, and every way of making them.

use std::path::Path;

use wellspring_store::{
    CacheOptions, Dataset, Error as StoreError, Flaw, Location, Manifest, Normalization, Selection,
    Silent, Split, verify,
};

use super::pieces::{made, objects, options, sources, waves};
use super::place;
use super::scales::{SHAPE, write};
use crate::convert::{append, repair};
use crate::{
    Error, IngestOptions, Packing, Stage, check_dataset, finish, ingest, ingest_part, open, promise,
};

/// A density from 1e-26 to 1e-20.
fn density(i: usize) -> f64 {
    10.0_f64.powf(3.0 * (i as f64 * 0.37).sin() - 23.0)
}

fn with(transforms: &[(&str, &str)]) -> IngestOptions {
    let transforms = transforms
        .iter()
        .map(|(field, kind)| (field.to_string(), kind.parse().unwrap()));
    IngestOptions {
        transforms: transforms.collect(),
        ..options()
    }
}

async fn refused(folder: &Path, options: &IngestOptions) -> Error {
    let root = Location::parse("memory:///refused").unwrap();
    ingest(&place(folder), &root, options, &Silent)
        .await
        .unwrap_err()
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = |x: &f64| (x - mean) * (x - mean);
    let variance = values.iter().map(square).sum::<f64>() / values.len() as f64;
    (mean, variance.sqrt())
}

#[tokio::test]
async fn logarithms_are_stored_and_values_come_back() {
    let values: Vec<f64> = (0..SHAPE.iter().product()).map(density).collect();
    let logarithms: Vec<f64> = values.iter().map(|x| x.log10()).collect();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train", true, density);
    for normalization in [Normalization::None, Normalization::Zscore] {
        let options = IngestOptions {
            normalization,
            ..with(&[("pressure", "log10"), ("velocity", "asinh:0.5")])
        };
        let (root, manifest) = made(folder.path(), &options).await;
        assert_eq!(manifest.format_version, 3);
        let held = manifest.statistics.channel("pressure").unwrap();
        let (mean, std) = moments(&logarithms);
        assert!((held.mean - mean).abs() < 1e-12 && (held.std - std).abs() < 1e-12);
        let (own, (_, expected)) = (held.own_std.unwrap(), moments(&values));
        assert!((own / expected - 1.0).abs() < 1e-9, "{own:e} {expected:e}");
        let untransformed = manifest.statistics.channel("D_xy").unwrap();
        assert_eq!(untransformed.own_std, None);
        let yaml = root.join("stats.yaml").get().await.unwrap();
        assert!(yaml.starts_with(b"# pressure: of values transformed by log10\n# velocity:"));
        assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
        let dataset = Dataset::open(&root).await.unwrap();
        assert_eq!(check_dataset(&dataset, &Silent).await.unwrap(), []);
        for trajectory in 0..SHAPE[0] {
            let mut read = dataset
                .read(Split::Train, trajectory, 0..SHAPE[1])
                .await
                .unwrap();
            let (steps, frame) = (SHAPE[1], SHAPE[2] * SHAPE[3]);
            let at = |step: usize, cell: usize| (trajectory * steps + step) * frame + cell;
            let cells = || (0..steps).flat_map(|step| (0..frame).map(move |cell| (step, cell)));
            for (step, cell) in cells().filter(|_| normalization == Normalization::None) {
                let stored = read.channel(step, 0, 0)[cell];
                assert_eq!(stored, logarithms[at(step, cell)] as f32);
            }
            manifest.normalizer().unwrap().denormalize(&mut read);
            let file = folder.path().join("data/train/waves.hdf5");
            for (step, cell) in cells() {
                let (found, own) = (
                    f64::from(read.channel(step, 0, 0)[cell]),
                    values[at(step, cell)],
                );
                // An f32 has the digits of what it holds, and that are those of the logarithm.
                let digits = match normalization {
                    Normalization::Zscore => 1e-6,
                    _ => 26.0 * std::f64::consts::LN_10 * f64::from(f32::EPSILON),
                };
                assert!((found / own - 1.0).abs() < digits, "{found:e} {own:e}");
            }
            let (_, own) = crate::read_frame(&place(&file), trajectory, 2)
                .await
                .unwrap();
            for channel in 1..3 {
                let pairs = read
                    .channel(2, 0, channel)
                    .iter()
                    .zip(own.channel(0, 0, channel));
                for (x, y) in pairs {
                    assert!((x - y).abs() <= 1e-6 * (y.abs() + 0.5), "{x} {y}");
                }
            }
        }
    }
}

/// In the training split the first pass finds it, elsewhere the second.
#[tokio::test]
async fn a_value_without_a_transform_is_refused_by_its_place() {
    let cell = (SHAPE[1] + 4) * SHAPE[2] * SHAPE[3] + 7;
    for split in ["train", "valid"] {
        for (value, wide, transform, remedy) in [
            (0.0, false, "log10", "asinh:SCALE"),
            (-2.5e-3, true, "log10", "asinh:SCALE"),
            (1e30, true, "asinh:1e-300", "a larger SCALE"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), "train", true, |_| 1e-3);
            write(folder.path(), split, wide, |i| match i == cell {
                true => value,
                false => 1e-3,
            });
            let options = with(&[("pressure", transform)]);
            let error = refused(folder.path(), &options).await;
            assert!(matches!(error, Error::NotTransformable { .. }), "{error}");
            let error = error.to_string();
            let value = format!("is {value:e} at trajectory 1, step 4");
            for named in [
                split,
                "waves.hdf5",
                "t0_fields/pressure",
                &value,
                transform,
                remedy,
            ] {
                assert!(error.contains(named), "{named} in {error}");
            }
            // What was begun is gone, so that another transform can be tried.
            let root = Location::parse("memory:///refused").unwrap();
            let other = with(&[("pressure", "asinh:1e-3")]);
            ingest(&place(folder.path()), &root, &other, &Silent)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_must_be_possible() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Contiguous);
    for (transforms, words) in [
        (
            [("density", "log10")],
            ["density", "pressure or velocity or D"],
        ),
        ([("velocity", "log10")], ["velocity", "asinh:SCALE"]),
        ([("D", "log10")], ["D is not a scalar", "asinh:SCALE"]),
    ] {
        let error = refused(folder.path(), &with(&transforms)).await;
        let is_choice = matches!(error, Error::Store(StoreError::Choice { .. }));
        let error = error.to_string();
        assert!(is_choice, "{error}");
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    }
    let left_out = IngestOptions {
        selection: Selection {
            fields: vec!["velocity".into()],
            ..Selection::default()
        },
        ..with(&[("pressure", "asinh:1")])
    };
    let error = refused(folder.path(), &left_out).await.to_string();
    assert!(error.contains("choose velocity"), "{error}");
    // A file of statistics does not say what it is of.
    let (root, _) = made(folder.path(), &options()).await;
    let given = IngestOptions {
        stats: Some(root.join("stats.yaml")),
        ..with(&[("pressure", "asinh:1")])
    };
    let error = refused(folder.path(), &given).await.to_string();
    assert!(
        error.contains("stats.yaml") && error.contains("pressure"),
        "{error}"
    );
}

/// Parts, data on demand, an overwritten data set and a repaired one have the bytes of a plain ingest.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_makes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Chunked);
    let source = place(folder.path());
    let transformed = with(&[("pressure", "asinh:0.5"), ("D", "asinh:0.1")]);
    let (whole, manifest) = made(folder.path(), &transformed).await;
    let expected = objects(&whole).await;
    assert_ne!(manifest.id(), made(folder.path(), &options()).await.1.id());

    let root = Location::parse("memory:///parts").unwrap();
    for (index, stage) in [
        ("1/2", Stage::Statistics),
        ("0/2", Stage::Shards),
        ("1/2", Stage::Shards),
    ] {
        let part = index.parse().unwrap();
        ingest_part(&source, &root, &transformed, part, stage, &Silent)
            .await
            .unwrap();
        // Another transform is another request.
        let other = with(&[("pressure", "asinh:0.25"), ("D", "asinh:0.1")]);
        for other in [options(), other] {
            let error = ingest(&source, &root, &other, &Silent).await.unwrap_err();
            assert!(
                matches!(error, Error::Store(StoreError::Underway { .. })),
                "{error}"
            );
        }
    }
    finish(&source, &root, &transformed, &Silent).await.unwrap();
    assert_eq!(objects(&root).await, expected);

    let folder_of_promise = tempfile::tempdir().unwrap();
    let root = place(folder_of_promise.path()).join("ds");
    promise(&source, &root, &transformed, &Silent)
        .await
        .unwrap();
    let dataset = open(&root, CacheOptions::default(), Location::parse, &Silent)
        .await
        .unwrap();
    assert_eq!(dataset.manifest().schema, manifest.schema);
    for (&split, held) in &manifest.splits {
        for index in 0..held.trajectories.len() {
            let frames = 0..held.trajectories[index].frames;
            dataset.read(split, index, frames).await.unwrap();
            dataset.constants(split, index).await.unwrap();
        }
    }
    assert_eq!(objects(&root).await, expected);

    let path = &manifest.splits[&Split::Train].shards[1].path;
    whole.join(path).put("damaged").await.unwrap();
    let (_, flaws): (_, Vec<Flaw>) = verify(&whole, &Silent).await.unwrap();
    repair(&source, &whole, &manifest, &flaws, &Silent)
        .await
        .unwrap();
    assert_eq!(objects(&whole).await, expected);

    let again = IngestOptions {
        overwrite: true,
        ..options()
    };
    let plain = ingest(&source, &whole, &again, &Silent).await.unwrap();
    assert_eq!(plain.format_version, 1);
    let again = IngestOptions {
        overwrite: true,
        ..transformed
    };
    let back = ingest(&source, &whole, &again, &Silent).await.unwrap();
    assert_eq!(back.schema, manifest.schema);
    assert_eq!(back.statistics, manifest.statistics);
}

#[tokio::test]
async fn more_trajectories_are_transformed_as_those_that_are_there() {
    let (first, more) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sources(first.path(), Packing::Contiguous);
    let later = more.path().join("data/train/later.hdf5");
    waves(Packing::Gzip(2)).write(&later, 70).unwrap();
    let (root, old) = made(first.path(), &with(&[("pressure", "asinh:0.5")])).await;
    // Transforms of the options do not count, as the other options of what is stored.
    let new = append(&place(more.path()), &root, &options(), &Silent)
        .await
        .unwrap();
    assert_eq!(new.schema, old.schema);
    assert!(verify(&root, &Silent).await.unwrap().1.is_empty());
    let dataset = Dataset::open(&root).await.unwrap();
    let mut read = dataset.read(Split::Train, 6, 0..9).await.unwrap();
    new.normalizer().unwrap().denormalize(&mut read);
    let (_, own) = crate::read_frame(&place(&later), 0, 4).await.unwrap();
    for (x, y) in read.frame(4).data().iter().zip(own.data()) {
        assert!((x - y).abs() < 1e-5, "{x} {y}");
    }
}

/// What fields that do not vary in time are stored as, too.
#[tokio::test]
async fn constant_fields_are_transformed() {
    let folder = tempfile::tempdir().unwrap();
    super::quirks::write_file(&folder.path().join("a.hdf5"));
    let (_, plain) = made(folder.path(), &options()).await;
    let names: Vec<String> = plain.schema.constant_channels();
    let transforms: Vec<(&str, &str)> = names
        .iter()
        .map(|name| (name.as_str(), "asinh:2"))
        .collect();
    let root = Location::parse("memory:///constants").unwrap();
    let source = place(folder.path());
    let read = async |options: IngestOptions| -> (Manifest, Vec<f32>) {
        let options = IngestOptions {
            overwrite: true,
            ..options
        };
        let manifest = ingest(&source, &root, &options, &Silent).await.unwrap();
        let dataset = Dataset::open(&root).await.unwrap();
        let mut frame = dataset.constants(Split::Train, 1).await.unwrap().unwrap();
        manifest
            .constant_normalizer()
            .unwrap()
            .denormalize(&mut frame);
        (manifest, frame.into_data())
    };
    let (_, expected) = read(options()).await;
    let (manifest, found) = read(with(&transforms)).await;
    assert!(names.iter().all(|name| {
        let of = |manifest: &Manifest| manifest.statistics.channel(name).unwrap();
        of(&manifest).mean != of(&plain).mean
    }));
    for (x, y) in found.iter().zip(&expected) {
        assert!((x - y).abs() <= 1e-5 * (1.0 + y.abs()), "{x} {y}");
    }
}

/// Manifests from before there were transforms are read, and have the same text.
#[test]
fn fields_without_the_key_have_none() {
    let text = r#"{"name":"u","order":"scalar","time_varying":true,"sample_varying":true}"#;
    let field: wellspring_store::Field = serde_json::from_str(text).unwrap();
    assert_eq!(field.transform, None);
    assert_eq!(serde_json::to_string(&field).unwrap(), text);
}
