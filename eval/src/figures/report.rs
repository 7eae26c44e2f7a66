//! [`report()`]: a self-contained HTML page about results, with figures, sortable tables, and the SQL behind
//! every number. It follows the reader's light or dark theme, can be printed, and needs no network.

mod page;

use crate::figures::{FigureSelection, escaped, figures};
use crate::sql::format::Cells;
use crate::{Result, Results};
use page::Page;

/// What the page is called and about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOptions {
    /// Title of the page.
    pub title: String,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            title: "Evaluation of surrogate models".into(),
        }
    }
}

/// A table of the page.
struct TableSection {
    id: &'static str,
    heading: &'static str,
    about: &'static str,
    sql: &'static str,
}

const TABLES: [TableSection; 4] = [
    TableSection {
        id: "claims",
        heading: "What is claimed of elastic models",
        about: "Each sentence of the paper, asked of these results: ratio is the error of the first over that of the second \
                on the same windows, low and high its 95 % interval over trajectories, low_over_seeds and high_over_seeds that over \
                trajectories and seeds, p that of no difference, and \
                agreeing the number of seeds for which the ratio is below 1. It holds where the interval is below 1, p below 0.05 and all \
                seeds agree, does not hold where the interval is above 1, p below 0.05 and none does, and is else undecided; fewer \
                than six trajectories decide nothing.",
        sql: "SELECT sentence, verdict, ratio, low, high, low_over_seeds, high_over_seeds, p, seeds, agreeing, dataset, split
FROM claims
ORDER BY dataset, split, claim, strategy, schedule, other_strategy, other_schedule",
    },
    TableSection {
        id: "leaderboard",
        heading: "Leaderboard",
        about: "Each evaluation's error one step ahead and at its last lead, mean over fields, trajectories and \
                starts; of_persistence is its one-step error over that of repeating the last frame, and absent \
                where that has none.",
        sql: "SELECT dataset, split, name, strategy, schedule, tokens, vrmse, of_persistence, last_lead, vrmse_last,
  seconds_per_frame
FROM leaderboard
ORDER BY dataset, split, vrmse, schedule",
    },
    TableSection {
        id: "table1",
        heading: "Each model at each patch size",
        about: "One-step VRMSE of each model at each of its patch sizes (the paper's Table 1).",
        sql: "SELECT * FROM table1 ORDER BY dataset, split, strategy, name",
    },
    TableSection {
        id: "horizons",
        heading: "Error over horizons",
        about: "VRMSE of rollouts over the leads of a horizon, fields, trajectories and starts: mean with its 95 % interval, \
                and median. Walrus reports leads 1 to 20 and 21 to 60, The Well 6 to 12 and 13 to 30; a horizon that a \
                rollout ends within is left out.",
        sql: "SELECT dataset, split, horizon, name, strategy, schedule, vrmse, low, high, median
FROM horizons
WHERE last_lead > 1
ORDER BY dataset, split, first_lead, last_lead, vrmse, schedule",
    },
];

const TRAININGS: TableSection = TableSection {
    id: "trainings",
    heading: "Trainings",
    about: "How far each training is and how it ended; loss, steps a second (rate) and the share of waiting for data \
            (waited) are means over its last 100 steps, best is its least one-step VRMSE of a validation.",
    sql: "SELECT run, state, step, steps, loss, best, best_step, rate, waited
FROM training_runs
ORDER BY run",
};

/// The page.
///
/// # Errors
/// [`crate::Error::Sql`] for tables that cannot be read, [`crate::Error::Malformed`] for frames that
/// cannot, [`crate::Error::Figure`].
pub async fn report(results: &Results, options: &ReportOptions) -> Result<String> {
    let mut page = Page::default();
    let trainings = (!results.trainings().is_empty()).then_some(TRAININGS);
    for table in TABLES.into_iter().chain(trainings) {
        let cells = Cells::of(&results.sql(table.sql).await?)?;
        // Short rollouts have no horizons, and without elastic models nothing is claimed of them.
        if cells.rows.is_empty() {
            continue;
        }
        page.heading(table.heading);
        page.paragraph(table.about);
        page.table(table.id, &cells, table.sql);
    }
    for figure in figures(results, &FigureSelection::default()).await? {
        page.figure(&figure)?;
    }
    let source = escaped(&results.location().to_string());
    let parts = [
        ("style", include_str!("report/page.css")),
        ("script", include_str!("report/page.js")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("source", &source),
        ("title", &escaped(&options.title)),
        ("body", &page.into_body()),
    ];
    Ok(filled(include_str!("report/page.html"), &parts))
}

/// A template with each `{{name}}` replaced by its part. Parts are taken as they are, whatever is in them.
fn filled(template: &str, parts: &[(&str, &str)]) -> String {
    let mut pieces = template.split("{{");
    let mut page = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let named = piece.split_once("}}").and_then(|(name, rest)| {
            let (_, part) = parts.iter().find(|(known, _)| *known == name)?;
            Some((part, rest))
        });
        match named {
            Some((part, rest)) => page.extend([part, rest]),
            None => page.extend(["{{", piece]),
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_not_templates() {
        let parts = [("a", "{{b}} {{a}}"), ("b", "}}{{")];
        let page = filled("<{{a}}|{{b}}|{{c}}|{{>", &parts);
        assert_eq!(page, "<{{b}} {{a}}|}}{{|{{c}}|{{>");
    }
}
