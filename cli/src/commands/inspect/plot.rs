//! Draws a frame in the terminal with half blocks: each character shows two cells, one above the other.

use std::io::IsTerminal as _;

use anyhow::Result;
use wellspring_store::{Dataset, Frames, Schema, Split};

use crate::args;
use crate::commands::Session;
use crate::commands::ingest::typed;
use crate::failure::misuse;
use crate::plain::plain;

/// The most characters that a picture is wide.
const WIDEST: usize = 96;

/// The most characters that it is high.
const HIGHEST: usize = 32;

/// Characters from light to dark, for terminals without colours.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Colours from low to high: dark blue, teal, green, yellow.
const COLOURS: [[f32; 3]; 5] = [
    [68.0, 1.0, 84.0],
    [59.0, 82.0, 139.0],
    [33.0, 145.0, 140.0],
    [94.0, 201.0, 98.0],
    [253.0, 231.0, 37.0],
];

pub fn draw(session: &Session, args: &args::Inspect) -> Result<String> {
    let (schema, frame) = read(session, args)?;
    let channels = schema.channels();
    let name = args.field.as_ref().unwrap_or(&channels[0]);
    let Some(channel) = channels.iter().position(|channel| channel == name) else {
        misuse!("there is no channel {name}; choose {}", channels.join(", "));
    };
    let picture = Picture::of(&frame, channel);
    let (low, high) = picture.limits;
    let colours = std::io::stdout().is_terminal();
    Ok(format!(
        "{}, trajectory {}, step {}: {low:.4} to {high:.4}{}\n{}",
        plain(name),
        args.trajectory,
        args.step,
        if frame.space().len() > 2 {
            ", middle of the other axes"
        } else {
            ""
        },
        if colours {
            picture.coloured()
        } else {
            picture.shaded()
        }
    ))
}

/// A frame in the field's own units.
fn read(session: &Session, args: &args::Inspect) -> Result<(Schema, Frames)> {
    let (path, trajectory, step) = (&args.path, args.trajectory, args.step);
    let root = session.locate(path)?;
    if path.ends_with(".hdf5") || path.ends_with(".h5") {
        let frame = wellspring_ingest::read_frame(&root, trajectory, step);
        return Ok(session.wait(frame)?);
    }
    let dataset = session.wait(Dataset::open(&root))?;
    let manifest = dataset.manifest();
    let split: Split = match &args.split {
        Some(split) => typed(split.parse())?,
        None => match manifest.splits.keys().next() {
            Some(split) => *split,
            None => misuse!("{path} has no splits"),
        },
    };
    let mut frame = session.wait(dataset.read(split, trajectory, step..step + 1))?;
    manifest.normalizer()?.denormalize(&mut frame);
    Ok((manifest.schema.clone(), frame))
}

/// Values of a plane, so few that they fit a terminal.
struct Picture {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
    /// The least and the greatest of them.
    limits: (f32, f32),
}

impl Picture {
    /// A channel over its last two axes, in the middle of the others.
    fn of(frame: &Frames, channel: usize) -> Self {
        let values = frame.channel(0, 0, channel);
        let (height, width) = match frame.space() {
            [] => (1, 1),
            [width] => (1, *width),
            [.., height, width] => (*height, *width),
        };
        let plane = height * width;
        let middle = values.len() / plane / 2 * plane;
        let values = &values[middle..middle + plane];
        let every = height
            .div_ceil(2 * HIGHEST)
            .max(width.div_ceil(WIDEST))
            .max(1);
        let (rows, columns) = (height.div_ceil(every), width.div_ceil(every));
        let mean = |row: usize, column: usize| {
            let cells = (row * every..((row + 1) * every).min(height)).flat_map(|y| {
                (column * every..((column + 1) * every).min(width)).map(move |x| y * width + x)
            });
            let (sum, count) = cells.fold((0.0, 0.0), |(s, n), cell| (s + values[cell], n + 1.0));
            sum / count
        };
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let values: Vec<f32> = places.map(|(row, column)| mean(row, column)).collect();
        let least = values.iter().copied().fold(f32::INFINITY, f32::min);
        let greatest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Self {
            rows,
            columns,
            values,
            limits: (least, greatest),
        }
    }

    /// Between 0 and 1.
    fn level(&self, row: usize, column: usize) -> f32 {
        let (low, high) = self.limits;
        let value = self.values[row.min(self.rows - 1) * self.columns + column];
        if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        }
    }

    fn coloured(&self) -> String {
        let mut text = String::new();
        for row in (0..self.rows).step_by(2) {
            for column in 0..self.columns {
                let [r, g, b] = colour(self.level(row, column));
                text += &format!("\x1b[38;2;{r};{g};{b}m");
                if row + 1 < self.rows {
                    let [r, g, b] = colour(self.level(row + 1, column));
                    text += &format!("\x1b[48;2;{r};{g};{b}m");
                }
                text.push('▀');
            }
            text += "\x1b[0m\n";
        }
        text
    }

    fn shaded(&self) -> String {
        let mut text = String::new();
        for row in (0..self.rows).step_by(2) {
            for column in 0..self.columns {
                let level = (self.level(row, column) + self.level(row + 1, column)) / 2.0;
                text.push(SHADES[((level * 5.0) as usize).min(4)]);
            }
            text.push('\n');
        }
        text
    }
}

fn colour(level: f32) -> [u8; 3] {
    let place = level.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let (first, share) = (place as usize, place.fract());
    let next = (first + 1).min(COLOURS.len() - 1);
    std::array::from_fn(|i| {
        (COLOURS[first][i] * (1.0 - share) + COLOURS[next][i] * share).round() as u8
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn low_is_light_and_high_is_dark() {
        let values = (0..16).map(|i| (i % 4) as f32).collect();
        let frame = Frames::new(1, 1, 1, vec![4, 4], values).unwrap();
        let picture = Picture::of(&frame, 0);
        assert_eq!(picture.shaded(), " ░▓█\n ░▓█\n");
        assert!(picture.coloured().contains("38;2;68;1;84m"));
        assert_eq!(picture.limits, (0.0, 3.0));
    }

    #[test]
    fn a_large_frame_fits_a_terminal() {
        let frame = Frames::zeros(1, 1, 1, vec![3, 500, 1000]);
        let text = Picture::of(&frame, 0).shaded();
        assert!(text.lines().count() <= HIGHEST);
        assert!(text.lines().all(|line| line.chars().count() <= WIDEST));
    }
}
