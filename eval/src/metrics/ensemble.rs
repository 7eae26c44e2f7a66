//! [`EnsembleScore`]: what the members of an ensemble say together of one field of one frame.
//!
//! All three are means over the cells. For members that are drawn from the same distribution as the truth:
//!
//! - √((N + 1) / N) · spread is the root mean square error of the ensemble's mean (Fortin et al. 2014, J.
//!   Hydrometeorology 15, Eqs 13 to 15);
//! - the CRPS is that of the distribution itself, whatever N is (the fair estimator; Ferro 2014, Q. J. R. Meteorol. Soc. 140);
//! - the truth lies between the least and the greatest member in (N − 1) / (N + 1) of the cells.

use super::channel::Channel;

/// Measures of an ensemble of at least two members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnsembleScore {
    /// Root of the members' variance (of N − 1 degrees of freedom), over the truth's deviation as in VRMSE.
    pub spread: f64,
    /// Continuous ranked probability score, over the truth's deviation.
    pub crps: f64,
    /// Share of the cells whose truth is not below the least nor above the greatest member. A member that is not a number
    /// covers nothing.
    pub coverage: f64,
}

impl EnsembleScore {
    /// Names in tables, in the order of [`EnsembleScore::values`].
    pub const NAMES: [&str; 3] = ["spread", "crps", "coverage"];

    /// Measures one field in its own units. All slices hold all cells of the field, in the same order.
    #[must_use]
    pub fn of(truth: &[f32], members: &[&[f32]]) -> Self {
        Self::of_stored(truth, members, Channel::OWN)
    }

    /// Measures one field, in its own units, from values that the channel's units scale.
    pub(crate) fn of_stored(truth: &[f32], members: &[&[f32]], channel: Channel) -> Self {
        if channel.transform.is_none() {
            return Self::of_scaled(truth, members, channel);
        }
        let truth = channel.own(truth);
        let members: Vec<Vec<f64>> = members.iter().map(|member| channel.own(member)).collect();
        let members: Vec<&[f64]> = members.iter().map(Vec::as_slice).collect();
        Self::of_scaled(&truth, &members, channel.in_own_units())
    }

    fn of_scaled<X: Copy + Into<f64>>(truth: &[X], members: &[&[X]], channel: Channel) -> Self {
        let n = truth.len().max(1) as f64;
        let mean = truth.iter().map(|&y| y.into()).sum::<f64>() / n;
        let (mut square, mut variance, mut crps, mut covered) = (0.0, 0.0, 0.0, 0);
        let mut errors = vec![0.0; members.len()];
        for (place, &y) in truth.iter().enumerate() {
            let y = y.into();
            square += (y - mean).powi(2);
            for (error, member) in errors.iter_mut().zip(members) {
                *error = member[place].into() - y;
            }
            errors.sort_unstable_by(f64::total_cmp);
            let cell = Cell::of(&errors);
            variance += cell.variance;
            crps += cell.crps;
            covered += usize::from(cell.is_covered);
        }
        let scale = channel.units.scale;
        let deviation = scale * scale * square / (n - 1.0).max(1.0) + channel.guard.square;
        Self {
            spread: (scale * scale * variance / n / deviation).sqrt(),
            crps: scale.abs() * crps / n / deviation.sqrt(),
            coverage: covered as f64 / n,
        }
    }

    /// Values of the measures, in the order of [`EnsembleScore::NAMES`].
    #[must_use]
    pub fn values(&self) -> [f64; 3] {
        [self.spread, self.crps, self.coverage]
    }
}

/// What the members say of one cell.
struct Cell {
    variance: f64,
    crps: f64,
    is_covered: bool,
}

