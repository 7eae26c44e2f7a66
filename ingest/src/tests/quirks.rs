//! Makes a small file with every kind of field of The Well's layout, whose values tell their position.

use std::path::Path;

use hdf5::File;
use hdf5::types::VarLenUnicode;
use ndarray::ArrayD;

const SPACE: [usize; 2] = [4, 6];
pub(crate) const SAMPLES: usize = 2;
pub(crate) const FRAMES: usize = 5;

/// A value that tells where it was.
pub(crate) fn value(index: &[usize]) -> f64 {
    index.iter().fold(0.5, |sum, &i| sum * 1.7 + i as f64).sin() * 10.0 + 3.0
}

pub(crate) fn texts(at: &hdf5::Group, name: &str, values: &[&str]) {
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
pub(crate) fn write_file(path: &Path) {
    write_into(&File::create(path).unwrap());
}

/// Writes all of it into a file that was created in any way.
pub(crate) fn write_into(file: &File) {
    text(file, "dataset_name", "quirks");
    text(file, "grid_type", "cartesian");
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
