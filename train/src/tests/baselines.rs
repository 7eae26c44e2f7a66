//! The Well's baselines in runs of their own: what they share with the transformer, and their running statistics.

use super::*;
use crate::{BaselineConfig, CnextUnetConfig, FnoConfig, UnetConfig};

/// A small one of each.
fn baselines() -> [ModelConfig; 4] {
    let operator = FnoConfig {
        modes: 4,
        hidden: 6,
    };
    let all = [
        BaselineConfig::Unet(UnetConfig { init_features: 2 }),
        BaselineConfig::CnextUnet(CnextUnetConfig {
            init_features: 2,
            blocks_per_stage: 1,
        }),
        BaselineConfig::Fno(operator.clone()),
        BaselineConfig::Tfno(operator),
    ];
    all.map(|config| crate::Architecture::Baseline(config).into())
}

fn with(model: ModelConfig) -> Config {
    Config {
        model,
        ..config(Strategy::Fixed)
    }
}

/// Weights and running statistics are the same after a stop, with a moving average and accumulated batches.
#[test]
fn a_resumed_run_equals_an_undisturbed_one() {
    let runtime = Runtime::new().unwrap();
    let dataset = dataset(&runtime);
    for model in baselines() {
        let kind = model.kind();
        let mut config = with(model);
        (config.optim.ema, config.optim.accumulate) = (Some(0.9), 2);
        let go = |run: &Location, stop: &Stop, reporter: &dyn Reporter| {
            let options = TrainOptions {
                config: &config,
                datasets: vec![Arc::clone(&dataset)],
                start: Start::Resume,
                validator: None,
                stop,
                collective: &SingleProcess,
            };
            train(run, options, runtime.handle(), reporter).unwrap()
        };
        let (whole, parts, stop) = (memory(), memory(), Stop::default());
        go(&whole, &Stop::default(), &Silent);
        go(&parts, &stop, &StopAfter(AtomicU64::new(5), &stop));
        go(&parts, &Stop::default(), &Silent);
        assert_eq!(
            weights(&runtime, &whole),
            weights(&runtime, &parts),
            "{kind}"
        );

        let loaded = Predictor::load(
            &whole,
            ModelChoice::default(),
            crate::DeviceChoice::Cpu,
            &Silent,
        );
        let predictor = runtime.block_on(loaded).unwrap();
        let patch = Patch::uniform(1, 2);
        let patches = predictor.patches().unwrap();
        assert_eq!(patches, std::slice::from_ref(&patch), "{kind}");
        assert_eq!(predictor.tokens(&patch, &[32, 32]).unwrap(), 1024);
        let context = runtime
            .block_on(dataset.read(Split::Train, 0, 0..3))
            .unwrap();
        let next = predictor.predict(&context, &patch).unwrap();
        assert!(next.data().iter().all(|x| x.is_finite()), "{kind}");
        let error = predictor.predict(&context, &Patch::uniform(4, 2));
        assert!(matches!(error, Err(Error::NoPatch { .. })), "{kind}");
    }
}

#[test]
fn each_learns_the_waves() {
    let runtime = Runtime::new().unwrap();
    let dataset = dataset(&runtime);
    for model in baselines() {
        let kind = model.kind();
        let mut config = with(model);
        config.train.steps = 150;
        config.optim.lr = 1e-2;
        let options = TrainOptions {
            config: &config,
            datasets: vec![Arc::clone(&dataset)],
            start: Start::New,
            validator: None,
            stop: &Stop::default(),
            collective: &SingleProcess,
        };
        let outcome = train(&memory(), options, runtime.handle(), &Silent).unwrap();
        assert!(outcome.loss.unwrap() < 0.6, "{kind}: {outcome:?}");
    }
}

