//! Models that see more than the state.

use std::collections::BTreeSet;

use super::*;
use crate::inputs::InputReader;
use crate::revin::Revin;
use crate::{Domain, Domains, Example, Input, InputKind, Side};

const N: usize = 16;
const FRAMES: usize = 5;

/// Two trajectories that begin alike and part after three frames, with what decides it.
struct TwoFutures {
    /// Scalars of the simulations, one value for each trajectory.
    scalars: Vec<(&'static str, [f64; 2])>,
    /// What a constant field adds to a ramp along x, in each trajectory.
    mask: Option<[f32; 2]>,
    /// Time from step to step.
    dt: f64,
}

impl Default for TwoFutures {
    fn default() -> Self {
        Self {
            scalars: vec![("speed", [1.0, 3.0])],
            mask: None,
            dt: 0.5,
        }
    }
}

fn ramp(offset: f32) -> Frames {
    let values = (0..N * N).map(|i| (i / N) as f32 + offset).collect();
    Frames::new(1, 1, 1, vec![N, N], values).unwrap()
}

impl TwoFutures {
    /// A wave that moves along x, and from the fourth frame on back in the second trajectory.
    fn frame(trajectory: usize, step: usize) -> Frames {
        let at = match (trajectory, step) {
            (1, 3..) => 4.0 - step as f32,
            _ => step as f32,
        };
        let wave =
            |i: usize| (((i / N) as f32 - 2.0 * at) * std::f32::consts::TAU / N as f32).sin();
        Frames::new(1, 1, 1, vec![N, N], (0..N * N).map(wave).collect()).unwrap()
    }

    fn schema(&self) -> Schema {
        let mut fields = vec![("u", TensorOrder::Scalar)];
        if self.mask.is_some() {
            fields.insert(0, ("mask", TensorOrder::Scalar));
        }
        let mut schema = Schema::periodic("parting", &[("x", N), ("y", N)], &fields);
        schema.fields[0].time_varying = self.mask.is_none();
        schema.grid.axes[1].boundary = [Boundary::Wall, Boundary::Open];
        schema
    }

    fn options(&self) -> WriterOptions {
        let mut moments = ChannelMoments::default();
        moments.add(Self::frame(0, 0).data(), None);
        let mut statistics = BTreeMap::from([("u".to_owned(), moments.into())]);
        if let Some(offsets) = self.mask {
            let mut moments = ChannelMoments::default();
            for offset in offsets {
                moments.add(ramp(offset).data(), None);
            }
            statistics.insert("mask".into(), moments.into());
        }
        WriterOptions {
            schema: self.schema(),
            dtype: Dtype::F32,
            compression: Compression::None,
            // So that constants are stored with an offset.
            normalization: Normalization::Rms,
            statistics: Statistics(statistics),
            shard_bytes: 64 << 20,
            overwrite: false,
        }
    }

    fn trajectory(&self, index: usize) -> Trajectory {
        let scalar = |(name, values): &(&str, [f64; 2])| ((*name).to_owned(), values[index]);
        let scalars = self.scalars.iter().map(scalar);
        Trajectory {
            source: format!("by hand {index}"),
            frames: FRAMES,
            parameters: scalars.filter(|(_, value)| !value.is_nan()).collect(),
            series: BTreeMap::from([("drive".into(), (0..FRAMES).map(|i| i as f64).collect())]),
            ..Trajectory::default()
        }
    }

