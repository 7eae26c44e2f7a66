//! Figures of results: one list of them for the report, the image files and the tests.
//!
//! A [`Figure`] has a name, a caption, the SQL of its numbers, and a drawing. `lines` has the charts, `training` the
//! curves of trainings, `snapshots` the fields that evaluations kept. A drawing is in points; `vector` turns it into SVG and `pixels` into
//! PNG. Colours are safe for colour-blind readers: Okabe and Ito's for lines, viridis for fields, and blue
//! through white to red with white at zero for errors.

mod animation;
mod chart;
mod colours;
mod drawing;
mod encoder;
mod gallery;
mod legend;
mod lines;
mod pixels;
mod raster;
pub(crate) mod report;
mod scale;
mod select;
mod series;
mod sheet;
mod snapshots;
mod spectra;
mod strokes;
mod style;
mod training;
mod vector;

use std::collections::BTreeSet;

use crate::{Result, Results};
pub use animation::{AnimationOptions, animate};
use drawing::Drawing;
use pixels::Pixels;
pub use report::{ReportOptions, report};
pub use select::{FigureSelection, fields};
use strokes::Strokes;
pub(crate) use vector::escaped;
use vector::{Paper, svg};

/// A figure about one data set and split, or about trainings.
#[derive(Debug, Clone)]
pub struct Figure {
    name: String,
    heading: &'static str,
    caption: String,
    source: String,
    drawing: Drawing,
}

/// Format of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// Text stays text; on white.
    Svg,
    /// 1280 pixels wide; on white.
    Png,
}

impl ImageFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Svg, Self::Png];

    /// Its name on the command line, and the ending of its files' names.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

impl Figure {
    /// Name of the figure: only letters, digits and `-._`, and different for each figure of a list.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of figure it is; figures of a kind follow one another.
    #[must_use]
    pub fn heading(&self) -> &str {
        self.heading
    }

    /// What it shows.
    #[must_use]
    pub fn caption(&self) -> &str {
        &self.caption
    }

    /// The SQL that gave its numbers.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.source
    }

    /// The figure as a file that stands alone.
    ///
    /// # Errors
    /// [`crate::Error::Figure`].
    pub fn image(&self, format: ImageFormat) -> Result<Vec<u8>> {
        match format {
            ImageFormat::Svg => Ok(svg(&self.drawing, Paper::White)?.into_bytes()),
            ImageFormat::Png => Pixels::of(&self.drawing)?.png(),
        }
    }

    /// The figure as an element of a page, with the page's ink.
    pub(crate) fn element(&self) -> Result<String> {
        svg(&self.drawing, Paper::Page)
    }
}

/// Draws every figure for which a selection of the results has points.
///
/// # Errors
/// [`crate::Error::Unknown`] for what the results do not hold, [`crate::Error::Sql`],
/// [`crate::Error::Malformed`] for frames that cannot be read.
pub async fn figures(results: &Results, selection: &FigureSelection) -> Result<Vec<Figure>> {
    let selection = &selection.resolved(results).await?;
    let strokes = Strokes::of(results).await?;
    let mut figures = training::figures(results, &strokes).await?;
    for question in lines::questions(selection) {
        figures.extend(question.figures(results, selection, &strokes, &[]).await?);
    }
    figures.extend(spectra::figures(results, selection, &strokes).await?);
    figures.extend(snapshots::figures(results, selection).await?);
    let mut taken = BTreeSet::new();
    for figure in &mut figures {
        figure.name = free_name(&figure.name, &mut taken);
    }
    Ok(figures)
}

/// A name for a file, numbered where it is taken.
fn free_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-._".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).take(150).collect();
    let mut free = name.clone();
    let mut count = 1;
    while !taken.insert(free.to_lowercase()) {
        count += 1;
        free = format!("{name}-{count}");
    }
    free
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
