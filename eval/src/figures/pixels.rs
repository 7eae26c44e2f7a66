//! Drawings as pixels, and pixels as PNG.
//!
//! A PNG is drawn by the same code as the SVG (`Drawing::draw`), on another backend of plotters. To rasterise the SVG by
//! resvg instead would add 34 crates, for text and images that plotters and `Raster` have already.

use plotters::backend::BitMapBackend;
use plotters::prelude::IntoDrawingArea as _;
use plotters::style::WHITE;
use png::ColorType;

use super::drawing::Drawing;
use super::encoder::{encode, failed};
use super::raster::Raster;
use super::sheet::Sheet;
use crate::Result;

/// Pixels of a point in a PNG.
const UNIT: usize = 2;
/// Samples of a pixel along each side: plotters draws lines without soft edges.
const SAMPLES: usize = 2;

/// An image in red, green and blue.
pub(crate) struct Pixels {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) data: Vec<u8>,
}

impl Pixels {
    /// Renders a drawing on white.
    pub(crate) fn of(drawing: &Drawing) -> Result<Self> {
        let (width, height) = drawing.size();
        let unit = UNIT * SAMPLES;
        let fine = [width, height].map(|side| side as usize * unit);
        let mut samples = vec![0; fine[0] * fine[1] * 3];
        {
            let size = (fine[0] as u32, fine[1] as u32);
            let area = BitMapBackend::with_buffer(&mut samples, size).into_drawing_area();
            let sheet = Sheet {
                area: &area,
                unit: unit as f64,
                lowered: 0.14,
            };
            let drawn = area.fill(&WHITE).map_err(Into::into);
            let drawn = drawn.and_then(|()| drawing.draw(&sheet));
            drawn.map_err(|error| drawing.failed(&error.to_string()))?;
        }
        let mut pixels = Self::reduced(&samples, fine[0], fine[1]);
        for (raster, [left, top, width, height]) in drawing.images() {
            let corners = [left, top, left + width, top + height];
            pixels.fill(raster, corners.map(|x| (x * UNIT as f64).round() as usize));
        }
        Ok(pixels)
    }

    /// Means of squares of samples.
    fn reduced(samples: &[u8], width: usize, height: usize) -> Self {
        let (wide, high) = (width / SAMPLES, height / SAMPLES);
        let mut data = Vec::with_capacity(wide * high * 3);
        for (row, column) in (0..high).flat_map(|row| (0..wide).map(move |column| (row, column))) {
            for colour in 0..3 {
                let square = (0..SAMPLES).flat_map(|y| (0..SAMPLES).map(move |x| (y, x)));
                let sum: usize = square
                    .map(|(y, x)| (row * SAMPLES + y) * width + column * SAMPLES + x)
                    .map(|place| usize::from(samples[place * 3 + colour]))
                    .sum();
                data.push((sum / (SAMPLES * SAMPLES)) as u8);
            }
        }
        Self {
            width: wide,
            height: high,
            data,
        }
    }

    fn fill(&mut self, raster: &Raster, [left, top, right, bottom]: [usize; 4]) {
        let share = |at: usize, from: usize, to: usize| (at - from) as f64 / (to - from) as f64;
        for y in top..bottom.min(self.height) {
            for x in left..right.min(self.width) {
                let colour = raster.at(share(y, top, bottom), share(x, left, right));
                let place = (y * self.width + x) * 3;
                self.data[place..place + 3].copy_from_slice(&colour);
            }
        }
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width as u32, self.height as u32)
    }

    pub(crate) fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let encoder = encode(&mut bytes, self.size(), ColorType::Rgb);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.data).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}
