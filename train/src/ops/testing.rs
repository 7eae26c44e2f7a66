//! A fused operation against its composed twin: values, and gradients of a random projection.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Compares two functions of tensors of the given shapes, to 1e-5 of the largest magnitude; and the
/// fused one's gradients with finite differences along a random direction.
pub(super) fn check(
    shapes: &[&[usize]],
    fused: impl Fn(&[Tensor]) -> Result<Tensor>,
    composed: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut draw = |shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| random.random_range(-1.5..1.5))
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let vars: Vec<Var> = shapes
        .iter()
        .map(|shape| Var::from_tensor(&draw(shape)).unwrap())
        .collect();
    let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let (found, expected) = (fused(&inputs).unwrap(), composed(&inputs).unwrap());
    close(&found, &expected, "values");
    let seed = draw(found.dims());
    let loss = |y: &Tensor| (y * &seed).unwrap().sum_all().unwrap();
    let (found, expected) = (
        loss(&found).backward().unwrap(),
        loss(&expected).backward().unwrap(),
    );
    let mut slope = 0.0_f64;
    let mut moved = Vec::new();
    for (i, var) in vars.iter().enumerate() {
        let gradient = found.get(var).expect("every input gets a gradient");
        close(
            gradient,
            expected.get(var).unwrap(),
            &format!("gradient {i}"),
        );
        let direction = draw(var.dims());
        slope += f64::from(
            (gradient * &direction)
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap(),
        );
        moved.push(direction);
    }
    let at = |step: f64| {
        let there: Vec<Tensor> = inputs
            .iter()
            .zip(&moved)
            .map(|(x, d)| (x + (d * step).unwrap()).unwrap())
            .collect();
        f64::from(loss(&fused(&there).unwrap()).to_scalar::<f32>().unwrap())
    };
    let step = 2e-3;
    let numerical = (at(step) - at(-step)) / (2.0 * step);
    assert!(
        (numerical - slope).abs() <= 2e-2 * (1.0 + slope.abs()),
        "{numerical} {slope}"
    );
}

fn close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(1e-3_f32, |most, x| most.max(x.abs()));
    for (x, y) in found.iter().zip(&expected) {
        assert!((x - y).abs() <= 1e-5 * scale, "{what}: {x} {y}");
    }
}
