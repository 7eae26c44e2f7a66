//! From HDF5 files to shards and back, through every quirk of The Well's layout.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod everything;
mod hostile;
mod on_demand;
mod pieces;
mod remote;

use std::path::Path;

use hdf5::File;
use hdf5::types::VarLenUnicode;
use ndarray::ArrayD;
use wellspring_store::{
    Boundary, Dataset, Frames, Location, Manifest, Normalization, Silent, Split,
};

use crate::{Equation, Error, IngestOptions, SimulateOptions, ingest, inspect, simulate};

const SPACE: [usize; 2] = [4, 6];
const SAMPLES: usize = 2;
const FRAMES: usize = 5;

/// A value that tells where it was.
fn value(index: &[usize]) -> f64 {
    index.iter().fold(0.5, |sum, &i| sum * 1.7 + i as f64).sin() * 10.0 + 3.0
}

fn texts(at: &hdf5::Group, name: &str, values: &[&str]) {
    let values: Vec<VarLenUnicode> = values.iter().map(|v| v.parse().unwrap()).collect();
    at.new_attr::<VarLenUnicode>()
        .shape([values.len()])
        .create(name)
        .unwrap()
        .write_raw(&values)
        .unwrap();
}

fn text(at: &hdf5::Group, name: &str, value: &str) {
    let value: VarLenUnicode = value.parse().unwrap();
    at.new_attr::<VarLenUnicode>()
        .create(name)
        .unwrap()
        .write_scalar(&value)
        .unwrap();
}

/// A field in f64 with the given flags; compressed where `packed`.
fn field(
    group: &hdf5::Group,
    name: &str,
    order: usize,
    varies: (bool, bool, [bool; 2]),
    packed: bool,
) {
    let (sample, time, dims) = varies;
    let mut shape = Vec::new();
    shape.extend(sample.then_some(SAMPLES));
    shape.extend(time.then_some(FRAMES));
    shape.extend(
        SPACE
            .iter()
            .zip(dims)
            .filter_map(|(&n, varies)| varies.then_some(n)),
    );
    shape.extend(vec![2; order]);
    let values = ArrayD::from_shape_fn(shape.clone(), |index| {
        value(ndarray::Dimension::slice(&index))
    });
    let builder = group.new_dataset::<f64>().shape(shape.clone());
    let dataset = match packed {
        true => builder
            .chunk(shape.iter().map(|n| n.div_ceil(2)).collect::<Vec<_>>())
            .shuffle()
            .deflate(4)
            .create(name),
        false => builder.create(name),
    };
    let dataset = dataset.unwrap();
    dataset.write(&values).unwrap();
    dataset
        .new_attr::<bool>()
        .shape([2])
        .create("dim_varying")
        .unwrap()
        .write_raw(&dims)
        .unwrap();
    for (flag, on) in [("sample_varying", sample), ("time_varying", time)] {
        dataset
            .new_attr::<bool>()
            .create(flag)
            .unwrap()
            .write_scalar(&on)
            .unwrap();
    }
}

