//! [`Gallery`]: fields side by side, each with a colour bar below.

use plotters::prelude::DrawingBackend;
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, VPos};

use super::colours::ColourMap;
use super::raster::{Plane, Raster};
use super::scale::AxisScale;
use super::sheet::{Anchor, Failure, Sheet, Type, WIDTH};
use super::style::GREY;

/// A field with a name.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    name: String,
    map: ColourMap,
    image: Raster,
    bar: Raster,
}

impl Panel {
    pub(crate) fn new(name: String, plane: &Plane, map: ColourMap) -> Self {
        Self {
            name,
            map,
            image: plane.drawn(map),
            bar: Raster::bar(map),
        }
    }
}

/// Rows of panels; a place may be empty.
#[derive(Debug, Clone)]
pub(crate) struct Gallery {
    pub(crate) title: String,
    pub(crate) rows: Vec<Vec<Option<Panel>>>,
}

/// An image, and where it goes: left, top, width and height in points.
pub(crate) type PlacedImage<'a> = (&'a Raster, [f64; 4]);

const TITLE: f64 = 30.0;
const GAP: f64 = 18.0;
const NAME: f64 = 20.0;
const BAR: f64 = 9.0;
/// The bar's numbers, and space to the next row.
const NUMBERS: f64 = 28.0;

impl Gallery {
    /// Width and height in points.
    pub(crate) fn size(&self) -> (u32, u32) {
        let height = TITLE + self.heights().sum::<f64>();
        (WIDTH as u32, height.ceil() as u32)
    }

    /// Images of the gallery, with their places.
    pub(crate) fn images(&self) -> Vec<PlacedImage<'_>> {
        let mut images = Vec::new();
        for (panel, left, top) in self.panels() {
            let (top, high) = (top + NAME, self.high(panel));
            images.push((&panel.image, [left, top, self.wide(), high]));
            images.push((&panel.bar, [left, top + high + 5.0, self.wide(), BAR]));
        }
        images
    }

    /// The words.
    pub(crate) fn draw<B: DrawingBackend>(&self, sheet: &Sheet<'_, B>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        sheet.title(&self.title)?;
        for (panel, left, top) in self.panels() {
            let name = Type::Small.fitted(&panel.name, self.wide());
            let middle = left + self.wide() / 2.0;
            let above = Anchor(HPos::Center, VPos::Top);
            sheet.text(&name, (middle, top + 2.0), Type::Small, above)?;
            self.numbers(
                sheet,
                panel,
                left,
                top + NAME + self.high(panel) + 5.0 + BAR,
            )?;
        }
        Ok(())
    }

    /// Marks and numbers below a colour bar: its ends, and what lies evenly between.
    fn numbers<B: DrawingBackend>(
        &self,
        sheet: &Sheet<'_, B>,
        panel: &Panel,
        left: f64,
        top: f64,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let [low, high] = panel.map.ends().map(f64::from);
        let mut free = f64::NEG_INFINITY;
        for tick in AxisScale::Linear.ticks(low, high, (self.wide() / 34.0).max(4.0) as usize) {
            let x = left + (tick.place - low) / (high - low) * self.wide();
            sheet.line(&[(x, top), (x, top + 3.0)], GREY.to_rgba(), 1.0)?;
            // Within the panel, so that neighbours' numbers stay apart.
            let half = Type::Small.width(&tick.label) / 2.0;
            let middle = x.min(left + self.wide() - half).max(left + half);
            if middle - half < free {
                continue;
            }
            free = middle + half + 4.0;
            let below = Anchor(HPos::Center, VPos::Top);
            sheet.text(&tick.label, (middle, top + 4.0), Type::Small, below)?;
        }
        Ok(())
    }

    fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(1).max(1)
    }

    fn wide(&self) -> f64 {
        (WIDTH - GAP) / self.columns() as f64 - GAP
    }

    /// True to the grid, but for very long ones.
    fn high(&self, panel: &Panel) -> f64 {
        let aspect = panel.image.rows as f64 / panel.image.columns.max(1) as f64;
        self.wide() * aspect.clamp(0.2, 2.0)
    }

    fn heights(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().map(|row| {
            let highest = row.iter().flatten().map(|panel| self.high(panel));
            highest.fold(0.0, f64::max) + NAME + 5.0 + BAR + NUMBERS
        })
    }

    /// Panels with their left and top edges.
    fn panels(&self) -> Vec<(&Panel, f64, f64)> {
        let mut top = TITLE;
        let mut panels = Vec::new();
        for (row, height) in self.rows.iter().zip(self.heights()) {
            for (column, panel) in row.iter().enumerate() {
                let left = GAP + (self.wide() + GAP) * column as f64;
                panels.extend(panel.as_ref().map(|panel| (panel, left, top)));
            }
            top += height;
        }
        panels
    }
}
