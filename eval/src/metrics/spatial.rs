//! The Well's ten metrics of one field of one frame (`the_well.benchmark.metrics.spatial`): means over
//! space, the truth for what an error is relative to, the unbiased variance, and 10⁻⁷ added to every
//! denominator.

/// The Well's guard against a division by zero.
pub(super) const EPSILON: f64 = 1e-7;

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

    /// Of one field; both slices hold its cells.
    #[must_use]
    pub fn of(truth: &[f32], prediction: &[f32]) -> Self {
        let n = truth.len().max(1) as f64;
        let pairs = || {
            truth
                .iter()
                .zip(prediction)
                .map(|(&y, &x)| (f64::from(y), f64::from(x)))
        };
        let mean = |value: fn((f64, f64)) -> f64| pairs().map(value).sum::<f64>() / n;
        let (mean_y, mean_x) = (mean(|(y, _)| y), mean(|(_, x)| x));
        let moment = |value: fn(f64, f64) -> f64| {
            pairs()
                .map(|(y, x)| value(y - mean_y, x - mean_x))
                .sum::<f64>()
        };
        let unbiased = (n - 1.0).max(1.0);
        let variance_y = moment(|y, _| y * y) / unbiased;
        let variance_x = moment(|_, x| x * x) / unbiased;
        let covariance = moment(|y, x| y * x) / n;
        let mse = mean(|(y, x)| (x - y).powi(2));
        let mae = mean(|(y, x)| (x - y).abs());
        let nmse = mse / (mean(|(y, _)| y * y) + EPSILON);
        let vmse = mse / (variance_y + EPSILON);
        Self {
            mse,
            mae,
            rmse: mse.sqrt(),
            nmse,
            nmae: mae / (mean(|(y, _)| y.abs()) + EPSILON),
            nrmse: nmse.sqrt(),
            vmse,
            vrmse: vmse.sqrt(),
            // A NaN would hide from max.
            linf: if mae.is_nan() {
                f64::NAN
            } else {
                pairs().map(|(y, x)| (x - y).abs()).fold(0.0, f64::max)
            },
            pearson: covariance / (variance_y.sqrt() * variance_x.sqrt() + EPSILON),
        }
    }

    /// In the order of [`Spatial::NAMES`].
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
