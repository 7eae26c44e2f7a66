//! Renders drawings to SVG: as a file on white, or within a page, in the page's text colour.

use std::fmt::Write as _;

use plotters::backend::SVGBackend;
use plotters::prelude::IntoDrawingArea as _;
use plotters::style::WHITE;

use super::drawing::Drawing;
use super::sheet::Sheet;
use crate::Result;

/// Units of a point: plotters places lines at whole units.
const UNIT: u32 = 4;

/// The background on which a drawing is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paper {
    White,
    /// Text and axes are `currentColor`, so one drawing serves light and dark.
    Page,
}

pub(crate) fn svg(drawing: &Drawing, paper: Paper) -> Result<String> {
    let (width, height) = drawing.size();
    let size = (width * UNIT, height * UNIT);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let sheet = Sheet {
            area: &area,
            unit: f64::from(UNIT),
            lowered: 0.0,
        };
        let ground = match paper {
            Paper::White => area.fill(&WHITE).map_err(Into::into),
            Paper::Page => Ok(()),
        };
        let drawn = ground.and_then(|()| drawing.draw(&sheet));
        drawn.map_err(|error| drawing.failed(&error.to_string()))?;
    }
    let end = svg.rfind("</svg>").unwrap_or(svg.len());
    svg.insert_str(end, &images(drawing)?);
    let name = escaped(drawing.title());
    let head = format!("<svg width=\"{}\" height=\"{}\"", size.0, size.1);
    Ok(match paper {
        Paper::White => {
            let own = format!(
                "<svg width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{name}\""
            );
            svg.replacen(&head, &own, 1)
        }
        Paper::Page => {
            let own = format!("<svg role=\"img\" aria-label=\"{name}\"");
            let ink = |attribute: &str| format!("{attribute}=\"#000000\"");
            let page = |attribute: &str| format!("{attribute}=\"currentColor\"");
            svg.replacen(&head, &own, 1)
                .replace(&ink("fill"), &page("fill"))
                .replace(&ink("stroke"), &page("stroke"))
        }
    })
}

/// plotters has no images that stay small, so they come last.
fn images(drawing: &Drawing) -> Result<String> {
    let mut text = String::new();
    for (raster, place) in drawing.images() {
        let [x, y, width, height] = place.map(|side| side * f64::from(UNIT));
        let _ = writeln!(
            text,
            "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"{}\"/>",
            raster.url()?
        );
    }
    Ok(text)
}

/// Text within markup.
pub(crate) fn escaped(text: &str) -> String {
    // XML has no place for control characters.
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.replace(is_odd, "\u{fffd}")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