    async fn write(&self) -> Arc<Dataset> {
        let root = memory();
        let writer = DatasetWriter::create(&root, self.options()).await.unwrap();
        let mut shard = writer.shard(Split::Train, 0).unwrap();
        for (trajectory, step) in (0..2).flat_map(|t| (0..FRAMES).map(move |s| (t, s))) {
            let mut frame = Self::frame(trajectory, step);
            writer.normalizer().normalize(&mut frame);
            let key = (trajectory as u32, step as u32);
            shard.push(key, self.dt * step as f64, &frame).unwrap();
        }
        let mut constants = None;
        if let Some(offsets) = self.mask {
            let mut file = writer.constants(Split::Train).unwrap();
            for (trajectory, offset) in offsets.into_iter().enumerate() {
                let mut mask = ramp(offset);
                writer.constant_normalizer().normalize(&mut mask);
                file.push((trajectory as u32, 0), 0.0, &mask).unwrap();
            }
            constants = Some(file.finish().await.unwrap());
        }
        let held = SplitManifest {
            trajectories: vec![self.trajectory(0), self.trajectory(1)],
            shards: vec![shard.finish().await.unwrap()],
            constants,
        };
        let splits = BTreeMap::from([(Split::Train, held)]);
        writer.finish(splits).await.unwrap();
        Arc::new(Dataset::open(&root).await.unwrap())
    }
}

/// Learns the frame after the first three of both trajectories.
fn parting_config(kinds: &[InputKind]) -> Config {
    let mut config = config(Strategy::Ckm);
    transformer(&mut config).patches = vec![16.into()];
    transformer(&mut config).causal = false;
    config.model.inputs = kinds.iter().copied().collect();
    config.data.starts = Some(1);
    config.train.batch = 2;
    config.train.checkpoint_every = 3;
    config
}

fn go(
    runtime: &Runtime,
    config: &Config,
    datasets: &[Arc<Dataset>],
    run: &Location,
) -> crate::Result<crate::Outcome> {
    let options = TrainOptions {
        config,
        datasets: datasets.to_vec(),
        start: Start::Resume,
        validator: None,
        stop: &Stop::default(),
        collective: &SingleProcess,
    };
    train(run, options, runtime.handle(), &Silent)
}

/// The first frames of both trajectories, and what goes with them.
fn both(runtime: &Runtime, dataset: &Dataset, spec: WindowSpec) -> (Frames, Vec<Conditions>) {
    let mut conditions = Vec::new();
    let time = spec.frames(FRAMES);
    let mut frames = Frames::zeros(time, 2, 1, vec![N, N]);
    for trajectory in 0..2 {
        let window = Window {
            trajectory,
            start: 0,
        };
        let read = runtime.block_on(dataset.read_window(Split::Train, spec, window));
        let (read, batch) = (read.unwrap(), trajectory as usize);
        for t in 0..time {
            frames
                .channel_mut(t, batch, 0)
                .copy_from_slice(read.channel(t, 0, 0));
        }
        let found = dataset.conditions(Split::Train, spec, window, Conditioning::Everything);
        conditions.push(runtime.block_on(found).unwrap());
    }
    (frames, conditions)
}

#[test]
fn inputs_are_normalized_channels_after_the_state() {
    let runtime = Runtime::new().unwrap();
    let parting = TwoFutures {
        scalars: vec![("speed", [1.0, 3.0]), ("still", [0.1, 0.1])],
        mask: Some([0.0, 100.0]),
        ..TwoFutures::default()
    };
    let dataset = runtime.block_on(parting.write());
    let config = parting_config(&InputKind::ALL);
    let domains = async { Domains::of_run(&[Arc::clone(&dataset)], &config).await };
    let domains = runtime.block_on(domains).unwrap();
    let reader = InputReader::new(domains.first(), &domains).unwrap();
    assert_eq!(reader.conditioning(), Conditioning::Everything);
    let names: Vec<String> = domains
        .inputs()
        .iter()
        .map(|c| c.input.to_string())
        .collect();
    assert_eq!(
        names[..5],
        [
            "constant:mask",
            "scalar:drive",
            "scalar:speed",
            "scalar:still",
            "boundary:x-low:wall"
        ]
    );
    assert_eq!((names.len(), names[16].as_str()), (17, "dt"));

    let spec = WindowSpec {
        stride: 2,
        ..WindowSpec::of_length(3)
    };
    let (frames, conditions) = both(&runtime, &dataset, spec);
    let values = reader.values(&conditions, &frames, 2).unwrap().unwrap();
    let revin = Revin::of(&frames, 2, &Device::Cpu).unwrap();
    let example = Example {
        frames: &frames,
        inputs: Some(&values),
    };
    let seen = example.input(&revin).unwrap();
    assert_eq!(seen.dims(), [2, 2, N, N, 18]);
    let seen: Vec<f32> = seen.flatten_all().unwrap().to_vec1().unwrap();
    let state: Vec<f32> = revin
        .input()
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    let ramps = [ramp(0.0), ramp(100.0)];
    let all: Vec<f64> = ramps
        .iter()
        .flat_map(|r| r.data())
        .map(|&x| x.into())
        .collect();
    let (mean, std) = mean_and_std(&all);
    let steps: Vec<f64> = (0..FRAMES).map(|i| i as f64).collect();
    let (mean_drive, std_drive) = mean_and_std(&steps);
    for (place, found) in seen.chunks(18).enumerate() {
        let (t, b, cell) = (place / (2 * N * N), place / (N * N) % 2, place % (N * N));
        let mask = (f64::from(ramps[b].data()[cell]) - mean) / std;
        let drive = ((2 * t) as f64 - mean_drive) / std_drive;
        let speed = [-1.0, 1.0][b];
        let periodic = [0.0, 0.0, 1.0];
        let (wall, open) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        let sides = [periodic, periodic, wall, open].concat();
        // Two steps of the data are one of the model; the reference is that of stride 1.
        let numbers = [vec![mask, drive, speed, 0.0], sides, vec![2.0_f64.ln()]].concat();
        assert_eq!(found[0], state[place]);
        for ((&found, expected), name) in found[1..].iter().zip(numbers).zip(&names) {
            assert!(
                (f64::from(found) - expected).abs() < 1e-5,
                "{name}: {found} {expected}"
            );
        }
    }
}

fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    (mean, (square / values.len() as f64).sqrt())
}

