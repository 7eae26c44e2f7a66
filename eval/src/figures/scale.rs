//! [`AxisScale`]: the spacing of a coordinate (linear or logarithmic), and its labels.

/// How a coordinate is spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AxisScale {
    Linear,
    /// Linear, labelled at whole numbers.
    Whole,
    Logarithmic,
    /// Logarithmic, labelled at powers of two: token counts.
    Binary,
    /// Logarithmic where positive values spread over decades, else linear.
    Spread,
}

/// A labelled place on a scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    /// Place on the scale: the logarithm of the value if the scale is logarithmic.
    pub(crate) place: f64,
    pub(crate) label: String,
}

/// Ratio of values from which [`AxisScale::Spread`] is logarithmic.
const DECADES: f64 = 50.0;

impl AxisScale {
    /// Settles [`AxisScale::Spread`] for the values that are to be shown.
    pub(crate) fn settle(self, values: impl Iterator<Item = f64> + Clone) -> Self {
        if self != Self::Spread {
            return self;
        }
        let finite = values.filter(|value| value.is_finite());
        let low = finite.clone().fold(f64::INFINITY, f64::min);
        let high = finite.fold(f64::NEG_INFINITY, f64::max);
        if low > 0.0 && high / low > DECADES {
            Self::Logarithmic
        } else {
            Self::Linear
        }
    }

    /// Place of a value on the scale; not finite if the scale cannot show it.
    pub(crate) fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear | Self::Whole | Self::Spread => value,
            Self::Logarithmic => value.log10(),
            Self::Binary => value.log2(),
        }
    }

    fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear | Self::Whole | Self::Spread => place,
            Self::Logarithmic => 10_f64.powf(place),
            Self::Binary => place.exp2(),
        }
    }

    /// About `most` ticks, at most, between two places.
    pub(crate) fn ticks(self, low: f64, high: f64, most: usize) -> Vec<Tick> {
        let ticks = match self {
            Self::Linear | Self::Spread => linear(low, high, most, 0.0),
            Self::Whole => linear(low, high, most, 1.0),
            Self::Logarithmic => decades(low, high, most),
            Self::Binary => powers(low, high, most),
        };
        if ticks.len() > 1 || matches!(self, Self::Linear | Self::Whole | Self::Spread) {
            return ticks;
        }
        // Less than a power between the ends: even steps of the value.
        let even = linear(self.value(low), self.value(high), most, 0.0);
        let placed = even.into_iter().map(|tick| Tick {
            place: self.place(tick.place),
            ..tick
        });
        placed.filter(|tick| tick.place.is_finite()).collect()
    }
}

/// Ticks, or powers between ends, that no drawing has.
const MOST: f64 = 5000.0;

/// Steps of 1, 2 or 5 times a power of ten, and no smaller than `least`.
fn linear(low: f64, high: f64, most: usize, least: f64) -> Vec<Tick> {
    let rough = (high - low) / most.max(1) as f64;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|multiple| multiple * power);
    let step = steps.into_iter().find(|&step| step >= rough * (1.0 - 1e-9));
    let step = step.unwrap_or(10.0 * power).max(least);
    // The ends count where they are round themselves.
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let count = (last - first + 1.0).clamp(0.0, MOST);
    let places = (0..count as usize).map(|i| (first + i as f64) * step);
    places
        .map(|place| Tick {
            place,
            label: stepped(place, step),
        })
        .collect()
}

/// Formats a value with as many decimals as the step has.
fn stepped(value: f64, step: f64) -> String {
    if step < 1e-4 || value.abs() >= 1e6 {
        return if value == 0.0 {
            "0".into()
        } else {
            let digits = (value.abs() / step).log10().ceil().clamp(1.0, 9.0) as usize;
            shortened(&format!("{value:.digits$e}"))
        };
    }
    let decimals = (-(step * 1.0001).log10().floor()).max(0.0) as usize;
    // No minus before zero.
    format!("{:.decimals$}", value + 0.0)
}

/// Powers of ten; within few decades as many multiples of those as fit.
fn decades(low: f64, high: f64, most: usize) -> Vec<Tick> {
    let (first, last) = whole(low, high);
    let powers = (last - first + 1).max(0) as usize;
    if powers >= 3 {
        let stride = powers.div_ceil(most.max(1)) as i64;
        let kept = (first..=last).filter(|power| power.rem_euclid(stride) == 0);
        return kept.map(|power| decimal(power, 1)).collect();
    }
    let inner = |multiples: &[u32]| -> Vec<Tick> {
        let all = (first - 1..=last).flat_map(|power| multiples.iter().map(move |&m| (power, m)));
        let ticks = all.map(|(power, multiple)| decimal(power, multiple));
        ticks
            .filter(|tick| (low..=high).contains(&tick.place))
            .collect()
    };
    let choices: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[1, 2, 5]];
    let dense = choices.into_iter().map(inner);
    let mut fitting = dense.filter(|ticks| ticks.len() <= most);
    fitting.next().unwrap_or_else(|| inner(&[1, 3]))
}

