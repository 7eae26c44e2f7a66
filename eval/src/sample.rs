//! A small data set for this crate's tests.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::f32::consts::TAU;

use wellspring_store::{
    ChannelMoments, ChannelStatistics, Compression, Dataset, DatasetWriter, Dtype, Frames,
    Location, Normalization, Schema, Split, SplitManifest, Statistics, TensorOrder, Trajectory,
    WriterOptions,
};

/// Points along each axis.
pub(crate) const N: usize = 16;
/// Frames of a trajectory.
pub(crate) const FRAMES: usize = 5;

/// `u` is a mean of step + trajectory and a wave of amplitude 2 with `waves` periods; `v_x` and `v_y`
/// are u and −u.
pub(crate) fn frame(trajectory: usize, step: usize) -> Vec<f32> {
    let mean = (step + 10 * trajectory) as f32;
    let wave =
        |i: usize| mean + 2.0 * (TAU * waves(trajectory) as f32 * (i / N) as f32 / N as f32).cos();
    let u: Vec<f32> = (0..N * N).map(wave).collect();
    let minus = u.iter().map(|x| -x);
    [u.clone(), u.clone(), minus.collect()].concat()
}

fn waves(trajectory: usize) -> usize {
    1 + 2 * trajectory
}

/// Two training trajectories and one to test by.
pub(crate) async fn plane(root: &str) -> Dataset {
    let fields = [("u", TensorOrder::Scalar), ("v", TensorOrder::Vector)];
    let mut moments = ChannelMoments::default();
    moments.add(&frame(1, 2), None);
    let statistics = ["u", "v_x", "v_y"].map(|name| (name.to_owned(), moments.into()));
    let options = WriterOptions {
        schema: Schema::periodic("plane", &[("x", N), ("y", N)], &fields),
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::Zscore,
        statistics: Statistics(BTreeMap::from(statistics)),
        shard_bytes: 64 << 20,
        overwrite: false,
    };
    let root = Location::parse(root).unwrap();
    let writer = DatasetWriter::create(&root, options).await.unwrap();
    let mut splits = BTreeMap::new();
    for (split, trajectories) in [(Split::Train, 2), (Split::Test, 1)] {
        let mut shard = writer.shard(split, 0).unwrap();
        for (trajectory, step) in (0..trajectories).flat_map(|t| (0..FRAMES).map(move |s| (t, s))) {
            let values = frame(trajectory, step);
            let mut frame = Frames::new(1, 1, 3, vec![N, N], values).unwrap();
            writer.normalizer().normalize(&mut frame);
            let key = (trajectory as u32, step as u32);
            shard.push(key, 0.5 * step as f64, &frame).unwrap();
        }
        let held = |trajectory: usize| Trajectory {
            source: "by hand".into(),
            frames: FRAMES,
            parameters: BTreeMap::from([
                ("Reynolds".into(), 100.0 * (trajectory + 1) as f64),
                ("time".into(), 7.0),
            ]),
            series: BTreeMap::from([("forcing".into(), vec![0.0, 0.0, 1.0, 0.0, 1.0])]),
            ..Trajectory::default()
        };
        let held = SplitManifest {
            trajectories: (0..trajectories).map(held).collect(),
            shards: vec![shard.finish().await.unwrap()],
            constants: None,
        };
        splits.insert(split, held);
    }
    writer.finish(splits).await.unwrap();
    Dataset::open(&root).await.unwrap()
}

/// One field `u` on a square of n × n cells, in two test trajectories: a wave in each band of wavenumbers, moving, of
/// standard deviation √1.5, times a scale, on a shift.
pub(crate) async fn waves_on(root: &str, name: &str, n: usize, shift: f64, scale: f64) -> Dataset {
    let of = |step: f64, trajectory: f64, x: f64| {
        let phase = |waves: f64| std::f64::consts::TAU * waves * (x - 0.1 * step) + trajectory;
        [1.0, 3.0, 7.0]
            .map(|waves| phase(waves * n as f64 / 16.0).cos())
            .iter()
            .sum::<f64>()
    };
    let deviation = scale * 1.5_f64.sqrt();
    let statistics = ChannelStatistics {
        mean: shift,
        std: deviation,
        rms: shift.hypot(deviation),
        mean_delta: 0.0,
        std_delta: deviation,
        rms_delta: deviation,
        own_std: None,
    };
    let options = WriterOptions {
        schema: Schema::periodic(name, &[("x", n), ("y", n)], &[("u", TensorOrder::Scalar)]),
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::Zscore,
        statistics: Statistics(BTreeMap::from([("u".to_owned(), statistics)])),
        shard_bytes: 64 << 20,
        overwrite: false,
    };
    let root = Location::parse(root).unwrap();
    let writer = DatasetWriter::create(&root, options).await.unwrap();
    let mut shard = writer.shard(Split::Test, 0).unwrap();
    let map = writer.normalizer().channels()[0];
    for (trajectory, step) in (0..2).flat_map(|t| (0..FRAMES).map(move |s| (t, s))) {
        let value = |cell: usize| {
            let wave = of(
                step as f64,
                f64::from(trajectory),
                (cell / n) as f64 / n as f64,
            );
            map.stored(shift + scale * wave)
        };
        let values = (0..n * n).map(value).collect();
        let frame = Frames::new(1, 1, 1, vec![n, n], values).unwrap();
        shard
            .push((trajectory, step as u32), step as f64, &frame)
            .unwrap();
    }
    let held = Trajectory {
        source: "by hand".into(),
        frames: FRAMES,
        ..Trajectory::default()
    };
    let held = SplitManifest {
        trajectories: vec![held.clone(), held],
        shards: vec![shard.finish().await.unwrap()],
        constants: None,
    };
    writer
        .finish(BTreeMap::from([(Split::Test, held)]))
        .await
        .unwrap();
    Dataset::open(&root).await.unwrap()
}