/// Without the scalar the best guess is the mean of both futures.
#[test]
fn a_model_that_sees_a_scalar_tells_trajectories_apart() {
    let runtime = Runtime::new().unwrap();
    for (kind, parting) in [
        (InputKind::Scalars, TwoFutures::default()),
        (
            InputKind::Constants,
            TwoFutures {
                scalars: vec![],
                mask: Some([0.0, 100.0]),
                ..TwoFutures::default()
            },
        ),
    ] {
        let dataset = [runtime.block_on(parting.write())];
        let learned = |kinds: &[InputKind]| {
            let mut config = parting_config(kinds);
            config.train.steps = 150;
            config.optim.lr = 3e-3;
            let run = memory();
            go(&runtime, &config, &dataset, &run).unwrap();
            let predictor = Predictor::load(
                &run,
                ModelChoice::default(),
                crate::DeviceChoice::Cpu,
                &Silent,
            );
            let predictor = runtime.block_on(predictor).unwrap();
            let (frames, conditions) = both(&runtime, &dataset[0], WindowSpec::of_length(4));
            let context = frames.slice_time(0..3);
            let context = Context {
                frames: &context,
                conditions: &conditions,
            };
            let next = predictor.predict(context, &Patch::uniform(16, 2)).unwrap();
            assert_eq!((next.channels(), next.batch()), (1, 2));
            let truth = frames.frame(3);
            let apart = next.data().iter().zip(truth.data());
            let square: f32 = apart.map(|(x, y)| (x - y).powi(2)).sum();
            square / next.data().len() as f32
        };
        let (blind, seeing) = (learned(&[]), learned(&[kind]));
        // Both futures are as likely, and this is half of what they are apart.
        let (frames, _) = both(&runtime, &dataset[0], WindowSpec::of_length(4));
        let futures = frames.channel(3, 0, 0).iter().zip(frames.channel(3, 1, 0));
        let floor = futures.map(|(x, y)| ((x - y) / 2.0).powi(2)).sum::<f32>() / (N * N) as f32;
        assert!(blind > 0.99 * floor, "{blind} {floor}");
        assert!(seeing < 0.2 * floor, "{kind:?}: {seeing} {floor}");
    }
}

