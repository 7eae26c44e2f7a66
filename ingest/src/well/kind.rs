//! Classifies HDF5 types: those whose values can be kept, and a name for each of the others.
#![expect(
    unsafe_code,
    reason = "the bindings do not tell the class of a type that they cannot describe"
)]

use std::ffi::c_int;

use hdf5::Datatype;
use hdf5_sys::h5i::hid_t;

/// A class of HDF5's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Float,
    Text,
    /// Names for integers; truth values are such, as h5py writes them.
    Enumeration,
    /// Any other, in words that follow "its type is".
    Other(&'static str),
}

unsafe extern "C" {
    /// The bindings' own declaration gives an enumeration that lacks newer classes.
    fn H5Tget_class(kind: hid_t) -> c_int;
}

impl Kind {
    pub(super) fn of(kind: &Datatype) -> hdf5::Result<Self> {
        // SAFETY: the handle is that of a type, for as long as it is borrowed.
        let class = hdf5::sync::sync(|| unsafe { H5Tget_class(kind.id()) });
        // The values of `H5T_class_t`.
        Ok(match class {
            0 => Self::Integer,
            1 => Self::Float,
            2 => Self::Other("a time"),
            3 => Self::Text,
            4 => Self::Other("a field of bits"),
            5 => Self::Other("opaque"),
            6 => Self::Other("a compound"),
            7 => Self::Other("a reference"),
            8 => Self::Enumeration,
            9 => Self::Other("a list of any length"),
            10 => Self::Other("an array"),
            11 => Self::Other("a complex number"),
            known if known >= 0 => Self::Other("unknown to this program"),
            _ => return Err("its type is damaged".into()),
        })
    }
}
