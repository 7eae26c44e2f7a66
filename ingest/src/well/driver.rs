//! The driver through which the HDF5 library reads a file, local or remote. All unsafe code of this crate
//! is here, except for one call in `kind.rs`.
//!
//! It opens only the file that it was made for, and none that this file names. The library calls the
//! functions of a [`Class`] with a file that [`open`] made, always under its global lock. See "HDF5 Virtual
//! File Layer" and `H5FDdevelop.h` of HDF5 2.
#![expect(unsafe_code, reason = "the HDF5 library is written in C")]

use std::ffi::{CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, OnceLock};

use hdf5::plist::FileAccess;
use hdf5::{File, h5check};
use hdf5_sys::h5::{haddr_t, herr_t};
use hdf5_sys::h5e::{H5E_DEFAULT, H5E_ERR_CLS, H5E_READERROR, H5E_VFL, H5Epush2};
use hdf5_sys::h5f::{H5F_ACC_RDONLY, H5F_CLOSE_WEAK, H5F_close_degree_t, H5F_mem_t, H5Fopen};
use hdf5_sys::h5fd::{H5FD_FEAT_DATA_SIEVE, H5FD_FLMAP_SINGLE, H5FD_class_t, H5FDregister};
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5p::{H5Pget_driver_info, H5Pset_driver};
use wellspring_store::with_causes;

use super::heap;
use crate::source::extents::ReadAt;

/// A file as the library is given it.
#[derive(Clone)]
struct DriverFile {
    bytes: Arc<dyn ReadAt>,
    size: u64,
    /// Offset in the file from which the file's own addresses count.
    base: u64,
}

/// Opens a file of some bytes for reading.
pub(super) fn open(bytes: Arc<dyn ReadAt>) -> hdf5::Result<File> {
    let size = bytes.length().map_err(|error| error.to_string())?;
    let base = heap::base(bytes.as_ref(), size).map_err(|error| error.to_string())?;
    let given = DriverFile { bytes, size, base };
    hdf5::sync::sync(|| {
        let driver = driver()?;
        let access = FileAccess::try_new()?;
        let info: *const DriverFile = &raw const given;
        // SAFETY: the list is valid; the library copies the information by `copy_info`.
        h5check(unsafe { H5Pset_driver(access.id(), driver, info.cast()) })?;
        // SAFETY: the name ends in a zero. `open_file` does not look at it.
        let file = h5check(unsafe { H5Fopen(c"given".as_ptr(), H5F_ACC_RDONLY, access.id()) })?;
        // SAFETY: the handle is that of a file, and nobody else's.
        unsafe { hdf5::from_id(file) }
    })
}

/// The driver's handle, registered when it is first asked for.
fn driver() -> hdf5::Result<hid_t> {
    static DRIVER: OnceLock<hid_t> = OnceLock::new();
    if let Some(driver) = DRIVER.get() {
        return Ok(*driver);
    }
    let class = Class::new();
    // SAFETY: `Class` is laid out as the library has it, which makes a copy of it.
    let driver = h5check(unsafe { H5FDregister((&raw const class).cast::<H5FD_class_t>()) })?;
    Ok(*DRIVER.get_or_init(|| driver))
}

/// `H5FD_class_t` as HDF5 2 has it; the bindings have that of HDF5 1.10. The library refuses a struct
/// of another version. Functions that a driver need not have are absent.
#[repr(C)]
struct Class {
    version: c_uint,
    value: c_int,
    name: *const c_char,
    maxaddr: haddr_t,
    fc_degree: H5F_close_degree_t,
    terminate: Absent,
    superblock: [Absent; 3],
    fapl_size: usize,
    fapl_get: Absent,
    fapl_copy: unsafe extern "C" fn(*const c_void) -> *mut c_void,
    fapl_free: unsafe extern "C" fn(*mut c_void) -> herr_t,
    dxpl_size: usize,
    dxpl: [Absent; 2],
    open: unsafe extern "C" fn(*const c_char, c_uint, hid_t, haddr_t) -> *mut OpenFile,
    close: unsafe extern "C" fn(*mut OpenFile) -> herr_t,
    cmp: Absent,
    query: unsafe extern "C" fn(*const OpenFile, *mut c_ulong) -> herr_t,
    get_type_map: Absent,
    alloc_free: [Absent; 2],
    get_eoa: unsafe extern "C" fn(*const OpenFile, H5F_mem_t) -> haddr_t,
    set_eoa: unsafe extern "C" fn(*mut OpenFile, H5F_mem_t, haddr_t) -> herr_t,
    get_eof: unsafe extern "C" fn(*const OpenFile, H5F_mem_t) -> haddr_t,
    get_handle: Absent,
    read: unsafe extern "C" fn(
        *mut OpenFile,
        H5F_mem_t,
        hid_t,
        haddr_t,
        usize,
        *mut c_void,
    ) -> herr_t,
    write: unsafe extern "C" fn(
        *mut OpenFile,
        H5F_mem_t,
        hid_t,
        haddr_t,
        usize,
        *const c_void,
    ) -> herr_t,
    vectors_and_selections: [Absent; 4],
    flush_truncate_lock_unlock: [Absent; 4],
    delete_control: [Absent; 2],
    free_lists: [H5F_mem_t; 7],
}

/// A function that the driver does not have.
type Absent = Option<unsafe extern "C" fn()>;