/// A model of three channels sees two of them in another order: its first layer takes their columns of each frame.
#[test]
fn channels_may_come_in_another_order() {
    let columns = crate::Columns {
        fields: 3,
        inputs: 0,
        context: 2,
    };
    let value = |channels: [usize; 2], i: usize| {
        let (channel, cell) = (channels[i / 256 % 2], i % 256);
        ((i / 512 * 7 + channel * 5 + cell * cell) as f32 * 0.1).sin()
    };
    let state = |channels| {
        let values = (0..2 * 512).map(|i| value(channels, i)).collect();
        Frames::new(2, 1, 2, vec![16, 16], values).unwrap()
    };
    let sides = vec![[Boundary::Periodic; 2]; 2];
    for model in baselines() {
        let whole = Surrogate::new(&model, columns, sides.clone(), 0, &Device::Cpu).unwrap();
        let next = |channels: [usize; 2]| {
            let seen = channels.map(|channel| channel as u32 + 1).to_vec();
            let view = whole.view(seen, sides.clone()).unwrap();
            predict(&view, &state(channels), &Patch::uniform(1, 2)).unwrap()
        };
        let (forth, back) = (next([0, 1]), next([1, 0]));
        for (a, b) in forth.channel(0, 0, 0).iter().zip(back.channel(0, 0, 1)) {
            assert!((a - b).abs() < 1e-4, "{}: {a} {b}", model.kind());
        }
    }
}

#[test]
fn a_grid_that_cannot_be_halved_four_times_is_refused() {
    let [unet, _, fno, _] = baselines();
    let tokens = |model: &ModelConfig, space: [usize; 2]| {
        let sides = vec![[Boundary::Wall; 2]; 2];
        let model = Surrogate::new(model, 2, sides, 0, &Device::Cpu).unwrap();
        model.tokens(&Patch::uniform(1, 2), &space)
    };
    assert_eq!(tokens(&unet, [48, 32]).unwrap(), 48 * 32);
    let error = tokens(&unet, [48, 40]).unwrap_err().to_string();
    assert!(error.contains("multiples of 16"), "{error}");
    assert_eq!(tokens(&fno, [9, 5]).unwrap(), 45);
}

/// The ways of a GPU, kernels and what is composed, give the gradients and running statistics of the CPU.
#[test]
fn gradients_by_kernels_are_those_of_the_cpu() {
    let columns = crate::Columns {
        fields: 2,
        inputs: 0,
        context: 3,
    };
    let frames = (0..4 * 2 * 2 * 512).map(|i| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos());
    let frames = Frames::new(4, 2, 2, vec![32, 16], frames.collect()).unwrap();
    for model in baselines() {
        let found = |device: &Device| {
            let sides = vec![[Boundary::Wall; 2]; 2];
            let model = Surrogate::new(&model, columns, sides, 0, device).unwrap();
            let (patch, still) = (Patch::uniform(1, 2), Perturbation::none());
            let found = training_gradients(&model, &frames, &patch, &still, &Loss::default(), 0);
            let (loss, gradients) = found.unwrap();
            let all = model.parameters().iter().filter_map(|(name, var)| {
                let gradient = gradients.get(var)?.to_device(&Device::Cpu).unwrap();
                Some((name.to_owned(), gradient))
            });
            (
                loss.to_scalar::<f32>().unwrap(),
                all.collect::<BTreeMap<_, _>>(),
            )
        };
        let (loss, gradients) = found(&Device::Cpu);
        let (near, by_kernels) = crate::ops::testing::on_kernels(found);
        assert!(
            (loss - near).abs() < 1e-4 * loss,
            "{}: {loss} {near}",
            model.kind()
        );
        let largest = |x: &candle_core::Tensor| -> f32 {
            x.abs().unwrap().max_all().unwrap().to_scalar().unwrap()
        };
        let most = gradients.values().map(largest).fold(0.0, f32::max);
        assert_eq!(gradients.len(), by_kernels.len());
        for (name, gradient) in &gradients {
            let apart = largest(&(gradient - &by_kernels[name]).unwrap());
            let near = 1e-3 * largest(gradient) + 1e-5 * most;
            assert!(apart <= near, "{} {name}: {apart} {near}", model.kind());
        }
    }
}
