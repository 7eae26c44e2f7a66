//! Reads attributes and small datasets, however the writing library stored them.

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{
    Container, Dataset, File, Group, H5Type, IndexType, IterationOrder, LinkType, LocationType,
};

use super::enclosed;
use super::kind::Kind;
use crate::{Error, Result};

/// Bytes of values that are read as a whole and kept beside the shards.
pub(super) const LARGEST: usize = 64 << 20;

/// A group, with what errors need to know of it. What is absent is told from what cannot be read: the
/// library fails in the same way for both, so that links and attributes are listed first.
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
    pub(super) fn group_opt(&self, name: &str) -> Result<Option<Self>> {
        if !self.has(name)? {
            return Ok(None);
        }
        let group = self.group.group(name);
        Ok(Some(Self {
            group: group.map_err(|source| self.unread(name, source))?,
            path: self.below(name),
            file: self.file,
        }))
    }

    pub(super) fn group(&self, name: &str) -> Result<Self> {
        self.group_opt(name)?
            .ok_or_else(|| self.layout(name, "is missing"))
    }

    /// The groups below, without links that lead elsewhere or nowhere.
    pub(super) fn groups(&self) -> Result<Vec<Self>> {
        let mut groups = Vec::new();
        for (name, link) in links(&self.group).map_err(|source| self.unread("", source))? {
            match (link, self.group.loc_type_by_name(&name)) {
                (LinkType::Hard | LinkType::Soft, Ok(LocationType::Group)) => {
                    groups.push(self.group(&name)?);
                }
                (LinkType::Hard, Err(source)) => return Err(self.unread(&name, source)),
                _ => {}
            }
        }
        Ok(groups)
    }

    /// A dataset below, whose values lie in this file.
    pub(super) fn dataset(&self, name: &str) -> Result<Dataset> {
        if !self.has(name)? {
            return Err(self.layout(name, "is missing"));
        }
        let unread = |source| self.unread(name, source);
        let dataset = self.group.dataset(name).map_err(unread)?;
        match enclosed::objection(&dataset).map_err(unread)? {
            None => Ok(dataset),
            Some(reason) => Err(self.layout(
                name,
                format!("cannot be read: {reason}; copy it into this file, with h5repack"),
            )),
        }
    }

    /// Whether there is a link of this name within the file.
    fn has(&self, name: &str) -> Result<bool> {
        let links = links(&self.group).map_err(|source| self.unread("", source))?;
        match links.iter().find(|(known, _)| known == name) {
            None => Ok(false),
            Some((_, LinkType::External)) => {
                let reason = "lies in another file; copy it into this one";
                Err(self.layout(name, reason))
            }
            Some(_) => Ok(true),
        }
    }

    /// Texts of an attribute; none when it is not there.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>> {
        match attribute(&self.group, name).map_err(|source| self.unread(name, source))? {
            Some(attribute) => {
                let texts = Texts::read(&attribute).map_err(|source| self.unread(name, source))?;
                let texts = texts.ok_or_else(|| self.layout(name, "is not a list of texts"))?;
                Ok(texts.text)
            }
            None => Ok(Vec::new()),
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
        let unread = |source| self.unread(name, source);
        let attribute = attribute(&self.group, name).map_err(unread)?;
        let attribute = attribute.ok_or_else(|| self.layout(name, "is missing"))?;
        let number = all::<i64>(&attribute).map_err(unread)?.first().copied();
        number
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| self.layout(name, "is not a count"))
    }

    /// The numbers of a dataset below.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f64>> {
        let dataset = self.dataset(name)?;
        all(&dataset).map_err(|source| self.unread(name, source))
    }

    /// A flag of a dataset or group below, `otherwise` when it does not have it.
    pub(super) fn flag(&self, at: &hdf5::Location, name: &str, otherwise: bool) -> Result<bool> {
        let flags = self.flags(at, name)?;
        Ok(flags.first().copied().unwrap_or(otherwise))
    }

    /// Truth values, read as numbers: the bindings would take any byte of a file for a `bool`.
    pub(super) fn flags(&self, at: &hdf5::Location, name: &str) -> Result<Vec<bool>> {
        let object = || format!("{}@{name}", at.name().trim_start_matches('/'));
        let unread = |source| Error::Read {
            file: self.file.to_owned(),
            object: object(),
            source,
        };
        let Some(attribute) = attribute(at, name).map_err(unread)? else {
            return Ok(Vec::new());
        };
        let values = all::<i64>(&attribute).map_err(unread)?;
        Ok(values.iter().map(|&flag| flag != 0).collect())
    }

    pub(super) fn unread(&self, name: &str, source: hdf5::Error) -> Error {
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
        match (self.path.is_empty(), name.is_empty()) {
            (true, true) => "/".to_owned(),
            (true, false) => name.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}/{name}", self.path),
        }
    }
}

