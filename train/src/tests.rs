//! Tests of whole runs: their files, resuming, and errors.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod baselines;
mod fine_tune;
mod finite;
mod gradients;
mod inputs;
mod kernels;
mod learning;
mod padding;
mod races;
mod resume;
mod run;
mod scales;
mod trouble;
mod validating;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Device;
use tokio::runtime::Runtime;
use wellspring_store::*;

use crate::{
    Checkpoint, CheckpointChoice, Config, Error, Loss, Mlp, ModelChoice, ModelConfig, PatchSize,
    Perturbation, Precision, Predictor, SingleProcess, Start, Stop, Strategy, Surrogate,
    TrainOptions, TransformerConfig, predict, train, training_gradients, training_loss,
};

/// Two trajectories of travelling waves.
struct Waves {
    channels: [&'static str; 2],
    space: [usize; 2],
    boundary: Boundary,
    /// One value of the first frames instead of what it would be.
    outlier: Option<f32>,
    /// What all values are multiplied by.
    unit: f32,
}

impl Default for Waves {
    fn default() -> Self {
        Self {
            channels: ["u", "v"],
            space: [32, 32],
            boundary: Boundary::Periodic,
            outlier: None,
            unit: 1.0,
        }
    }
}

/// A data set on 32 × 32 points.
fn dataset(runtime: &Runtime) -> Arc<Dataset> {
    waves(runtime, &Waves::default())
}

fn waves(runtime: &Runtime, of: &Waves) -> Arc<Dataset> {
    let ([nx, ny], channels) = (of.space, of.channels);
    let fields = channels.map(|name| (name, TensorOrder::Scalar));
    let mut schema = Schema::periodic("waves", &[("x", nx), ("y", ny)], &fields);
    for axis in &mut schema.grid.axes {
        axis.boundary = [of.boundary; 2];
    }
    let frame = |trajectory: usize, step: usize| {
        let wave = |i: usize| {
            let (c, x, y) = (i / (nx * ny), i / ny % nx, i % ny);
            ((x + 2 * y * c + 3 * step + 5 * trajectory) as f32 * 0.19635).sin() * of.unit
        };
        let mut values: Vec<f32> = (0..2 * nx * ny).map(wave).collect();
        if let (Some(outlier), 3) = (of.outlier, step) {
            values[5] = outlier;
        }
        Frames::new(1, 1, 2, vec![nx, ny], values).unwrap()
    };
    let mut moments = [ChannelMoments::default(), ChannelMoments::default()];
    for (channel, moments) in moments.iter_mut().enumerate() {
        moments.add(frame(0, 0).channel(0, 0, channel), None);
        moments.add(
            frame(0, 1).channel(0, 0, channel),
            Some(frame(0, 0).channel(0, 0, channel)),
        );
    }
    let [u, v] = moments;
    let options = WriterOptions {
        schema,
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::Zscore,
        statistics: Statistics(BTreeMap::from([
            (channels[0].into(), u.into()),
            (channels[1].into(), v.into()),
        ])),
        shard_bytes: 64 << 20,
        overwrite: false,
    };
    let root = memory();
    runtime.block_on(async {
        let writer = DatasetWriter::create(&root, options).await.unwrap();
        let mut shard = writer.shard(Split::Train, 0).unwrap();
        for (trajectory, step) in (0..2).flat_map(|t| (0..8).map(move |s| (t, s))) {
            let key = (trajectory as u32, step as u32);
            let mut frame = frame(trajectory, step);
            writer.normalizer().normalize(&mut frame);
            shard.push(key, step as f64, &frame).unwrap();
        }
        let trajectory = Trajectory {
            source: "by hand".into(),
            frames: 8,
            parameters: BTreeMap::new(),
            ..Trajectory::default()
        };
        let held = SplitManifest {
            trajectories: vec![trajectory.clone(), trajectory],
            shards: vec![shard.finish().await.unwrap()],
            constants: None,
        };
        writer
            .finish(BTreeMap::from([(Split::Train, held)]))
            .await
            .unwrap();
        Arc::new(Dataset::open(&root).await.unwrap())
    })
}

fn config(strategy: Strategy) -> Config {
    let mut config = Config::default();
    config.data.context = 3;
    config.model = TransformerConfig {
        strategy,
        patches: if strategy == Strategy::Fixed {
            vec![8.into()]
        } else {
            [4, 8, 16].map(PatchSize::Every).to_vec()
        },
        dim: 32,
        heads: 2,
        blocks: 1,
        groups: 4,
        ..TransformerConfig::default()
    }
    .into();
    config.optim.warmup = 2;
    config.train.steps = 9;
    config.train.batch = 3;
    config
}

fn transformer(config: &mut Config) -> &mut TransformerConfig {
    config.model.transformer_mut().unwrap()
}

fn memory() -> Location {
    Location::parse("memory:///run").unwrap()
}

/// What a run has learned.
fn weights(runtime: &Runtime, run: &Location) -> Vec<u8> {
    let found = runtime.block_on(Checkpoint::find(run, ModelChoice::default(), &Silent));
    found.unwrap().weights().to_vec()
}

/// Asks to stop after some steps.
struct StopAfter<'a>(AtomicU64, &'a Stop);

impl Reporter for StopAfter<'_> {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, by: u64) {
        if by > 0 && self.0.fetch_sub(by, Ordering::SeqCst) == by {
            self.1.ask();
        }
    }
    fn end(&self) {}
    fn note(&self, _: &str) {}
}

