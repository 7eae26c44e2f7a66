//! Runs programs on the CPU: the emulator runs the kernels of a GPU over Candle's CPU storage.
#![allow(unsafe_code, reason = "kernels take addresses")]

use std::cell::Cell;
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use candle_core::{CpuStorage, DType, Result, Storage, bail};
use half::bf16;
use wellspring_emulator as emulator;

use super::launch::{Launch, NewBuffer};
use super::machine::{Machine, Value};
use super::product::{Operand, Product, Sizes};

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

/// Whether ops of this thread take the way of a GPU.
pub(super) fn is_on() -> bool {
    ON.get()
}

/// Calls `body` with the ops of this thread on the emulator.
pub(super) fn emulated<R>(body: impl FnOnce() -> R) -> R {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ON.set(false);
        }
    }
    ON.set(true);
    let _off = Off;
    body()
}

/// What a program makes is NaN until a kernel writes it.
impl Machine for CpuStorage {
    fn of(storage: &Storage) -> Option<&Self> {
        match storage {
            Storage::Cpu(storage) => Some(storage),
            _ => None,
        }
    }

    fn into_storage(self) -> Storage {
        Storage::Cpu(self)
    }

    fn unwritten(&self, made: &NewBuffer) -> Result<Self> {
        let count = made.shape.elem_count();
        Ok(match made.dtype {
            DType::F32 => Self::F32(vec![f32::NAN; count]),
            DType::BF16 => Self::BF16(vec![bf16::NAN; count]),
            DType::F64 => Self::F64(vec![f64::NAN; count]),
            DType::U32 => Self::U32(vec![u32::MAX; count]),
            other => bail!("no kernel writes {other:?}"),
        })
    }

    fn address(&self, from: usize) -> Result<u64> {
        let address = match self {
            Self::F32(values) => values[from..].as_ptr().expose_provenance(),
            Self::BF16(values) => values[from..].as_ptr().expose_provenance(),
            Self::F64(values) => values[from..].as_ptr().expose_provenance(),
            Self::U32(values) => values[from..].as_ptr().expose_provenance(),
            _ => bail!("no kernel takes these numbers"),
        };
        Ok(address as u64)
    }

    fn start(&self, _: &'static str, launch: &Launch, addresses: &[u64]) -> Result<()> {
        start(launch, addresses)
    }

    fn multiply(&self, product: &Product, addresses: &[u64]) -> Result<()> {
        multiply(product, addresses)
    }
}

fn start(launch: &Launch, addresses: &[u64]) -> Result<()> {
    let extent = emulator::Extent {
        grid: launch.extent.grid,
        threads: launch.extent.threads,
        shared: launch.extent.shared,
    };
    let args = launch.args.iter();
    let args = args.map(|arg| bytes(&Value::of(arg, addresses)));
    let mut args: Vec<Vec<u8>> = args.collect();
    // SAFETY: the addresses are those of the program's buffers, which live through the launch.
    unsafe { emulator::launch(&launch.kernel, extent, &mut args) }.map_err(candle_core::Error::wrap)
}

/// A product as BLAS defines it, element by element.
fn multiply(product: &Product, addresses: &[u64]) -> Result<()> {
    let (Sizes { m, n, k }, numbers) = (product.sizes, product.numbers);
    let factor = |of: &Operand, row: usize, column: usize| {
        let (row, column) = if of.transposed {
            (column, row)
        } else {
            (row, column)
        };
        number(
            addresses[of.buffer.0],
            numbers.factors,
            row + column * of.leading,
        )
    };
    for row in 0..m {
        let bias = product.bias.map_or(Ok(0.0), |bias| {
            number(addresses[bias.0], numbers.result, row)
        })?;
        for column in 0..n {
            let mut sum = bias;
            for i in 0..k {
                sum += factor(&product.a, row, i)? * factor(&product.b, i, column)?;
            }
            let (d, at) = (addresses[product.d.0] as usize, row + column * m);
            // SAFETY: the program made d for m × n numbers.
            match numbers.result {
                DType::F32 => unsafe { *with_exposed_provenance_mut::<f32>(d).add(at) = sum },
                DType::BF16 => unsafe {
                    *with_exposed_provenance_mut::<bf16>(d).add(at) = bf16::from_f32(sum);
                },
                other => bail!("no product is of {other:?}"),
            }
        }
    }
    Ok(())
}

/// One number of a buffer.
fn number(address: u64, dtype: DType, at: usize) -> Result<f32> {
    let address = address as usize;
    // SAFETY: programs ask for numbers within their buffers.
    Ok(match dtype {
        DType::F32 => unsafe { *with_exposed_provenance::<f32>(address).add(at) },
        DType::BF16 => unsafe { *with_exposed_provenance::<bf16>(address).add(at) }.to_f32(),
        other => bail!("no product is of {other:?}"),
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Word(word) => word.to_ne_bytes().to_vec(),
        Value::Int(int) => int.to_ne_bytes().to_vec(),
        Value::Float(float) => float.to_ne_bytes().to_vec(),
        Value::Table(table) => table.iter().flat_map(|x| x.to_ne_bytes()).collect(),
    }
}
