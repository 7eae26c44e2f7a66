//! Everything that a file holds beside the values of its fields, exactly as it is.

use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use hdf5::{Container, Group};
use wellspring_store::{Contents, StoredValue};

use super::attributes::{LARGEST, all, texts, utf8};
use super::{GROUPS, WellFile};
use crate::{Error, Result};

/// Reads all attributes, and all datasets but the fields.
///
/// # Errors
/// [`Error::Layout`] names what cannot be kept: a type, a size, a kind of link, a field that no list
/// names.
pub(super) fn read(well: &WellFile) -> Result<Contents> {
    let mut walk = Walk {
        well,
        contents: Contents::default(),
    };
    let root = well
        .file
        .group("/")
        .map_err(|source| walk.failed("/", source))?;
    walk.group(&root, "")?;
    Ok(walk.contents)
}

struct Walk<'a> {
    well: &'a WellFile,
    contents: Contents,
}

impl Walk<'_> {
    fn group(&mut self, at: &Group, path: &str) -> Result<()> {
        self.attributes(at, if path.is_empty() { "/" } else { path })?;
        let names = at.member_names();
        for name in names.map_err(|source| self.failed(path, source))? {
            let name = utf8(name.into_bytes()).map_err(|source| self.failed(path, source))?;
            let below = format!("{path}/{name}");
            if let Ok(group) = at.group(&name) {
                self.group(&group, &below)?;
                continue;
            }
            let Ok(dataset) = at.dataset(&name) else {
                return Err(self.refused(&below, "is neither a group nor a dataset"));
            };
            self.attributes(&dataset, &below)?;
            if self.is_field(&below)? {
                continue;
            }
            if dataset.size().saturating_mul(8) > LARGEST {
                let reason =
                    "is too large to be kept and is no field; move it to a file of its own";
                return Err(self.refused(&below, reason));
            }
            let value = self.value(&dataset, &below)?;
            self.contents.arrays.insert(below, value);
        }
        Ok(())
    }

    /// Whether a dataset is a field; one that lies among fields must be.
    fn is_field(&self, path: &str) -> Result<bool> {
        let path = &path[1..];
        let listed = self.well.stored.iter().any(|stored| stored.path == path);
        let among = GROUPS.iter().any(|(group, _)| {
            path.strip_prefix(group)
                .is_some_and(|rest| rest.starts_with('/'))
        });
        if among && !listed {
            return Err(self.refused(path, "is not named in field_names; name it or remove it"));
        }
        Ok(listed)
    }

    fn attributes(&mut self, at: &hdf5::Location, path: &str) -> Result<()> {
        let names = at.attr_names();
        for name in names.map_err(|source| self.failed(path, source))? {
            let name = utf8(name.into_bytes()).map_err(|source| self.failed(path, source))?;
            let object = format!("{path}@{name}");
            let attribute = at.attr(&name);
            let attribute = attribute.map_err(|source| self.failed(&object, source))?;
            let value = self.value(&attribute, &object)?;
            let held = self.contents.attributes.entry(path.to_owned());
            held.or_default().insert(name, value);
        }
        Ok(())
    }

    fn value(&self, at: &Container, object: &str) -> Result<StoredValue> {
        let failed = |source| self.failed(object, source);
        let stored = at.dtype().map_err(failed)?;
        let kind = stored.to_descriptor().map_err(failed)?;
        let shape = match at.space().map_err(failed)?.is_null() {
            true => vec![0],
            false => at.shape(),
        };
        macro_rules! numbers {
            ($type:ty, $name:literal) => {{
                let values = match shape.contains(&0) {
                    true => Vec::new(),
                    false => all::<$type>(at).map_err(failed)?,
                };
                let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                Ok(StoredValue::numbers(shape, $name, &bytes))
            }};
        }
        match kind {
            TypeDescriptor::Boolean => {
                // A damaged one may be any byte, which is no `bool`.
                let bytes = match shape.contains(&0) {
                    true => Vec::new(),
                    false => all::<u8>(at).map_err(failed)?,
                };
                Ok(StoredValue::numbers(shape, "bool", &bytes))
            }
            TypeDescriptor::Integer(IntSize::U1) => numbers!(i8, "i8"),
            TypeDescriptor::Integer(IntSize::U2) => numbers!(i16, "i16"),
            TypeDescriptor::Integer(IntSize::U4) => numbers!(i32, "i32"),
            TypeDescriptor::Integer(IntSize::U8) => numbers!(i64, "i64"),
            TypeDescriptor::Unsigned(IntSize::U1) => numbers!(u8, "u8"),
            TypeDescriptor::Unsigned(IntSize::U2) => numbers!(u16, "u16"),
            TypeDescriptor::Unsigned(IntSize::U4) => numbers!(u32, "u32"),
            TypeDescriptor::Unsigned(IntSize::U8) => numbers!(u64, "u64"),
            TypeDescriptor::Float(FloatSize::U4) => numbers!(f32, "f32"),
            TypeDescriptor::Float(FloatSize::U8) => numbers!(f64, "f64"),
            TypeDescriptor::FixedAscii(_)
            | TypeDescriptor::FixedUnicode(_)
            | TypeDescriptor::VarLenAscii
            | TypeDescriptor::VarLenUnicode => match texts(at).map_err(failed)? {
                Some(text) => Ok(StoredValue::Text { shape, text }),
                None => Err(self.refused(object, "is a text that cannot be read")),
            },
            other => Err(self.refused(
                object,
                &format!("has a type that cannot be kept ({other}); remove it"),
            )),
        }
    }

    fn refused(&self, object: &str, reason: &str) -> Error {
        self.well.layout(object.trim_start_matches('/'), reason)
    }

    fn failed(&self, object: &str, source: hdf5::Error) -> Error {
        Error::Read {
            file: self.well.named.clone(),
            object: object.to_owned(),
            source,
        }
    }
}
