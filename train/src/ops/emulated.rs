//! Programs on the CPU: the emulator runs the kernels that a GPU would, over Candle's CPU storage.
#![allow(unsafe_code, reason = "kernels take addresses")]

use std::cell::Cell;
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use candle_core::{CpuStorage, DType, Layout, Result, Shape, bail};
use half::bf16;
use wellspring_emulator as emulator;

use super::product::{Operand, Product, Sizes};
use super::program::{Arg, Buffer, Launch, Made, Program, Step, TABLE};

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

/// Runs a program over contiguous inputs. What it makes is NaN until a kernel writes it.
pub(super) fn run(
    program: &Program,
    inputs: &[(&CpuStorage, &Layout)],
) -> Result<Vec<(CpuStorage, Shape)>> {
    let mut made = program
        .made
        .iter()
        .map(unwritten)
        .collect::<Result<Vec<_>>>()?;
    let mut addresses = inputs
        .iter()
        .map(|(storage, layout)| match layout.contiguous_offsets() {
            Some((from, _)) => address(storage, from),
            None => bail!("a program takes contiguous inputs"),
        })
        .collect::<Result<Vec<_>>>()?;
    for made in &mut made {
        addresses.push(address(made, 0)?);
    }
    for step in &program.steps {
        match step {
            Step::Launch(launch) => start(launch, &addresses)?,
            Step::Product(product) => multiply(product, &addresses)?,
        }
    }
    let kept = made.into_iter().zip(&program.made);
    Ok(kept
        .filter(|(_, made)| made.result)
        .map(|(storage, made)| (storage, made.shape.clone()))
        .collect())
}

fn start(launch: &Launch, addresses: &[u64]) -> Result<()> {
    let extent = emulator::Extent {
        grid: launch.extent.grid,
        threads: launch.extent.threads,
        shared: launch.extent.shared,
    };
    let args = launch.args.iter().map(|arg| bytes(arg, addresses));
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

fn unwritten(made: &Made) -> Result<CpuStorage> {
    let count = made.shape.elem_count();
    Ok(match made.dtype {
        DType::F32 => CpuStorage::F32(vec![f32::NAN; count]),
        DType::BF16 => CpuStorage::BF16(vec![bf16::NAN; count]),
        DType::F64 => CpuStorage::F64(vec![f64::NAN; count]),
        DType::U32 => CpuStorage::U32(vec![u32::MAX; count]),
        other => bail!("no kernel writes {other:?}"),
    })
}

fn address(storage: &CpuStorage, from: usize) -> Result<u64> {
    let address = match storage {
        CpuStorage::F32(values) => values[from..].as_ptr().expose_provenance(),
        CpuStorage::BF16(values) => values[from..].as_ptr().expose_provenance(),
        CpuStorage::F64(values) => values[from..].as_ptr().expose_provenance(),
        CpuStorage::U32(values) => values[from..].as_ptr().expose_provenance(),
        _ => bail!("no kernel takes these numbers"),
    };
    Ok(address as u64)
}

fn bytes(arg: &Arg, addresses: &[u64]) -> Vec<u8> {
    let at = |buffer: &Buffer| addresses[buffer.0];
    match arg {
        Arg::Buffer(buffer) => at(buffer).to_ne_bytes().to_vec(),
        Arg::Buffers(buffers) => {
            let mut table = [0; TABLE];
            let places = table.iter_mut().zip(buffers);
            places.for_each(|(place, buffer)| *place = at(buffer));
            table.iter().flat_map(|x| x.to_ne_bytes()).collect()
        }
        Arg::Int(value) => value.to_ne_bytes().to_vec(),
        Arg::Size(value) => value.to_ne_bytes().to_vec(),
        Arg::Sizes(values) => {
            let mut table = [0; TABLE];
            let places = table.iter_mut().zip(values);
            places.for_each(|(place, value)| *place = *value);
            table.iter().flat_map(|x| x.to_ne_bytes()).collect()
        }
        Arg::Float(value) => value.to_ne_bytes().to_vec(),
    }
}
