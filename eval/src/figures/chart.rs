//! A chart of lines: what it says, and how plotters draws it.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::format::number;
use crate::{Error, Result};

/// Okabe and Ito's colours without black and yellow.
const PALETTE: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const GREY: RGBColor = RGBColor(127, 127, 127);
const SIZE: (u32, u32) = (760, 430);
/// Replaced by the page's own ink.
const INK: RGBColor = BLACK;

/// How a coordinate is spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    /// Linear, labelled at whole numbers.
    Whole,
    Logarithmic,
    /// Logarithmic, labelled at powers of two: token counts.
    Binary,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear | Self::Whole => value,
            Self::Logarithmic => value.log10(),
            Self::Binary => value.log2(),
        }
    }

    fn label(self, place: f64) -> String {
        match self {
            Self::Linear => number((place * 1e6).round() / 1e6),
            Self::Logarithmic => {
                let value = 10_f64.powf(place);
                let decimals = (1.0 - place.floor()).clamp(0.0, 4.0) as usize;
                if (1e-3..1e5).contains(&value) {
                    format!("{value:.decimals$}")
                } else {
                    format!("{value:.0e}")
                }
            }
            Self::Binary if place == place.round() => number(place.exp2()),
            Self::Whole if place == place.round() => number(place),
            Self::Binary | Self::Whole => String::new(),
        }
    }
}

/// One side of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) scale: Scale,
}

/// How a line is drawn: a colour by number, grey without one, and a dash by number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stroke {
    pub(crate) colour: Option<usize>,
    pub(crate) dash: usize,
}

/// A named line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) stroke: Stroke,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart of lines, with vertical marks.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) name: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// Place and text of marks along x.
    pub(crate) marks: Vec<(f64, String)>,
    /// Points as dots, for few of them.
    pub(crate) dots: bool,
}

impl Chart {
    /// The figure as an SVG element; nothing when no point can be shown.
    ///
    /// # Errors
    /// [`Error::Figure`].
    pub(crate) fn svg(&self) -> Result<Option<String>> {
        let Some((x, y)) = self.ranges() else {
            return Ok(None);
        };
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.draw(&area, x, y).map_err(|error| Error::Figure {
                figure: self.name,
                reason: error.to_string(),
            })?;
        }
        Ok(Some(on_any_page(&svg, self.name)))
    }

    /// Points that both scales can show.
    fn places(&self) -> impl Iterator<Item = (&Series, Vec<(f64, f64)>)> {
        self.series.iter().map(|series| {
            let places = series
                .points
                .iter()
                .map(|&(x, y)| (self.x.scale.place(x), self.y.scale.place(y)));
            (
                series,
                places
                    .filter(|(x, y)| x.is_finite() && y.is_finite())
                    .collect(),
            )
        })
    }

    fn ranges(&self) -> Option<((f64, f64), (f64, f64))> {
        let points: Vec<(f64, f64)> = self.places().flat_map(|(_, places)| places).collect();
        let range = |values: Vec<f64>| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let margin = ((high - low) * 0.05).max(1e-3 * high.abs()).max(1e-9);
            (low - margin, high + margin)
        };
        if points.is_empty() {
            return None;
        }
        let (xs, ys) = points.into_iter().unzip();
        Some((range(xs), range(ys)))
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        x: (f64, f64),
        y: (f64, f64),
    ) -> Result<(), Box<dyn std::error::Error>> {
        let (plot, legend) = area.split_horizontally(SIZE.0 as i32 - 210);
        let mut chart = ChartBuilder::on(&plot)
            .margin(8)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        chart
            .configure_mesh()
            .bold_line_style(GREY.mix(0.25))
            .light_line_style(TRANSPARENT)
            .axis_style(GREY)
            .x_labels(7)
            .y_labels(7)
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_label_formatter(&|place| self.x.scale.label(*place))
            .y_label_formatter(&|place| self.y.scale.label(*place))
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
            .draw()?;
        for (at, text) in &self.marks {
            let at = self.x.scale.place(*at);
            if !(x.0..x.1).contains(&at) {
                continue;
            }
            chart.draw_series(DashedLineSeries::new(
                [(at, y.0), (at, y.1)],
                2,
                4,
                GREY.stroke_width(1),
            ))?;
            let style = ("sans-serif", 11)
                .into_font()
                .color(&INK)
                .pos(Pos::new(HPos::Center, VPos::Top));
            chart.draw_series([Text::new(text.clone(), (at, y.1), style)])?;
        }
        for (series, places) in self.places() {
            let style = colour(series.stroke).stroke_width(2);
            match series.stroke.dash % DASHES.len() {
                0 => {
                    chart.draw_series(LineSeries::new(places.iter().copied(), style))?;
                }
                dash => {
                    let (on, off) = DASHES[dash];
                    chart.draw_series(DashedLineSeries::new(
                        places.iter().copied(),
                        on,
                        off,
                        style,
                    ))?;
                }
            }
            if self.dots {
                chart.draw_series(
                    places
                        .iter()
                        .map(|&place| Circle::new(place, 4, colour(series.stroke).filled())),
                )?;
            }
        }
        self.legend(&legend)
    }

    fn legend(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        for (row, series) in self.series.iter().enumerate() {
            let y = 22 + 20 * row as i32;
            let style = colour(series.stroke).stroke_width(2);
            let (on, off) = DASHES[series.stroke.dash % DASHES.len()];
            let (on, off) = (on.max(1) as i32, off as i32);
            let mut from = 4;
            while from < 34 {
                let to = if off == 0 { 34 } else { (from + on).min(34) };
                area.draw(&PathElement::new([(from, y), (to, y)], style))?;
                from = to + off.max(1);
            }
            let text = ("sans-serif", 13)
                .into_font()
                .color(&INK)
                .pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(series.name.clone(), (42, y), text))?;
        }
        Ok(())
    }
}

