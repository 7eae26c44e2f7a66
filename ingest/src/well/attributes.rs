//! Attributes and small datasets, however the writing library stored them.

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Attribute, Container, Dataset, File, Group, H5Type};

use crate::{Error, Result};

/// Longest fixed-length text that is read.
const LONGEST: usize = 256;

/// Bytes of values that are read as a whole and kept beside the shards.
pub(super) const LARGEST: usize = 64 << 20;

/// A group or dataset, with what errors need to know of it.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    pub(super) group: Group,
    pub(super) path: String,
    pub(super) file: &'a str,
}

impl<'a> Object<'a> {
    pub(super) fn root(file: &File, named: &'a str) -> Result<Self> {
        let group = file.group("/").map_err(|source| Error::Read {
            file: named.to_owned(),
            object: "/".into(),
            source,
        })?;
        Ok(Self {
            group,
            path: String::new(),
            file: named,
        })
    }

    /// A group below, if it is there.
    pub(super) fn group_opt(&self, name: &str) -> Option<Self> {
        let group = self.group.group(name).ok()?;
        Some(Self {
            group,
            path: self.below(name),
            file: self.file,
        })
    }

    pub(super) fn group(&self, name: &str) -> Result<Self> {
        self.group_opt(name)
            .ok_or_else(|| self.layout(name, "is missing"))
    }

    pub(super) fn dataset(&self, name: &str) -> Result<Dataset> {
        self.group
            .dataset(name)
            .map_err(|_| self.layout(name, "is missing"))
    }

    /// Texts of an attribute; none when it is not there.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>> {
        match self.group.attr(name) {
            Ok(attribute) => {
                let texts = texts(&attribute).map_err(|source| self.unread(name, source))?;
                texts.ok_or_else(|| self.layout(name, "is no list of texts"))
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<String> {
        let mut texts = self.texts(name)?;
        match texts.len() {
            1 => Ok(texts.remove(0)),
            0 => Err(self.layout(name, "is missing")),
            _ => Err(self.layout(name, "has more than one text")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<usize> {
        let attribute = self
            .group
            .attr(name)
            .map_err(|_| self.layout(name, "is missing"))?;
        let number = attribute
            .read_scalar::<i64>()
            .ok()
            .or_else(|| all::<i64>(&attribute).ok()?.first().copied());
        number
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| self.layout(name, "is no count"))
    }

    /// The values of a dataset of one number, or of a list of them.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f64>> {
        let dataset = self.dataset(name)?;
        let values = if dataset.is_scalar() {
            dataset.read_scalar::<f64>().map(|value| vec![value])
        } else {
            all(&dataset)
        };
        values.map_err(|source| self.unread(name, source))
    }

    /// A flag of a dataset or group below, `otherwise` when it does not have it.
    pub(super) fn flag(&self, at: &hdf5::Location, name: &str, otherwise: bool) -> Result<bool> {
        let flags = self.flags(at, name)?;
        Ok(flags.first().copied().unwrap_or(otherwise))
    }

    pub(super) fn flags(&self, at: &hdf5::Location, name: &str) -> Result<Vec<bool>> {
        let Ok(attribute) = at.attr(name) else {
            return Ok(Vec::new());
        };
        flags(&attribute).ok_or_else(|| self.layout(&format!("{}@{name}", at.name()), "is no flag"))
    }

    fn unread(&self, name: &str, source: hdf5::Error) -> Error {
        Error::Read {
            file: self.file.to_owned(),
            object: self.below(name),
            source,
        }
    }

    pub(super) fn layout(&self, name: &str, reason: impl Into<String>) -> Error {
        Error::Layout {
            file: self.file.to_owned(),
            object: self.below(name),
            reason: reason.into(),
        }
    }

    fn below(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

/// All values of an attribute or dataset: a damaged one may claim more than there is memory for.
pub(super) fn all<T: H5Type>(at: &Container) -> hdf5::Result<Vec<T>> {
    match at.size().saturating_mul(size_of::<T>()) {
        bytes if bytes > LARGEST => Err(format!("it claims {bytes} bytes of values").into()),
        _ => at.read_raw(),
    }
}

/// The texts of an attribute or dataset, if it has a type of texts that are short enough.
pub(super) fn texts(at: &Container) -> hdf5::Result<Option<Vec<String>>> {
    fn of<T: H5Type>(
        at: &Container,
        bytes: impl Fn(&T) -> &[u8],
    ) -> hdf5::Result<Option<Vec<String>>> {
        let texts = all::<T>(at)?;
        let texts = texts.iter().map(|text| utf8(bytes(text).to_vec()));
        texts.collect::<hdf5::Result<_>>().map(Some)
    }
    if at.size() == 0 {
        return Ok(Some(Vec::new()));
    }
    match at.dtype()?.to_descriptor()? {
        TypeDescriptor::VarLenUnicode => of::<VarLenUnicode>(at, |text| text.as_bytes()),
        TypeDescriptor::VarLenAscii => of::<VarLenAscii>(at, |text| text.as_bytes()),
        TypeDescriptor::FixedUnicode(bytes) if bytes <= LONGEST => {
            of::<FixedUnicode<LONGEST>>(at, |text| text.as_bytes())
        }
        TypeDescriptor::FixedAscii(bytes) if bytes <= LONGEST => {
            of::<FixedAscii<LONGEST>>(at, |text| text.as_bytes())
        }
        _ => Ok(None),
    }
}

/// A text from a file. The bindings take any bytes for UTF-8.
pub(super) fn utf8(bytes: Vec<u8>) -> hdf5::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        format!("{text:?} is no UTF-8").into()
    })
}

/// Truth values are read as numbers: the bindings would take any byte of a file for a `bool`.
fn flags(attribute: &Attribute) -> Option<Vec<bool>> {
    let values = all::<i64>(attribute).ok()?;
    Some(values.iter().map(|&flag| flag != 0).collect())
}
