//! Truth beside the predictions of several models at one lead, with their errors below, from the frames
//! that evaluations kept.

use serde::Deserialize;

use super::colours::ColourMap;
use super::gallery::{Gallery, Panel};
use super::lines::{Subset, called};
use super::raster::Plane;
use super::select::FigureSelection;
use super::{Drawing, Figure};
use crate::results::pictures::{self, Picture};
use crate::sql::format::number;
use crate::{Result, Results};

/// Models side by side, at most.
const MODELS: usize = 4;

/// An evaluation that may be shown: the best of its name.
#[derive(Deserialize)]
struct Best {
    run: String,
    dataset: String,
    split: String,
    name: String,
    schedule: String,
}

/// What one model predicted for a field at the lead that is shown.
struct Shot<'a> {
    best: &'a Best,
    picture: &'a Picture,
}

pub(super) async fn figures(results: &Results, selection: &FigureSelection) -> Result<Vec<Figure>> {
    let held = results.held();
    let figures = drawn(results, selection).await?;
    match results.renew(&held).await? {
        false => Ok(figures),
        // The frames of an evaluation that is replaced meanwhile are gone.
        true => drawn(results, selection).await,
    }
}

async fn drawn(results: &Results, selection: &FigureSelection) -> Result<Vec<Figure>> {
    let sql = best_sql(selection);
    let best: Vec<Best> = results.rows(&sql).await?;
    let mut figures = Vec::new();
    let mut rest = best.as_slice();
    while let Some(first) = rest.first() {
        let of_first = |best: &&Best| best.dataset == first.dataset && best.split == first.split;
        let (subset, others) = rest.split_at(rest.iter().take_while(of_first).count());
        figures.extend(compared(results, selection, subset, &sql).await?);
        rest = others;
    }
    Ok(figures)
}

/// The best schedule of each name; baselines come last.
fn best_sql(selection: &FigureSelection) -> String {
    format!(
        "SELECT run, dataset, split, name, schedule
FROM best_schedule
WHERE true{}
ORDER BY dataset, split, strategy = 'baseline', vrmse_last, name",
        selection.runs()
    )
}

/// A figure for each field that the first evaluation kept.
async fn compared(
    results: &Results,
    selection: &FigureSelection,
    subset: &[Best],
    sql: &str,
) -> Result<Vec<Figure>> {
    let mut kept: Vec<(&Best, Vec<Picture>)> = Vec::new();
    for best in subset {
        if kept.len() == MODELS {
            break;
        }
        let mut pictures = pictures::read(&pictures::file(results.location(), &best.run)).await?;
        match kept.first().and_then(|(_, pictures)| pictures.first()) {
            Some(shown) => pictures.retain(|picture| same_frame(picture, shown)),
            None => last_lead(&mut pictures),
        }
        if !pictures.is_empty() {
            kept.push((best, pictures));
        }
    }
    let Some((_, first)) = kept.first() else {
        return Ok(Vec::new());
    };
    let fields = first.iter().map(|picture| picture.field.as_str());
    let figures = fields.filter(|field| selection.shows(field)).map(|field| {
        let shots = kept.iter().filter_map(|(best, pictures)| {
            let picture = pictures.iter().find(|picture| picture.field == field)?;
            Some(Shot { best, picture })
        });
        figure(&shots.collect::<Vec<_>>(), sql)
    });
    Ok(figures.flatten().collect())
}

/// Leaves the last lead of the first rollout.
fn last_lead(pictures: &mut Vec<Picture>) {
    let place = |picture: &Picture| (picture.trajectory, picture.start);
    let Some(first) = pictures.first().map(place) else {
        return;
    };
    pictures.retain(|picture| place(picture) == first);
    let last = pictures.iter().map(|picture| picture.lead).max();
    pictures.retain(|picture| Some(picture.lead) == last);
}

/// Contexts may differ in length, so the truth itself must be the same.
fn same_frame(one: &Picture, other: &Picture) -> bool {
    let place = |picture: &Picture| (picture.trajectory, picture.lead);
    place(one) == place(other) && (one.field != other.field || one.truth == other.truth)
}

