//! [`Drawing`]: a chart or a gallery.

use plotters::prelude::DrawingBackend;

use super::chart::Chart;
use super::gallery::{Gallery, PlacedImage};
use super::sheet::{Failure, Sheet};
use crate::Error;

/// Drawn in points; a backend decides how many pixels a point has.
#[derive(Debug, Clone)]
pub(crate) enum Drawing {
    Chart(Chart),
    Gallery(Gallery),
}

impl Drawing {
    pub(crate) fn title(&self) -> &str {
        match self {
            Self::Chart(chart) => &chart.title,
            Self::Gallery(gallery) => &gallery.title,
        }
    }

    /// Width and height in points.
    pub(crate) fn size(&self) -> (u32, u32) {
        match self {
            Self::Chart(chart) => chart.size(),
            Self::Gallery(gallery) => gallery.size(),
        }
    }

    /// Draws everything except images.
    pub(crate) fn draw<B: DrawingBackend>(&self, sheet: &Sheet<'_, B>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        match self {
            Self::Chart(chart) => chart.draw(sheet),
            Self::Gallery(gallery) => gallery.draw(sheet),
        }
    }

    /// Images, and where they go.
    pub(crate) fn images(&self) -> Vec<PlacedImage<'_>> {
        match self {
            Self::Chart(_) => Vec::new(),
            Self::Gallery(gallery) => gallery.images(),
        }
    }

    pub(crate) fn failed(&self, reason: &str) -> Error {
        Error::Figure {
            figure: match self {
                Self::Chart(_) => "a chart",
                Self::Gallery(_) => "fields",
            },
            reason: format!("{reason} ({})", self.title()),
        }
    }
}