/// The links of a group and what they are, in the order of their names.
pub(super) fn links(group: &Group) -> hdf5::Result<Vec<(String, LinkType)>> {
    let links = group.links(IndexType::Name, IterationOrder::Increasing)?;
    let kinds = links.into_iter();
    Ok(kinds.map(|(name, link)| (name, link.link_type)).collect())
}

/// An attribute, if it is there.
fn attribute(at: &hdf5::Location, name: &str) -> hdf5::Result<Option<hdf5::Attribute>> {
    match at.attr_names()?.iter().any(|known| known == name) {
        true => at.attr(name).map(Some),
        false => Ok(None),
    }
}

/// Reads all values of an attribute or dataset; a damaged one may claim more than there is memory for.
pub(super) fn all<T: H5Type>(at: &Container) -> hdf5::Result<Vec<T>> {
    match at.size().saturating_mul(size_of::<T>()) {
        bytes if bytes > LARGEST => Err(format!("it claims {bytes} bytes of values").into()),
        _ => at.read_raw(),
    }
}

/// The texts of an attribute or dataset.
pub(super) struct Texts {
    pub(super) text: Vec<String>,
    /// Whether some were no UTF-8, and are taken for Latin-1, where every byte is a character.
    pub(super) latin1: bool,
}

impl Texts {
    /// Reads them, if they are texts and short enough.
    pub(super) fn read(at: &Container) -> hdf5::Result<Option<Self>> {
        if at.size() == 0 {
            return Ok(Some(Self::of(std::iter::empty())));
        }
        let kind = at.dtype()?;
        if Kind::of(&kind)? != Kind::Text {
            return Ok(None);
        }
        macro_rules! fixed {
            ($bytes:ident, $text:ident: $($longest:literal)*) => {
                match $bytes {
                    $(..=$longest => Self::all::<$text<$longest>>(at, |text| text.as_bytes()),)*
                    _ => Ok(None),
                }
            };
        }
        match kind.to_descriptor()? {
            TypeDescriptor::VarLenUnicode => Self::all::<VarLenUnicode>(at, |text| text.as_bytes()),
            TypeDescriptor::VarLenAscii => Self::all::<VarLenAscii>(at, |text| text.as_bytes()),
            TypeDescriptor::FixedUnicode(bytes) => fixed!(bytes, FixedUnicode: 256 4096 65536),
            TypeDescriptor::FixedAscii(bytes) => fixed!(bytes, FixedAscii: 256 4096 65536),
            _ => Ok(None),
        }
    }

    fn all<T: H5Type>(at: &Container, bytes: impl Fn(&T) -> &[u8]) -> hdf5::Result<Option<Self>> {
        let texts = all::<T>(at)?;
        Ok(Some(Self::of(texts.iter().map(bytes))))
    }

    /// The bindings take any bytes for UTF-8.
    fn of<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut latin1 = false;
        let text = texts.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                latin1 = true;
                bytes.iter().map(|&byte| char::from(byte)).collect()
            }
        });
        Self {
            text: text.collect(),
            latin1,
        }
    }
}
