//! What the page says, section by section.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Page;
use crate::figures::{Axis, Chart, Scale, Series, Stroke, triptych};
use crate::format::{Cells, number};
use crate::{Result, Results, pictures};

const LEADERBOARD: &str = "SELECT dataset, split, name, strategy, schedule, tokens, vrmse, of_persistence, last_lead, vrmse_last,
  seconds_per_frame
FROM leaderboard
ORDER BY dataset, split, vrmse, schedule";

const TABLE1: &str = "SELECT * FROM table1 ORDER BY dataset, split, strategy, name";

const SCALING: &str = "SELECT dataset, split, name, '' AS schedule, tokens AS x, avg(vrmse) AS y
FROM scaling
GROUP BY dataset, split, name, tokens
ORDER BY dataset, split, name, x";

const BY_LEAD: &str =
    "SELECT dataset, split, name, schedule, CAST(lead AS DOUBLE) AS x, avg(vrmse) AS y
FROM by_lead
GROUP BY dataset, split, name, schedule, lead
ORDER BY dataset, split, name, schedule, x";

const BANDS: &str =
    "SELECT dataset, split, name, schedule, CAST(band AS DOUBLE) AS x, avg(nmse) AS y
FROM bands
WHERE lead = 1
GROUP BY dataset, split, name, schedule, band
ORDER BY dataset, split, name, schedule, x";

/// The residual of each model along the first axis at its last lead, over the fields' truth.
const RESIDUAL: &str = "SELECT s.dataset, s.split, s.name, s.schedule, CAST(s.bin AS DOUBLE) AS x, avg(s.residual / t.energy) AS y
FROM residual_spectrum s
JOIN (
  SELECT dataset, split, name, schedule, field, axis, max(lead) AS lead, sum(truth) / max(lead) AS energy
  FROM residual_spectrum
  WHERE bin > 0
  GROUP BY dataset, split, name, schedule, field, axis
) t USING (dataset, split, name, schedule, field, axis, lead)
WHERE s.axis = 'AXIS' AND s.bin > 0 AND t.energy > 0
GROUP BY s.dataset, s.split, s.name, s.schedule, s.bin
ORDER BY s.dataset, s.split, s.name, s.schedule, x";

/// A point of a figure.
#[derive(Deserialize)]
struct Point {
    dataset: String,
    split: String,
    name: String,
    schedule: String,
    x: Option<f64>,
    y: Option<f64>,
}

/// Data set and split, and the lines of a figure about them.
type Groups = BTreeMap<(String, String), Vec<Series>>;

pub(super) async fn all(results: &Results, page: &mut Page) -> Result<()> {
    page.heading("Leaderboard");
    page.paragraph(
        "Each evaluation's error one step ahead and at its last lead, mean over fields, trajectories and starts; \
         of_persistence is its one-step error over that of repeating the last frame.",
    );
    table(results, page, LEADERBOARD).await?;
    page.heading("Each model at each patch size");
    table(results, page, TABLE1).await?;
    let colours = colours(results).await?;
    scaling(results, page, &colours).await?;
    by_lead(results, page, &colours).await?;
    bands(results, page, &colours).await?;
    residual(results, page, &colours).await?;
    fields(results, page).await
}

async fn table(results: &Results, page: &mut Page, sql: &str) -> Result<()> {
    let cells = Cells::of(&results.sql(sql).await?)?;
    page.table(&cells, sql);
    Ok(())
}

/// A colour for each model, by its name; baselines are grey.
async fn colours(results: &Results) -> Result<BTreeMap<String, usize>> {
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    let names: Vec<Name> = results
        .rows("SELECT DISTINCT name FROM runs WHERE strategy <> 'baseline' ORDER BY name")
        .await?;
    Ok(names
        .into_iter()
        .enumerate()
        .map(|(colour, name)| (name.name, colour))
        .collect())
}

/// The lines that a query gives: one for each model and schedule.
async fn groups(results: &Results, sql: &str, colours: &BTreeMap<String, usize>) -> Result<Groups> {
    let mut groups = Groups::new();
    for point in results.rows::<Point>(sql).await? {
        let (Some(x), Some(y)) = (point.x, point.y) else {
            continue;
        };
        let lines = groups.entry((point.dataset, point.split)).or_default();
        let name = format!("{} {}", point.name, point.schedule)
            .trim_end_matches([' ', '-'])
            .to_owned();
        match lines.last_mut().filter(|line| line.name == name) {
            Some(line) => line.points.push((x, y)),
            None => {
                let model = format!("{} ", point.name);
                let dash = lines
                    .iter()
                    .filter(|line| line.name.starts_with(&model))
                    .count();
                let stroke = Stroke {
                    colour: colours.get(&point.name).copied(),
                    dash,
                };
                lines.push(Series {
                    name,
                    stroke,
                    points: vec![(x, y)],
                });
            }
        }
    }
    Ok(groups)
}

fn axis(label: &str, scale: Scale) -> Axis {
    Axis {
        label: label.into(),
        scale,
    }
}

/// Draws one figure for each data set and split.
fn figures(
    page: &mut Page,
    groups: Groups,
    caption: &str,
    sql: &str,
    chart: impl Fn(Vec<Series>) -> Chart,
) -> Result<()> {
    for ((dataset, split), series) in groups {
        if let Some(svg) = chart(series).svg()? {
            page.figure(
                &svg,
                &format!("{caption} {dataset}, {split} split."),
                Some(sql),
            );
        }
    }
    Ok(())
}

