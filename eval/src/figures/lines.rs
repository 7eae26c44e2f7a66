//! Queries whose answers are charts: a line for each evaluation, a chart for each data set and split.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::chart::{Axis, Chart, Comb};
use super::scale::AxisScale;
use super::select::FigureSelection;
use super::series::Series;
use super::strokes::{MODEL, Strokes};
use super::{Drawing, Figure};
use crate::{Result, Results};

/// A question to a view, as dataset, split, name, schedule, x and y, and how its answer is drawn.
pub(super) struct Question {
    pub(super) id: String,
    pub(super) heading: &'static str,
    pub(super) caption: String,
    pub(super) sql: String,
    pub(super) axes: [Axis; 2],
}

/// A data set and a split of it.
pub(super) type Subset = (String, String);

/// The questions that do not depend on the axes of a grid.
pub(super) fn questions(selection: &FigureSelection) -> Vec<Question> {
    let mut questions = vec![scaling(selection), by_lead(selection)];
    questions.push(bands(
        selection,
        "bands",
        "Error by scale",
        "one step ahead",
        "lead = 1",
    ));
    questions.push(bands(
        selection,
        "bands-last",
        "Error by scale at the last lead",
        "at the last lead of each rollout",
        "lead = rollout AND rollout > 1",
    ));
    questions.extend((0..3).map(|band| band_by_lead(selection, band)));
    questions.push(spread(selection));
    questions
}

fn scaling(selection: &FigureSelection) -> Question {
    Question {
        id: "vrmse-by-tokens".into(),
        heading: "Error against tokens",
        caption: "One-step VRMSE against tokens of a frame (the paper's Fig. 3): a model's points are its \
                  patch sizes."
            .into(),
        sql: format!(
            "SELECT dataset, split, {MODEL} AS name, '' AS schedule, tokens AS x, {} AS y
FROM scaling
WHERE true{}{}
GROUP BY dataset, split, {MODEL}, tokens
ORDER BY dataset, split, {MODEL}, x",
            over_starts("vrmse"),
            selection.runs(),
            selection.fields()
        ),
        axes: [
            axis("tokens of a frame", AxisScale::Binary),
            axis("VRMSE, one step", AxisScale::Spread),
        ],
    }
}

fn by_lead(selection: &FigureSelection) -> Question {
    Question {
        id: "vrmse-by-lead".into(),
        heading: "Error by lead",
        caption:
            "VRMSE of rollouts by lead, in frames: a colour is a model, a dash a schedule of patch \
                  sizes."
                .into(),
        sql: lead_sql("by_lead", "vrmse", "rollout > 1", selection),
        axes: [
            axis("lead, frames", AxisScale::Whole),
            axis("VRMSE", AxisScale::Spread),
        ],
    }
}

fn bands(
    selection: &FigureSelection,
    id: &str,
    heading: &'static str,
    when: &str,
    condition: &str,
) -> Question {
    Question {
        id: id.into(),
        heading,
        caption: format!(
            "Error within The Well's three bands of wavenumbers over the truth's energy there, {when} (the \
             paper's Figs 4 and 7): 0 holds the largest scales, 2 the smallest."
        ),
        sql: format!(
            "SELECT dataset, split, {MODEL} AS name, schedule, CAST(band AS DOUBLE) AS x, {} AS y
FROM bands
WHERE {condition}{}{}
GROUP BY dataset, split, {MODEL}, schedule, band
ORDER BY dataset, split, {MODEL}, schedule, x",
            over_starts("nmse"),
            selection.runs(),
            selection.fields()
        ),
        axes: [
            axis("band, from large scales to small", AxisScale::Whole),
            axis("NMSE in the band", AxisScale::Logarithmic),
        ],
    }
}

fn band_by_lead(selection: &FigureSelection, band: u32) -> Question {
    let scales = ["largest", "middle", "smallest"][band as usize % 3];
    Question {
        id: format!("band-{band}-by-lead"),
        heading: "Error by lead within a band",
        caption: format!(
            "Error by lead within band {band}, which holds the {scales} scales, over the truth's energy \
             there."
        ),
        sql: lead_sql(
            "bands",
            "nmse",
            &format!("rollout > 1 AND band = {band}"),
            selection,
        ),
        axes: [
            axis("lead, frames", AxisScale::Whole),
            axis(&format!("NMSE in band {band}"), AxisScale::Logarithmic),
        ],
    }
}

