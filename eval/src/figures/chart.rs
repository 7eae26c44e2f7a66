//! [`Chart`]: a chart of lines, its content and its layout on the sheet.

use plotters::prelude::DrawingBackend;
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, VPos};

use super::legend::Legend;
use super::scale::{AxisScale, Tick};
use super::series::Series;
use super::sheet::{Anchor, Failure, INK, Point, Sheet, Type, WIDTH};
use super::style::{GREY, Marker};

/// One side of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) scale: AxisScale,
}

/// Marks above a chart that belong together: the harmonics of a patch size.
#[derive(Debug, Clone)]
pub(crate) struct Comb {
    pub(crate) label: String,
    /// Along x.
    pub(crate) teeth: Vec<f64>,
}

/// A chart with at least one point that its scales can show.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) title: String,
    x: Side,
    y: Side,
    /// Series of the chart, whose points are places on the scales.
    series: Vec<Series>,
    combs: Vec<Comb>,
}

/// An axis with its range, in places.
#[derive(Debug, Clone)]
struct Side {
    axis: Axis,
    low: f64,
    high: f64,
}

const TITLE: f64 = 28.0;
const TOOTH: f64 = 17.0;
const PLOT: f64 = 300.0;
const BELOW: f64 = 46.0;
const RIGHT: f64 = 14.0;
/// Points up to which each is marked.
const FEW: usize = 16;

impl Chart {
    /// Makes a chart; none if no point can be shown.
    pub(crate) fn new(
        title: String,
        [x, y]: [Axis; 2],
        series: Vec<Series>,
        combs: Vec<Comb>,
    ) -> Option<Self> {
        let all = series.iter().flat_map(|series| &series.points);
        let (xs, ys) = (all.clone().map(|point| point.0), all.map(|point| point.1));
        let settled = |axis: Axis, scale| Axis { scale, ..axis };
        let (x_scale, y_scale) = (x.scale.settle(xs), y.scale.settle(ys));
        let place = |(x, y): Point| (x_scale.place(x), y_scale.place(y));
        let placed = series.into_iter().map(|series| {
            let places = series.points.iter().copied().map(place);
            let points = places.filter(|(x, y)| x.is_finite() && y.is_finite());
            Series {
                points: points.collect(),
                ..series
            }
        });
        let series: Vec<Series> = placed.filter(|series| !series.points.is_empty()).collect();
        let all = series.iter().flat_map(|series| &series.points);
        Some(Self {
            x: Side::around(settled(x, x_scale), all.clone().map(|point| point.0))?,
            y: Side::around(settled(y, y_scale), all.map(|point| point.1))?,
            title,
            series,
            combs,
        })
    }

    /// Width and height in points.
    pub(crate) fn size(&self) -> (u32, u32) {
        let height = self.below_plot() + BELOW + self.legend().height() + 6.0;
        (WIDTH as u32, height.ceil() as u32)
    }

    pub(crate) fn draw<B: DrawingBackend>(&self, sheet: &Sheet<'_, B>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let frame = self.frame();
        sheet.title(&self.title)?;
        frame.combs(sheet)?;
        frame.sides(sheet)?;
        for series in &self.series {
            frame.series(sheet, series)?;
        }
        let top = self.below_plot() + BELOW;
        self.legend().draw(sheet, top)
    }

    fn legend(&self) -> Legend<'_> {
        Legend(&self.series)
    }

    fn above_plot(&self) -> f64 {
        TITLE + TOOTH * self.combs.len() as f64 + 4.0
    }

    fn below_plot(&self) -> f64 {
        self.above_plot() + PLOT
    }

    fn frame(&self) -> Frame<'_> {
        let ticks = [self.x.ticks(7), self.y.ticks(6)];
        let widths = ticks[1].iter().map(|tick| Type::Small.width(&tick.label));
        let combs = self.combs.iter().map(|comb| Type::Small.width(&comb.label));
        let labels = widths.fold(0.0, f64::max) + 26.0;
        Frame {
            chart: self,
            left: combs.fold(labels, f64::max) + 10.0,
            ticks,
        }
    }
}

impl Side {
    /// The range of some places, with a margin.
    fn around(axis: Axis, places: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let low = places.clone().fold(f64::INFINITY, f64::min);
        let high = places.fold(f64::NEG_INFINITY, f64::max);
        let largest = low.abs().max(high.abs());
        let margin = ((high - low) * 0.05).max(1e-3 * largest);
        // Around zero alone any range will do.
        let margin = if largest == 0.0 { 1e-9 } else { margin };
        let (low, high) = (low - margin, high + margin);
        (high - low).is_finite().then_some(Self { axis, low, high })
    }

    fn ticks(&self, most: usize) -> Vec<Tick> {
        self.axis.scale.ticks(self.low, self.high, most)
    }

    /// Position of `place` between two coordinates of the sheet.
    fn between(&self, place: f64, from: f64, to: f64) -> f64 {
        from + (place - self.low) / (self.high - self.low) * (to - from)
    }
}

/// The plot within a chart.
struct Frame<'a> {
    chart: &'a Chart,
    left: f64,
    /// Along x and y.
    ticks: [Vec<Tick>; 2],
}

