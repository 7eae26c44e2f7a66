//! What all PNG files of figures have in common.

use png::{BitDepth, ColorType, Encoder, EncodingError};

use crate::Error;

/// An encoder of eight bits a sample.
pub(crate) fn encode(
    bytes: &mut Vec<u8>,
    (width, height): (u32, u32),
    colour: ColorType,
) -> Encoder<'static, &mut Vec<u8>> {
    let mut encoder = Encoder::new(bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    encoder
}

/// An error of the encoder.
pub(crate) fn failed(error: EncodingError) -> Error {
    Error::Figure {
        figure: "PNG",
        reason: error.to_string(),
    }
}