/// What a model sees beside the state changes its loss through the field embedding alone: with zero weights there,
/// no value of an input matters.
#[test]
fn inputs_are_never_in_the_loss() {
    let runtime = Runtime::new().unwrap();
    for (strategy, size) in [(Strategy::Ckm, 8), (Strategy::Csm, 8), (Strategy::Fixed, 8)] {
        let parting = |speed, mask| TwoFutures {
            scalars: vec![("speed", speed)],
            mask: Some(mask),
            ..TwoFutures::default()
        };
        let one = runtime.block_on(parting([1.0, 3.0], [0.0, 1.0]).write());
        let mut config = parting_config(&InputKind::ALL);
        transformer(&mut config).strategy = strategy;
        transformer(&mut config).patches = vec![size.into()];
        let domains = async { Domains::of_run(&[Arc::clone(&one)], &config).await };
        let domains = runtime.block_on(domains).unwrap();
        let model = crate::checkpoint::fresh(&config, &domains, &Device::Cpu).unwrap();
        let (frames, conditions) = both(&runtime, &one, WindowSpec::of_length(4));
        let reader = InputReader::new(domains.first(), &domains).unwrap();
        let mut others = conditions.clone();
        for given in &mut others {
            given.scalars.insert("speed".into(), vec![7.0; 4]);
            given.times.iter_mut().for_each(|time| *time *= 3.0);
            given.constants = Some(Arc::new(ramp(5.0)));
        }
        let mut all = model.parameters().iter();
        let (_, weight) = all
            .find(|(name, _)| *name == "space_bag.linear.weight")
            .unwrap();
        let loss = |conditions: &[Conditions]| {
            let values = reader.values(conditions, &frames, 3).unwrap();
            let example = Example {
                frames: &frames,
                inputs: values.as_ref(),
            };
            let (patch, still) = (Patch::uniform(size, 2), Perturbation::none());
            let whole = training_loss(&model, example, &patch, &still, &Loss::default()).unwrap();
            let whole: f32 = whole.to_scalar().unwrap();
            let (parts, gradients) =
                training_gradients(&model, example, &patch, &still, &Loss::default(), u64::MAX)
                    .unwrap();
            let parts: f32 = parts.to_scalar().unwrap();
            assert!((parts - whole).abs() <= 1e-5 * whole, "{parts} {whole}");
            assert!(gradients.get(weight).is_some());
            whole
        };
        assert_ne!(loss(&conditions), loss(&others), "{strategy:?}");
        let state = weight.narrow(1, 0, 1).unwrap();
        let rest = weight.narrow(1, 1, weight.dim(1).unwrap() - 1).unwrap();
        let zeros = rest.zeros_like().unwrap();
        weight
            .set(&candle_core::Tensor::cat(&[state, zeros], 1).unwrap())
            .unwrap();
        assert_eq!(loss(&conditions), loss(&others), "{strategy:?}");
    }
}

/// A run with inputs is stopped and resumed, keeps its numbers in its checkpoints, and does not go on with others.
#[test]
fn a_run_with_inputs_goes_on_bit_for_bit() {
    let runtime = Runtime::new().unwrap();
    let parting = TwoFutures {
        mask: Some([0.0, 100.0]),
        ..TwoFutures::default()
    };
    let dataset = [runtime.block_on(parting.write())];
    let config = parting_config(&InputKind::ALL);
    let (whole, parts) = (memory(), memory());
    go(&runtime, &config, &dataset, &whole).unwrap();
    let stop = Stop::default();
    let options = TrainOptions {
        config: &config,
        datasets: dataset.to_vec(),
        start: Start::New,
        validator: None,
        stop: &stop,
        collective: &SingleProcess,
    };
    let reporter = StopAfter(AtomicU64::new(4), &stop);
    train(&parts, options, runtime.handle(), &reporter).unwrap();
    go(&runtime, &config, &dataset, &parts).unwrap();
    assert!(weights(&runtime, &whole) == weights(&runtime, &parts));

    let mut fewer = config.clone();
    fewer.model.inputs.remove(&InputKind::Dt);
    fewer.train.steps = 12;
    let error = go(&runtime, &fewer, &dataset, &parts)
        .unwrap_err()
        .to_string();
    assert!(error.contains("model.inputs = "), "{error}");

    let found = runtime
        .block_on(Checkpoint::find(&parts, ModelChoice::default(), &Silent))
        .unwrap();
    let domains = Domains::of_run(&dataset, &config);
    assert_eq!(found.state.domains, runtime.block_on(domains).unwrap());
    let text = runtime.block_on(parts.join("config.toml").get()).unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let kinds = "inputs = [\"constants\", \"scalars\", \"boundaries\", \"dt\"]";
    assert!(text.contains(kinds), "{text}");

    let blind = memory();
    go(&runtime, &parting_config(&[]), &dataset, &blind).unwrap();
    for name in ["config.toml", "checkpoints/00000009/state.json"] {
        let text = runtime.block_on(blind.join(name).get()).unwrap();
        assert!(!String::from_utf8(text.to_vec()).unwrap().contains("inputs"));
    }
}

