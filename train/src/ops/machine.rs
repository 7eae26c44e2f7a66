//! [`Machine`]: runs programs, on a CUDA device, or in tests on the emulator.

use candle_core::backend::BackendStorage;
use candle_core::{Result, Storage};

use super::launch::{Arg, Launch, NewBuffer, TABLE};
use super::product::Product;

/// Storage of a machine that runs programs.
pub(super) trait Machine: BackendStorage {
    /// The storage of this kind that a tensor has, if it has one.
    fn of(storage: &Storage) -> Option<&Self>;

    /// Converts to the storage of a tensor.
    fn into_storage(self) -> Storage;

    /// A buffer on this one's device, which holds anything.
    fn unwritten(&self, made: &NewBuffer) -> Result<Self>;

    /// Address of the number at index `from`.
    fn address(&self, from: usize) -> Result<u64>;

    /// Starts a kernel of `module`.cu over the addresses of a program's buffers.
    fn start(&self, module: &'static str, launch: &Launch, addresses: &[u64]) -> Result<()>;

    /// Makes a product over the addresses of a program's buffers.
    fn multiply(&self, product: &Product, addresses: &[u64]) -> Result<()>;
}

/// An argument by value, as a kernel takes it.
pub(super) enum Value {
    Word(u64),
    Int(i32),
    Float(f32),
    Table(Box<[u64; TABLE]>),
}

impl Value {
    pub(super) fn of(arg: &Arg, addresses: &[u64]) -> Self {
        match arg {
            Arg::Buffer(buffer) => Self::Word(addresses[buffer.0]),
            Arg::Buffers(buffers) => Self::table(buffers.iter().map(|buffer| addresses[buffer.0])),
            Arg::Int(value) => Self::Int(*value),
            Arg::Size(value) => Self::Word(*value as u64),
            Arg::Sizes(values) => Self::table(values.iter().map(|value| *value as u64)),
            Arg::Float(value) => Self::Float(*value),
        }
    }

    fn table(values: impl Iterator<Item = u64>) -> Self {
        let mut table = [0; TABLE];
        let places = table.iter_mut().zip(values);
        places.for_each(|(place, value)| *place = value);
        Self::Table(Box::new(table))
    }
}
