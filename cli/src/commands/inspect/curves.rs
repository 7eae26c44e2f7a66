//! Draws the learning curves of a run in the terminal, and says how far it is.

use std::fmt::Write as _;

use anyhow::Result;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use wellspring_eval::{Database, Format};
use wellspring_store::Location;

use crate::commands::Session;

/// Characters that a curve is wide and high. Each has two dots beside and four above one another.
const WIDTH: usize = 72;
const HEIGHT: usize = 10;

/// Above this ratio of the largest value to the least, heights are logarithms.
const WIDE: f64 = 10.0;

const STATE: &str =
    "SELECT state, step, steps, loss, best, best_step, rate AS \"steps/s\", why FROM training_runs";

const POINTS: &str = "SELECT step, smooth, vrmse, rollout FROM curves ORDER BY step";

/// The state of a run and its curves; nothing where it has no log.
pub async fn draw(session: &Session, run: &Location) -> Result<String> {
    let database = Database::new()?;
    let places = [run.clone()];
    match database.add_trainings(&places, &session.reporter).await {
        Err(wellspring_eval::Error::NoTrainings { .. }) => return Ok(String::new()),
        added => drop(added?),
    }
    let state = Format::Table.write(&database.sql(STATE).await?)?;
    let mut text = format!("\n{}", String::from_utf8_lossy(&state));
    let points = database.sql(POINTS).await?;
    for (column, title) in [
        (1, "loss, mean over 100 steps"),
        (2, "VRMSE of validation, one step ahead"),
        (3, "VRMSE of validation, rollouts"),
    ] {
        let curve = Curve {
            title,
            points: pairs(&points, column)?,
        };
        text += &curve.drawn();
    }
    Ok(text)
}

/// Steps and a column's values, where those are numbers.
fn pairs(batches: &[RecordBatch], column: usize) -> Result<Vec<(f64, f64)>> {
    let mut pairs = Vec::new();
    for batch in batches {
        let numbers = |column: usize| cast(batch.column(column), &DataType::Float64);
        let (steps, values) = (numbers(0)?, numbers(column)?);
        let steps = steps.as_primitive::<Float64Type>().iter();
        let values = values.as_primitive::<Float64Type>().iter();
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        pairs.extend(
            steps
                .zip(values)
                .filter_map(|(step, value)| Some((step?, finite(value)?))),
        );
    }
    Ok(pairs)
}

/// Values by step.
struct Curve {
    title: &'static str,
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// The curve between its least and its largest value; nothing where it has no points.
    fn drawn(&self) -> String {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return String::new();
        };
        let values = self.points.iter().map(|(_, value)| *value);
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let is_wide = low > 0.0 && high > WIDE * low;
        let scaled = |value: f64| match is_wide {
            true => value.ln(),
            false => value,
        };
        let mut dots = Dots::default();
        let mut before = None;
        for (x, value) in self.columns(first.0, last.0) {
            let share = (scaled(value) - scaled(low)) / (scaled(high) - scaled(low));
            let share = if share.is_finite() { share } else { 0.5 };
            let y = ((1.0 - share) * (4 * HEIGHT - 1) as f64).round() as usize;
            dots.line(before.unwrap_or((x, y)), (x, y));
            before = Some((x, y));
        }
        let scale = if is_wide { ", logarithmic" } else { "" };
        let mut text = format!("\n{}{scale}\n", self.title);
        for (row, line) in dots.lines().enumerate() {
            let label = match row {
                0 => number(high),
                row if row + 1 == HEIGHT => number(low),
                _ => String::new(),
            };
            let _ = writeln!(text, "{label:>10} │{line}");
        }
        let (first, last) = (format!("step {}", first.0), last.0.to_string());
        let _ = writeln!(text, "{:>10} └{first}{last:>1$}", "", WIDTH - first.len());
        text
    }

    /// The mean value in each column of dots that has points.
    fn columns(&self, first: f64, last: f64) -> Vec<(usize, f64)> {
        let mut columns: Vec<(usize, f64, f64)> = Vec::new();
        for (step, value) in &self.points {
            let share = (step - first) / (last - first).max(1.0);
            let x = (share * (2 * WIDTH - 1) as f64).round() as usize;
            match columns.last_mut().filter(|(at, ..)| *at == x) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + value, *count + 1.0),
                None => columns.push((x, *value, 1.0)),
            }
        }
        let means = columns.into_iter().map(|(x, sum, count)| (x, sum / count));
        means.collect()
    }
}

/// Four digits that matter.
fn number(value: f64) -> String {
    match value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        true => {
            let decimals = 3 - value.abs().max(1e-3).log10().floor() as i32;
            format!("{value:.0$}", decimals.max(0) as usize)
        }
        false => format!("{value:.3e}"),
    }
}

/// Dots of braille characters: two columns and four rows in each.
struct Dots([[u8; WIDTH]; HEIGHT]);

impl Default for Dots {
    fn default() -> Self {
        Self([[0; WIDTH]; HEIGHT])
    }
}

impl Dots {
    /// The bit of each dot of a character, by its row and column.
    const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

    fn set(&mut self, x: usize, y: usize) {
        let (x, y) = (x.min(2 * WIDTH - 1), y.min(4 * HEIGHT - 1));
        self.0[y / 4][x / 2] |= Self::BITS[y % 4][x % 2];
    }

    /// A straight line between two dots, the first of which is not to the right of the other.
    fn line(&mut self, from: (usize, usize), to: (usize, usize)) {
        let count = (to.0 - from.0).max(to.1.abs_diff(from.1)).max(1);
        for at in 0..=count {
            let share = at as f64 / count as f64;
            let between = |a: usize, b: usize| (a as f64 + share * (b as f64 - a as f64)).round();
            self.set(
                between(from.0, to.0) as usize,
                between(from.1, to.1) as usize,
            );
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let character = |bits: &u8| match bits {
            0 => ' ',
            bits => char::from_u32(0x2800 + u32::from(*bits)).unwrap_or(' '),
        };
        let line = move |row: &[u8; WIDTH]| row.iter().map(character).collect::<String>();
        self.0
            .iter()
            .map(move |row| line(row).trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: Vec<(f64, f64)>) -> String {
        Curve {
            title: "loss",
            points,
        }
        .drawn()
    }

    #[test]
    fn a_curve_falls_from_the_left_to_the_right() {
        let text = drawn(
            (0..=1000)
                .map(|at| (f64::from(at), f64::from(2000 - at)))
                .collect(),
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[1], lines.len()), ("loss", HEIGHT + 3));
        assert!(lines[2].starts_with("      2000 │⠉⠒"), "{text}");
        assert!(lines[HEIGHT + 1].starts_with("      1000 │ "), "{text}");
        assert!(lines[HEIGHT + 1].ends_with("⠤⣀"), "{text}");
        assert!(
            lines[HEIGHT + 2].contains("└step 0") && text.ends_with("1000\n"),
            "{text}"
        );
        let longest = lines.iter().map(|line| line.chars().count()).max();
        assert_eq!(longest, Some(WIDTH + 12), "{text}");
    }

    #[test]
    fn curves_of_one_point_of_wide_ranges_and_of_nothing_are_drawn() {
        assert_eq!(drawn(Vec::new()), "");
        assert!(drawn(vec![(7.0, 0.0)]).contains("0.000000"));
        let text = drawn(vec![(1.0, 100.0), (2.0, 1e-5)]);
        assert!(
            text.contains("loss, logarithmic") && text.contains("1.000e-5"),
            "{text}"
        );
        assert_eq!(text.lines().count(), HEIGHT + 3);
    }
}
