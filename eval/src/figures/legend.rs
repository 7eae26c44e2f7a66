//! The names of a chart's lines, in as many columns as fit below it.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};

use super::series::Series;
use super::sheet::{Anchor, Failure, Sheet, Type, WIDTH};

/// Drawn in the order of the lines, column by column.
pub(crate) struct Legend<'a>(pub(crate) &'a [Series]);

const ROW: f64 = 19.0;
const SAMPLE: f64 = 38.0;
/// Between a sample and its name, and between columns.
const GAP: f64 = 7.0;
const MARGIN: f64 = 12.0;

impl Legend<'_> {
    fn columns(&self) -> usize {
        let names = self.0.iter().map(|series| Type::Small.width(&series.name));
        let widest = names.fold(0.0, f64::max) + SAMPLE + 3.0 * GAP;
        ((WIDTH - 2.0 * MARGIN) / widest).floor().clamp(1.0, 4.0) as usize
    }

    fn rows(&self) -> usize {
        self.0.len().div_ceil(self.columns())
    }

    pub(crate) fn height(&self) -> f64 {
        ROW * self.rows() as f64
    }

    pub(crate) fn draw<B: DrawingBackend>(
        &self,
        sheet: &Sheet<'_, B>,
        top: f64,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let (rows, wide) = (self.rows(), (WIDTH - 2.0 * MARGIN) / self.columns() as f64);
        for (index, series) in self.0.iter().enumerate() {
            let x = MARGIN + wide * (index / rows) as f64;
            let y = top + ROW * ((index % rows) as f64 + 0.5);
            sheet.stroke(&[(x, y), (x + SAMPLE, y)], series.stroke)?;
            sheet.marker((x + SAMPLE / 2.0, y), series.stroke)?;
            let name = Type::Small.fitted(&series.name, wide - SAMPLE - 2.0 * GAP);
            let anchor = Anchor(HPos::Left, VPos::Center);
            sheet.text(&name, (x + SAMPLE + GAP, y), Type::Small, anchor)?;
        }
        Ok(())
    }
}
