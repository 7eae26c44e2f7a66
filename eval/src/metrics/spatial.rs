//! [`Spatial`]: The Well's ten metrics of one field of one frame (`the_well.benchmark.metrics.spatial`). They
//! are means over space; relative errors are relative to the truth, variances are unbiased, and a guard is
//! added to every denominator (see [`Channel`]). Errors are computed from stored values in f64 and then
//! scaled: a difference needs no shift, so it keeps its digits however large the mean is.

use super::channel::Channel;

/// Sums that a processor adds side by side.
const LANES: usize = 4;

/// The Well's ten spatial metrics of one field of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spatial {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// √MSE.
    pub rmse: f64,
    /// MSE over the mean square of the truth.
    pub nmse: f64,
    /// MAE over the mean magnitude of the truth.
    pub nmae: f64,
    /// √NMSE.
    pub nrmse: f64,
    /// MSE over the variance of the truth.
    pub vmse: f64,
    /// √VMSE: the paper's measure. 1 is as bad as the truth's mean.
    pub vrmse: f64,
    /// Largest error.
    pub linf: f64,
    /// Correlation; The Well divides a biased covariance by unbiased deviations.
    pub pearson: f64,
}

impl Spatial {
    /// Names in tables, in the order of [`Spatial::values`].
    pub const NAMES: [&str; 10] = [
        "mse", "mae", "rmse", "nmse", "nmae", "nrmse", "vmse", "vrmse", "linf", "pearson",
    ];

    /// Measures one field in its own units. Both slices hold all cells of the field, in the same order.
    #[must_use]
    pub fn of(truth: &[f32], prediction: &[f32]) -> Self {
        Self::of_stored(truth, prediction, Channel::OWN)
    }

    /// Measures one field, in its own units, from values that the channel's units scale. Both slices hold all
    /// cells of the field.
    pub(crate) fn of_stored(truth: &[f32], prediction: &[f32], channel: Channel) -> Self {
        if channel.transform.is_none() {
            return Self::of_scaled(truth, prediction, channel);
        }
        let [truth, prediction] = [truth, prediction].map(|stored| channel.own(stored));
        Self::of_scaled(&truth, &prediction, channel.in_own_units())
    }

    /// Measures the values of one field, which the channel's units scale.
    pub(super) fn of_scaled<X: Copy + Into<f64>>(
        truth: &[X],
        prediction: &[X],
        channel: Channel,
    ) -> Self {
        let Channel { units, guard, .. } = channel;
        let (scale, squared) = (units.scale.abs(), units.scale * units.scale);
        let n = truth.len().max(1) as f64;
        let cells = Cells { truth, prediction };
        let [mean_y, mean_x] = cells.sums(|y, x| [y, x]).map(|sum| sum / n);
        let [yy, xx, yx, square, magnitude, size] = cells.sums(|y, x| {
            let (error, y0, x0) = (x - y, y - mean_y, x - mean_x);
            let (square, magnitude) = (error * error, error.abs());
            [
                y0 * y0,
                x0 * x0,
                y0 * x0,
                square,
                magnitude,
                units.value(y).abs(),
            ]
        });
        let [linf] = cells.fold(f64::max, |y, x| [(x - y).abs()]);
        let [yy, xx, yx, square] = [yy, xx, yx, square].map(|sum| squared * sum);
        let [magnitude, linf] = [magnitude, linf].map(|sum| scale * sum);
        let unbiased = (n - 1.0).max(1.0);
        let (variance_y, variance_x) = (yy / unbiased, xx / unbiased);
        let (mse, mae) = (square / n, magnitude / n);
        let nmse = mse / (yy / n + units.value(mean_y).powi(2) + guard.square);
        let vmse = mse / (variance_y + guard.square);
        Self {
            mse,
            mae,
            rmse: mse.sqrt(),
            nmse,
            nmae: mae / (size / n + guard.plain),
            nrmse: nmse.sqrt(),
            vmse,
            vrmse: vmse.sqrt(),
            // A NaN would hide from max.
            linf: if mae.is_nan() { f64::NAN } else { linf },
            pearson: yx / n / (variance_y.sqrt() * variance_x.sqrt() + guard.square),
        }
    }

    /// Values of the metrics, in the order of [`Spatial::NAMES`].
    #[must_use]
    pub fn values(&self) -> [f64; 10] {
        [
            self.mse,
            self.mae,
            self.rmse,
            self.nmse,
            self.nmae,
            self.nrmse,
            self.vmse,
            self.vrmse,
            self.linf,
            self.pearson,
        ]
    }
}

/// The cells of a field.
struct Cells<'a, X> {
    truth: &'a [X],
    prediction: &'a [X],
}

impl<X: Copy + Into<f64>> Cells<'_, X> {
    fn sums<const N: usize>(&self, terms: impl Fn(f64, f64) -> [f64; N]) -> [f64; N] {
        self.fold(|sum, x| sum + x, terms)
    }

    /// Joins terms of (truth, prediction) over the cells, from 0, in lanes.
    fn fold<const N: usize>(
        &self,
        join: impl Fn(f64, f64) -> f64,
        terms: impl Fn(f64, f64) -> [f64; N],
    ) -> [f64; N] {
        let terms = |(&y, &x): (&X, &X)| terms(y.into(), x.into());
        let (truth, rest_of_truth) = self.truth.as_chunks::<LANES>();
        let (prediction, rest_of_prediction) = self.prediction.as_chunks::<LANES>();
        let mut lanes = [[0.0; LANES]; N];
        for cells in truth.iter().zip(prediction) {
            for (lane, cell) in cells.0.iter().zip(cells.1).enumerate() {
                for (own, term) in lanes.iter_mut().zip(terms(cell)) {
                    own[lane] = join(own[lane], term);
                }
            }
        }
        let mut joined = lanes.map(|lanes| lanes.into_iter().fold(0.0, &join));
        for cell in rest_of_truth.iter().zip(rest_of_prediction) {
            for (own, term) in joined.iter_mut().zip(terms(cell)) {
                *own = join(*own, term);
            }
        }
        joined
    }
}
