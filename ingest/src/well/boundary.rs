//! Boundary conditions: a type for each side of each axis, by The Well's rules.

use wellspring_store::Boundary;

use super::attributes::Object;
use crate::Result;

/// The types at the low and high side of the named axes. A side that no condition's mask marks is
/// open, as The Well's loader has it.
pub(super) fn read(root: &Object<'_>, axes: &[String]) -> Result<Vec<[Boundary; 2]>> {
    let mut sides = vec![[Boundary::Open; 2]; axes.len()];
    let Some(conditions) = root.group_opt("boundary_conditions") else {
        return Ok(sides);
    };
    for name in conditions.group.member_names().unwrap_or_default() {
        let condition = conditions.group(&name)?;
        let boundary = kind(&condition)?;
        let dims = condition.texts("associated_dims")?;
        // A condition on part of a surface, or within the domain, says nothing about an axis.
        let [dim] = dims.as_slice() else { continue };
        let Some(axis) = axes.iter().position(|axis| axis == dim) else {
            return Err(
                condition.layout("associated_dims", format!("names {dim}, which is no axis"))
            );
        };
        let mask = condition.dataset("mask")?;
        let points = mask.shape().last().copied().unwrap_or(0);
        let marked = match mask.read_raw::<bool>() {
            Ok(mask) => mask,
            Err(_) => condition
                .values("mask")?
                .iter()
                .map(|&x| x != 0.0)
                .collect(),
        };
        if points == 0 || marked.len() < points {
            return Err(condition.layout("mask", "is empty"));
        }
        for (side, point) in [(0, 0), (1, points - 1)] {
            if marked.chunks(points).any(|mask| mask[point]) {
                sides[axis][side] = boundary;
            }
        }
    }
    Ok(sides)
}

fn kind(condition: &Object<'_>) -> Result<Boundary> {
    let text = condition.text("bc_type")?;
    match text.to_ascii_lowercase().as_str() {
        "wall" => Ok(Boundary::Wall),
        "open" => Ok(Boundary::Open),
        "periodic" => Ok(Boundary::Periodic),
        _ => Err(condition.layout(
            "bc_type",
            format!("is {text:?}, not wall, open or periodic"),
        )),
    }
}
