//! Metrics with closed forms, and properties that always hold.

use std::f64::consts::PI;

use wellspring_spectra::EPSILON;

use super::*;

const SHAPES: [&[usize]; 8] = [
    &[1],
    &[2],
    &[31],
    &[64],
    &[9, 14],
    &[1, 30],
    &[5, 1, 12],
    &[8, 9, 10],
];

/// A wave with a number of periods along each axis.
fn wave(shape: &[usize], periods: &[usize]) -> Vec<f32> {
    let value = |cell: usize| {
        let mut rest = cell;
        let mut phase = 0.3;
        for (&n, &periods) in shape.iter().zip(periods).rev() {
            phase += 2.0 * PI * (periods * (rest % n)) as f64 / n as f64;
            rest /= n;
        }
        phase.sin() as f32
    };
    (0..shape.iter().product()).map(value).collect()
}

/// Values without a pattern, between -2 and 2.
fn rough(cells: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| ((i + 1000 * seed) as f32 * 12.9898).sin() * 43758.547;
    (0..cells).map(|i| 2.0 * value(i).fract()).collect()
}

fn score(shape: &[usize], truth: &[f32], prediction: &[f32]) -> Score {
    FieldMetrics::new(shape)
        .unwrap()
        .score(truth, prediction)
        .unwrap()
}

fn near(found: f64, expected: f64) {
    let apart = (found - expected).abs();
    assert!(apart <= 1e-9 * expected.abs(), "{found} {expected}");
}

#[test]
fn the_mean_as_a_prediction_has_a_vrmse_of_one() {
    for shape in SHAPES.into_iter().filter(|shape| shape != &[1]) {
        let cells: usize = shape.iter().product();
        let truth: Vec<f32> = (0..cells).map(|i| ((i % 2) * 1000) as f32).collect();
        let mean = truth.iter().sum::<f32>() / cells as f32;
        let score = score(shape, &truth, &vec![mean; cells]);
        // The truth's variance is the unbiased one.
        let biased = (1.0 - 1.0 / cells as f64).sqrt();
        assert!((score.spatial.vrmse - biased).abs() < 1e-6, "{score:?}");
    }
}

#[test]
fn parseval_holds_for_bands_and_axes() {
    for shape in SHAPES {
        let cells: usize = shape.iter().product();
        let (truth, prediction) = (rough(cells, 1), rough(cells, 2));
        let score = score(shape, &truth, &prediction);
        near(
            score.bands.iter().map(|band| band.mse).sum(),
            score.spatial.mse,
        );
        let square =
            |field: &[f32]| field.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / cells as f64;
        let squares = [square(&truth), square(&prediction), score.spatial.mse];
        for (axis, of) in (0..shape.len()).flat_map(|axis| (0..3).map(move |of| (axis, of))) {
            let lines = score.spectra.axes[axis].iter();
            near(lines.map(|line| line.power[of]).sum(), squares[of]);
        }
    }
}

#[test]
fn a_wave_lands_in_one_bin() {
    let cases: [(&[usize], &[usize]); 4] = [
        (&[40], &[7]),
        (&[27, 35], &[2, 5]),
        (&[1, 48], &[0, 11]),
        (&[16, 20, 24], &[3, 0, 4]),
    ];
    for (shape, periods) in cases {
        let truth = vec![0.0; shape.iter().product()];
        let edges = vec![0.1, 0.5, 1.0, 1.5, 3.0];
        let metrics = FieldMetrics::new(shape).unwrap().with_bands(edges).unwrap();
        let score = metrics.score(&truth, &wave(shape, periods)).unwrap();
        let squares = shape.iter().zip(periods).map(|(&n, &periods)| {
            let k = 2.0 * PI * periods as f64 / n as f64;
            k * k
        });
        let k = squares.sum::<f64>().sqrt();
        let only = |low: f64, high: f64, value: f64, whole: f64| {
            let expected = if low <= k && k < high { whole } else { 0.0 };
            assert!(
                (value - expected).abs() < 1e-6 * whole,
                "{k}: {value} in {low} to {high}"
            );
        };
        for band in &score.bands {
            only(band.low, band.high, band.mse, 0.5);
        }
        // The wave and its mirror image: |X|² = N²/4 each, shared by their shell.
        let bins = Bins::isotropic(&metrics.transform);
        for (line, &modes) in score.spectra.isotropic.iter().zip(bins.counts()) {
            let whole = (truth.len() as f64).powi(2) / 2.0;
            only(line.low, line.high, line.power[1] * modes, whole);
        }
        for (lines, &periods) in score.spectra.axes.iter().zip(periods) {
            for (wave, line) in lines.iter().enumerate() {
                let expected = if wave == periods { 0.5 } else { 0.0 };
                assert!((line.power[2] - expected).abs() < 1e-6, "{wave}: {line:?}");
            }
        }
    }
}

