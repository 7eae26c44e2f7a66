//! A file that h5py wrote, with everything that the format allows, stored in every way: nothing is lost.
//! `ingest/tests/data/generate.py` made it.

use wellspring_store::{Boundary, Contents, Dataset, Manifest, Normalization, Split, StoredValue};

use super::convert;
use crate::IngestOptions;

const SAMPLES: usize = 2;
const STEPS: usize = 5;
const SPACE: [usize; 2] = [6, 8];
const FACTORS: [usize; 6] = [7, 5, 3, 2, 1, 1];

fn file() -> std::path::PathBuf {
    super::everything_file()
}

pub(super) fn options() -> IngestOptions {
    IngestOptions {
        normalization: Normalization::None,
        // Shards that end within trajectories.
        shard_bytes: 3 * 12 * 48 * 4,
        ..IngestOptions::default()
    }
}

/// What generate.py put at an index of a stored array.
fn value(field: usize, index: &[usize]) -> f32 {
    let sum: usize = index
        .iter()
        .zip(FACTORS)
        .map(|(i, factor)| i * factor)
        .sum();
    sum as f32 / 8.0 + field as f32
}

/// The index of the stored array that a cell is taken from.
fn stored(varies: &str, (sample, step): (usize, usize), (x, y): (usize, usize)) -> Vec<usize> {
    let axes = [('s', sample), ('t', step), ('x', x), ('y', y)];
    axes.into_iter()
        .filter(|(axis, _)| varies.contains(*axis))
        .map(|(_, index)| index)
        .collect()
}

#[tokio::test]
async fn every_value_comes_back_exactly() {
    let (root, manifest) = convert(&file(), &options()).await.unwrap();
    let dataset = Dataset::open(&root).await.unwrap();
    let whole = "stxy";
    // Name, axes on which it varies, number of the field, components.
    let frames: [(&str, &str, usize, &[usize]); 12] = [
        ("lzf", whole, 0, &[]),
        ("fletcher", whole, 1, &[]),
        ("big", whole, 2, &[]),
        ("double", whole, 3, &[]),
        ("half", whole, 4, &[]),
        ("height", "tx", 5, &[]),
        ("level", "st", 8, &[]),
        ("velocity_r", whole, 9, &[0]),
        ("velocity_theta", whole, 9, &[1]),
        ("D_rr", whole, 10, &[0, 0]),
        ("D_rtheta", whole, 10, &[0, 1]),
        ("D_thetatheta", whole, 10, &[1, 1]),
    ];
    let constants = [("terrain", "xy", 6), ("depth", "sy", 7)];
    let channels = manifest.schema.channels();
    assert_eq!(channels.len(), 13);
    assert_eq!(manifest.schema.constant_channels(), ["terrain", "depth"]);
    for sample in 0..SAMPLES {
        let read = dataset.read(Split::Train, sample, 0..STEPS).await.unwrap();
        for (name, varies, field, component) in frames {
            let channel = channels.iter().position(|channel| channel == name).unwrap();
            for (step, cell) in (0..STEPS).flat_map(|step| (0..48).map(move |cell| (step, cell))) {
                let mut index = stored(varies, (sample, step), (cell / 8, cell % 8));
                index.extend(component);
                let found = read.channel(step, 0, channel)[cell];
                assert_eq!(found, value(field, &index), "{name} {sample} {step} {cell}");
            }
        }
        let read = dataset
            .constants(Split::Train, sample)
            .await
            .unwrap()
            .unwrap();
        for (channel, (name, varies, field)) in constants.into_iter().enumerate() {
            for cell in 0..48 {
                let index = stored(varies, (sample, 0), (cell / 8, cell % 8));
                let found = read.channel(0, 0, channel)[cell];
                assert_eq!(found, value(field, &index), "{name} {sample} {cell}");
            }
        }
        let times = dataset.times(Split::Train, sample, 0..STEPS).await.unwrap();
        let expected: Vec<f64> = (0..STEPS)
            .map(|i| 0.5 * i as f64 + 10.0 * sample as f64)
            .collect();
        assert_eq!(times, expected);
    }
}