impl Class {
    fn new() -> Self {
        Self {
            version: 1,
            // Values from 512 on are given out by the HDF Group.
            value: 511,
            name: c"wellspring".as_ptr(),
            maxaddr: i64::MAX as haddr_t,
            fc_degree: H5F_CLOSE_WEAK,
            terminate: None,
            superblock: [None; 3],
            fapl_size: size_of::<DriverFile>(),
            fapl_get: None,
            fapl_copy: copy_info,
            fapl_free: free_info,
            dxpl_size: 0,
            dxpl: [None; 2],
            open: open_file,
            close: close_file,
            cmp: None,
            query,
            get_type_map: None,
            alloc_free: [None; 2],
            get_eoa,
            set_eoa,
            get_eof,
            get_handle: None,
            read,
            write,
            vectors_and_selections: [None; 4],
            flush_truncate_lock_unlock: [None; 4],
            delete_control: [None; 2],
            free_lists: H5FD_FLMAP_SINGLE,
        }
    }
}

/// What the library knows of an open file.
#[repr(C)]
struct OpenFile {
    /// The library's own `H5FD_t`, of 11 words, and room for what it may become.
    common: [u64; 32],
    given: DriverFile,
    /// End of the file as the library knows it.
    end: haddr_t,
}

/// # Safety
/// `info` is what was given to `H5Pset_driver`, or what this function made.
unsafe extern "C" fn copy_info(info: *const c_void) -> *mut c_void {
    // SAFETY: so the caller says.
    let given = unsafe { &*info.cast::<DriverFile>() };
    Box::into_raw(Box::new(given.clone())).cast()
}

/// # Safety
/// `info` was made by `copy_info`, and is not used again.
unsafe extern "C" fn free_info(info: *mut c_void) -> herr_t {
    // SAFETY: so the caller says.
    drop(unsafe { Box::from_raw(info.cast::<DriverFile>()) });
    0
}

/// # Safety
/// `access` is a list of file access properties with this driver.
unsafe extern "C" fn open_file(
    _name: *const c_char,
    flags: c_uint,
    access: hid_t,
    _: haddr_t,
) -> *mut OpenFile {
    // SAFETY: the list is valid; what it gives stays the list's.
    let info = unsafe { H5Pget_driver_info(access) }.cast::<DriverFile>();
    // A file that another links to has no information: its driver cannot be had from the file's.
    if info.is_null() || flags != H5F_ACC_RDONLY {
        return ptr::null_mut();
    }
    // SAFETY: the information of this driver is of this type.
    let given = unsafe { &*info }.clone();
    Box::into_raw(Box::new(OpenFile {
        common: [0; 32],
        given,
        end: 0,
    }))
}

/// # Safety
/// `file` was made by `open_file`, and is not used again.
unsafe extern "C" fn close_file(file: *mut OpenFile) -> herr_t {
    // SAFETY: so the caller says.
    drop(unsafe { Box::from_raw(file) });
    0
}

/// # Safety
/// `flags` can be written.
unsafe extern "C" fn query(_: *const OpenFile, flags: *mut c_ulong) -> herr_t {
    // SAFETY: so the caller says.
    unsafe { *flags = H5FD_FEAT_DATA_SIEVE.into() };
    0
}

/// # Safety
/// `file` is open.
unsafe extern "C" fn get_eoa(file: *const OpenFile, _: H5F_mem_t) -> haddr_t {
    // SAFETY: so the caller says.
    unsafe { (*file).end }
}

/// # Safety
/// `file` is open, and nobody else uses it.
unsafe extern "C" fn set_eoa(file: *mut OpenFile, _: H5F_mem_t, end: haddr_t) -> herr_t {
    // SAFETY: so the caller says.
    unsafe { (*file).end = end };
    0
}

/// # Safety
/// `file` is open.
unsafe extern "C" fn get_eof(file: *const OpenFile, _: H5F_mem_t) -> haddr_t {
    // SAFETY: so the caller says.
    unsafe { (*file).given.size }
}

/// # Safety
/// `file` is open, and `buffer` has room for `size` bytes.
unsafe extern "C" fn read(
    file: *mut OpenFile,
    _: H5F_mem_t,
    _: hid_t,
    address: haddr_t,
    size: usize,
    buffer: *mut c_void,
) -> herr_t {
    // SAFETY: so the caller says. The bytes may not have been written before, so they are now.
    let (given, into) = unsafe {
        ptr::write_bytes(buffer.cast::<u8>(), 0, size);
        let into = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size);
        (&(*file).given, into)
    };
    let read = catch_unwind(AssertUnwindSafe(|| {
        given.bytes.read_at(address, into)?;
        heap::check(given.bytes.as_ref(), given.base, address, into)
    }));
    match read {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => refuse(&with_causes(&error)),
        Err(_) => refuse("a defect of this program"),
    }
}

/// # Safety
/// None is needed.
unsafe extern "C" fn write(
    _: *mut OpenFile,
    _: H5F_mem_t,
    _: hid_t,
    _: haddr_t,
    _: usize,
    _: *const c_void,
) -> herr_t {
    refuse("files are only read")
}

/// Lets the library's error say why.
fn refuse(reason: &str) -> herr_t {
    let reason = CString::new(reason.replace('\0', " ")).unwrap_or_default();
    // SAFETY: every text ends in a zero, and the library has its handles while it calls a driver.
    unsafe {
        H5Epush2(
            H5E_DEFAULT,
            c"driver.rs".as_ptr(),
            c"read".as_ptr(),
            line!(),
            *H5E_ERR_CLS,
            *H5E_VFL,
            *H5E_READERROR,
            c"%s".as_ptr(),
            reason.as_ptr(),
        );
    }
    -1
}
