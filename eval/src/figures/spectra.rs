//! Residual spectra along every axis and isotropic, with the harmonics of every patch size marked.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::PI;

use serde::Deserialize;

use super::Figure;
use super::chart::Comb;
use super::lines::{Question, Subset, axis};
use super::scale::AxisScale;
use super::select::{FigureSelection, quoted};
use super::strokes::{MODEL, Strokes};
use crate::{Result, Results};

const ISOTROPIC: &str = "isotropic";
/// Patch sizes that are marked, at most: the smallest.
const MARKED: usize = 6;

/// An axis of a data set's grid.
#[derive(Deserialize)]
struct Side {
    dataset: String,
    split: String,
    axis: String,
    /// Cells along it.
    cells: f64,
}

#[derive(Deserialize)]
struct SpectrumSource {
    dataset: String,
    split: String,
    patch: String,
}

pub(super) async fn figures(
    results: &Results,
    selection: &FigureSelection,
    strokes: &Strokes,
) -> Result<Vec<Figure>> {
    let sides = sides(results, selection).await?;
    let patches = patches(results, selection).await?;
    let mut figures = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for side in &sides {
        if !names.contains(&side.axis.as_str()) {
            names.push(&side.axis);
        }
    }
    for name in names {
        let along = sides.iter().filter(|side| side.axis == name);
        let combs: Vec<(Subset, Vec<Comb>)> = along
            .filter_map(|side| {
                let subset = (side.dataset.clone(), side.split.clone());
                let combs = combs(patches.get(&subset)?, |p| harmonics(side.cells, p));
                Some((subset, combs))
            })
            .collect();
        let question = along_axis(selection, name);
        figures.extend(
            question
                .figures(results, selection, strokes, &combs)
                .await?,
        );
    }
    let combs: Vec<(Subset, Vec<Comb>)> = patches
        .iter()
        .map(|(subset, patches)| (subset.clone(), combs(patches, wavenumbers)))
        .collect();
    let question = isotropic(selection);
    figures.extend(
        question
            .figures(results, selection, strokes, &combs)
            .await?,
    );
    Ok(figures)
}

/// One wave along n cells reaches to 3π/n radians per cell.
async fn sides(results: &Results, selection: &FigureSelection) -> Result<Vec<Side>> {
    results
        .rows(&format!(
            "SELECT dataset, split, axis, round(3 * pi() / min(k_high)) AS cells
FROM residual_spectrum
WHERE bin = 1 AND axis <> '{ISOTROPIC}'{}
GROUP BY dataset, split, axis
ORDER BY axis, dataset, split",
            selection.runs()
        ))
        .await
}

/// The sizes that were used along any axis.
async fn patches(
    results: &Results,
    selection: &FigureSelection,
) -> Result<BTreeMap<Subset, BTreeSet<u32>>> {
    let used: Vec<SpectrumSource> = results
        .rows(&format!(
            "SELECT DISTINCT dataset, split, patch
FROM patches
WHERE patch <> '-'{}",
            selection.runs()
        ))
        .await?;
    let mut patches: BTreeMap<Subset, BTreeSet<u32>> = BTreeMap::new();
    for used in used {
        let sizes = used.patch.split('x').filter_map(|size| size.parse().ok());
        patches
            .entry((used.dataset, used.split))
            .or_default()
            .extend(sizes.filter(|&size: &u32| size > 1));
    }
    Ok(patches)
}

fn combs(patches: &BTreeSet<u32>, teeth: impl Fn(u32) -> Vec<f64>) -> Vec<Comb> {
    let all = patches.iter().map(|&patch| Comb {
        label: format!("p = {patch}"),
        teeth: teeth(patch),
    });
    all.filter(|comb| !comb.teeth.is_empty())
        .take(MARKED)
        .collect()
}

/// The waves n/p, 2n/p, … up to n/2 along n cells.
fn harmonics(cells: f64, patch: u32) -> Vec<f64> {
    let first = cells / f64::from(patch);
    if first.fract() != 0.0 {
        return Vec::new();
    }
    (1..=patch / 2).map(|i| f64::from(i) * first).collect()
}

/// The wavenumbers 2π i / p, i = 1, 2, … up to p/2, of patch size p, in radians per cell.
fn wavenumbers(patch: u32) -> Vec<f64> {
    (1..=patch / 2)
        .map(|i| 2.0 * PI * f64::from(i) / f64::from(patch))
        .collect()
}

fn along_axis(selection: &FigureSelection, name: &str) -> Question {
    Question {
        id: format!("residual-spectrum-{name}"),
        heading: "Residual spectrum",
        caption: format!(
            "Power of the residual at the last lead by waves along {name}, over the truth's (the paper's \
             Fig. 2). A patch of p cells leaves its trace at the marked harmonics of n / p. What f32 rounds away, below \
             1e-13, is left out."
        ),
        sql: residual_sql(name, "CAST(bin AS DOUBLE)", selection),
        axes: [
            axis(&format!("waves along {name}"), AxisScale::Logarithmic),
            axis("residual power / truth's", AxisScale::Logarithmic),
        ],
    }
}

fn isotropic(selection: &FigureSelection) -> Question {
    Question {
        id: "residual-spectrum-isotropic".into(),
        heading: "Residual spectrum",
        caption: "Power of the residual at the last lead by wavenumber in any direction, over the truth's. \
                  Harmonics of a patch along an axis are marked."
            .into(),
        sql: residual_sql(ISOTROPIC, "(k_low + k_high) / 2", selection),
        axes: [
            axis("wavenumber, radians per cell", AxisScale::Logarithmic),
            axis("residual power / truth's", AxisScale::Logarithmic),
        ],
    }
}

fn residual_sql(name: &str, x: &str, selection: &FigureSelection) -> String {
    let name = quoted(name);
    format!(
        "SELECT dataset, split, {MODEL} AS name, schedule, {x} AS x, avg(ratio) AS y
FROM relative_residual
WHERE axis = {name} AND lead = rollout{}{}
GROUP BY dataset, split, {MODEL}, schedule, {x}
ORDER BY dataset, split, {MODEL}, schedule, x",
        selection.runs(),
        selection.fields()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmonics_are_those_of_the_patches_that_fit() {
        assert_eq!(harmonics(64.0, 4), [16.0, 32.0]);
        assert_eq!(harmonics(48.0, 8), [6.0, 12.0, 18.0, 24.0]);
        assert!(harmonics(50.0, 8).is_empty());
        assert_eq!(wavenumbers(4), [PI / 2.0, PI]);
    }
}
