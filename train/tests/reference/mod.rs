//! What the comparisons with PyTorch share: the device, the fixtures, and differences relative to the largest magnitude.

#![allow(dead_code, reason = "each test takes a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use wellspring_store::Frames;
use wellspring_train::{DeviceChoice, Precision};

/// The device that a model runs on, and its precision.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) device: Device,
    pub(crate) precision: Precision,
}

impl Place {
    pub(crate) fn of_environment() -> Self {
        let set = |name| std::env::var(name).ok();
        let device = set("WELLSPRING_TEST_DEVICE").map_or_else(DeviceChoice::default, |name| {
            name.parse().expect("WELLSPRING_TEST_DEVICE")
        });
        let precision = set("WELLSPRING_TEST_PRECISION").map_or_else(Precision::default, |name| {
            name.parse().expect("WELLSPRING_TEST_PRECISION")
        });
        Self {
            device: device.open().unwrap(),
            precision,
        }
    }

    /// The largest difference of each kind that rounding explains: over the depth of a model it is a
    /// few units of the last of 24 bits, of 11, or of 8.
    pub(crate) fn tolerances(&self) -> [(&'static str, f64); 5] {
        let [output, loss, gradient, rollout, training] = match self.precision {
            Precision::F32 => [1e-5, 1e-5, 1e-4, 1e-4, 1e-4],
            Precision::Tf32 => [2e-3, 2e-4, 2e-2, 1e-3, 2e-4],
            Precision::Bf16 => [1e-2, 1e-3, 1e-1, 5e-3, 1e-3],
        };
        [
            ("output", output),
            ("loss", loss),
            ("gradient", gradient),
            ("rollout", rollout),
            ("training", training),
        ]
    }

    /// A gradient this far below the model's largest is zero but for rounding.
    pub(crate) fn vanishing(&self) -> f32 {
        match self.precision {
            Precision::F32 => 1e-6,
            Precision::Tf32 => 2e-3,
            Precision::Bf16 => 1e-2,
        }
    }
}

pub(crate) fn magnitude(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}

/// Worst difference of each kind.
#[derive(Default)]
pub(crate) struct Worst(pub(crate) BTreeMap<&'static str, (f64, String)>);

impl Worst {
    pub(crate) fn compare(
        &mut self,
        kind: &'static str,
        name: &str,
        found: &[f32],
        expected: &[f32],
    ) {
        assert_eq!(found.len(), expected.len(), "{name}");
        let largest = magnitude(expected);
        let pairs = found.iter().zip(expected);
        let difference = pairs.map(|(a, b)| f64::from((a - b).abs() / largest)).fold(
            0.0,
            |worst: f64, difference| {
                if difference.is_nan() {
                    f64::INFINITY
                } else {
                    worst.max(difference)
                }
            },
        );
        let worst = self.0.entry(kind).or_default();
        if difference >= worst.0 {
            *worst = (difference, name.to_owned());
        }
    }
}

/// (T, B, C, *space) normalized over the context, as (T, B, *space, C).
pub(crate) fn normalized(frames: &Frames, device: &Device) -> Tensor {
    let mut normal = frames.clone();
    for batch in 0..frames.batch() {
        for channel in 0..frames.channels() {
            let values = || {
                (0..frames.time())
                    .flat_map(|t| frames.channel(t, batch, channel))
                    .map(|&x| f64::from(x))
            };
            let count = values().count() as f64;
            let mean = values().sum::<f64>() / count;
            let std =
                (values().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt() + 1e-4;
            for time in 0..frames.time() {
                for x in normal.channel_mut(time, batch, channel) {
                    *x = ((f64::from(*x) - mean) / std) as f32;
                }
            }
        }
    }
    let shape = [
        &[frames.time(), frames.batch(), frames.channels()],
        frames.space(),
    ]
    .concat();
    let axes: Vec<usize> = [0, 1]
        .into_iter()
        .chain(3..shape.len())
        .chain([2])
        .collect();
    let tensor = Tensor::from_vec(normal.into_data(), shape, device).unwrap();
    tensor.permute(axes).unwrap().contiguous().unwrap()
}

pub(crate) fn flat(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Files of `tests/data`, or of the folder `WELLSPRING_FIXTURES`, whose names begin so.
fn fixtures(prefix: &str) -> Vec<PathBuf> {
    let folder = match std::env::var_os("WELLSPRING_FIXTURES") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from("tests/data"),
    };
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(prefix)
    });
    paths.sort();
    assert!(
        !paths.is_empty(),
        "{} holds no {prefix}*.safetensors",
        folder.display()
    );
    paths
}

/// Compares every fixture whose name begins so, prints the worst difference of each kind and fails where one is more than
/// rounding explains.
pub(crate) fn compare_all(prefix: &str, compare: impl Fn(&Path, &Place, &mut Worst)) {
    let place = Place::of_environment();
    let tolerances = place.tolerances();
    let mut failures = Vec::new();
    for path in fixtures(prefix) {
        let mut worst = Worst::default();
        compare(&path, &place, &mut worst);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let figures = tolerances.map(|(kind, _)| format!("{kind} {:.1e}", worst.0[kind].0));
        println!("{name:<28} {}", figures.join("  "));
        for (kind, tolerance) in tolerances {
            let (difference, tensor) = &worst.0[kind];
            if *difference > tolerance {
                failures.push(format!(
                    "{name}: {tensor} differs by {difference:.2e}, more than {tolerance:.0e}"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