/// A file with every kind of field, walls below and an open end above on y.
fn write_file(path: &Path) {
    let file = File::create(path).unwrap();
    text(&file, "dataset_name", "quirks");
    text(&file, "grid_type", "cartesian");
    file.new_attr::<i64>()
        .create("n_spatial_dims")
        .unwrap()
        .write_scalar(&2)
        .unwrap();
    file.new_attr::<i64>()
        .create("n_trajectories")
        .unwrap()
        .write_scalar(&(SAMPLES as i64))
        .unwrap();
    let dimensions = file.create_group("dimensions").unwrap();
    texts(&dimensions, "spatial_dims", &["x", "y"]);
    for (name, n) in [("time", FRAMES), ("x", SPACE[0]), ("y", SPACE[1])] {
        let values: Vec<f32> = (0..n).map(|i| i as f32 * 0.25).collect();
        dimensions
            .new_dataset::<f32>()
            .shape([n])
            .create(name)
            .unwrap()
            .write_raw(&values)
            .unwrap();
    }
    let conditions = file.create_group("boundary_conditions").unwrap();
    for (name, axis, kind, mask) in [
        ("around", "x", "PERIODIC", vec![true, false, false, true]),
        (
            "floor",
            "y",
            "wall",
            vec![true, false, false, false, false, false],
        ),
        (
            "lid",
            "y",
            "Open",
            vec![false, false, false, false, false, true],
        ),
    ] {
        let condition = conditions.create_group(name).unwrap();
        texts(&condition, "associated_dims", &[axis]);
        text(&condition, "bc_type", kind);
        condition
            .new_dataset::<bool>()
            .shape([mask.len()])
            .create("mask")
            .unwrap()
            .write_raw(&mask)
            .unwrap();
    }
    let scalars = file.create_group("scalars").unwrap();
    texts(&scalars, "field_names", &["gravity", "forcing"]);
    scalars
        .new_dataset::<f64>()
        .shape(())
        .create("gravity")
        .unwrap()
        .write_scalar(&9.81)
        .unwrap();
    let forcing = scalars
        .new_dataset::<f64>()
        .shape([SAMPLES, FRAMES])
        .create("forcing")
        .unwrap();
    forcing
        .write(&ndarray::Array2::from_shape_fn(
            (SAMPLES, FRAMES),
            |(s, t)| (10 * s + t) as f64,
        ))
        .unwrap();
    for flag in ["sample_varying", "time_varying"] {
        forcing
            .new_attr::<bool>()
            .create(flag)
            .unwrap()
            .write_scalar(&true)
            .unwrap();
    }
    let t0 = file.create_group("t0_fields").unwrap();
    texts(&t0, "field_names", &["pressure", "height", "depth"]);
    field(&t0, "pressure", 0, (true, true, [true, true]), true);
    field(&t0, "height", 0, (false, true, [true, false]), false);
    field(&t0, "depth", 0, (true, false, [false, true]), false);
    let t1 = file.create_group("t1_fields").unwrap();
    texts(&t1, "field_names", &["velocity"]);
    field(&t1, "velocity", 1, (true, true, [true, true]), false);
    let t2 = file.create_group("t2_fields").unwrap();
    texts(&t2, "field_names", &["D"]);
    field(&t2, "D", 2, (true, true, [true, true]), true);
}

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
            manifest.affine().denormalise(&mut frames);
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
    let affine = manifest
        .statistics
        .affine(manifest.normalization, &["depth".into()])
        .unwrap();
    affine.denormalise(&mut depth);
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

fn simulated(equation: Equation, shape: &[usize], folder: &Path) -> Vec<std::path::PathBuf> {
    let options = SimulateOptions {
        shape: shape.to_vec(),
        frames: 3,
        train: 2,
        valid: 1,
        test: 1,
        ..SimulateOptions::of(equation)
    };
    simulate(equation, folder, &options, &Silent).unwrap()
}

#[tokio::test]
async fn simulations_are_files_like_any_others() {
    for (equation, shape) in [
        (Equation::ShearFlow, vec![16, 32]),
        (Equation::DecayingTurbulence3d, vec![8, 10, 12]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let files = simulated(equation, &shape, folder.path());
        assert_eq!(files.len(), 4);
        let file = Location::parse(files[0].to_str().unwrap()).unwrap();
        let summary = inspect(&file).await.unwrap().to_string();
        assert!(
            summary.contains(equation.dataset_name()) && summary.contains("periodic below"),
            "{summary}"
        );
        let (_, manifest) = convert(folder.path(), &IngestOptions::default())
            .await
            .unwrap();
        assert_eq!(manifest.schema.grid.shape(), shape);
        assert_eq!(
            manifest.schema.boundaries(),
            vec![[Boundary::Periodic; 2]; shape.len()]
        );
        assert_eq!(manifest.splits.len(), 3);
        assert!(manifest.split(Split::Test).unwrap().trajectories[0].parameters["Reynolds"] > 0.0);
    }
}

#[tokio::test]
async fn equal_seeds_give_equal_simulations() {
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            simulated(Equation::ShearFlow, &[16, 16], folder.path());
            ids.push(
                convert(folder.path(), &IngestOptions::default())
                    .await
                    .unwrap()
                    .1
                    .id(),
            );
        }
        ids
    };
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn simulations_are_not_written_over_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let equation = Equation::ShearFlow;
    simulated(equation, &[16, 16], folder.path());
    let options = SimulateOptions::of(equation);
    let error = simulate(equation, folder.path(), &options, &Silent).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    for shape in [vec![16], vec![4, 4], vec![16, 1 << 20]] {
        let options = SimulateOptions {
            shape,
            overwrite: true,
            ..SimulateOptions::of(equation)
        };
        assert!(matches!(
            simulate(equation, folder.path(), &options, &Silent),
            Err(Error::Simulation { .. })
        ));
    }
}
