//! Tests of whole runs: their files, resuming, and errors.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod finite;
mod kernels;
mod padding;
mod races;
mod resume;
mod run;
mod scales;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Device;
use tokio::runtime::Runtime;
use wellspring_store::*;

use crate::{
    Checkpoint, Config, Error, Mlp, ModelConfig, PatchSize, Perturbation, Precision, Predictor,
    Start, Stop, Strategy, Surrogate, predict, train, training_gradients, training_loss,
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
            writer.affine().normalize(&mut frame);
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
    config.model = ModelConfig {
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
        ..ModelConfig::default()
    };
    config.optim.warmup = 2;
    config.train.steps = 9;
    config.train.batch = 3;
    config
}

fn memory() -> Location {
    Location::parse("memory:///run").unwrap()
}

/// What a run has learned.
fn weights(runtime: &Runtime, run: &Location) -> Vec<u8> {
    let found = runtime.block_on(Checkpoint::find(run, None, &Silent));
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
        train(
            &config,
            vec![Arc::clone(&dataset)],
            run,
            start,
            stop,
            runtime.handle(),
            reporter,
        )
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
            None,
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
    let outcome = train(
        &config,
        vec![dataset],
        &run,
        Start::New,
        &Stop::default(),
        runtime.handle(),
        &Silent,
    )
    .unwrap();
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
        train(
            &config,
            both.clone(),
            run,
            Start::Resume,
            stop,
            runtime.handle(),
            reporter,
        )
        .unwrap()
    };
    let (whole, parts) = (memory(), memory());
    go(&whole, &Stop::default(), &Silent);
    let stop = Stop::default();
    go(&parts, &stop, &StopAfter(AtomicU64::new(4), &stop));
    go(&parts, &Stop::default(), &Silent);
    assert_eq!(weights(&whole), weights(&parts));

    let load = || {
        let loaded = Predictor::load(&whole, None, crate::DeviceChoice::Cpu, &Silent);
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

#[test]
fn jitter_moves_the_patches_and_not_the_fields() {
    use rand::SeedableRng as _;
    let values = (0..3 * 40 * 40).map(|i| (i as f32 * 0.37).sin()).collect();
    let x =
        candle_core::Tensor::from_vec::<_, f32>(values, (3, 1, 40, 40, 1), &Device::Cpu).unwrap();
    let sides = vec![[Boundary::Open; 2], [Boundary::Periodic; 2]];
    let model = Surrogate::new(&config(Strategy::Csm).model, 1, sides, 0, &Device::Cpu).unwrap();
    let patch = Patch::uniform(8, 2);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let still = model.forward(&x, &patch).unwrap();
    let moved = Perturbation::none().jitter(&patch, &mut rng);
    let moved = model.forward_perturbed(&x, &patch, &moved).unwrap();
    assert_eq!(still.dims(), moved.dims());
    let difference: f32 = (still - moved)
        .unwrap()
        .sqr()
        .unwrap()
        .mean_all()
        .unwrap()
        .to_scalar()
        .unwrap();
    assert!(difference > 1e-6 && difference.is_finite(), "{difference}");
}

/// Whatever number of blocks keeps its activations, the gradients are those of the whole graph.
#[test]
fn blocks_computed_again_give_the_same_gradients() {
    let values = (0..4 * 2 * 2 * 36 * 36).map(|i| (i as f32 * 0.37).sin());
    let frames = Frames::new(4, 2, 2, vec![36, 36], values.collect()).unwrap();
    let mut config = config(Strategy::Csm).model;
    config.blocks = 3;
    let sides = vec![[Boundary::Wall; 2], [Boundary::Periodic; 2]];
    let model = Surrogate::new(&config, 2, sides, 0, &Device::Cpu).unwrap();
    let (patch, none) = (Patch::uniform(8, 2), Perturbation::none());
    let loss = training_loss(&model, &frames, &patch, &none, &Device::Cpu).unwrap();
    let whole = loss.backward().unwrap();
    // A block's activations are 28 arrays of 6 items with 16 tokens of 32 features.
    for limit in [0, 28 * 6 * 16 * 32 * 4, u64::MAX] {
        let (value, parts) =
            training_gradients(&model, &frames, &patch, &none, limit, &Device::Cpu).unwrap();
        let [value, loss] = [&value, &loss].map(|loss| loss.to_scalar::<f32>().unwrap());
        assert!((value - loss).abs() < 1e-6);
        for (name, var) in model.parameters().iter() {
            let flat = |gradient: Option<&candle_core::Tensor>| -> Vec<f32> {
                gradient.unwrap().flatten_all().unwrap().to_vec1().unwrap()
            };
            let (whole, parts) = (flat(whole.get(var)), flat(parts.get(var)));
            let largest = whole.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            for (a, b) in whole.iter().zip(&parts) {
                assert!(
                    (a - b).abs() <= 1e-4 * largest + 1e-9,
                    "{limit} {name}: {a} {b}"
                );
            }
        }
    }
}

#[test]
fn every_parameter_of_every_model_gets_a_gradient() {
    let frames: Vec<f32> = (0..4 * 2 * 36 * 36)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let frames = Frames::new(4, 1, 2, vec![36, 36], frames).unwrap();
    for (strategy, size, mlp) in [
        (Strategy::Ckm, 4, Mlp::Swiglu),
        (Strategy::Csm, 8, Mlp::Gelu),
        (Strategy::Fixed, 4, Mlp::Swiglu),
    ] {
        let mut config = config(strategy).model;
        config.mlp = mlp;
        config.patches = vec![size.into()];
        let walls = vec![[Boundary::Wall, Boundary::Open], [Boundary::Periodic; 2]];
        let model = Surrogate::new(&config, 2, walls, 0, &Device::Cpu).unwrap();
        let patch = Patch::uniform(size, 2);
        let gradients = training_loss(&model, &frames, &patch, &Perturbation::none(), &Device::Cpu)
            .unwrap()
            .backward()
            .unwrap();
        for (name, var) in model.parameters().iter() {
            let gradient = gradients
                .get(var)
                .unwrap_or_else(|| panic!("{strategy:?}: {name} has none"));
            let largest: f32 = gradient
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar()
                .unwrap();
            assert!(
                largest > 0.0 && largest.is_finite(),
                "{strategy:?}: {name} {largest}"
            );
        }
    }
}

#[test]
fn bf16_is_near_f32_and_every_weight_learns() {
    for mlp in [Mlp::Swiglu, Mlp::Gelu] {
        let config = ModelConfig {
            mlp,
            ..config(Strategy::Ckm).model
        };
        let boundaries = vec![[Boundary::Periodic; 2]; 2];
        let single = Surrogate::new(&config, 2, boundaries, 0, &Device::Cpu).unwrap();
        let half = single.in_precision(Precision::Bf16);
        let values = (0..4 * 2 * 1024).map(|i| (i as f32 * 0.1).sin() + (i as f32 * 0.013).cos());
        let frames = Frames::new(4, 1, 2, vec![32, 32], values.collect()).unwrap();
        let patch = Patch::uniform(8, 2);
        let next = |model| predict(model, &frames.slice_time(0..3), &patch, &Device::Cpu).unwrap();
        let (expected, found) = (next(&single), next(&half));
        let size =
            |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        let last = frames.frame(2);
        let pairs = expected.data().iter().zip(found.data());
        let apart = size(&mut pairs.map(|(x, y)| x - y));
        let change = size(&mut expected.data().iter().zip(last.data()).map(|(x, y)| x - y));
        assert!(apart > 0.0, "bf16 rounds");
        assert!(apart < 0.02 * change, "{apart} of {change}");

        let still = Perturbation::none();
        let gradients = |model, limit| {
            let (loss, gradients) =
                training_gradients(model, &frames, &patch, &still, limit, &Device::Cpu).unwrap();
            (loss.to_scalar::<f32>().unwrap(), gradients)
        };
        let ((loss, gradient), (near, rounded)) =
            (gradients(&single, 0), gradients(&half, u64::MAX));
        assert!((loss - near).abs() < 0.02 * loss, "{loss} {near}");
        for (name, var) in single.parameters().iter() {
            let norm = |x: &candle_core::Tensor| {
                x.sqr()
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .to_scalar::<f32>()
                    .unwrap()
                    .sqrt()
            };
            let (g, r) = (
                gradient.get(var).expect(name),
                rounded.get(var).expect(name),
            );
            assert!(norm(&(g - r).unwrap()) < 0.1 * norm(g) + 1e-4, "{name}");
        }
    }
}
