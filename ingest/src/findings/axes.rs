//! Findings about times and coordinates, before any field is read.

use std::collections::BTreeMap;

use wellspring_store::{Axis, AxisSelection};

use super::{Finding, FindingKind};

/// The first step at which a time axis goes back, stands or is not finite; the times are those of every
/// so many frames.
pub(crate) fn time(file: &str, sample: usize, every: usize, times: &[f64]) -> Option<Finding> {
    let step = (0..times.len()).find(|&step| {
        let runs = step == 0 || times[step] > times[step - 1];
        !times[step].is_finite() || !runs
    })?;
    let (value, before) = (times[step], times[step.saturating_sub(1)]);
    let step = step * every;
    let message = match value {
        value if !value.is_finite() => format!("is {value} at step {step}"),
        value if value < before => format!("goes back at step {step}, from {before} to {value}"),
        value => format!("stands at step {step}, at {value}"),
    };
    Some(Finding {
        field: Some("dimensions/time".into()),
        trajectory: Some(sample),
        step: Some(step),
        value: Some(value),
        ..Finding::new(
            FindingKind::Time,
            file,
            format!("the time of trajectory {sample} {message}"),
        )
    })
}

/// The coordinates along the axes of a trajectory that differ from those of the grid.
pub(crate) fn own_coordinates(grid: &[Axis], own: &[&[f64]]) -> BTreeMap<String, Vec<f64>> {
    let axes = grid.iter().zip(own);
    axes.filter(|(axis, own)| axis.coordinates != **own)
        .map(|(axis, own)| (axis.name.clone(), own.to_vec()))
        .collect()
}

/// Leaves the cells that are taken of some coordinates, and those axes that then differ from the grid's.
pub(crate) fn cut(own: &mut BTreeMap<String, Vec<f64>>, grid: &[Axis], space: &[AxisSelection]) {
    for (axis, taken) in grid.iter().zip(space) {
        let Some(coordinates) = own.get_mut(&axis.name) else {
            continue;
        };
        let cells = taken.cells();
        *coordinates = cells
            .filter_map(|cell| coordinates.get(cell).copied())
            .collect();
        if *coordinates == axis.coordinates {
            own.remove(&axis.name);
        }
    }
}

/// The finding that some trajectories of a file, from `first` on, lie on coordinates of their own.
pub(crate) fn coordinates(file: &str, first: usize, own: &BTreeMap<String, Vec<f64>>) -> Finding {
    let ends = |(name, at): (&String, &Vec<f64>)| {
        let [first, .., last] = at.as_slice() else {
            return name.clone();
        };
        format!("{name} from {first} to {last}")
    };
    let axes: Vec<String> = own.iter().map(ends).collect();
    let message = format!(
        "trajectories from {first} on lie on other coordinates than the first of the source ({}); each keeps \
         its own",
        axes.join(", ")
    );
    Finding {
        field: own.keys().next().map(|name| format!("dimensions/{name}")),
        trajectory: Some(first),
        ..Finding::new(FindingKind::Coordinates, file, message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_time_axis_goes_on() {
        let said = |times: &[f64]| time("a.hdf5", 0, 1, times).map(|finding| finding.message);
        assert_eq!(said(&[0.0, 0.1, 0.2]), None);
        assert_eq!(said(&[-1.0]), None);
        for (times, expected) in [
            (&[0.0, 0.1, 0.0][..], "goes back at step 2, from 0.1 to 0"),
            (&[0.0, 0.1, 0.1], "stands at step 2, at 0.1"),
            (&[0.0, f64::NAN, 0.1], "is NaN at step 1"),
            (&[f64::INFINITY, 0.1], "is inf at step 0"),
        ] {
            let said = said(times).unwrap();
            assert_eq!(said, format!("the time of trajectory 0 {expected}"));
        }
    }
}
