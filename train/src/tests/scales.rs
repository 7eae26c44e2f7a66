//! Values far from one, and constant values.

use super::*;
use crate::revin::Revin;

/// Data in units of 2⁻⁸⁰ ≈ 10⁻²⁴ and 2¹⁰⁰ ≈ 10³⁰ train to the losses of data in units of one.
#[test]
fn units_do_not_change_what_is_learned() {
    let runtime = Runtime::new().unwrap();
    let loss = |unit: f32| {
        let of = Waves {
            unit,
            ..Waves::default()
        };
        let mut config = config(Strategy::Fixed);
        config.train.steps = 4;
        let options = TrainOptions {
            config: &config,
            datasets: vec![waves(&runtime, &of)],
            start: Start::New,
            validator: None,
            stop: &Stop::default(),
            collective: &SingleProcess,
        };
        let outcome = train(&memory(), options, runtime.handle(), &Silent);
        f64::from(outcome.unwrap().loss.unwrap())
    };
    let expected = loss(1.0);
    for power in [-80, 100] {
        let found = loss(2.0_f32.powi(power));
        assert!(
            (found - expected).abs() < 1e-4 * expected,
            "{power}: {found} {expected}"
        );
    }
}

/// A context that stands still, at zero or elsewhere, gives numbers, and no change leaves it as it is.
#[test]
fn a_context_that_stands_still_gives_numbers() {
    for value in [0.0, 1.0, -1e7, 1e-30] {
        let frames = Frames::new(4, 1, 1, vec![8, 8], vec![value; 4 * 64]).unwrap();
        let revin = Revin::of(&frames, 3, &Device::Cpu).unwrap();
        let flat = |x: candle_core::Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let input = flat(revin.input().unwrap());
        assert!(
            input.iter().all(|x| x.abs() < 1e-3),
            "{value}: {:?}",
            input[0]
        );
        let target = revin.target(2).unwrap();
        assert!(flat(target.clone()).iter().all(|&x| x == 0.0), "{value}");
        let next = revin.next(&target).unwrap();
        assert_eq!(next.data(), frames.frame(3).data());
    }
}