impl Frame<'_> {
    fn x(&self, place: f64) -> f64 {
        self.chart.x.between(place, self.left, WIDTH - RIGHT)
    }

    fn y(&self, place: f64) -> f64 {
        let chart = self.chart;
        chart
            .y
            .between(place, chart.below_plot(), chart.above_plot())
    }

    fn sides<B: DrawingBackend>(&self, sheet: &Sheet<'_, B>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let (top, bottom) = (self.chart.above_plot(), self.chart.below_plot());
        let right = WIDTH - RIGHT;
        let grid = GREY.mix(0.25);
        for tick in &self.ticks[0] {
            let x = self.x(tick.place);
            sheet.line(&[(x, top), (x, bottom)], grid, 1.0)?;
            let anchor = Anchor(HPos::Center, VPos::Top);
            sheet.text(&tick.label, (x, bottom + 5.0), Type::Small, anchor)?;
        }
        for tick in &self.ticks[1] {
            let y = self.y(tick.place);
            sheet.line(&[(self.left, y), (right, y)], grid, 1.0)?;
            let anchor = Anchor(HPos::Right, VPos::Center);
            sheet.text(&tick.label, (self.left - 6.0, y), Type::Small, anchor)?;
        }
        let corner = [(self.left, top), (self.left, bottom), (right, bottom)];
        sheet.line(&corner, GREY.to_rgba(), 1.0)?;
        let middle = f64::midpoint(self.left, right);
        let anchor = Anchor(HPos::Center, VPos::Top);
        let label = &self.chart.x.axis.label;
        sheet.text(label, (middle, bottom + 23.0), Type::Normal, anchor)?;
        let label = &self.chart.y.axis.label;
        sheet.upward(label, (13.0, f64::midpoint(top, bottom)), Type::Normal)
    }

    /// Teeth above the plot, and a faint line down from the first of each comb.
    fn combs<B: DrawingBackend>(&self, sheet: &Sheet<'_, B>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let chart = self.chart;
        for (row, comb) in chart.combs.iter().enumerate() {
            let top = TITLE + TOOTH * row as f64;
            let anchor = Anchor(HPos::Right, VPos::Center);
            let at = (self.left - 6.0, top + TOOTH / 2.0);
            sheet.text(&comb.label, at, Type::Small, anchor)?;
            let places = comb
                .teeth
                .iter()
                .map(|&tooth| chart.x.axis.scale.place(tooth));
            let seen = places.filter(|place| (chart.x.low..=chart.x.high).contains(place));
            for (index, place) in seen.enumerate() {
                let x = self.x(place);
                sheet.line(&[(x, top + 4.0), (x, top + TOOTH - 2.0)], INK.mix(0.8), 1.0)?;
                if index == 0 {
                    let down = [(x, top + TOOTH - 2.0), (x, chart.below_plot())];
                    sheet.line(&down, GREY.mix(0.6), 1.0)?;
                }
            }
        }
        Ok(())
    }

    fn series<B: DrawingBackend>(
        &self,
        sheet: &Sheet<'_, B>,
        series: &Series,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let places = series.points.iter().map(|&(x, y)| (self.x(x), self.y(y)));
        let points: Vec<Point> = places.collect();
        if points.len() > 1 {
            sheet.stroke(&points, series.stroke)?;
        }
        let few = points.len() <= FEW;
        if few || series.stroke.marker() != Marker::Disc {
            let every = if few { 1 } else { points.len() / 8 };
            for &point in points.iter().step_by(every) {
                sheet.marker(point, series.stroke)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::figures::drawing::Drawing;
    use crate::figures::style::Stroke;
    use crate::figures::vector::{Paper, svg};

    fn chart(lines: Vec<(&str, Vec<Point>)>) -> Option<Chart> {
        let axis = |label: &str, scale| Axis {
            label: label.into(),
            scale,
        };
        let series = lines
            .into_iter()
            .enumerate()
            .map(|(model, (name, points))| Series {
                name: name.into(),
                stroke: Stroke {
                    model: Some(model),
                    schedule: model,
                },
                points,
            });
        let comb = Comb {
            label: "p = 4".into(),
            teeth: vec![1.5],
        };
        Chart::new(
            "VRMSE \"by\" lead".into(),
            [
                axis("lead", AxisScale::Linear),
                axis("VRMSE", AxisScale::Logarithmic),
            ],
            series.collect(),
            vec![comb],
        )
    }

    fn drawn(chart: Chart, paper: Paper) -> String {
        svg(&Drawing::Chart(chart), paper).unwrap()
    }

    #[test]
    fn a_chart_has_its_words_escaped_and_the_pages_ink() {
        let points = vec![(1.0, 0.1), (2.0, 0.01), (3.0, f64::NAN)];
        let chart = chart(vec![("<ckm> & co", points)]).unwrap();
        let page = drawn(chart.clone(), Paper::Page);
        assert!(page.contains("currentColor") && !page.contains("#000000"));
        assert!(
            page.contains("&lt;ckm&gt; &amp; co") && page.contains("p = 4"),
            "{page}"
        );
        assert!(
            page.contains("aria-label=\"VRMSE &quot;by&quot; lead\""),
            "{page}"
        );
        let file = drawn(chart, Paper::White);
        assert!(
            file.contains("#000000") && file.contains("#FFFFFF"),
            "{file}"
        );
        assert!(file.starts_with("<svg width=\"640\""), "{file}");
    }

    #[test]
    fn what_cannot_be_shown_is_no_chart() {
        assert!(chart(vec![("a", vec![(1.0, 0.0), (2.0, f64::INFINITY)])]).is_none());
        assert!(chart(Vec::new()).is_none());
        let one = chart(vec![("a", vec![(1.0, 1.0)]), ("b", vec![(1.0, -1.0)])]).unwrap();
        assert_eq!(one.series.len(), 1);
    }

    #[test]
    fn many_lines_make_room_for_their_names() {
        let name = "a model whose name goes on, with a schedule 4,8,16";
        let few = chart(vec![(name, vec![(1.0, 1.0), (2.0, 2.0)]); 2]).unwrap();
        let many = chart(vec![(name, vec![(1.0, 1.0), (2.0, 2.0)]); 30]).unwrap();
        assert!(many.size().1 > few.size().1 + 200);
        assert_eq!(drawn(many, Paper::White).matches("goes on").count(), 30);
    }
}
