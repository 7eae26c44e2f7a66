//! Reads boundary conditions: a type for each side of each axis, by The Well's rules.

use wellspring_store::Boundary;

use super::attributes::Object;
use crate::Result;

/// The types at the low and high side of the named axes, as The Well's loader has them: a side is
/// open or periodic where any point of it is marked so, a wall where all points are, and open where no
/// condition says otherwise. A word that is none of the three is taken for a wall, with a remark.
pub(super) fn read(
    root: &Object<'_>,
    axes: &[String],
    remarks: &mut Vec<String>,
) -> Result<Vec<[Boundary; 2]>> {
    let mut sides = vec![[Boundary::Open; 2]; axes.len()];
    let Some(conditions) = root.group_opt("boundary_conditions")? else {
        return Ok(sides);
    };
    for condition in conditions.groups()? {
        let boundary = kind(&condition, remarks)?;
        let dims = condition.texts("associated_dims")?;
        let mask = Mask::read(&condition, &dims)?;
        for (place, dim) in dims.iter().enumerate() {
            let Some(axis) = axes.iter().position(|axis| axis == dim) else {
                return Err(condition.layout(
                    "associated_dims",
                    format!("names {dim}, which is not an axis"),
                ));
            };
            for (side, point) in [(0, 0), (1, mask.shape[place] - 1)] {
                if mask.marks(place, point, boundary == Boundary::Wall) {
                    sides[axis][side] = boundary;
                }
            }
        }
    }
    Ok(sides)
}

/// The cells at which a condition holds, over the axes that it is associated with.
struct Mask {
    /// Points along each associated axis.
    shape: Vec<usize>,
    /// The last axes are the associated ones; what comes before are samples and frames.
    marked: Vec<bool>,
}

impl Mask {
    fn read(condition: &Object<'_>, dims: &[String]) -> Result<Self> {
        let dataset = condition.dataset("mask")?;
        let shape = dataset.shape();
        let Some(before) = shape.len().checked_sub(dims.len()) else {
            let reason = format!("has shape {shape:?} for {} axes", dims.len());
            return Err(condition.layout("mask", reason));
        };
        if shape.contains(&0) {
            return Err(condition.layout("mask", "is empty"));
        }
        let values = condition.values("mask")?;
        Ok(Self {
            shape: shape[before..].to_vec(),
            marked: values.iter().map(|&x| x != 0.0).collect(),
        })
    }

    /// Whether the points at a place of an axis are marked: all of them, or any.
    fn marks(&self, axis: usize, point: usize, all: bool) -> bool {
        let inner: usize = self.shape[axis + 1..].iter().product();
        let here = |index: usize| index / inner % self.shape[axis] == point;
        let mut marks = self
            .marked
            .iter()
            .enumerate()
            .filter(|(index, _)| here(*index));
        match all {
            true => marks.all(|(_, &marked)| marked),
            false => marks.any(|(_, &marked)| marked),
        }
    }
}

fn kind(condition: &Object<'_>, remarks: &mut Vec<String>) -> Result<Boundary> {
    let text = condition.text("bc_type")?;
    match text.to_ascii_lowercase().as_str() {
        "wall" => Ok(Boundary::Wall),
        "open" => Ok(Boundary::Open),
        "periodic" => Ok(Boundary::Periodic),
        _ => {
            remarks.push(format!(
                "{} is {text:?}, not wall, open or periodic: it is taken for a wall",
                condition.path
            ));
            Ok(Boundary::Wall)
        }
    }
}
