//! Reads everything that a file holds beside the values of its fields, exactly; names what cannot be kept.

use std::collections::{BTreeMap, HashMap, HashSet};

use hdf5::types::{IntSize, TypeDescriptor};
use hdf5::{Container, Dataset, Group, LinkType, LocationInfo, LocationType};
use wellspring_store::{Contents, StoredValue};

use super::attributes::{LARGEST, Texts, all, links};
use super::kind::Kind;
use super::{GROUPS, WellFile, enclosed};
use crate::{Error, Result};

/// Groups in one another at most.
const DEEPEST: usize = 32;

/// Bytes of values that are kept of a file at most.
const MOST: usize = 4 * LARGEST;

/// Groups of The Well's layout: where a group has two names, the contents are kept under this one.
const KNOWN: [&str; 6] = [
    "/boundary_conditions",
    "/dimensions",
    "/scalars",
    "/t0_fields",
    "/t1_fields",
    "/t2_fields",
];

/// Reads all attributes, and all datasets but the fields, in one walk through the file's links.
///
/// # Errors
/// [`Error::Read`] for what is damaged; [`Error::Layout`] for a field that no list names.
pub(super) fn read(well: &WellFile) -> Result<Contents> {
    let mut walk = Walk {
        well,
        fields: HashSet::new(),
        known: KNOWN.iter().map(|&name| name.to_owned()).collect(),
        seen: HashMap::new(),
        soft: Vec::new(),
        bytes: 0,
        contents: Contents::default(),
    };
    for stored in &well.stored {
        let dataset = well.file.dataset(&stored.path);
        let info = dataset.and_then(|dataset| dataset.loc_info());
        let info = info.map_err(|source| walk.failed(&stored.path, source))?;
        walk.fields.insert(identity(&info));
        walk.known.insert(format!("/{}", stored.path));
    }
    let root = well.file.group("/");
    let root = root.map_err(|source| walk.failed("/", source))?;
    let info = root.loc_info().map_err(|source| walk.failed("/", source))?;
    walk.seen.insert(identity(&info), "/".into());
    walk.group(&root, "")?;
    walk.follow(&root);
    Ok(walk.contents)
}

/// What was left out of some contents, and what else a person should know of them: a sentence for each
/// reason.
pub(super) fn remarks(contents: &Contents) -> Vec<String> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (object, reason) in &contents.left_out {
        reasons.entry(reason).or_default().push(object);
    }
    let mut remarks: Vec<String> = reasons
        .into_iter()
        .map(|(reason, objects)| format!("not kept, since {reason}: {}", some(&objects)))
        .collect();
    if !contents.latin1.is_empty() {
        let objects: Vec<&str> = contents.latin1.iter().map(String::as_str).collect();
        remarks.push(format!("no UTF-8, taken for Latin-1: {}", some(&objects)));
    }
    remarks
}

/// The first of some names, and how many more there are.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    match more {
        0 => shown,
        _ => format!("{shown} and {more} more"),
    }
}

/// What tells an object from all others of its file. A token can be compared and not be hashed.
fn identity(info: &LocationInfo) -> String {
    format!("{:?}", info.token)
}

/// A value, or why it is left out.
enum Value {
    Kept(StoredValue),
    Left(String),
}

struct Walk<'a> {
    well: &'a WellFile,
    /// Identities of the fields.
    fields: HashSet<String>,
    /// Paths that go before others of the same object.
    known: HashSet<String>,
    /// The first path of each object that was met.
    seen: HashMap<String, String>,
    /// Paths of soft links.
    soft: Vec<String>,
    /// Bytes of the values that are kept.
    bytes: usize,
    contents: Contents,
}

