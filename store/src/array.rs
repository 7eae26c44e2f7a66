//! What is computed with: frames of values, patches, and windows of frames.

mod frames;
mod patch;
mod value;
mod window;

pub use frames::Frames;
pub use patch::Patch;
pub use value::Value;
pub use window::{Length, Window, WindowSpec};
