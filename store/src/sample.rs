//! Small data sets for this crate's tests.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use crate::{
    ChannelMoments, Compression, Dataset, DatasetWriter, Dtype, Frames, Location, Manifest,
    Normalization, ScaleBound, Schema, Shard, Split, SplitManifest, Statistics, TensorOrder,
    Trajectory, WriterOptions,
};

/// A 4 × 6 plane with pressure, velocity and a constant mask.
pub(crate) fn schema() -> Schema {
    let fields = [
        ("mask", TensorOrder::Scalar),
        ("pressure", TensorOrder::Scalar),
        ("velocity", TensorOrder::Vector),
    ];
    let mut schema = Schema::periodic("plane", &[("x", 4), ("y", 6)], &fields);
    schema.fields[0].time_varying = false;
    schema
}

pub(crate) fn trajectories(frames: &[usize]) -> Vec<Trajectory> {
    let trajectory = |(i, &frames): (usize, &usize)| Trajectory {
        source: format!("sample {i}"),
        frames,
        parameters: BTreeMap::from([("Reynolds".into(), 100.0 * i as f64)]),
        ..Trajectory::default()
    };
    frames.iter().enumerate().map(trajectory).collect()
}

/// A manifest without files.
pub(crate) fn manifest(split: Split, frames: &[usize]) -> Manifest {
    let held = SplitManifest {
        trajectories: trajectories(frames),
        shards: vec![Shard::of("none".into(), frames.iter().sum(), b"")],
        constants: None,
    };
    Manifest {
        format_version: 1,
        schema: schema(),
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::None,
        statistics: Statistics::default(),
        scale_bound: ScaleBound::Absolute,
        splits: BTreeMap::from([(split, held)]),
        generation: 0,
        provenance: None,
    }
}

/// A value for each place, distinct and not zero-mean.
pub(crate) fn frame(trajectory: usize, step: usize) -> Frames {
    let value = |i: usize| (trajectory * 7 + step * 3 + i) as f32 / 8.0 + (i as f32).sin();
    Frames::new(1, 1, 3, vec![4, 6], (0..72).map(value).collect()).unwrap()
}

pub(crate) fn mask(trajectory: usize) -> Frames {
    Frames::new(
        1,
        1,
        1,
        vec![4, 6],
        (0..24).map(|i| (trajectory + i) as f32).collect(),
    )
    .unwrap()
}

/// How to write the sample.
pub(crate) fn options(frames: &[usize]) -> WriterOptions {
    let schema = schema();
    let mut moments = [ChannelMoments::default(); 3];
    for (trajectory, &frames) in frames.iter().enumerate() {
        for step in 0..frames {
            let (now, before) = (
                frame(trajectory, step),
                step.checked_sub(1).map(|step| frame(trajectory, step)),
            );
            for (channel, moments) in moments.iter_mut().enumerate() {
                moments.add(
                    now.channel(0, 0, channel),
                    before.as_ref().map(|f| f.channel(0, 0, channel)),
                );
            }
        }
    }
    let mut of_mask = ChannelMoments::default();
    (0..frames.len()).for_each(|i| of_mask.add(mask(i).data(), None));
    let named = schema.channels().into_iter().zip(moments);
    let statistics = named
        .chain([("mask".to_owned(), of_mask)])
        .map(|(name, moments)| (name, moments.into()));
    WriterOptions {
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::Zscore,
        statistics: Statistics(statistics.collect()),
        shard_bytes: 72 * 4 * 5,
        overwrite: false,
        schema,
    }
}

/// Writes trajectories with the given frames as the training split, at most five frames a shard.
pub(crate) async fn write(
    root: &Location,
    frames: &[usize],
    options: WriterOptions,
) -> crate::Result<Manifest> {
    let writer = DatasetWriter::create(root, options).await?;
    let rows: Vec<_> = frames
        .iter()
        .enumerate()
        .flat_map(|(t, &frames)| (0..frames).map(move |step| (t, step)))
        .collect();
    let mut shards = Vec::new();
    for (index, range) in writer.shards(frames.iter().copied()).ranges().enumerate() {
        let mut shard = writer.shard(Split::Train, index)?;
        for &(trajectory, step) in &rows[range] {
            let mut frame = frame(trajectory, step);
            writer.normalizer().normalize(&mut frame);
            shard.push((trajectory as u32, step as u32), 0.5 * step as f64, &frame)?;
        }
        shards.push(shard.finish().await?);
    }
    let mut constants = writer.constants(Split::Train)?;
    for trajectory in 0..frames.len() {
        let mut mask = mask(trajectory);
        writer.constant_normalizer().normalize(&mut mask);
        constants.push((trajectory as u32, 0), 0.0, &mask)?;
    }
    let held = SplitManifest {
        trajectories: trajectories(frames),
        shards,
        constants: Some(constants.finish().await?),
    };
    writer.finish(BTreeMap::from([(Split::Train, held)])).await
}

pub(crate) async fn open(root: &Location) -> Dataset {
    Dataset::open(root).await.unwrap()
}