#[test]
fn a_resumed_run_equals_an_undisturbed_one() {
    let runtime = Runtime::new().unwrap();
    let dataset = dataset(&runtime);
    let config = config(Strategy::Csm);
    let weights = |run: &Location| weights(&runtime, run);
    let whole = memory();
    let go = |run: &Location, start, stop: &Stop, reporter: &dyn Reporter| {
        let options = TrainOptions {
            config: &config,
            datasets: vec![Arc::clone(&dataset)],
            start,
            validator: None,
            stop,
            collective: &SingleProcess,
        };
        train(run, options, runtime.handle(), reporter)
    };
    let outcome = go(&whole, Start::New, &Stop::default(), &Silent).unwrap();
    assert_eq!((outcome.step, outcome.stopped), (9, false));

    let parts = memory();
    let stop = Stop::default();
    let outcome = go(
        &parts,
        Start::New,
        &stop,
        &StopAfter(AtomicU64::new(5), &stop),
    )
    .unwrap();
    assert_eq!((outcome.step, outcome.stopped), (5, true));
    let error = go(&parts, Start::New, &Stop::default(), &Silent).unwrap_err();
    assert!(matches!(error, Error::RunExists { .. }), "{error}");
    let outcome = go(&parts, Start::Resume, &Stop::default(), &Silent).unwrap();
    assert_eq!((outcome.step, outcome.stopped), (9, false));
    assert_eq!(weights(&whole), weights(&parts));

    let predictor = runtime
        .block_on(Predictor::load(
            &parts,
            ModelChoice::default(),
            crate::DeviceChoice::Cpu,
            &Silent,
        ))
        .unwrap();
    assert_eq!(
        (predictor.step(), predictor.patches().unwrap().len()),
        (9, 3)
    );
}

#[test]
fn training_learns_the_waves() {
    let runtime = Runtime::new().unwrap();
    let dataset = dataset(&runtime);
    let mut config = config(Strategy::Fixed);
    config.train.steps = 300;
    config.optim.lr = 3e-3;
    let run = memory();
    let options = TrainOptions {
        config: &config,
        datasets: vec![dataset],
        start: Start::New,
        validator: None,
        stop: &Stop::default(),
        collective: &SingleProcess,
    };
    let outcome = train(&run, options, runtime.handle(), &Silent).unwrap();
    assert!(outcome.loss.unwrap() < 0.5, "{outcome:?}");
}

/// One model of two data sets that share a channel, with all that is drawn at random, stopped and
/// resumed; then it continues states whose channels come in another order.
#[test]
fn a_vocabulary_of_fields_serves_several_data_sets() {
    let runtime = Runtime::new().unwrap();
    let both = vec![
        dataset(&runtime),
        waves(
            &runtime,
            &Waves {
                channels: ["w", "u"],
                ..Waves::default()
            },
        ),
    ];
    let mut config = config(Strategy::Csm);
    config.data.weights = vec![1.0, 3.0];
    config.data.root = crate::Roots::Several(vec!["a".into(), "b".into()]);
    (config.train.jitter, config.train.drop_path) = (true, 0.3);
    config.optim.clip = Some(0.5);
    let weights = |run: &Location| weights(&runtime, run);
    let go = |run: &Location, stop: &Stop, reporter: &dyn Reporter| {
        let options = TrainOptions {
            config: &config,
            datasets: both.clone(),
            start: Start::Resume,
            validator: None,
            stop,
            collective: &SingleProcess,
        };
        train(run, options, runtime.handle(), reporter).unwrap()
    };
    let (whole, parts) = (memory(), memory());
    go(&whole, &Stop::default(), &Silent);
    let stop = Stop::default();
    go(&parts, &stop, &StopAfter(AtomicU64::new(4), &stop));
    go(&parts, &Stop::default(), &Silent);
    assert_eq!(weights(&whole), weights(&parts));

    let load = || {
        let loaded = Predictor::load(
            &whole,
            ModelChoice::default(),
            crate::DeviceChoice::Cpu,
            &Silent,
        );
        runtime.block_on(loaded).unwrap()
    };
    assert_eq!(load().domains().vocabulary(), ["u", "v", "w"]);
    let state = |channels: [usize; 2]| {
        let value = |i: usize| ((channels[i / 1024 % 2] + 1) as f32 * i as f32 * 0.1).sin();
        Frames::new(3, 1, 2, vec![32, 32], (0..3 * 2048).map(value).collect()).unwrap()
    };
    let domain = |channels: [&str; 2]| {
        let mut domain = load().domains().first().clone();
        domain.channels = channels.map(Into::into).to_vec();
        domain
    };
    let patch = Patch::uniform(8, 2);
    let straight = state([0, 1]);
    let forth = load()
        .on(&domain(["u", "v"]))
        .unwrap()
        .predict(&straight, &patch)
        .unwrap();
    let mut turned = straight.clone();
    for time in 0..3 {
        turned
            .channel_mut(time, 0, 0)
            .copy_from_slice(straight.channel(time, 0, 1));
        turned
            .channel_mut(time, 0, 1)
            .copy_from_slice(straight.channel(time, 0, 0));
    }
    let back = load()
        .on(&domain(["v", "u"]))
        .unwrap()
        .predict(&turned, &patch)
        .unwrap();
    for (a, b) in forth.channel(0, 0, 0).iter().zip(back.channel(0, 0, 1)) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    let error = load().on(&domain(["u", "x"])).unwrap_err().to_string();
    assert!(error.contains("some of u v w"), "{error}");
}
