//! Reads the scalars of a simulation: one for the file, or one for each trajectory or frame.

use std::collections::BTreeMap;

use super::attributes::Object;
use super::kind::Kind;
use crate::Result;

/// A number for each trajectory and frame, as far as it varies.
#[derive(Debug)]
pub(super) struct Scalar {
    sample_varying: bool,
    pub(super) time_varying: bool,
    values: Vec<f64>,
}

impl Scalar {
    /// The values of a trajectory: one for each frame, or one alone.
    pub(super) fn of(&self, sample: usize, frames: usize) -> &[f64] {
        let length = if self.time_varying { frames } else { 1 };
        let start = if self.sample_varying {
            sample * length
        } else {
            0
        };
        &self.values[start..start + length]
    }
}

/// Reads the scalars that `field_names` lists. Texts are kept with the other contents of the file, and
/// are not parameters.
pub(super) fn read(
    root: &Object<'_>,
    samples: usize,
    frames: usize,
    remarks: &mut Vec<String>,
) -> Result<BTreeMap<String, Scalar>> {
    let mut scalars = BTreeMap::new();
    let Some(group) = root.group_opt("scalars")? else {
        return Ok(scalars);
    };
    for name in group.texts("field_names")? {
        if let Some(scalar) = scalar(&group, &name, samples, frames, remarks)? {
            scalars.insert(name, scalar);
        }
    }
    Ok(scalars)
}

fn scalar(
    group: &Object<'_>,
    name: &str,
    samples: usize,
    frames: usize,
    remarks: &mut Vec<String>,
) -> Result<Option<Scalar>> {
    let dataset = group.dataset(name)?;
    let unread = |source| group.unread(name, source);
    let kind = dataset.dtype().and_then(|kind| Kind::of(&kind));
    if matches!(kind.map_err(unread)?, Kind::Text | Kind::Other(_)) {
        return Ok(None);
    }
    let mut scalar = Scalar {
        sample_varying: group.flag(&dataset, "sample_varying", false)?,
        time_varying: group.flag(&dataset, "time_varying", false)?,
        values: group.values(name)?,
    };
    let each = if scalar.time_varying { frames } else { 1 };
    let expected = if scalar.sample_varying { samples } else { 1 } * each;
    let found = scalar.values.len();
    let object = format!("scalars/{name}");
    if scalar.sample_varying && found > expected && dataset.shape().first() == Some(&(found / each))
    {
        remarks.push(super::longer(&object, found / each, samples));
        scalar.values.truncate(expected);
    } else if !scalar.sample_varying && !scalar.time_varying && found != 1 {
        remarks.push(format!(
            "{object} holds {found} numbers: kept, and no parameter"
        ));
        return Ok(None);
    }
    if scalar.values.len() != expected || scalar.values.iter().any(|value| !value.is_finite()) {
        return Err(group.layout(name, format!("is not {expected} finite numbers")));
    }
    Ok(Some(scalar))
}