/// Lengths of dash and gap; the first is a whole line.
const DASHES: [(u32, u32); 4] = [(30, 0), (8, 4), (3, 4), (14, 6)];

fn colour(stroke: Stroke) -> RGBColor {
    stroke
        .colour
        .map_or(GREY, |index| PALETTE[index % PALETTE.len()])
}

/// Ink of the page, a size that shrinks with it, and a name for those who cannot see it.
fn on_any_page(svg: &str, name: &str) -> String {
    let (width, height) = SIZE;
    let head = format!("<svg width=\"{width}\" height=\"{height}\"");
    svg.replace("#000000", "currentColor").replacen(
        &head,
        &format!("<svg role=\"img\" aria-label=\"{name}\""),
        1,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let axis = |label: &str, scale| Axis {
            label: label.into(),
            scale,
        };
        Chart {
            name: "VRMSE by lead",
            x: axis("lead", Scale::Linear),
            y: axis("VRMSE", Scale::Logarithmic),
            series: vec![Series {
                name: "<ckm> & co".into(),
                stroke: Stroke {
                    colour: Some(0),
                    dash: 1,
                },
                points,
            }],
            marks: vec![(1.5, "p = 4".into())],
            dots: true,
        }
    }

    #[test]
    fn a_chart_has_its_words_escaped_and_the_pages_ink() {
        let svg = chart(vec![(1.0, 0.1), (2.0, 0.01), (3.0, f64::NAN)])
            .svg()
            .unwrap()
            .unwrap();
        assert!(svg.contains("currentColor") && !svg.contains("#000000"));
        assert!(
            svg.contains("&lt;ckm&gt; &amp; co") && svg.contains("p = 4"),
            "{svg}"
        );
    }

    #[test]
    fn what_cannot_be_shown_is_no_chart() {
        assert_eq!(
            chart(vec![(1.0, 0.0), (2.0, f64::INFINITY)]).svg().unwrap(),
            None
        );
        assert!(chart(vec![(1.0, 1.0)]).svg().unwrap().is_some());
    }
}