#[test]
fn data_sets_share_a_vocabulary_of_inputs() {
    let runtime = Runtime::new().unwrap();
    let one = TwoFutures::default();
    let other = TwoFutures {
        scalars: vec![("speed", [5.0, 7.0]), ("depth", [0.0, 2.0])],
        mask: Some([0.0, 1.0]),
        dt: 2.0,
    };
    let datasets = [
        runtime.block_on(one.write()),
        runtime.block_on(other.write()),
    ];
    let mut config = parting_config(&[InputKind::Constants, InputKind::Scalars, InputKind::Dt]);
    config.data.root = crate::Roots::Several(vec!["a".into(), "b".into()]);
    let domains = runtime
        .block_on(Domains::of_run(&datasets, &config))
        .unwrap();
    let known = domains.inputs();
    let names: Vec<String> = known
        .iter()
        .map(|column| column.input.to_string())
        .collect();
    assert_eq!(
        names,
        [
            "scalar:drive",
            "scalar:speed",
            "dt",
            "constant:mask",
            "scalar:depth"
        ]
    );
    // One, three, five and seven.
    assert!((known[1].mean - 4.0).abs() < 1e-12 && (known[1].std - 5.0_f64.sqrt()).abs() < 1e-12);
    // Half a unit of time and two.
    assert!(known[2].mean.abs() < 1e-12, "{}", known[2].mean);
    let places: Vec<Vec<u32>> = domains
        .iter()
        .map(|domain| InputReader::new(domain, &domains).unwrap().places())
        .collect();
    assert_eq!(places, [vec![0, 1, 2], vec![3, 4, 0, 1, 2]]);

    let run = memory();
    let outcome = go(&runtime, &config, &datasets, &run).unwrap();
    assert!(outcome.loss.unwrap().is_finite());
    let load = || {
        let loaded = Predictor::load(
            &run,
            ModelChoice::default(),
            crate::DeviceChoice::Cpu,
            &Silent,
        );
        runtime.block_on(loaded).unwrap()
    };
    for (dataset, wanted) in datasets
        .iter()
        .zip([Conditioning::Numbers, Conditioning::Everything])
    {
        let domain = Domain::of(dataset, &config.model.inputs).unwrap();
        let predictor = load().on(&domain).unwrap();
        assert_eq!(predictor.conditioning(), wanted);
        let (frames, conditions) = both(&runtime, dataset, WindowSpec::of_length(4));
        let frames = frames.slice_time(0..3);
        let patch = Patch::uniform(16, 2);
        let context = Context {
            frames: &frames,
            conditions: &conditions,
        };
        let next = predictor.predict(context, &patch).unwrap();
        assert!(next.data().iter().all(|x| x.is_finite()));
        let error = predictor.predict(&frames, &patch).unwrap_err().to_string();
        assert!(error.contains("conditions"), "{error}");
    }
}

#[test]
fn what_an_input_lacks_is_named() {
    let runtime = Runtime::new().unwrap();
    let missing = TwoFutures {
        scalars: vec![("speed", [1.0, f64::NAN])],
        ..TwoFutures::default()
    };
    let dataset = [runtime.block_on(missing.write())];
    let config = parting_config(&[InputKind::Scalars]);
    let error = go(&runtime, &config, &dataset, &memory())
        .unwrap_err()
        .to_string();
    let expected = "scalar:speed is missing in trajectory 1 (by hand 1)";
    assert!(error.contains(expected), "{error}");

    let still = TwoFutures {
        dt: 0.0,
        ..TwoFutures::default()
    };
    let dataset = [runtime.block_on(still.write())];
    let config = parting_config(&[InputKind::Dt]);
    let error = go(&runtime, &config, &dataset, &memory())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("dt is 0 at step 0 in trajectory 0"),
        "{error}"
    );

    // Of a prediction: which trajectory it is of.
    let sound = [runtime.block_on(TwoFutures::default().write())];
    let config = parting_config(&[InputKind::Scalars]);
    let run = memory();
    go(&runtime, &config, &sound, &run).unwrap();
    let predictor = Predictor::load(
        &run,
        ModelChoice::default(),
        crate::DeviceChoice::Cpu,
        &Silent,
    );
    let predictor = runtime.block_on(predictor).unwrap();
    let (frames, mut conditions) = both(&runtime, &sound[0], WindowSpec::of_length(4));
    conditions[1]
        .scalars
        .insert("speed".into(), vec![1.0, f64::INFINITY, 1.0, 1.0]);
    let frames = frames.slice_time(0..3);
    let context = Context {
        frames: &frames,
        conditions: &conditions,
    };
    let error = predictor
        .predict(context, &Patch::uniform(16, 2))
        .unwrap_err()
        .to_string();
    let expected = "scalar:speed is inf at frame 1 from step 0 in trajectory 1";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_boundary_at_a_side_where_none_was_seen_is_refused() {
    let runtime = Runtime::new().unwrap();
    let dataset = [runtime.block_on(TwoFutures::default().write())];
    let config = parting_config(&[InputKind::Boundaries]);
    let domains = runtime
        .block_on(Domains::of_run(&dataset, &config))
        .unwrap();
    let mut turned = domains.first().clone();
    let at = |input: &Input| {
        let place = turned
            .inputs
            .iter()
            .position(|column| column.input == *input);
        place.unwrap()
    };
    let input = |kind| Input::Boundary {
        axis: "y".into(),
        side: Side::High,
        kind,
    };
    let (open, wall) = (at(&input(Boundary::Open)), at(&input(Boundary::Wall)));
    (turned.inputs[open].mean, turned.inputs[wall].mean) = (0.0, 1.0);
    let error = InputReader::new(&turned, &domains).unwrap_err().to_string();
    assert!(error.contains("boundary:y-high:wall"), "{error}");
}