fn spread(selection: &FigureSelection) -> Question {
    Question {
        id: "spread-by-lead".into(),
        heading: "Spread of ensembles over their error",
        caption: "Spread of the members over the error of their mean by lead, with √((N + 1) / N) for N members: 1 \
                  where the spread tells the error, below where the members are too sure."
            .into(),
        sql: lead_sql("ensemble", "ratio", "rollout > 1", selection),
        axes: [
            axis("lead, frames", AxisScale::Whole),
            axis("spread over skill", AxisScale::Spread),
        ],
    }
}

/// A column of a view by lead.
fn lead_sql(view: &str, column: &str, condition: &str, selection: &FigureSelection) -> String {
    format!(
        "SELECT dataset, split, {MODEL} AS name, schedule, CAST(lead AS DOUBLE) AS x, {} AS y
FROM {view}
WHERE {condition}{}{}
GROUP BY dataset, split, {MODEL}, schedule, lead
ORDER BY dataset, split, {MODEL}, schedule, x",
        over_starts(column),
        selection.runs(),
        selection.fields()
    )
}

/// The mean over starts of a column that is a mean over the starts of each run and field.
fn over_starts(column: &str) -> String {
    format!("sum({column} * starts) / sum(starts)")
}

pub(super) fn axis(label: &str, scale: AxisScale) -> Axis {
    Axis {
        label: label.into(),
        scale,
    }
}

/// A point of a figure; what is not finite has no place.
#[derive(Deserialize)]
struct Place {
    dataset: String,
    split: String,
    name: String,
    schedule: String,
    x: Option<f64>,
    y: Option<f64>,
}

impl Question {
    /// A chart for each data set and split that the answer has points for.
    pub(super) async fn figures(
        &self,
        results: &Results,
        selection: &FigureSelection,
        strokes: &Strokes,
        combs: &[(Subset, Vec<Comb>)],
    ) -> Result<Vec<Figure>> {
        let places: Vec<Place> = results.rows(&self.sql).await?;
        let groups = grouped(places, strokes);
        let figures = groups.into_iter().filter_map(|(subset, series)| {
            let combs = combs.iter().find(|(of, _)| *of == subset);
            let combs = combs.map(|(_, combs)| combs.clone()).unwrap_or_default();
            self.figure(&subset, selection, series, combs)
        });
        Ok(figures.collect())
    }

    fn figure(
        &self,
        (dataset, split): &Subset,
        selection: &FigureSelection,
        series: Vec<Series>,
        combs: Vec<Comb>,
    ) -> Option<Figure> {
        let fields = match selection.fields.as_slice() {
            [] => "mean over fields".to_owned(),
            [field] => field.clone(),
            fields => format!("mean over {}", fields.join(", ")),
        };
        let title = format!("{}: {dataset}, {split}", self.heading);
        let chart = Chart::new(title, self.axes.clone(), series, combs)?;
        let mut name = format!("{}-{dataset}-{split}", self.id);
        if !selection.fields.is_empty() {
            name = format!("{name}-{}", selection.fields.join("-"));
        }
        Some(Figure {
            name,
            heading: self.heading,
            caption: format!("{} {dataset}, {split} split, {fields}.", self.caption),
            source: self.sql.clone(),
            drawing: Drawing::Chart(chart),
        })
    }
}

/// The lines of each data set and split; points come in the order of their lines.
fn grouped(places: Vec<Place>, strokes: &Strokes) -> BTreeMap<Subset, Vec<Series>> {
    let mut groups: BTreeMap<Subset, Vec<Series>> = BTreeMap::new();
    for place in places {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let (Some(x), Some(y)) = (finite(place.x), finite(place.y)) else {
            continue;
        };
        let lines = groups.entry((place.dataset, place.split)).or_default();
        let name = called(&place.name, &place.schedule);
        match lines.last_mut().filter(|line| line.name == name) {
            Some(line) => line.points.push((x, y)),
            None => lines.push(Series {
                name,
                stroke: strokes.get(&place.name, &place.schedule),
                points: vec![(x, y)],
            }),
        }
    }
    groups
}

/// What an evaluation is called; a baseline has no schedule.
pub(super) fn called(name: &str, schedule: &str) -> String {
    match schedule {
        "" | "-" => name.to_owned(),
        schedule => format!("{name} {schedule}"),
    }
}
