//! The patch-artefact ratio: how far a residual stands out at the harmonics of a patch size.
//!
//! A patch of p cells tiles an axis of n cells with period p, so errors that repeat from patch to
//! patch lie at the waves n/p, 2n/p, … (the spikes of the paper's Fig. 2). The ratio is the residual's
//! power there over the median of its neighbourhood, the waves up to half way to the next harmonics:
//! 1 where nothing stands out. Harmonics are joined by their geometric mean. The Nyquist wave n/2 has
//! neighbours on one side only, and is left out. Harmonics of 16 include those of 8 and 4.

/// Patch sizes that ratios are computed for, whichever a model uses.
pub(crate) const ARTEFACT_PATCHES: [usize; 4] = [4, 8, 16, 32];

/// The ratio along an axis of `n` cells from the residual's power by whole waves, 0 to n/2; none where
/// the size does not divide the axis, its harmonics lie too close together to have neighbours, or the power is
/// not of such an axis.
#[must_use]
pub fn artefact_ratio(residual: &[f64], n: usize, patch: usize) -> Option<f64> {
    if patch < 4 || !n.is_multiple_of(patch) || n / patch < 4 {
        return None;
    }
    let (apart, reach) = (n / patch, n / patch / 2);
    let ratio = |harmonic: usize| {
        let near = harmonic - reach..=harmonic + reach;
        let mut around: Vec<f64> = near
            .filter(|wave| wave % apart != 0 && *wave < n / 2)
            .filter_map(|wave| residual.get(wave).copied())
            .collect();
        around.sort_by(f64::total_cmp);
        let [low, high] = [around.len().saturating_sub(1) / 2, around.len() / 2];
        let median = (around.get(low)? + around.get(high)?) / 2.0;
        Some(residual.get(harmonic)? / median)
    };
    let harmonics = (apart..n / 2).step_by(apart);
    geometric_mean(&harmonics.map(ratio).collect::<Option<Vec<f64>>>()?)
}

/// Geometric mean; none for an empty list, or if a value has no logarithm.
pub(super) fn geometric_mean(values: &[f64]) -> Option<f64> {
    let mean = values.iter().map(|x| x.ln()).sum::<f64>() / values.len() as f64;
    mean.is_finite().then(|| mean.exp())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_flat_spectrum_has_no_artefacts_and_spikes_show_their_height() {
        let mut power = vec![2.0; 65];
        assert_eq!(artefact_ratio(&power, 128, 8), Some(1.0));
        // Waves of 128/8, and not the Nyquist wave.
        for wave in [16, 32, 48, 64] {
            power[wave] = 200.0;
        }
        assert!((artefact_ratio(&power, 128, 8).unwrap() - 100.0).abs() < 1e-9);
        // Half of the harmonics of 16 are those of 8: 16, 32, 48 of 8, 16, 24, …, 56.
        let of_16 = 100_f64.powf(3.0 / 7.0);
        assert!((artefact_ratio(&power, 128, 16).unwrap() - of_16).abs() < 1e-9);
    }

    #[test]
    fn a_falling_spectrum_alone_is_no_artefact() {
        let power: Vec<f64> = (0..129).map(|k| f64::from(k.max(1)).powi(-3)).collect();
        let ratio = artefact_ratio(&power, 256, 16).unwrap();
        assert!((0.8..1.25).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_leaves_no_harmonics_has_no_ratio() {
        for (n, patch) in [(130, 16), (64, 32), (64, 2), (16, 16)] {
            assert_eq!(artefact_ratio(&vec![1.0; n / 2 + 1], n, patch), None);
        }
        assert_eq!(artefact_ratio(&[0.0; 65], 128, 16), None);
        assert_eq!(artefact_ratio(&[1.0; 3], 128, 16), None);
    }
}