#[test]
fn bands_leave_out_what_is_beyond_their_edges() {
    let shape = [24, 24];
    let truth = vec![0.0; 576];
    let edges = vec![0.5, 1.0];
    let metrics = FieldMetrics::new(&shape)
        .unwrap()
        .with_bands(edges)
        .unwrap();
    // 2π/24 ≈ 0.26 and its multiples.
    for (periods, energy) in [(0, 0.0), (1, 0.0), (2, 0.5), (3, 0.5), (4, 0.0), (9, 0.0)] {
        let score = metrics.score(&truth, &wave(&shape, &[periods, 0])).unwrap();
        assert!(
            (score.bands[0].mse - energy).abs() < 1e-6,
            "{periods}: {score:?}"
        );
    }
    for edges in [
        vec![],
        vec![1.0],
        vec![1.0, 1.0],
        vec![0.0, f32::NAN],
        vec![2.0, 1.0],
    ] {
        assert!(
            FieldMetrics::new(&shape)
                .unwrap()
                .with_bands(edges)
                .is_err()
        );
    }
}

#[test]
fn an_error_of_one_rounding_keeps_its_accuracy() {
    // A large mean, a wave on it, and a prediction that errs in the last bit of one cell.
    let shape = [32, 48];
    let truth: Vec<f32> = wave(&shape, &[2, 3]).iter().map(|x| 1e5 + x).collect();
    let mut prediction = truth.clone();
    prediction[77] = prediction[77].next_up();
    let error = f64::from(prediction[77]) - f64::from(truth[77]);
    let metrics = FieldMetrics::new(&shape).unwrap();
    let score = metrics.score(&truth, &prediction).unwrap();
    let mse = error * error / truth.len() as f64;
    near(score.spatial.mse, mse);
    near(score.bands.iter().map(|band| band.mse).sum(), mse);
    // The residual of one cell is white; its mean power is that but for The Well's guard.
    for line in &score.spectra.isotropic {
        assert!((line.power[2] / (error * error) - 1.0).abs() < 1e-7);
    }
    let same = metrics.score(&truth, &truth).unwrap();
    assert!(same.bands.iter().all(|band| band.mse == 0.0));
    // The prediction's power, from a sum, is that of the prediction by itself.
    let (_, alone) = metrics.spectrum(&prediction).unwrap();
    for (line, alone) in score.spectra.isotropic.iter().zip(alone) {
        assert!((line.power[1] - alone).abs() <= 1e-6 * alone);
    }
}

#[test]
fn what_is_not_finite_is_counted_and_never_hidden() {
    for shape in SHAPES {
        let cells: usize = shape.iter().product();
        let truth = rough(cells, 3);
        for (bad, at) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
            .into_iter()
            .flat_map(|bad| [0, cells / 2, cells - 1].map(|at| (bad, at)))
        {
            let mut prediction = truth.clone();
            prediction[at] = bad;
            let score = score(shape, &truth, &prediction);
            assert_eq!(score.nonfinite, 1);
            assert!(score.spatial.values().iter().all(|x| !x.is_finite()));
            assert!(
                score
                    .bands
                    .iter()
                    .filter(|band| band.low == 0.0)
                    .all(|band| !band.mse.is_finite())
            );
            assert!(!score.spectra.axes[0][0].power[1].is_finite());
            assert!(score.spectra.axes[0][0].power[0].is_finite());
        }
    }
}

#[test]
fn a_constant_truth_has_finite_scores() {
    for shape in SHAPES {
        let cells: usize = shape.iter().product();
        let score = score(shape, &vec![3.0; cells], &vec![3.5; cells]);
        near(score.spatial.mse, 0.25);
        near(score.spatial.vmse, 0.25 / EPSILON);
        near(score.spatial.linf, 0.5);
        assert_eq!(score.spatial.pearson, 0.0);
        near(score.bands[0].nmse, 0.25 / (9.0 + EPSILON));
        assert!(score.bands[1..].iter().all(|band| band.nmse < 1e-9));
    }
}

#[test]
fn fields_of_another_size_are_refused() {
    let metrics = FieldMetrics::new(&[4, 4]).unwrap();
    assert!(metrics.score(&[0.0; 16], &[0.0; 15]).is_err());
    assert!(metrics.score(&[0.0; 17], &[0.0; 16]).is_err());
    assert!(FieldMetrics::new(&[]).is_err() && FieldMetrics::new(&[3, 0]).is_err());
}
