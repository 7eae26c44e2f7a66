//! Grids that no patch divides.

use super::*;

/// The state of `frames` with `low` and `high` more cells along each axis, as the boundary says.
fn padded(frames: &Frames, margins: [(usize, usize); 2], boundary: Boundary) -> Frames {
    let space: Vec<usize> = frames
        .space()
        .iter()
        .zip(margins)
        .map(|(n, (low, high))| n + low + high)
        .collect();
    let source = |axis: usize, at: usize| {
        let (n, low) = (frames.space()[axis] as i64, margins[axis].0 as i64);
        let cell = at as i64 - low;
        (match boundary {
            Boundary::Periodic => cell.rem_euclid(n),
            Boundary::Wall | Boundary::Open => cell.clamp(0, n - 1),
        }) as usize
    };
    let mut values = Vec::new();
    for (time, channel) in
        (0..frames.time()).flat_map(|t| (0..frames.channels()).map(move |c| (t, c)))
    {
        let cells = frames.channel(time, 0, channel);
        for (x, y) in (0..space[0]).flat_map(|x| (0..space[1]).map(move |y| (x, y))) {
            values.push(cells[source(0, x) * frames.space()[1] + source(1, y)]);
        }
    }
    Frames::new(frames.time(), 1, frames.channels(), space, values).unwrap()
}

/// (T, 1, *space, C) of frames.
fn tensor(frames: &Frames) -> candle_core::Tensor {
    let shape = [&[frames.time(), 1, frames.channels()], frames.space()].concat();
    let x = candle_core::Tensor::from_slice(frames.data(), shape, &Device::Cpu).unwrap();
    x.permute((0, 1, 3, 4, 2)).unwrap().contiguous().unwrap()
}

/// The pass over an axis that is padded is the plain pass over an input that was padded by hand and
/// whose output is cropped; so are its gradients, of a loss that sees real cells alone.
#[test]
fn a_padded_pass_is_the_plain_one_of_a_padded_input() {
    let (nx, ny) = (18, 13);
    let values = (0..3 * 2 * nx * ny).map(|i| (i as f32 * 0.37).sin() + (i as f32 * 0.05).cos());
    let frames = Frames::new(3, 1, 2, vec![nx, ny], values.collect()).unwrap();
    for (strategy, boundary) in [
        (Strategy::Ckm, Boundary::Periodic),
        (Strategy::Ckm, Boundary::Wall),
        (Strategy::Fixed, Boundary::Open),
    ] {
        let config = config(strategy).model;
        let model = Surrogate::new(&config, 2, vec![[boundary; 2]; 2], 0, &Device::Cpu).unwrap();
        let patch = Patch::uniform(8, 2);
        assert_eq!(model.tokens(&patch, &[nx, ny]).unwrap(), 3 * 2);

        // 18 → 24 and 13 → 16.
        let whole = tensor(&padded(&frames, [(3, 3), (1, 2)], boundary));
        assert_eq!(whole.dims(), [3, 1, 24, 16, 2]);
        let expected = model.forward(&whole, &patch).unwrap();
        let expected = expected.narrow(2, 3, nx).unwrap().narrow(3, 1, ny).unwrap();
        let found = model.forward(&tensor(&frames), &patch).unwrap();
        let flat =
            |x: &candle_core::Tensor| -> Vec<f32> { x.flatten_all().unwrap().to_vec1().unwrap() };
        assert_eq!(flat(&found), flat(&expected), "{strategy:?} {boundary:?}");

        let slopes = |output: &candle_core::Tensor| {
            let target = (tensor(&frames) * 0.5).unwrap();
            let loss = (output - target)
                .unwrap()
                .sqr()
                .unwrap()
                .mean_all()
                .unwrap();
            loss.backward().unwrap()
        };
        let (found, expected) = (slopes(&found), slopes(&expected));
        for (name, var) in model.parameters().iter() {
            let pair = [&found, &expected].map(|slopes| flat(slopes.get(var).unwrap()));
            assert!(pair[0].iter().any(|&slope| slope != 0.0), "{name}");
            let largest = pair[1]
                .iter()
                .fold(0.0_f32, |most, slope| most.max(slope.abs()));
            for (found, expected) in pair[0].iter().zip(&pair[1]) {
                let apart = (found - expected).abs();
                assert!(
                    apart <= 1e-4 * largest + 1e-9,
                    "{strategy:?} {boundary:?} {name}: {apart}"
                );
            }
        }
    }
}

/// Every strategy trains on and continues such a grid, at every patch size, on grids smaller than a
/// patch too.
#[test]
fn a_grid_that_no_patch_divides_is_learned_and_continued() {
    let runtime = Runtime::new().unwrap();
    for (strategy, boundary, space) in [
        (Strategy::Ckm, Boundary::Periodic, [18, 33]),
        (Strategy::Ckm, Boundary::Open, [18, 5]),
        (Strategy::Csm, Boundary::Periodic, [18, 5]),
        (Strategy::Csm, Boundary::Wall, [33, 18]),
        (Strategy::Fixed, Boundary::Wall, [18, 33]),
    ] {
        let kind = Waves {
            space,
            boundary,
            ..Waves::default()
        };
        let dataset = waves(&runtime, &kind);
        let mut config = config(strategy);
        config.train.jitter = true;
        config.train.steps = 4;
        let run = memory();
        let options = TrainOptions {
            config: &config,
            datasets: vec![Arc::clone(&dataset)],
            start: Start::New,
            validator: None,
            stop: &Stop::default(),
            collective: &SingleProcess,
        };
        let outcome = train(&run, options, runtime.handle(), &Silent).unwrap();
        assert!(outcome.loss.unwrap().is_finite(), "{strategy:?}");
        let loaded = Predictor::load(
            &run,
            ModelChoice::default(),
            crate::DeviceChoice::Cpu,
            &Silent,
        );
        let predictor = runtime.block_on(loaded).unwrap();
        let context = runtime
            .block_on(dataset.read(Split::Train, 0, 0..3))
            .unwrap();
        for patch in predictor.patches().unwrap() {
            let next = predictor.predict(&context, &patch).unwrap();
            assert_eq!(next.space(), space);
            assert!(next.data().iter().all(|x| x.is_finite()), "{patch}");
            let sizes = space.iter().zip(patch.sizes());
            let tokens: usize = sizes.map(|(n, p)| n.div_ceil(*p)).product();
            if strategy != Strategy::Csm {
                assert_eq!(predictor.tokens(&patch, &space).unwrap(), tokens);
            }
        }
    }
}
