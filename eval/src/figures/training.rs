//! Learning curves: loss, validation, gradient and pace of the trainings that results were given.

use serde::Deserialize;

use super::chart::{Axis, Chart};
use super::lines::axis;
use super::scale::AxisScale;
use super::series::Series;
use super::strokes::Strokes;
use super::{Drawing, Figure};
use crate::{Result, Results};

/// A column of the view `curves`, and how it is drawn.
struct Curve {
    column: &'static str,
    heading: &'static str,
    caption: &'static str,
    label: &'static str,
    scale: AxisScale,
}

const CURVES: [Curve; 5] = [
    Curve {
        column: "smooth",
        heading: "Loss by step",
        caption: "Loss of each training, mean over 100 steps.",
        label: "loss",
        scale: AxisScale::Spread,
    },
    Curve {
        column: "vrmse",
        heading: "Validation by step",
        caption: "VRMSE of each training one step ahead, on windows that it does not learn from; mean over data sets and \
                  patch sizes.",
        label: "VRMSE, one step",
        scale: AxisScale::Spread,
    },
    Curve {
        column: "rollout",
        heading: "Validation rollouts by step",
        caption: "VRMSE of short rollouts of each training, mean over their leads.",
        label: "VRMSE of rollouts",
        scale: AxisScale::Spread,
    },
    Curve {
        column: "norm",
        heading: "Gradient by step",
        caption: "Norm of the gradient over all weights, before it is clipped.",
        label: "gradient norm",
        scale: AxisScale::Spread,
    },
    Curve {
        column: "rate",
        heading: "Pace by step",
        caption: "Steps a second, mean over 100 steps. Times of checkpoints and validations are not part of it.",
        label: "steps/s",
        scale: AxisScale::Spread,
    },
];

/// Means over equal parts of a training are drawn, at most so many.
const PARTS: usize = 250;

#[derive(Deserialize)]
struct Place {
    name: String,
    x: Option<f64>,
    y: Option<f64>,
}

/// A figure for each curve that has points; none where results were given no trainings.
pub(super) async fn figures(results: &Results, strokes: &Strokes) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if !results.trainings().is_empty() {
        for curve in CURVES {
            figures.extend(curve.figure(results, strokes).await?);
        }
    }
    Ok(figures)
}

impl Curve {
    fn sql(&self) -> String {
        format!(
            "SELECT c.run AS name, avg(CAST(c.step AS DOUBLE)) AS x, avg(CAST(c.{0} AS DOUBLE)) AS y
FROM curves c
JOIN (SELECT run, max(step) AS last FROM curves GROUP BY run) l ON l.run = c.run
WHERE c.{0} IS NOT NULL
GROUP BY c.run, c.step * {PARTS} / (l.last + 1)
ORDER BY name, x",
            self.column
        )
    }

    async fn figure(&self, results: &Results, strokes: &Strokes) -> Result<Option<Figure>> {
        let sql = self.sql();
        let series = lines(results.rows(&sql).await?, strokes);
        let axes: [Axis; 2] = [axis("step", AxisScale::Whole), axis(self.label, self.scale)];
        let chart = Chart::new(self.heading.into(), axes, series, Vec::new());
        Ok(chart.map(|chart| Figure {
            name: format!("training-{}", self.column),
            heading: self.heading,
            caption: self.caption.into(),
            source: sql,
            drawing: Drawing::Chart(chart),
        }))
    }
}

/// A line for each training; points come in the order of their lines.
fn lines(places: Vec<Place>, strokes: &Strokes) -> Vec<Series> {
    let mut lines: Vec<Series> = Vec::new();
    for place in places {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let (Some(x), Some(y)) = (finite(place.x), finite(place.y)) else {
            continue;
        };
        match lines.last_mut().filter(|line| line.name == place.name) {
            Some(line) => line.points.push((x, y)),
            None => lines.push(Series {
                stroke: strokes.get(&place.name, ""),
                name: place.name,
                points: vec![(x, y)],
            }),
        }
    }
    lines
}