#[test]
fn what_is_asked_for_and_not_there_is_told() {
    let runtime = Runtime::new().unwrap();
    let dataset = [runtime.block_on(TwoFutures::default().write())];
    let notes = Notes::default();
    let config = parting_config(&[InputKind::Constants]);
    let options = TrainOptions {
        config: &config,
        datasets: dataset.to_vec(),
        start: Start::New,
        validator: None,
        stop: &Stop::default(),
        collective: &SingleProcess,
    };
    train(&memory(), options, runtime.handle(), &notes).unwrap();
    let told = notes.take().join("\n");
    assert!(told.contains("parting has no constants"), "{told}");
    let remedy = "--set 'model.inputs=[\"constants\",\"scalars\"]' makes them";
    assert!(told.contains(remedy), "{told}");
    assert_eq!(
        Domain::of(&dataset[0], &BTreeSet::new()).unwrap().inputs,
        []
    );
}

/// Loss and gradient of the embedding by GPU kernels, where inputs are joined to the frames on the device.
#[test]
fn inputs_on_kernels_are_those_of_the_cpu() {
    let runtime = Runtime::new().unwrap();
    let parting = TwoFutures {
        mask: Some([0.0, 1.0]),
        ..TwoFutures::default()
    };
    let dataset = [runtime.block_on(parting.write())];
    let config = parting_config(&InputKind::ALL);
    let domains = runtime
        .block_on(Domains::of_run(&dataset, &config))
        .unwrap();
    let reader = InputReader::new(domains.first(), &domains).unwrap();
    let (frames, conditions) = both(&runtime, &dataset[0], WindowSpec::of_length(4));
    let values = reader.values(&conditions, &frames, 3).unwrap();
    let learned = |device: &Device| {
        let model = crate::checkpoint::fresh(&config, &domains, device).unwrap();
        let example = Example {
            frames: &frames,
            inputs: values.as_ref(),
        };
        let (patch, still) = (Patch::uniform(16, 2), Perturbation::none());
        let found = training_gradients(&model, example, &patch, &still, &Loss::default(), u64::MAX);
        let (loss, gradients) = found.unwrap();
        let mut all = model.parameters().iter();
        let (_, weight) = all
            .find(|(name, _)| *name == "space_bag.linear.weight")
            .unwrap();
        let slope = gradients.get(weight).unwrap().flatten_all().unwrap();
        let loss: f32 = loss.to_scalar().unwrap();
        (loss, slope.to_vec1::<f32>().unwrap())
    };
    let (loss, slope) = learned(&Device::Cpu);
    let (found, slope_found) = crate::ops::testing::on_kernels(learned);
    assert!((found - loss).abs() < 1e-3 * loss, "{found} {loss}");
    let most = slope.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (found, expected) in slope_found.iter().zip(&slope) {
        assert!(
            (found - expected).abs() < 5e-3 * most,
            "{found} {expected} {most}"
        );
    }
}
