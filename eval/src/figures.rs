//! Figures as SVG that takes its ink from the page: text and axes are `currentColor`, so one figure
//! serves light and dark. Series have the colours of Okabe and Ito, which colour-blind eyes tell
//! apart; dashes tell schedules apart within a model.

mod chart;
mod fields;

pub(crate) use chart::{Axis, Chart, Scale, Series, Stroke};
pub(crate) use fields::triptych;
