//! The metrics against The Well's own: every `metrics-*.safetensors` of `tests/data`, or of the folder
//! `WELLSPRING_FIXTURES`, as `tests/data/generate.py` describes them. Prints the worst difference of each metric, relative to its largest value.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::SafeTensors;
use wellspring_eval::{FieldMetrics, Spatial, Temporal};
use wellspring_store::Frames;

/// The Well's names of [`Spatial::NAMES`].
const THEIRS: [&str; 10] = [
    "MSE",
    "MAE",
    "RMSE",
    "NMSE",
    "NMAE",
    "NRMSE",
    "VMSE",
    "VRMSE",
    "LInfinity",
    "PearsonR",
];

struct Fixture<'a>(SafeTensors<'a>);

impl Fixture<'_> {
    fn values(&self, name: &str) -> Vec<f32> {
        let bytes = self.0.tensor(name).unwrap().data();
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    /// One field of one frame of (T, *space, C).
    fn field(&self, name: &str, time: usize, channel: usize) -> Vec<f32> {
        let shape = self.0.tensor(name).unwrap().shape().to_vec();
        let channels = *shape.last().unwrap();
        let cells: usize = shape[1..shape.len() - 1].iter().product();
        let frame = &self.values(name)[time * cells * channels..(time + 1) * cells * channels];
        frame[channel..].iter().step_by(channels).copied().collect()
    }
}

/// Found and expected values of every metric.
type Pairs = BTreeMap<String, Vec<(f64, f64)>>;

fn compare(fixture: &Fixture<'_>) -> Pairs {
    let shape = fixture.0.tensor("truth").unwrap().shape().to_vec();
    let (times, channels) = (shape[0], shape[shape.len() - 1]);
    let metrics = FieldMetrics::new(&shape[1..shape.len() - 1]).unwrap();
    let mut pairs = Pairs::new();
    let mut push = |name: &str, found: f64, expected: f32| {
        pairs
            .entry(name.to_owned())
            .or_default()
            .push((found, f64::from(expected)));
    };
    let theirs: BTreeMap<&str, Vec<f32>> = THEIRS
        .iter()
        .map(|&name| (name, fixture.values(name)))
        .collect();
    let bands = |kind: &str, band: usize| fixture.values(&format!("{kind}.{band}"));
    let own = fixture.0.tensor("own.bins").is_ok().then(|| {
        let metrics = FieldMetrics::new(&shape[1..shape.len() - 1]).unwrap();
        metrics.with_bands(fixture.values("own.bins")).unwrap()
    });
    let spectrum = fixture.values("spectrum");
    for (time, channel) in (0..times).flat_map(|t| (0..channels).map(move |c| (t, c))) {
        let at = time * channels + channel;
        let truth = fixture.field("truth", time, channel);
        let prediction = fixture.field("prediction", time, channel);
        let score = metrics.score(&truth, &prediction).unwrap();
        for ((name, value), ours) in THEIRS
            .iter()
            .zip(score.spatial.values())
            .zip(Spatial::NAMES)
        {
            assert_eq!(ours[..1], name[..1].to_lowercase());
            push(name, value, theirs[name][at]);
        }
        for (band, errors) in score.bands.iter().enumerate() {
            push("band mse", errors.mse, bands("mse", band)[at]);
            push("band nmse", errors.nmse, bands("nmse", band)[at]);
        }
        if let Some(own) = &own {
            let score = own.score(&truth, &prediction).unwrap();
            for (band, errors) in score.bands.iter().enumerate() {
                push("own band mse", errors.mse, bands("own.mse", band)[at]);
                push("own band nmse", errors.nmse, bands("own.nmse", band)[at]);
            }
        }
        let bins = spectrum.len() / times / channels;
        let (edges, powers) = metrics.spectrum(&truth).unwrap();
        for (edge, expected) in edges.iter().zip(fixture.values("spectrum.bins")) {
            push("bins", f64::from(*edge), expected);
        }
        for (bin, power) in powers.iter().enumerate() {
            push(
                "spectrum",
                *power,
                spectrum[(time * bins + bin) * channels + channel],
            );
        }
    }
    let frames = |name: &str| {
        let fields = (0..times).flat_map(|t| (0..channels).map(move |c| (t, c)));
        let values = fields.flat_map(|(time, channel)| fixture.field(name, time, channel));
        let space = shape[1..shape.len() - 1].to_vec();
        Frames::new(times, 1, channels, space, values.collect()).unwrap()
    };
    let scores = Temporal::of(&frames("truth"), &frames("prediction"), 0);
    for (channel, score) in scores.iter().enumerate() {
        let theirs = ["HistogramW1", "dtw_distance", "dtw_path_distortion"];
        for (name, value) in theirs.into_iter().zip(score.values()) {
            push(name, value, fixture.values(name)[channel]);
        }
    }
    pairs
}

#[test]
fn metrics_are_the_wells() {
    let folder = match std::env::var_os("WELLSPRING_FIXTURES") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from("tests/data"),
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("metrics-")
    });
    paths.sort();
    assert!(
        !paths.is_empty(),
        "{} holds no metrics-*.safetensors",
        folder.display()
    );
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let pairs = compare(&Fixture(SafeTensors::deserialize(&bytes).unwrap()));
        println!("{}", path.file_stem().unwrap().to_string_lossy());
        for (name, pairs) in pairs {
            let largest = pairs.iter().fold(0.0_f64, |largest, (_, expected)| {
                largest.max(expected.abs())
            });
            let worst = pairs
                .iter()
                .map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() / largest })
                .max_by(f64::total_cmp)
                .unwrap();
            println!("  {name:<20} {worst:.1e}");
            assert!(
                worst <= 1e-5,
                "{name} differs by {worst:.1e} of its largest value"
            );
        }
    }
}
