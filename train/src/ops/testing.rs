//! Compares an operation with its composed form: values, and gradients of a random projection.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::emulated::emulated;
use crate::DeviceChoice;

/// Compares a fused operation with its composed twin over tensors of the given shapes, to 1e-5 of the
/// largest magnitude; and its gradients with finite differences along a random direction.
pub(super) fn check(
    shapes: &[&[usize]],
    fused: impl Fn(&[Tensor]) -> Result<Tensor>,
    composed: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let trial = Trial::new(shapes, DType::F32);
    let found = trial.evaluate(&fused);
    found.compare(&trial.evaluate(&composed), 1e-5);
    trial.differentiate(&fused, &found);
}

/// Compares the kernels of an operation with its composed twin in f32: f32 to 1e-5 of the largest
/// magnitude, bf16 to 2e-2. `kernels` takes the inputs in f32 and makes what it wants of them in the given
/// numbers. The emulator runs the kernels, or a GPU where `WELLSPRING_TEST_DEVICE` is `cuda`.
pub(super) fn check_kernels(
    shapes: &[&[usize]],
    kernels: impl Fn(&[Tensor], DType) -> Result<Tensor>,
    composed: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 2e-2)] {
        let trial = Trial::new(shapes, dtype);
        let found = on_kernels(|device| {
            trial.evaluate(|inputs| {
                let inputs = inputs.iter().map(|x| x.to_device(device));
                let y = kernels(&inputs.collect::<Result<Vec<_>>>()?, dtype)?;
                y.to_dtype(DType::F32)?.to_device(&Device::Cpu)
            })
        });
        found.compare(&trial.evaluate(&composed), tolerance);
    }
}

/// Calls `body` where ops take the way of a GPU, with the device for their inputs.
pub(crate) fn on_kernels<R>(body: impl FnOnce(&Device) -> R) -> R {
    let device = device();
    if device.is_cpu() {
        return emulated(|| body(&device));
    }
    body(&device)
}

/// Sees to it that an elementwise operation and its gradient are finite for inputs up to ±10⁴: fused on the
/// CPU, by kernels, and composed, in f32 and in bf16.
pub(super) fn check_far_out(
    operation: impl Fn(&Tensor) -> Result<Tensor>,
    composed: impl Fn(&Tensor) -> Result<Tensor>,
) {
    let far = [-1e4_f32, -300.0, -88.8, -40.0, 0.0, 40.0, 88.8, 1e4];
    let pairs = far
        .iter()
        .flat_map(|&u| far.iter().flat_map(move |&g| [u, g]));
    let values = Tensor::from_iter(pairs, &Device::Cpu)
        .unwrap()
        .reshape((64, 2))
        .unwrap();
    let finite = |function: &dyn Fn(&Tensor) -> Result<Tensor>, values: &Tensor, what: &str| {
        let x = Var::from_tensor(values).unwrap();
        let y = function(&x).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        for found in [&y, gradients.get(&x).unwrap()] {
            let found = found.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
            let found: Vec<f32> = found.to_vec1().unwrap();
            assert!(found.iter().all(|x| x.is_finite()), "{what}: {found:?}");
        }
    };
    for dtype in [DType::F32, DType::BF16] {
        let values = values.to_dtype(dtype).unwrap();
        finite(&operation, &values, "on the CPU");
        finite(&composed, &values, "composed");
        on_kernels(|device| finite(&operation, &values.to_device(device).unwrap(), "kernels"));
    }
}

/// The device of tests of kernels: the CPU, whose ops the emulator takes over, or a GPU.
#[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
pub(crate) fn device() -> Device {
    let choice = std::env::var("WELLSPRING_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
    choice.parse::<DeviceChoice>().unwrap().open().unwrap()
}

/// Random inputs, and the seed of what a result is projected on.
struct Trial {
    vars: Vec<Var>,
    dtype: DType,
}

/// A result and the gradients of its projection.
struct ResultWithGradients {
    result: Tensor,
    gradients: Vec<Tensor>,
}

impl Trial {
    /// Inputs in f32 whose values `dtype` has too.
    fn new(shapes: &[&[usize]], dtype: DType) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let vars = shapes
            .iter()
            .map(|shape| Var::from_tensor(&draw(&mut random, shape, dtype)).unwrap());
        Self {
            vars: vars.collect(),
            dtype,
        }
    }

    fn inputs(&self) -> Vec<Tensor> {
        self.vars
            .iter()
            .map(|var| var.as_tensor().clone())
            .collect()
    }

    /// Σ y · s with a random s.
    fn projected(&self, y: &Tensor) -> Tensor {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let seed = draw(&mut random, y.dims(), self.dtype);
        (y * &seed).unwrap().sum_all().unwrap()
    }

    fn evaluate(&self, function: impl Fn(&[Tensor]) -> Result<Tensor>) -> ResultWithGradients {
        let result = function(&self.inputs()).unwrap();
        let found = self.projected(&result).backward().unwrap();
        let gradients = self.vars.iter().map(|var| {
            let gradient = found.get(var).expect("every input gets a gradient");
            gradient.clone()
        });
        ResultWithGradients {
            gradients: gradients.collect(),
            result,
        }
    }

    /// The projection's slope along a random direction, by gradients and by differences.
    fn differentiate(
        &self,
        function: impl Fn(&[Tensor]) -> Result<Tensor>,
        found: &ResultWithGradients,
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let directions: Vec<Tensor> = self
            .vars
            .iter()
            .map(|var| draw(&mut random, var.dims(), self.dtype))
            .collect();
        let pairs = found.gradients.iter().zip(&directions);
        let slope: f64 = pairs.map(|(g, d)| sum(&(g * d).unwrap())).sum();
        let at = |step: f64| {
            let inputs = self.inputs().into_iter().zip(&directions);
            let there: Vec<Tensor> = inputs
                .map(|(x, d)| (x + (d * step).unwrap()).unwrap())
                .collect();
            sum(&self.projected(&function(&there).unwrap()))
        };
        let step = 2e-3;
        let numerical = (at(step) - at(-step)) / (2.0 * step);
        assert!(
            (numerical - slope).abs() <= 2e-2 * (1.0 + slope.abs()),
            "{numerical} {slope}"
        );
    }
}

impl ResultWithGradients {
    fn compare(&self, expected: &Self, tolerance: f32) {
        close(&self.result, &expected.result, tolerance, "values");
        let pairs = self.gradients.iter().zip(&expected.gradients);
        for (i, (found, expected)) in pairs.enumerate() {
            close(found, expected, tolerance, &format!("gradient {i}"));
        }
    }
}

fn draw(random: &mut ChaCha8Rng, shape: &[usize], dtype: DType) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| random.random_range(-1.5..1.5))
        .collect();
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    values
        .to_dtype(dtype)
        .unwrap()
        .to_dtype(DType::F32)
        .unwrap()
}

fn sum(x: &Tensor) -> f64 {
    f64::from(x.sum_all().unwrap().to_scalar::<f32>().unwrap())
}

/// Every number within `tolerance` of the largest magnitude; a NaN is never near.
pub(super) fn close(found: &Tensor, expected: &Tensor, tolerance: f32, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(1e-3_f32, |most, x| most.max(x.abs()));
    for (x, y) in found.iter().zip(&expected) {
        assert!((x - y).abs() <= tolerance * scale, "{what}: {x} {y}");
    }
}
