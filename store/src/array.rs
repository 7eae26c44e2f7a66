//! What is computed with: frames of values, what goes with them, patches, windows of frames, and runs that follow
//! one another.

mod conditions;
mod frames;
mod offsets;
mod patch;
mod value;
mod window;

pub use conditions::{Conditioning, Conditions, Context};
pub use frames::Frames;
pub use offsets::Offsets;
pub use patch::Patch;
pub use value::Value;
pub use window::{Length, Window, WindowSpec};
