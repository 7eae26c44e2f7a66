//! Gradients of whole models, and what is drawn at random within a step.

use super::*;

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
    let mut config = config(Strategy::Csm);
    transformer(&mut config).blocks = 3;
    let sides = vec![[Boundary::Wall; 2], [Boundary::Periodic; 2]];
    let model = Surrogate::new(&config.model, 2, sides, 0, &Device::Cpu).unwrap();
    let (patch, none) = (Patch::uniform(8, 2), Perturbation::none());
    let loss = training_loss(&model, &frames, &patch, &none, &Loss::default()).unwrap();
    let whole = loss.backward().unwrap();
    // A block's activations are 28 arrays of 6 items with 16 tokens of 32 features.
    for limit in [0, 28 * 6 * 16 * 32 * 4, u64::MAX] {
        let (value, parts) =
            training_gradients(&model, &frames, &patch, &none, &Loss::default(), limit).unwrap();
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
        let mut config = config(strategy);
        transformer(&mut config).mlp = mlp;
        transformer(&mut config).patches = vec![size.into()];
        let walls = vec![[Boundary::Wall, Boundary::Open], [Boundary::Periodic; 2]];
        let model = Surrogate::new(&config.model, 2, walls, 0, &Device::Cpu).unwrap();
        let patch = Patch::uniform(size, 2);
        let gradients = training_loss(
            &model,
            &frames,
            &patch,
            &Perturbation::none(),
            &Loss::default(),
        )
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
        let mut config = config(Strategy::Ckm);
        transformer(&mut config).mlp = mlp;
        let boundaries = vec![[Boundary::Periodic; 2]; 2];
        let single = Surrogate::new(&config.model, 2, boundaries, 0, &Device::Cpu).unwrap();
        let half = single.in_precision(Precision::Bf16);
        let values = (0..4 * 2 * 1024).map(|i| (i as f32 * 0.1).sin() + (i as f32 * 0.013).cos());
        let frames = Frames::new(4, 1, 2, vec![32, 32], values.collect()).unwrap();
        let patch = Patch::uniform(8, 2);
        let next = |model| predict(model, &frames.slice_time(0..3), &patch).unwrap();
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
                training_gradients(model, &frames, &patch, &still, &Loss::default(), limit)
                    .unwrap();
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