#[tokio::test]
async fn scalars_and_boundaries_are_in_the_manifest() {
    let (_, manifest) = convert(&file(), &options()).await.unwrap();
    use Boundary::{Open, Wall};
    assert_eq!(manifest.schema.boundaries(), [[Wall, Open], [Open, Open]]);
    assert_eq!(manifest.schema.grid.kind, "log_spherical");
    assert_eq!(
        manifest.schema.grid.axes[0].coordinates,
        [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    );
    assert_eq!(manifest.schema.grid.shape(), SPACE);
    for (sample, trajectory) in manifest.splits[&Split::Train]
        .trajectories
        .iter()
        .enumerate()
    {
        let parameters = &trajectory.parameters;
        assert_eq!(parameters["gamma"], 5.0 / 3.0);
        assert_eq!(parameters["seed"], -7.0);
        assert_eq!(parameters["mass"], 1.5 + sample as f64);
        assert_eq!(trajectory.series["forcing"], [0.0, 1.0, 2.0, 3.0, 4.0]);
        let drive: Vec<f64> = (0..STEPS).map(|i| (i + STEPS * sample) as f64).collect();
        assert_eq!(trajectory.series["drive"], drive);
    }
}

async fn contents(root: &wellspring_store::Location, manifest: &Manifest) -> Contents {
    let made = manifest.provenance.as_ref().unwrap();
    assert_eq!(made.sources[0].name, "h5py.hdf5");
    let bytes = made.sources[0].structure.fetch(root).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn numbers(value: &StoredValue) -> (&[usize], &str, Vec<f64>) {
    match value {
        StoredValue::Numbers { shape, dtype, .. } => (shape, dtype, value.as_f64().unwrap()),
        StoredValue::Text { .. } => panic!("{value:?} is a text"),
    }
}

fn words(value: &StoredValue) -> Vec<&str> {
    match value {
        StoredValue::Text { text, .. } => text.iter().map(String::as_str).collect(),
        StoredValue::Numbers { .. } => panic!("{value:?} is not a text"),
    }
}

#[tokio::test]
async fn every_attribute_is_kept() {
    let (root, manifest) = convert(&file(), &options()).await.unwrap();
    let held = contents(&root, &manifest).await;
    // Objects with attributes: the root, six groups without boundary_conditions itself, 11 fields, 3
    // dimensions, 5 scalars, 3 conditions.
    assert_eq!(held.attributes.len(), 1 + 5 + 11 + 3 + 5 + 3);
    let root = &held.attributes["/"];
    assert_eq!(root.len(), 10);
    assert_eq!(words(&root["dataset_name"]), ["everything"]);
    assert_eq!(words(&root["fixed"]), ["fixed length"]);
    assert_eq!(words(&root["simulation_parameters"]), ["gamma", "seed"]);
    assert_eq!(numbers(&root["gamma"]), (&[][..], "f64", vec![5.0 / 3.0]));
    assert_eq!(numbers(&root["seed"]), (&[][..], "i32", vec![-7.0]));
    let matrix = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    assert_eq!(numbers(&root["matrix"]), (&[2, 3][..], "f32", matrix));
    assert_eq!(numbers(&root["nothing"]), (&[0][..], "f64", vec![]));
    let velocity = &held.attributes["/t1_fields/velocity"];
    assert_eq!(velocity.len(), 4);
    assert_eq!(words(&velocity["units"]), ["m/s"]);
    let height = &held.attributes["/t0_fields/height"];
    assert_eq!(
        numbers(&height["dim_varying"]),
        (&[2][..], "bool", vec![1.0, 0.0])
    );
    assert_eq!(numbers(&height["sample_varying"]).2, [0.0]);
    let core = &held.attributes["/boundary_conditions/core"];
    assert_eq!(words(&core["associated_fields"]), ["velocity"]);
    assert_eq!(words(&core["bc_type"]), ["WALL"]);
    assert_eq!(words(&held.attributes["/t2_fields"]["field_names"]), ["D"]);
}

#[tokio::test]
async fn every_array_that_is_no_field_is_kept() {
    let (root, manifest) = convert(&file(), &options()).await.unwrap();
    let held = contents(&root, &manifest).await;
    assert_eq!(held.arrays.len(), 3 + 5 + 4);
    let array = |name: &str| numbers(&held.arrays[name]);
    let radii = vec![
        1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0,
    ];
    assert_eq!(array("/dimensions/r"), (&[2, 6][..], "f32", radii));
    assert_eq!(array("/dimensions/time").0, [SAMPLES, STEPS]);
    assert_eq!(array("/scalars/mass"), (&[2][..], "f64", vec![1.5, 2.5]));
    assert_eq!(array("/scalars/seed"), (&[][..], "i32", vec![-7.0]));
    assert_eq!(array("/scalars/drive").2[9], 9.0);
    let values = array("/boundary_conditions/core/values").2;
    assert!(values[0].is_nan() && values[1] == 0.25);
    let (shape, dtype, mask) = array("/boundary_conditions/outer/mask");
    assert_eq!((shape, dtype), (&SPACE[..], "bool"));
    let marked: Vec<usize> = (0..48).filter(|&cell| mask[cell] != 0.0).collect();
    assert_eq!(marked, [19, 40, 41, 42, 43, 44, 45, 46, 47]);
}

/// A field that was forgotten in the list would be lost.
#[tokio::test]
async fn a_dataset_among_the_fields_is_a_field_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("a.hdf5");
    std::fs::copy(file(), &copy).unwrap();
    super::edit(&copy, |file| {
        let group = file.group("t0_fields").unwrap();
        let stray = group.new_dataset::<f32>().shape([3]);
        stray.create("stray").unwrap();
    });
    let error = convert(folder.path(), &options()).await.unwrap_err();
    let expected = "t0_fields/stray is not named in field_names";
    assert!(error.to_string().contains(expected), "{error}");
}

/// A flipped byte in a chunk with a checksum is found when it is read.
#[tokio::test]
async fn a_damaged_chunk_is_named() {
    let mut bytes = std::fs::read(file()).unwrap();
    let dataset = hdf5::File::open(file()).unwrap();
    let chunk = dataset
        .dataset("t0_fields/fletcher")
        .unwrap()
        .chunk_info(3)
        .unwrap();
    bytes[chunk.addr as usize + chunk.size as usize / 2] ^= 1;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.hdf5"), bytes).unwrap();
    let error = convert(folder.path(), &options())
        .await
        .unwrap_err()
        .to_string();
    for part in ["bad.hdf5", "t0_fields/fletcher", "Fletcher checksum"] {
        assert!(error.contains(part), "{error}");
    }
}
