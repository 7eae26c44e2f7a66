//! A line of a chart, which its legend names.

use super::sheet::Point;
use super::style::Stroke;

/// A named line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) stroke: Stroke,
    pub(crate) points: Vec<Point>,
}