impl Cell {
    /// Scores the members' errors, which ascend.
    fn of(errors: &[f64]) -> Self {
        let n = errors.len() as f64;
        let mean = errors.iter().sum::<f64>() / n;
        let squares = errors.iter().map(|error| (error - mean).powi(2));
        let far = errors.iter().map(|error| error.abs()).sum::<f64>() / n;
        // Half the mean distance of two members: Σ (2k − N + 1) x_k over pairs, of the k-th least.
        let ranked = errors.iter().enumerate();
        let apart = ranked.map(|(k, error)| (2.0 * k as f64 - n + 1.0) * error);
        let pairs = (n * (n - 1.0)).max(1.0);
        let is_covered = match errors {
            [least, .., greatest] => *least <= 0.0 && *greatest >= 0.0,
            _ => false,
        };
        Self {
            variance: squares.sum::<f64>() / (n - 1.0).max(1.0),
            crps: far - apart.sum::<f64>() / pairs,
            is_covered,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::super::Spatial;
    use super::*;

    const CELLS: usize = 40_000;

    /// Draws of a normal distribution, by Box and Muller.
    fn normal(rng: &mut ChaCha8Rng, deviation: f64) -> Vec<f32> {
        let draw = |_| {
            let [u, v]: [f64; 2] = [rng.random(), rng.random()];
            let radius = (-2.0 * (1.0 - u).ln()).sqrt();
            (deviation * radius * (std::f64::consts::TAU * v).cos()) as f32
        };
        (0..CELLS).map(draw).collect()
    }

    fn score(truth: &[f32], members: &[Vec<f32>]) -> EnsembleScore {
        let members: Vec<&[f32]> = members.iter().map(Vec::as_slice).collect();
        EnsembleScore::of(truth, &members)
    }

    #[track_caller]
    fn near(found: f64, expected: f64, within: f64) {
        assert!(
            (found - expected).abs() < within,
            "{found} is not {expected} within {within}"
        );
    }

    /// Members and truth are draws of one normal distribution.
    #[test]
    fn a_reliable_ensemble_is_as_wide_as_it_errs() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for n in [2, 4, 8] {
            let truth = normal(&mut rng, 3.0);
            let members: Vec<Vec<f32>> = (0..n).map(|_| normal(&mut rng, 3.0)).collect();
            let score = score(&truth, &members);
            let mean: Vec<f32> = (0..CELLS)
                .map(|cell| members.iter().map(|member| member[cell]).sum::<f32>() / n as f32)
                .collect();
            let skill = Spatial::of(&truth, &mean).vrmse;
            let n = f64::from(n);
            near(((n + 1.0) / n).sqrt() * score.spread / skill, 1.0, 0.02);
            near(score.spread, 1.0, 0.02);
            // E |X − X'| / 2 = σ / √π.
            near(score.crps, std::f64::consts::PI.sqrt().recip(), 0.02);
            near(score.coverage, (n - 1.0) / (n + 1.0), 0.01);
        }
    }

    /// Members that are too close together cover less than they should, and spread less than they err.
    #[test]
    fn a_narrow_ensemble_is_told_from_a_reliable_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let truth = normal(&mut rng, 1.0);
        let members: Vec<Vec<f32>> = (0..4).map(|_| normal(&mut rng, 0.5)).collect();
        let score = score(&truth, &members);
        near(score.spread, 0.5, 0.01);
        assert!(score.coverage < 0.4, "{score:?}");
    }

    /// CRPS(N(0, σ²), y) = σ (z (2Φ(z) − 1) + 2φ(z) − 1/√π) with z = y / σ, for few members too.
    #[test]
    fn crps_of_a_normal_distribution_is_its_closed_form() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // Φ of 0, 0.5, 1 and 2.
        for (z, phi) in [
            (0.0, 0.5),
            (0.5, 0.691_462),
            (1.0, 0.841_345),
            (2.0, 0.977_250),
        ] {
            let density = f64::exp(-0.5 * z * z) / std::f64::consts::TAU.sqrt();
            let closed: f64 =
                z * (2.0 * phi - 1.0) + 2.0 * density - std::f64::consts::PI.sqrt().recip();
            for n in [2, 5] {
                let members: Vec<Vec<f32>> = (0..n).map(|_| normal(&mut rng, 2.0)).collect();
                let mut sum = 0.0;
                for cell in 0..CELLS {
                    let members = members.iter();
                    let mut errors: Vec<f64> = members
                        .map(|member| f64::from(member[cell]) - 2.0 * z)
                        .collect();
                    errors.sort_unstable_by(f64::total_cmp);
                    sum += Cell::of(&errors).crps;
                }
                near(sum / CELLS as f64, 2.0 * closed, 0.03);
            }
        }
    }

    #[test]
    fn three_members_by_hand() {
        // Errors of −1, 0 and 3 at one cell, and 1, 1, 1 at the other.
        let truth = [0.0, 2.0];
        let members = [vec![-1.0, 3.0], vec![3.0, 3.0], vec![0.0, 3.0]];
        let score = score(&truth, &members);
        // Variances 13/3 and 0, the truth's 2; CRPS 4/3 − (4 + 1 + 3)/6 = 0 and 1.
        near(score.spread, (13.0_f64 / 3.0 / 2.0 / 2.0).sqrt(), 1e-6);
        near(score.crps, 0.5 / 2.0_f64.sqrt(), 1e-6);
        near(score.coverage, 0.5, 0.0 + 1e-12);
    }

    #[test]
    fn what_is_not_a_number_covers_nothing_and_is_told() {
        for nan in [f32::NAN, -f32::NAN] {
            let members = [vec![nan, -1.0], vec![1.0, 5.0], vec![-2.0, 1.0]];
            let score = score(&[0.0, 2.0], &members);
            assert!(score.spread.is_nan() && score.crps.is_nan());
            near(score.coverage, 0.5, 1e-12);
        }
    }

    /// In whichever units a field is stored, its scores are the same.
    #[test]
    fn scores_do_not_depend_on_units() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let truth = normal(&mut rng, 1.0);
        let members: Vec<Vec<f32>> = (0..3).map(|_| normal(&mut rng, 1.0)).collect();
        let slices: Vec<&[f32]> = members.iter().map(Vec::as_slice).collect();
        let own = EnsembleScore::of(&truth, &slices);
        let scaled = EnsembleScore::of_stored(&truth, &slices, Channel::new(7.0, -1e3, 1e3));
        for (one, other) in own.values().into_iter().zip(scaled.values()) {
            near(one, other, 1e-6);
        }
    }
}
