//! Statistics of inputs over the trajectories of a training split.

use wellspring_store::{Dataset, Manifest, Split, SplitManifest, Trajectory};

use super::{Column, Input};
use crate::{Error, Result};

/// The training split, or all splits where there is none.
pub(super) fn learned_from(manifest: &Manifest) -> Vec<&SplitManifest> {
    match manifest.splits.get(&Split::Train) {
        Some(held) => vec![held],
        None => manifest.splits.values().collect(),
    }
}

/// Gives columns the statistics of a training split whose frames are `stride` steps apart. Only the time step is
/// read from the data, once; all else the manifest says.
///
/// # Errors
/// [`Error::Input`] for a scalar that a trajectory lacks or that is not finite, and for a time step that is not
/// positive; what reading may give.
pub(crate) async fn measure(
    columns: &mut [Column],
    dataset: &Dataset,
    stride: usize,
) -> Result<()> {
    let manifest = dataset.manifest();
    let Some(held) = manifest.splits.get(&Split::Train) else {
        return Ok(());
    };
    for column in columns {
        (column.mean, column.std) = match &column.input {
            Input::Constant(name) => {
                let statistics = manifest.statistics.channel(name)?;
                (statistics.mean, statistics.std)
            }
            Input::Scalar(name) => scalar(name, &held.trajectories)?,
            Input::Boundary { .. } => (column.mean, 0.0),
            Input::Dt => (step(dataset, stride).await?, 0.0),
        };
        column.trajectories = held.trajectories.len() as u64;
    }
    Ok(())
}

/// Mean and standard deviation of a scalar; every trajectory counts once, a series with each of its values in
/// equal parts.
fn scalar(name: &str, trajectories: &[Trajectory]) -> Result<(f64, f64)> {
    let mut values = Vec::new();
    for (index, held) in trajectories.iter().enumerate() {
        values.push(finite(name, index, held)?);
    }
    let count = values.len().max(1) as f64;
    let over = |of: &dyn Fn(f64) -> f64| {
        let each = values
            .iter()
            .map(|values| values.iter().map(|&x| of(x)).sum::<f64>() / values.len().max(1) as f64);
        each.sum::<f64>() / count
    };
    let mean = over(&|x| x);
    Ok((mean, over(&|x| (x - mean).powi(2)).sqrt()))
}

/// A trajectory's values of a scalar: one, or one for each frame.
fn finite(name: &str, index: usize, held: &Trajectory) -> Result<Vec<f64>> {
    let refused = |reason: String| Error::Input {
        input: Input::Scalar(name.to_owned()).to_string(),
        trajectory: index as u32,
        from: held.source.clone(),
        reason,
    };
    let values = match (held.series.get(name), held.parameters.get(name)) {
        (Some(series), _) => series.iter().take(held.frames).copied().collect(),
        (None, Some(&value)) => vec![value],
        (None, None) => return Err(refused("is missing".into())),
    };
    if held.series.contains_key(name) && values.len() < held.frames {
        return Err(refused(format!(
            "has {} values for {} frames",
            values.len(),
            held.frames
        )));
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(step) => Err(refused(format!("is {} at step {step}", values[step]))),
        None => Ok(values),
    }
}

/// Logarithm of the time from the first frame of the first window to its second.
async fn step(dataset: &Dataset, stride: usize) -> Result<f64> {
    let held = dataset.manifest().split(Split::Train)?;
    let long = held
        .trajectories
        .iter()
        .position(|held| held.frames > stride);
    let Some(index) = long else {
        return Ok(0.0);
    };
    let times = dataset.times(Split::Train, index, 0..stride + 1).await?;
    let step = times[stride] - times[0];
    match step.is_finite() && step > 0.0 {
        true => Ok(step.ln()),
        false => Err(Error::Input {
            input: Input::Dt.to_string(),
            trajectory: index as u32,
            from: held.trajectories[index].source.clone(),
            reason: format!("is {step} at step 0"),
        }),
    }
}
