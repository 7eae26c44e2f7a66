//! Truth, prediction and error side by side, as one PNG for each field.

use base64::Engine as _;

use crate::pictures::Picture;
use crate::{Error, Result};

/// Stops of viridis: even steps of lightness, safe for colour-blind eyes.
const SEQUENTIAL: [[f32; 3]; 6] = [
    [68.0, 1.0, 84.0],
    [65.0, 68.0, 135.0],
    [42.0, 120.0, 142.0],
    [34.0, 168.0, 132.0],
    [122.0, 209.0, 81.0],
    [253.0, 231.0, 37.0],
];
/// Stops from blue through white to red, white at zero.
const DIVERGING: [[f32; 3]; 5] = [
    [33.0, 102.0, 172.0],
    [146.0, 197.0, 222.0],
    [247.0, 247.0, 247.0],
    [244.0, 165.0, 130.0],
    [178.0, 24.0, 43.0],
];
/// Cells of a picture's shorter side are drawn this large at least, in points.
const SHORTEST: usize = 160;

/// Three images as data URLs, and the ranges of their colours.
pub(crate) struct Triptych {
    pub(crate) truth: String,
    pub(crate) prediction: String,
    pub(crate) error: String,
    /// Of truth and prediction.
    pub(crate) range: [f32; 2],
    /// The error's colours go from minus this to this.
    pub(crate) largest_error: f32,
}

/// Draws a picture; of a cube, the middle slice of its last axis.
///
/// # Errors
/// [`Error::Figure`] when the encoder fails.
pub(crate) fn triptych(picture: &Picture) -> Result<Triptych> {
    let (rows, columns) = plane(&picture.shape);
    let truth = slice(&picture.truth, &picture.shape);
    let prediction = slice(&picture.prediction, &picture.shape);
    let error: Vec<Option<f32>> = truth
        .iter()
        .zip(&prediction)
        .map(|(y, x)| Some((*x)? - (*y)?))
        .collect();
    let known = truth.iter().flatten();
    let low = known.clone().copied().fold(f32::INFINITY, f32::min);
    let high = known.copied().fold(f32::NEG_INFINITY, f32::max);
    let largest = error
        .iter()
        .flatten()
        .fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let draw = |values: &[Option<f32>], stops: &[[f32; 3]], low: f32, high: f32| {
        let pixels = values.iter().map(|value| {
            pixel(
                value.map(|x| (x - low) / (high - low).max(f32::MIN_POSITIVE)),
                stops,
            )
        });
        png(&pixels.collect::<Vec<_>>(), rows, columns)
    };
    Ok(Triptych {
        truth: draw(&truth, &SEQUENTIAL, low, high)?,
        prediction: draw(&prediction, &SEQUENTIAL, low, high)?,
        error: draw(&error, &DIVERGING, -largest, largest)?,
        range: [low, high],
        largest_error: largest,
    })
}

/// The first axis runs down, the second to the right; a line is one row.
fn plane(shape: &[u32]) -> (usize, usize) {
    match *shape {
        [columns] => (1, columns as usize),
        [rows, columns, ..] => (rows as usize, columns as usize),
        [] => (1, 1),
    }
}

fn slice(values: &[Option<f32>], shape: &[u32]) -> Vec<Option<f32>> {
    let depth = shape
        .get(2..)
        .unwrap_or_default()
        .iter()
        .product::<u32>()
        .max(1) as usize;
    values
        .iter()
        .skip(depth / 2)
        .step_by(depth)
        .copied()
        .collect()
}

/// What is not finite is black.
fn pixel(place: Option<f32>, stops: &[[f32; 3]]) -> [u8; 3] {
    let Some(place) = place else { return [0; 3] };
    let at = place.clamp(0.0, 1.0) * (stops.len() - 1) as f32;
    let below = (at as usize).min(stops.len() - 2);
    let part = at - below as f32;
    [0, 1, 2].map(|i: usize| (stops[below][i] * (1.0 - part) + stops[below + 1][i] * part) as u8)
}

fn png(pixels: &[[u8; 3]], rows: usize, columns: usize) -> Result<String> {
    let scale = SHORTEST.div_ceil(rows.min(columns).max(1)).max(1);
    let mut image = Vec::with_capacity(pixels.len() * 3 * scale * scale);
    for line in pixels.chunks(columns) {
        let wide: Vec<u8> = line.iter().flat_map(|pixel| pixel.repeat(scale)).collect();
        for _ in 0..scale {
            image.extend_from_slice(&wide);
        }
    }
    let mut bytes = Vec::new();
    let failed = |error: png::EncodingError| Error::Figure {
        figure: "fields",
        reason: error.to_string(),
    };
    let mut encoder =
        png::Encoder::new(&mut bytes, (columns * scale) as u32, (rows * scale) as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&image).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(format!(
        "data:image/png;base64,{}",
        base64::engine::general_purpose::STANDARD.encode(bytes)
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn zero_error_is_white_and_what_is_not_finite_is_black() {
        assert_eq!(pixel(Some(0.5), &DIVERGING), [247; 3]);
        assert_eq!(pixel(Some(0.0), &SEQUENTIAL), [68, 1, 84]);
        assert_eq!(pixel(None, &SEQUENTIAL), [0; 3]);
    }

    #[test]
    fn a_cube_shows_its_middle() {
        let values: Vec<Option<f32>> = (0..2 * 3 * 4).map(|i| Some(i as f32)).collect();
        assert_eq!(
            slice(&values, &[2, 3, 4]),
            [2.0, 6.0, 10.0, 14.0, 18.0, 22.0].map(Some)
        );
        let picture = Picture {
            trajectory: 0,
            start: 0,
            lead: 1,
            patch: "4".into(),
            field: "u".into(),
            shape: vec![2, 3, 4],
            truth: values.clone(),
            prediction: values,
        };
        let drawn = triptych(&picture).unwrap();
        assert_eq!((drawn.range, drawn.largest_error), ([2.0, 22.0], 0.0));
        assert!(drawn.error.starts_with("data:image/png;base64,"));
    }
}
