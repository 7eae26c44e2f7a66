//! Runs the project's CUDA kernels on a CPU, for tests.
//!
//! The sources `train/src/ops/*.cu` are compiled by the C++ compiler against `cuda.h`; every CUDA thread is
//! a fiber. `emulator.cpp` describes which errors it finds, and how. It is slow, runs one launch at a time, and
//! supports only x86-64.
#![allow(unsafe_code, reason = "kernels take addresses")]

pub mod races;

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, PoisonError};

/// Why a launch was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No source has a kernel of that name.
    #[error("there is no kernel {0}")]
    NoKernel(String),
    /// Number or sizes of the arguments are not those of the kernel's parameters.
    #[error("the kernel {0} has other parameters")]
    Parameters(String),
}

/// Blocks along three axes, threads of a block, bytes of shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared: usize,
}

/// `emulator_launch` of `emulator.cpp`.
type Launch = unsafe extern "C" fn(
    *const c_char,
    *const c_uint,
    c_uint,
    usize,
    *mut *mut c_void,
    *const usize,
    usize,
) -> c_int;

unsafe extern "C" {
    fn emulator_launch(
        name: *const c_char,
        grid: *const c_uint,
        threads: c_uint,
        shared: usize,
        arguments: *mut *mut c_void,
        sizes: *const usize,
        count: usize,
    ) -> c_int;
}

/// The emulator keeps one block's threads for the whole process.
static RUNNING: Mutex<()> = Mutex::new(());

/// Names of all kernels.
pub fn kernels() -> impl Iterator<Item = &'static str> {
    env!("EMULATOR_KERNELS").split_whitespace()
}

/// Runs a kernel whose arguments are given by their bytes, as CUDA's driver takes them, and returns when all
/// blocks are done.
///
/// # Safety
/// Arguments that are addresses must be those of memory that the kernel may use, as large as it takes it to be.
///
/// # Errors
/// [`Error`], before anything ran.
pub unsafe fn launch(kernel: &str, extent: Extent, arguments: &mut [Vec<u8>]) -> Result<(), Error> {
    let _one = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let name = CString::new(kernel).map_err(|_| Error::NoKernel(kernel.to_owned()))?;
    let sizes: Vec<usize> = arguments.iter().map(Vec::len).collect();
    let mut places: Vec<*mut c_void> = arguments
        .iter_mut()
        .map(|bytes| bytes.as_mut_ptr().cast())
        .collect();
    let run = races::watching(kernel, extent).unwrap_or(emulator_launch);
    // SAFETY: the arrays live through the call; the caller answers for the addresses among them.
    let found = unsafe {
        run(
            name.as_ptr(),
            extent.grid.as_ptr(),
            extent.threads,
            extent.shared,
            places.as_mut_ptr(),
            sizes.as_ptr(),
            sizes.len(),
        )
    };
    match found {
        0 => Ok(()),
        1 => Err(Error::NoKernel(kernel.to_owned())),
        _ => Err(Error::Parameters(kernel.to_owned())),
    }
}