fn figure(shots: &[Shot<'_>], sql: &str) -> Option<Figure> {
    let first = shots.first()?;
    let (best, picture) = (first.best, first.picture);
    let field = &picture.field;
    let maps = Maps::of(shots.iter().map(|shot| shot.picture));
    let subset = (best.dataset.clone(), best.split.clone());
    Some(Figure {
        name: format!("fields-{}-{}-{field}", best.dataset, best.split),
        heading: "Truth, predictions and errors",
        caption: caption(&subset, picture, &maps),
        source: source(shots, sql),
        drawing: Drawing::Gallery(Gallery {
            title: format!(
                "{field} at lead {}: {}, {}",
                picture.lead, best.dataset, best.split
            ),
            rows: rows(shots, &maps),
        }),
    })
}

fn rows(shots: &[Shot<'_>], maps: &Maps) -> Vec<Vec<Option<Panel>>> {
    let predictions = shots.iter().map(|shot| {
        let name = called(&shot.best.name, &shot.best.schedule);
        Some(maps.prediction(name, shot.picture))
    });
    let errors = shots
        .iter()
        .map(|shot| Some(maps.error("error".into(), shot.picture)));
    let truth = shots
        .first()
        .map(|shot| maps.truth("truth".into(), shot.picture));
    if shots.len() == 1 {
        return vec![
            [truth]
                .into_iter()
                .chain(predictions)
                .chain(errors)
                .collect(),
        ];
    }
    vec![
        [truth].into_iter().chain(predictions).collect(),
        [None].into_iter().chain(errors).collect(),
    ]
}

fn caption((dataset, split): &Subset, picture: &Picture, maps: &Maps) -> String {
    let middle = match picture.shape.len() {
        3 => ", the middle plane of the last axis",
        _ => "",
    };
    let [low, high] = maps.values.ends().map(|x| number(f64::from(x)));
    let [_, reach] = maps.errors.ends().map(|x| number(f64::from(x)));
    let unknown = if maps.unknown {
        " What is not finite is black."
    } else {
        ""
    };
    format!(
        "{} at lead {} of {dataset}, {split} trajectory {} from step {}{middle}, by the best schedule of each \
         model. Colours go from {low} to {high}, those of errors to ±{reach}.{unknown}",
        picture.field, picture.lead, picture.trajectory, picture.start
    )
}

/// The SQL that chose the evaluations, and which rows of which files are shown.
fn source(shots: &[Shot<'_>], sql: &str) -> String {
    let files: Vec<String> = shots
        .iter()
        .map(|Shot { best, picture }| {
            format!(
                "-- frames/{}.arrow: field {}, lead {}, trajectory {}, start {}",
                best.run, picture.field, picture.lead, picture.trajectory, picture.start
            )
        })
        .collect();
    format!(
        "{sql}\n\n-- and of the frames that these kept:\n{}",
        files.join("\n")
    )
}

/// Colours that several pictures of a field share.
pub(super) struct Maps {
    values: ColourMap,
    errors: ColourMap,
    /// Whether something is not finite.
    unknown: bool,
}

impl Maps {
    /// Values have the truth's range; errors reach no further than the truth is wide, so that one
    /// rollout gone astray does not whiten the others.
    pub(super) fn of<'a>(pictures: impl Iterator<Item = &'a Picture> + Clone) -> Self {
        let (mut low, mut high, mut reach) = (f32::INFINITY, f32::NEG_INFINITY, 0.0_f32);
        let mut unknown = false;
        for picture in pictures {
            let (truth, error) = (Plane::truth(picture), Plane::error(picture));
            low = truth.known().fold(low, f32::min);
            high = truth.known().fold(high, f32::max);
            reach = error.known().fold(reach, |reach, x| reach.max(x.abs()));
            unknown |= error.known().count() < error.values.len();
        }
        if low > high {
            [low, high] = [0.0, 1.0];
        }
        if high > low {
            reach = reach.min(high - low);
        }
        Self {
            values: ColourMap::Sequential { low, high },
            errors: ColourMap::Diverging { reach },
            unknown,
        }
    }

    pub(super) fn truth(&self, name: String, picture: &Picture) -> Panel {
        Panel::new(name, &Plane::truth(picture), self.values)
    }

    pub(super) fn prediction(&self, name: String, picture: &Picture) -> Panel {
        Panel::new(name, &Plane::prediction(picture), self.values)
    }

    pub(super) fn error(&self, name: String, picture: &Picture) -> Panel {
        Panel::new(name, &Plane::error(picture), self.errors)
    }
}