fn decimal(power: i64, multiple: u32) -> Tick {
    let value = f64::from(multiple) * 10_f64.powi(power as i32);
    let label = if (-3..=4).contains(&power) {
        let decimals = (-power).max(0) as usize;
        format!("{value:.decimals$}")
    } else {
        scientific(value)
    };
    Tick {
        place: power as f64 + f64::from(multiple).log10(),
        label,
    }
}

fn powers(low: f64, high: f64, most: usize) -> Vec<Tick> {
    let (first, last) = whole(low, high);
    let count = (last - first + 1).max(0) as usize;
    let stride = count.div_ceil(most.max(1)).max(1);
    (first..=last)
        .step_by(stride)
        .map(|power| Tick {
            place: power as f64,
            label: crate::sql::format::number((power as f64).exp2()),
        })
        .collect()
}

/// The first and last whole number between two ends; none between ends too far apart.
fn whole(low: f64, high: f64) -> (i64, i64) {
    if high - low < MOST {
        (low.ceil() as i64, high.floor() as i64)
    } else {
        (1, 0)
    }
}

/// Formats a value in scientific notation with at most two digits.
fn scientific(value: f64) -> String {
    shortened(&format!("{value:.1e}"))
}

/// Removes trailing zeros before the exponent.
fn shortened(text: &str) -> String {
    match text.split_once('e') {
        Some((digits, power)) if digits.contains('.') => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits}e{power}")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: AxisScale, low: f64, high: f64) -> Vec<String> {
        let ticks = scale.ticks(scale.place(low), scale.place(high), 6);
        ticks.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        for (scale, low, high, expected) in [
            (AxisScale::Linear, 0.0, 1.0, "0.0 0.2 0.4 0.6 0.8 1.0"),
            (
                AxisScale::Linear,
                -0.3,
                0.3,
                "-0.3 -0.2 -0.1 0.0 0.1 0.2 0.3",
            ),
            (AxisScale::Linear, 12.0, 100.0, "20 40 60 80 100"),
            (
                AxisScale::Linear,
                0.0,
                3e-7,
                "0 5e-8 1e-7 1.5e-7 2e-7 2.5e-7 3e-7",
            ),
            (
                AxisScale::Linear,
                1_234_000.0,
                1_240_000.0,
                "1.234e6 1.235e6 1.236e6 1.237e6 1.238e6 1.239e6 1.24e6",
            ),
            (AxisScale::Whole, 0.8, 3.2, "1 2 3"),
            (AxisScale::Logarithmic, 1e-6, 1.0, "1e-6 1e-4 0.01 1"),
            (AxisScale::Logarithmic, 0.04, 3.0, "0.05 0.1 0.2 0.5 1 2"),
            (AxisScale::Logarithmic, 0.71, 0.79, "0.72 0.74 0.76 0.78"),
            (AxisScale::Binary, 15.0, 300.0, "16 32 64 128 256"),
            (AxisScale::Binary, 65.0, 100.0, "70 80 90 100"),
        ] {
            let found = labels(scale, low, high).join(" ");
            assert_eq!(found, expected, "{scale:?} {low} {high}");
        }
    }

    #[test]
    fn a_spread_is_logarithmic_only_over_decades() {
        let settle = |values: &[f64]| AxisScale::Spread.settle(values.iter().copied());
        assert_eq!(settle(&[0.1, 0.5]), AxisScale::Linear);
        assert_eq!(settle(&[0.1, 50.0, f64::NAN]), AxisScale::Logarithmic);
        assert_eq!(settle(&[0.0, 50.0]), AxisScale::Linear);
        assert_eq!(settle(&[]), AxisScale::Linear);
    }

    #[test]
    fn no_range_has_no_ticks_and_no_panic() {
        for scale in [
            AxisScale::Linear,
            AxisScale::Whole,
            AxisScale::Logarithmic,
            AxisScale::Binary,
        ] {
            for (low, high) in [(0.0, 0.0), (f64::NAN, 1.0), (-1e300, 1e300)] {
                assert!(scale.ticks(low, high, 6).len() <= 12, "{scale:?}");
            }
        }
    }
}
