//! [`Sheet`]: draws lines, marks and text at points of a page, on any backend of plotters.

use std::sync::Once;

use plotters::coord::Shift;
use plotters::element::{Circle, DashedPathElement, PathElement, Polygon, Text};
use plotters::prelude::{DrawingArea, DrawingBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    BLACK, Color as _, FontStyle, FontTransform, IntoFont as _, RGBAColor, RGBColor, ShapeStyle,
    register_font,
};

use super::style::{Marker, Stroke};

/// Why a backend could not draw.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Width of every figure, in points.
pub(crate) const WIDTH: f64 = 640.0;
/// Colour of words and axes; a page puts its own ink here.
pub(crate) const INK: RGBColor = BLACK;
const FAMILY: &str = "sans-serif";

/// A place, in points from the upper left.
pub(crate) type Point = (f64, f64);

/// A backend, and how many of its pixels a point has.
pub(crate) struct Sheet<'a, B: DrawingBackend> {
    pub(crate) area: &'a DrawingArea<B, Shift>,
    pub(crate) unit: f64,
    /// How far letters are lowered, over their size: plotters puts them higher into pixels than into SVG.
    pub(crate) lowered: f64,
}

/// A size of type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Small,
    Normal,
    Title,
}

impl Type {
    /// What plotters calls the size; letters come out smaller by a fifth.
    fn size(self) -> f64 {
        match self {
            Self::Small => 15.0,
            Self::Normal => 16.5,
            Self::Title => 18.5,
        }
    }

    /// Width of a text in points.
    pub(crate) fn width(self, text: &str) -> f64 {
        prepare_font();
        // Measured large, since plotters rounds to whole pixels.
        let font = (FAMILY, self.size() * 10.0).into_font();
        font.box_size(text)
            .map_or(0.0, |(width, _)| f64::from(width) / 10.0)
    }

    /// The text, or its beginning with an ellipsis where it is too wide.
    pub(crate) fn fitted(self, text: &str, width: f64) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut kept: Vec<char> = text.chars().collect();
        while kept.pop().is_some() {
            let shorter: String = kept.iter().chain(&['…']).collect();
            if self.width(&shorter) <= width {
                return shorter;
            }
        }
        String::new()
    }
}

/// The point of a text that lies at its place.
#[derive(Clone, Copy)]
pub(crate) struct Anchor(pub(crate) HPos, pub(crate) VPos);

impl<B: DrawingBackend> Sheet<'_, B>
where
    B::ErrorType: 'static,
{
    fn pixel(&self, (x, y): Point) -> (i32, i32) {
        (
            (x * self.unit).round() as i32,
            (y * self.unit).round() as i32,
        )
    }

    fn pixels(&self, points: &[Point]) -> Vec<(i32, i32)> {
        points.iter().map(|&point| self.pixel(point)).collect()
    }

    fn style(&self, colour: RGBAColor, width: f64) -> ShapeStyle {
        colour.stroke_width((width * self.unit).round().max(1.0) as u32)
    }

    pub(crate) fn line(
        &self,
        points: &[Point],
        colour: RGBAColor,
        width: f64,
    ) -> Result<(), Failure> {
        let path = PathElement::new(self.pixels(points), self.style(colour, width));
        Ok(self.area.draw(&path)?)
    }

    pub(crate) fn stroke(&self, points: &[Point], stroke: Stroke) -> Result<(), Failure> {
        let colour = stroke.colour().to_rgba();
        let Some((dash, gap)) = stroke.dash() else {
            return self.line(points, colour, 1.6);
        };
        let [dash, gap] = [dash, gap].map(|length| (f64::from(length) * self.unit) as i32);
        let pixels = self.pixels(points);
        let path =
            DashedPathElement::new(pixels.iter().copied(), dash, gap, self.style(colour, 1.6));
        Ok(self.area.draw(&path)?)
    }

    pub(crate) fn marker(&self, at: Point, stroke: Stroke) -> Result<(), Failure> {
        let (x, y) = at;
        let colour = stroke.colour();
        let r = 3.2;
        let polygon = |corners: &[Point]| {
            let corners: Vec<Point> = corners
                .iter()
                .map(|(dx, dy)| (x + dx * r, y + dy * r))
                .collect();
            Polygon::new(self.pixels(&corners), colour.filled())
        };
        let radius = (r * self.unit).round() as i32;
        match stroke.marker() {
            Marker::Disc => {
                self.area
                    .draw(&Circle::new(self.pixel(at), radius, colour.filled()))?
            }
            Marker::Ring => {
                let style = self.style(colour.to_rgba(), 1.4);
                self.area
                    .draw(&Circle::new(self.pixel(at), radius, style))?;
            }
            Marker::Square => {
                let corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)];
                self.area.draw(&polygon(&corners))?;
            }
            Marker::Triangle => {
                let corners = [(0.0, -1.3), (1.2, 0.9), (-1.2, 0.9)];
                self.area.draw(&polygon(&corners))?;
            }
            Marker::Diamond => {
                let corners = [(0.0, -1.4), (1.4, 0.0), (0.0, 1.4), (-1.4, 0.0)];
                self.area.draw(&polygon(&corners))?;
            }
        }
        Ok(())
    }

    pub(crate) fn text(
        &self,
        text: &str,
        at: Point,
        size: Type,
        anchor: Anchor,
    ) -> Result<(), Failure> {
        self.words(text, at, size, anchor, FontTransform::None)
    }

    /// What the figure shows, above all else.
    pub(crate) fn title(&self, title: &str) -> Result<(), Failure> {
        let title = Type::Title.fitted(title, WIDTH - 16.0);
        let corner = Anchor(HPos::Left, VPos::Top);
        self.text(&title, (8.0, 6.0), Type::Title, corner)
    }

    /// Read from below upwards, its middle at the place.
    pub(crate) fn upward(&self, text: &str, at: Point, size: Type) -> Result<(), Failure> {
        let anchor = Anchor(HPos::Center, VPos::Center);
        self.words(text, at, size, anchor, FontTransform::Rotate270)
    }

    fn words(
        &self,
        text: &str,
        at: Point,
        size: Type,
        Anchor(horizontal, vertical): Anchor,
        turned: FontTransform,
    ) -> Result<(), Failure> {
        prepare_font();
        let (x, y) = at;
        let lower = size.size() * self.lowered;
        // Below a text that is read upwards is its right.
        let at = match turned {
            FontTransform::None => (x, y + lower),
            _ => (x + lower, y),
        };
        let style = (FAMILY, size.size() * self.unit)
            .into_font()
            .transform(turned)
            .color(&INK)
            .pos(Pos::new(horizontal, vertical));
        // XML has no place for control characters.
        let text = text.replace(|c: char| c.is_control(), " ");
        Ok(self.area.draw(&Text::new(text, self.pixel(at), style))?)
    }
}

/// Gives plotters the font that it measures with, and draws with into pixels.
fn prepare_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        // Without it drawing fails with the backend's own error.
        let _ = register_font(FAMILY, FontStyle::Normal, font);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_measured_and_shortened() {
        assert!(Type::Normal.width("wellspring") > 2.0 * Type::Normal.width("well"));
        assert_eq!(Type::Small.fitted("ckm", 100.0), "ckm");
        let shorter = Type::Small.fitted("a name of a very long run", 80.0);
        assert!(
            shorter.ends_with('…') && Type::Small.width(&shorter) <= 80.0,
            "{shorter}"
        );
        assert_eq!(Type::Small.fitted("ckm", 1.0), "");
    }
}
