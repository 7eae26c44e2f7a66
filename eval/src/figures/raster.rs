//! Turns the middle plane of a field into an image.

use base64::Engine as _;
use png::ColorType;

use super::colours::{ColourMap, SHADES};
use super::encoder::{encode, failed};
use crate::Result;
use crate::results::pictures::Picture;

/// Cells along a side of an image, at most; of larger fields every second, third … is shown.
const MOST: usize = 512;

/// A plane of a field; what is not finite is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plane {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) values: Vec<Option<f32>>,
}

impl Plane {
    /// The first axis runs down and the second to the right; of a cube the middle of its last axis,
    /// of a line one row.
    pub(crate) fn of(values: &[Option<f32>], shape: &[u32]) -> Self {
        let side = |axis: usize| shape.get(axis).map_or(1, |&n| n as usize);
        let (rows, columns) = match shape.len() {
            0 | 1 => (1, side(0)),
            _ => (side(0), side(1)),
        };
        let depth: usize = shape.iter().skip(2).map(|&n| n as usize).product();
        let (down, right) = (rows.div_ceil(MOST).max(1), columns.div_ceil(MOST).max(1));
        let cell = |row: usize, column: usize| {
            let place = (row * columns + column) * depth + depth / 2;
            values.get(place).copied().flatten()
        };
        let kept: Vec<Option<f32>> = (0..rows)
            .step_by(down)
            .flat_map(|row| {
                (0..columns)
                    .step_by(right)
                    .map(move |column| cell(row, column))
            })
            .collect();
        Self {
            rows: rows.div_ceil(down),
            columns: columns.div_ceil(right),
            values: kept,
        }
    }

    pub(crate) fn truth(picture: &Picture) -> Self {
        Self::of(&picture.truth, &picture.shape)
    }

    pub(crate) fn prediction(picture: &Picture) -> Self {
        Self::of(&picture.prediction, &picture.shape)
    }

    /// Prediction minus truth.
    pub(crate) fn error(picture: &Picture) -> Self {
        let (truth, prediction) = (Self::truth(picture), Self::prediction(picture));
        let pairs = truth.values.iter().zip(&prediction.values);
        let values = pairs.map(|(y, x)| Some((*x)? - (*y)?)).collect();
        Self { values, ..truth }
    }

    /// The finite values.
    pub(crate) fn known(&self) -> impl Iterator<Item = f32> {
        self.values
            .iter()
            .flatten()
            .copied()
            .filter(|x| x.is_finite())
    }

    pub(crate) fn drawn(&self, map: ColourMap) -> Raster {
        Raster {
            rows: self.rows,
            columns: self.columns,
            shades: self.values.iter().map(|&value| map.shade(value)).collect(),
            palette: map.palette(),
        }
    }
}

/// An image of at most 256 colours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raster {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) shades: Vec<u8>,
    pub(crate) palette: Vec<[u8; 3]>,
}

impl Raster {
    /// A colour bar from left to right.
    pub(crate) fn bar(map: ColourMap) -> Self {
        Self {
            rows: 1,
            columns: usize::from(SHADES),
            shades: (0..SHADES).collect(),
            palette: map.palette(),
        }
    }

    /// Colour of the cell at a share of the height and width.
    pub(crate) fn at(&self, down: f64, right: f64) -> [u8; 3] {
        let place = |share: f64, count: usize| ((share * count as f64) as usize).min(count - 1);
        let cell = place(down, self.rows) * self.columns + place(right, self.columns);
        self.palette[usize::from(self.shades[cell])]
    }

    /// A PNG within a URL.
    pub(crate) fn url(&self) -> Result<String> {
        let mut bytes = Vec::new();
        let size = (self.columns as u32, self.rows as u32);
        let mut encoder = encode(&mut bytes, size, ColorType::Indexed);
        encoder.set_palette(self.palette.concat());
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.shades).map_err(failed)?;
        writer.finish().map_err(failed)?;
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        Ok(format!("data:image/png;base64,{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cube_shows_its_middle() {
        let values: Vec<Option<f32>> = (0..2 * 3 * 4).map(|i| Some(i as f32)).collect();
        let plane = Plane::of(&values, &[2, 3, 4]);
        assert_eq!((plane.rows, plane.columns), (2, 3));
        assert_eq!(plane.values, [2.0, 6.0, 10.0, 14.0, 18.0, 22.0].map(Some));
    }

    #[test]
    fn a_line_is_a_row_and_a_large_field_is_thinned() {
        let line = Plane::of(&[Some(1.0); 7], &[7]);
        assert_eq!((line.rows, line.columns), (1, 7));
        let large = Plane::of(&vec![Some(1.0); 1025 * 2], &[1025, 2]);
        assert_eq!((large.rows, large.columns), (342, 2));
        assert_eq!(large.values.len(), 684);
    }
}
