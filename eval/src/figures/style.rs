//! The styles of lines: a colour for each model, a dash for each schedule, markers beyond six models.

use plotters::style::RGBColor;

/// Okabe and Ito's colours without black and yellow: colour-blind eyes tell them apart.
const PALETTE: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
pub(crate) const GREY: RGBColor = RGBColor(127, 127, 127);

/// Lengths of dash and gap, in points; the first is a whole line.
const DASHES: [Option<(i32, i32)>; 6] = [
    None,
    Some((7, 4)),
    Some((2, 3)),
    Some((13, 8)),
    Some((4, 9)),
    Some((1, 6)),
];

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stroke {
    /// Number of the model; a baseline has none and is grey.
    pub(crate) model: Option<usize>,
    /// Number of the schedule within the model.
    pub(crate) schedule: usize,
}

/// The shape of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Marker {
    Disc,
    Square,
    Triangle,
    Diamond,
    Ring,
}

impl Stroke {
    pub(crate) fn colour(self) -> RGBColor {
        self.model
            .map_or(GREY, |model| PALETTE[model % PALETTE.len()])
    }

    /// Dash and gap, none for a whole line.
    pub(crate) fn dash(self) -> Option<(i32, i32)> {
        DASHES[self.schedule % DASHES.len()]
    }

    /// Models that share a colour have markers of their own.
    pub(crate) fn marker(self) -> Marker {
        const MARKERS: [Marker; 5] = [
            Marker::Disc,
            Marker::Square,
            Marker::Triangle,
            Marker::Diamond,
            Marker::Ring,
        ];
        let round = self.model.unwrap_or_default() / PALETTE.len();
        MARKERS[round % MARKERS.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn thirty_models_of_six_schedules_look_different() {
        let all = (0..30).flat_map(|model| (0..6).map(move |schedule| (model, schedule)));
        let looks: HashSet<_> = all
            .map(|(model, schedule)| {
                let stroke = Stroke {
                    model: Some(model),
                    schedule,
                };
                let RGBColor(r, g, b) = stroke.colour();
                ((r, g, b), stroke.dash(), stroke.marker())
            })
            .collect();
        assert_eq!(looks.len(), 180);
    }
}