async fn scaling(
    results: &Results,
    page: &mut Page,
    colours: &BTreeMap<String, usize>,
) -> Result<()> {
    let groups = groups(results, SCALING, colours).await?;
    if groups.is_empty() {
        return Ok(());
    }
    page.heading("Error against tokens");
    let caption = "One-step VRMSE against tokens of a frame: a model's points are its patch sizes.";
    figures(page, groups, caption, SCALING, |series| Chart {
        name: "VRMSE against tokens",
        x: axis("tokens of a frame", Scale::Binary),
        y: axis("VRMSE, one step", Scale::Linear),
        series,
        marks: Vec::new(),
        dots: true,
    })
}

async fn by_lead(
    results: &Results,
    page: &mut Page,
    colours: &BTreeMap<String, usize>,
) -> Result<()> {
    page.heading("Error by lead");
    let caption = "VRMSE of rollouts by lead, in frames; a dash is a schedule of patch sizes.";
    let groups = groups(results, BY_LEAD, colours).await?;
    figures(page, groups, caption, BY_LEAD, |series| Chart {
        name: "VRMSE by lead",
        x: axis("lead, frames", Scale::Linear),
        y: axis("VRMSE", Scale::Linear),
        series,
        marks: Vec::new(),
        dots: false,
    })
}

async fn bands(
    results: &Results,
    page: &mut Page,
    colours: &BTreeMap<String, usize>,
) -> Result<()> {
    page.heading("Error by scale");
    let caption = "One-step error within three bands of wavenumbers over the truth's energy there: \
                   0 holds the largest scales, 2 the smallest.";
    let groups = groups(results, BANDS, colours).await?;
    figures(page, groups, caption, BANDS, |series| Chart {
        name: "Errors in bands",
        x: axis("band", Scale::Whole),
        y: axis("NMSE in the band", Scale::Logarithmic),
        series,
        marks: Vec::new(),
        dots: true,
    })
}

/// Axis of the grid with the most points: its name, and how many.
#[derive(Deserialize)]
struct Longest {
    axis: String,
    waves: f64,
}

async fn residual(
    results: &Results,
    page: &mut Page,
    colours: &BTreeMap<String, usize>,
) -> Result<()> {
    let longest: Vec<Longest> = results
        .rows(
            "SELECT axis, CAST(max(bin) AS DOUBLE) AS waves FROM spectra WHERE axis <> 'isotropic' \
             GROUP BY axis ORDER BY waves DESC, axis LIMIT 1",
        )
        .await?;
    let Some(longest) = longest.first() else {
        return Ok(());
    };
    let sql = RESIDUAL.replace("AXIS", &longest.axis.replace('\'', "''"));
    page.heading("Residual spectrum");
    let caption = format!(
        "Power of the residual at the last lead by waves along {}, over the truth's, mean over fields. \
         A patch size p leaves its trace at the marked harmonics of n / p.",
        longest.axis
    );
    let points = 2.0 * longest.waves;
    let marks = [16.0, 8.0, 4.0]
        .map(|p| (points / p, format!("n/{p}")))
        .to_vec();
    let groups = groups(results, &sql, colours).await?;
    figures(page, groups, &caption, &sql, |series| Chart {
        name: "Residual power spectrum",
        x: axis(&format!("waves along {}", longest.axis), Scale::Logarithmic),
        y: axis("residual power / truth", Scale::Logarithmic),
        series,
        marks: marks.clone(),
        dots: false,
    })
}

/// Which evaluation to show.
#[derive(Deserialize)]
struct Shown {
    run: String,
    name: String,
    schedule: String,
}

/// The kept frames of the best evaluation of each strategy at its last lead.
async fn fields(results: &Results, page: &mut Page) -> Result<()> {
    let sql = "SELECT run, name, schedule FROM (
  SELECT r.run, r.name, r.schedule,
    row_number() OVER (PARTITION BY r.dataset_id, r.strategy ORDER BY avg(m.value)) AS place
  FROM runs r JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse' AND m.lead = r.rollout
  WHERE r.strategy <> 'baseline'
  GROUP BY r.run, r.name, r.schedule, r.dataset_id, r.strategy
) WHERE place = 1 ORDER BY name";
    let mut begun = false;
    for shown in results.rows::<Shown>(sql).await? {
        let mut kept = pictures::read(&pictures::file(results.location(), &shown.run)).await?;
        let last = kept.iter().map(|picture| picture.lead).max();
        let first = kept
            .first()
            .map(|picture| (picture.trajectory, picture.start));
        kept.retain(|picture| {
            Some(picture.lead) == last && Some((picture.trajectory, picture.start)) == first
        });
        if !kept.is_empty() && !begun {
            page.heading("Truth, prediction and error");
            begun = true;
        }
        for picture in kept {
            let drawn = triptych(&picture)?;
            let image = |source: &str, label: &str| {
                format!(
                    "<div><img src=\"{source}\" alt=\"{label} of {}\">{label}</div>",
                    super::escaped(&picture.field)
                )
            };
            let images = [
                image(&drawn.truth, "truth"),
                image(&drawn.prediction, "prediction"),
                image(&drawn.error, "error"),
            ];
            let [low, high] = drawn.range.map(|x| number(f64::from(x)));
            let caption = format!(
                "{} of {} {} at lead {}, test trajectory {} from step {}: colours from {low} to {high}, errors to ±{}.",
                picture.field,
                shown.name,
                shown.schedule,
                picture.lead,
                picture.trajectory,
                picture.start,
                number(f64::from(drawn.largest_error))
            );
            page.figure(
                &format!("<div class=\"fields\">{}</div>", images.concat()),
                &caption,
                None,
            );
        }
    }
    Ok(())
}