impl Walk<'_> {
    fn group(&mut self, at: &Group, path: &str) -> Result<()> {
        self.attributes(at, if path.is_empty() { "/" } else { path })?;
        let mut links = links(at).map_err(|source| self.failed(path, source))?;
        links.sort_by_key(|(name, _)| !self.known.contains(&format!("{path}/{name}")));
        for (name, link) in links {
            let below = format!("{path}/{name}");
            match link {
                // The library replaces what is not UTF-8, and then cannot find it.
                _ if name.contains(char::REPLACEMENT_CHARACTER) => {
                    self.leave(&below, "its name is not UTF-8");
                }
                LinkType::Hard => self.object(at, &name, below)?,
                LinkType::Soft => self.soft.push(below),
                LinkType::External => self.leave(&below, "it leads to another file"),
            }
        }
        Ok(())
    }

    fn object(&mut self, parent: &Group, name: &str, path: String) -> Result<()> {
        let info = parent.loc_info_by_name(name);
        let info = info.map_err(|source| self.failed(&path, source))?;
        let identity = identity(&info);
        if let Some(first) = self.seen.get(&identity) {
            self.contents.links.insert(path, first.clone());
            return Ok(());
        }
        self.seen.insert(identity.clone(), path.clone());
        match info.loc_type {
            LocationType::Group if path.matches('/').count() > DEEPEST => {
                self.leave(&path, "it is nested too deep");
                Ok(())
            }
            LocationType::Group => {
                let group = parent.group(name);
                let group = group.map_err(|source| self.failed(&path, source))?;
                self.group(&group, &path)
            }
            LocationType::Dataset => {
                let dataset = parent.dataset(name);
                let dataset = dataset.map_err(|source| self.failed(&path, source))?;
                self.attributes(&dataset, &path)?;
                match self.fields.contains(&identity) {
                    true => Ok(()),
                    false => self.dataset(&dataset, path),
                }
            }
            _ => {
                self.leave(&path, "it is a named type");
                Ok(())
            }
        }
    }

    /// A dataset that is not a field.
    fn dataset(&mut self, dataset: &Dataset, path: String) -> Result<()> {
        let among = GROUPS
            .iter()
            .any(|(group, _)| path[1..].starts_with(&format!("{group}/")));
        if among && !self.is_scale(&path) {
            let reason = "is not named in field_names; name it or remove it";
            return Err(self.well.layout(&path[1..], reason));
        }
        let objection = enclosed::objection(dataset);
        if let Some(reason) = objection.map_err(|source| self.failed(&path, source))? {
            self.leave(&path, reason);
            return Ok(());
        }
        let created = dataset.dcpl().and_then(|created| created.get_filters());
        let filters = created.map_err(|source| self.failed(&path, source))?;
        if filters.iter().any(|filter| !filter.is_available()) {
            self.leave(
                &path,
                "it is stored with a filter that this program cannot undo",
            );
            return Ok(());
        }
        match self.value(dataset, &path)? {
            Value::Left(reason) => self.leave(&path, &reason),
            Value::Kept(value) => {
                self.contents.arrays.insert(path, value);
            }
        }
        Ok(())
    }

    /// Whether a dataset gives the coordinates along an axis, as netCDF4 writes them into every group.
    fn is_scale(&self, path: &str) -> bool {
        let attributes = self.contents.attributes.get(path);
        match attributes.and_then(|attributes| attributes.get("CLASS")) {
            Some(StoredValue::Text { text, .. }) => text == &["DIMENSION_SCALE"],
            _ => false,
        }
    }

    fn attributes(&mut self, at: &hdf5::Location, path: &str) -> Result<()> {
        let names = at.attr_names();
        for name in names.map_err(|source| self.failed(path, source))? {
            let object = format!("{path}@{name}");
            if name.contains(char::REPLACEMENT_CHARACTER) {
                self.leave(&object, "its name is not UTF-8");
                continue;
            }
            let attribute = at.attr(&name);
            let attribute = attribute.map_err(|source| self.failed(&object, source))?;
            match self.value(&attribute, &object)? {
                Value::Left(reason) => self.leave(&object, &reason),
                Value::Kept(value) => {
                    let held = self.contents.attributes.entry(path.to_owned());
                    held.or_default().insert(name, value);
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, at: &Container, object: &str) -> Result<Value> {
        let value = self.read(at, object);
        value.map_err(|source| self.failed(object, source))
    }

    fn read(&mut self, at: &Container, object: &str) -> hdf5::Result<Value> {
        let kind = at.dtype()?;
        let bytes = at.size().saturating_mul(kind.size().max(1));
        if bytes > LARGEST {
            return Ok(Value::Left(format!(
                "it holds more than {} MiB",
                LARGEST >> 20
            )));
        }
        self.bytes += bytes;
        if self.bytes > MOST {
            return Ok(Value::Left(format!(
                "the file holds more than {} MiB beside fields",
                MOST >> 20
            )));
        }
        let shape = match at.space()?.is_null() {
            true => vec![0],
            false => at.get_shape()?,
        };
        macro_rules! numbers {
            ($type:ty, $name:literal) => {{
                let values = match shape.contains(&0) {
                    true => Vec::new(),
                    false => all::<$type>(at)?,
                };
                let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                Ok(Value::Kept(StoredValue::numbers(shape, $name, &bytes)))
            }};
        }
        let class = Kind::of(&kind)?;
        match (class, kind.size()) {
            (Kind::Text, _) => match Texts::read(at)? {
                Some(Texts { text, latin1 }) => {
                    self.contents
                        .latin1
                        .extend(latin1.then(|| object.to_owned()));
                    Ok(Value::Kept(StoredValue::Text { shape, text }))
                }
                None => Ok(Value::Left("its texts are too long".into())),
            },
            // All that half a number can say, a whole one can.
            (Kind::Float, ..=4) => numbers!(f32, "f32"),
            (Kind::Float, 8) => numbers!(f64, "f64"),
            (Kind::Integer, 1 | 2 | 4 | 8) => match kind.to_descriptor()? {
                TypeDescriptor::Integer(IntSize::U1) => numbers!(i8, "i8"),
                TypeDescriptor::Integer(IntSize::U2) => numbers!(i16, "i16"),
                TypeDescriptor::Integer(IntSize::U4) => numbers!(i32, "i32"),
                TypeDescriptor::Integer(IntSize::U8) => numbers!(i64, "i64"),
                TypeDescriptor::Unsigned(IntSize::U1) => numbers!(u8, "u8"),
                TypeDescriptor::Unsigned(IntSize::U2) => numbers!(u16, "u16"),
                TypeDescriptor::Unsigned(IntSize::U4) => numbers!(u32, "u32"),
                _ => numbers!(u64, "u64"),
            },
            // A damaged truth value may be any byte, which is not a `bool`. Of a longer enumeration the
            // bindings would write the values beyond the room that they have for them.
            (Kind::Enumeration, 1) if kind.to_descriptor()? == TypeDescriptor::Boolean => {
                numbers!(u8, "bool")
            }
            (Kind::Enumeration, _) => Ok(Value::Left("its type is an enumeration".into())),
            (Kind::Integer | Kind::Float, bytes) => Ok(Value::Left(format!(
                "its type is a number of {bytes} bytes"
            ))),
            (Kind::Other(what), _) => Ok(Value::Left(format!("its type is {what}"))),
        }
    }

    /// Says where soft links lead, once every object has a path.
    fn follow(&mut self, root: &Group) {
        for path in std::mem::take(&mut self.soft) {
            let info = root.loc_info_by_name(&path);
            match info.ok().and_then(|info| self.seen.get(&identity(&info))) {
                Some(first) => {
                    self.contents.links.insert(path, first.clone());
                }
                None => self.leave(&path, "it leads nowhere"),
            }
        }
    }

    fn leave(&mut self, object: &str, reason: &str) {
        let left = &mut self.contents.left_out;
        left.insert(object.to_owned(), reason.to_owned());
    }

    fn failed(&self, object: &str, source: hdf5::Error) -> Error {
        let object = match object.trim_start_matches('/') {
            "" => "/",
            object => object,
        };
        Error::Read {
            file: self.well.named.clone(),
            object: object.to_owned(),
            source,
        }
    }
}
