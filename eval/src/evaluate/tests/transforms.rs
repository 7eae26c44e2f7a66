//! Errors, spectra and pictures are in the fields' own units, whatever transform the values are stored with.

use std::collections::BTreeMap;

use serde::Deserialize;
use wellspring_store::{
    ChannelMoments, Compression, DatasetWriter, Dtype, Normalization, Notes, Schema, SplitManifest,
    Statistics, TensorOrder, Trajectory, Transform, WriterOptions,
};

use super::*;
use crate::Results;

const SIDE: usize = 16;

/// Fields over six decades: a density of 1e-27 to 1e-21, and a momentum of either sign.
fn value(field: usize, step: usize, cell: usize) -> f64 {
    let (x, y) = ((cell / SIDE) as f64, (cell % SIDE) as f64);
    let phase = std::f64::consts::TAU * (x + y - 1.5 * step as f64) / SIDE as f64;
    match field {
        0 => 10.0_f64.powf(3.0 * phase.sin() - 24.0),
        _ => phase.cos() * 10.0_f64.powf(2.0 * (phase + 0.3 * x).sin()),
    }
}

/// The two fields, stored with these transforms.
async fn dataset(transforms: [Option<Transform>; 2]) -> Dataset {
    let fields = [
        ("density", TensorOrder::Scalar),
        ("momentum", TensorOrder::Scalar),
    ];
    let mut schema = Schema::periodic("decades", &[("x", SIDE), ("y", SIDE)], &fields);
    let mut statistics = BTreeMap::new();
    for (index, field) in schema.fields.iter_mut().enumerate() {
        field.transform = transforms[index];
        let mut moments = ChannelMoments::default();
        for step in 0..FRAMES {
            let own: Vec<f64> = (0..SIDE * SIDE)
                .map(|cell| value(index, step, cell))
                .collect();
            let Some(transform) = field.transform else {
                moments.add(&own, None);
                continue;
            };
            let transformed: Vec<f64> = own.iter().map(|&x| transform.forward(x)).collect();
            moments.add(&transformed, None);
            moments.add_own(&own);
        }
        statistics.insert(field.name.clone(), moments.into());
    }
    let options = WriterOptions {
        schema,
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::Zscore,
        statistics: Statistics(statistics),
        shard_bytes: 64 << 20,
        overwrite: false,
    };
    let root = Location::parse("memory:///decades").unwrap();
    let writer = DatasetWriter::create(&root, options).await.unwrap();
    let mut shard = writer.shard(Split::Test, 0).unwrap();
    for step in 0..FRAMES {
        let maps = writer.normalizer().channels().iter().enumerate();
        let values = maps.flat_map(|(field, map)| {
            (0..SIDE * SIDE).map(move |cell| map.stored(value(field, step, cell)))
        });
        let frame = Frames::new(1, 1, 2, vec![SIDE, SIDE], values.collect()).unwrap();
        shard.push((0, step as u32), step as f64, &frame).unwrap();
    }
    let held = Trajectory {
        source: "by hand".into(),
        frames: FRAMES,
        ..Trajectory::default()
    };
    let held = SplitManifest {
        trajectories: vec![held],
        shards: vec![shard.finish().await.unwrap()],
        constants: None,
    };
    let splits = BTreeMap::from([(Split::Test, held)]);
    writer.finish(splits).await.unwrap();
    Dataset::open(&root).await.unwrap()
}

#[derive(Deserialize)]
struct Number {
    key: String,
    value: Option<f64>,
}

/// Every number of an evaluation of persistence, and what was noted.
fn measured(transforms: [Option<Transform>; 2]) -> (BTreeMap<String, f64>, Vec<String>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(dataset(transforms));
    let results = Location::parse("memory:///results").unwrap();
    let notes = Notes::default();
    let evaluation = Evaluation {
        subject: &Baseline::Persistence.with_context(1, 2),
        name: "persistence",
        schedule: &Schedule::parse("1", 2).unwrap(),
        dataset: &dataset,
        options: &EvalOptions {
            rollout: 3,
            temporal: true,
            keep: 1,
            ..EvalOptions::default()
        },
    };
    evaluate(&results, evaluation, runtime.handle(), &notes).unwrap();
    let numbers: Vec<Number> = runtime.block_on(async {
        let results = Results::open(&results, &Silent).await.unwrap();
        let query = "SELECT concat_ws(' ', 'metric', field, metric, lead, start, band) AS key, value FROM metrics \
            UNION ALL SELECT concat_ws(' ', 'spectrum', field, axis, lead, bin), truth FROM spectra \
            UNION ALL SELECT concat_ws(' ', 'residual', field, axis, lead, bin), residual FROM spectra";
        results.rows(query).await.unwrap()
    });
    let numbers = numbers.into_iter();
    let numbers = numbers.filter_map(|number| Some((number.key, number.value?)));
    (numbers.collect(), notes.take())
}

#[test]
fn a_transform_changes_no_error_and_no_spectrum() {
    let (expected, notes) = measured([None, None]);
    let transforms = ["log10", "asinh:0.01"].map(|text| Some(text.parse().unwrap()));
    let (found, notes_of_transformed) = measured(transforms);
    assert_eq!(notes, notes_of_transformed);
    assert!(
        notes.iter().any(|note| note.contains("density")),
        "{notes:?}"
    );
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>()
    );
    // The largest of each kind: the power of a wave that is not there is noise of f32.
    let kind = |key: &str| -> String { key.split(' ').take(3).collect::<Vec<_>>().join(" ") };
    let mut largest: BTreeMap<String, f64> = BTreeMap::new();
    for (key, value) in &expected {
        let known = largest.entry(kind(key)).or_default();
        *known = known.max(value.abs());
    }
    assert!(expected["metric density vrmse 1 0"] > 0.1, "{expected:?}");
    // Time warping compares directions, which a momentum near zero has not got in f32 without a transform.
    let is_noise = |key: &str| key.contains(" dtw_");
    let mut apart = Vec::new();
    for (key, value) in expected.iter().filter(|(key, _)| !is_noise(key)) {
        let scale = match key.starts_with("metric") {
            true => value.abs(),
            false => largest[&kind(key)],
        };
        let is_near = (found[key] - value).abs() <= 1e-5 * scale;
        if !is_near && found[key].to_bits() != value.to_bits() {
            apart.push(format!("{key}: {} instead of {value}", found[key]));
        }
    }
    assert!(apart.is_empty(), "{apart:#?}");
}

/// Training validates in the fields' own units too.
#[test]
fn a_transform_does_not_change_what_a_sample_of_windows_measures() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let measured = |transforms| {
        let dataset = runtime.block_on(dataset(transforms));
        let options = SampleOptions {
            split: Split::Test,
            windows: 10,
            rollout: 2,
            seed: 0,
            batch: 2,
        };
        let subject = Baseline::Persistence.with_context(1, 2);
        let sample = WindowSample::draw(&dataset, [1, 1], options, runtime.handle()).unwrap();
        let schedule = Schedule::parse("1", 2).unwrap();
        sample.vrmse(&subject, &schedule).unwrap()
    };
    let expected = measured([None, None]);
    let found = measured(["log10", "asinh:0.01"].map(|text| Some(text.parse().unwrap())));
    assert!(
        (found - expected).abs() < 1e-5 * expected,
        "{found} {expected}"
    );
}
