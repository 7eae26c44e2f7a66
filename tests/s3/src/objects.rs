//! Objects and unfinished uploads, behind one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    pub(crate) etag: String,
}

/// Google's name for what has a tag.
pub(crate) fn generation(etag: &str) -> u64 {
    u64::from_str_radix(etag.trim_matches('"'), 16).unwrap_or(0)
}

/// The tag of what has a generation.
pub(crate) fn tag(generation: u64) -> String {
    format!("\"{generation:016x}\"")
}

/// Under which circumstances an object may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// `If-None-Match: *`, or generation 0
    Absent,
    /// `If-Match`, or another generation
    Is(String),
}

/// Why an object was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Condition,
    NoUpload,
}

#[derive(Debug, Default)]
pub(crate) struct Objects(Mutex<StoredObjects>);

#[derive(Debug, Default)]
struct StoredObjects {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    /// Writes and uploads so far: each gets a name from it.
    count: u64,
    /// What lists know of, where they know of nothing newer.
    listed: Option<BTreeSet<String>>,
}

impl Objects {
    fn held(&self) -> MutexGuard<'_, StoredObjects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, path: &str) -> Option<Object> {
        self.held().objects.get(path).cloned()
    }

    /// Writes an object and gives its tag.
    pub(crate) fn put(
        &self,
        path: &str,
        bytes: Bytes,
        condition: &Condition,
    ) -> Result<String, Refusal> {
        self.held().put(path, bytes, condition)
    }

    /// Removes an object; whether it was there.
    pub(crate) fn delete(&self, path: &str) -> bool {
        self.held().objects.remove(path).is_some()
    }

    /// Removes all.
    pub(crate) fn clear(&self) {
        self.held().objects.clear();
    }

    pub(crate) fn freeze_lists(&self, frozen: bool) {
        let mut held = self.held();
        held.listed = frozen.then(|| held.objects.keys().cloned().collect());
    }

    /// The objects below a prefix, in order, after a path.
    pub(crate) fn list(&self, prefix: &str, after: &str) -> Vec<(String, Object)> {
        let held = self.held();
        let from = held.objects.range(prefix.max(after).to_owned()..);
        from.take_while(|(path, _)| path.starts_with(prefix))
            .filter(|(path, _)| path.as_str() > after)
            .filter(|(path, _)| {
                held.listed
                    .as_ref()
                    .is_none_or(|listed| listed.contains(*path))
            })
            .map(|(path, object)| (path.clone(), object.clone()))
            .collect()
    }

    pub(crate) fn begin(&self) -> String {
        let mut held = self.held();
        let upload = held.name();
        held.uploads.insert(upload.clone(), BTreeMap::new());
        upload
    }

    /// Keeps a part and gives its tag.
    pub(crate) fn part(&self, upload: &str, part: u32, bytes: Bytes) -> Result<String, Refusal> {
        let mut held = self.held();
        let parts = held.uploads.get_mut(upload).ok_or(Refusal::NoUpload)?;
        parts.insert(part, bytes);
        Ok(format!("\"{part}\""))
    }

    /// Puts the parts together.
    pub(crate) fn complete(
        &self,
        path: &str,
        upload: &str,
        condition: &Condition,
    ) -> Result<String, Refusal> {
        let mut held = self.held();
        let parts = held.uploads.get(upload).ok_or(Refusal::NoUpload)?;
        let mut whole = BytesMut::with_capacity(parts.values().map(Bytes::len).sum());
        parts
            .values()
            .for_each(|part| whole.extend_from_slice(part));
        let tag = held.put(path, whole.freeze(), condition)?;
        held.uploads.remove(upload);
        Ok(tag)
    }

    /// Uploads that are neither complete nor given up.
    pub(crate) fn uploads(&self) -> usize {
        self.held().uploads.len()
    }

    pub(crate) fn abort(&self, upload: &str) {
        self.held().uploads.remove(upload);
    }
}

impl StoredObjects {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("{:016x}", self.count)
    }

    fn put(&mut self, path: &str, bytes: Bytes, condition: &Condition) -> Result<String, Refusal> {
        let there = self.objects.get(path);
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => there.is_none(),
            Condition::Is(tag) => there.is_some_and(|object| object.etag == *tag),
        };
        if !holds {
            return Err(Refusal::Condition);
        }
        self.count += 1;
        let etag = tag(self.count);
        let object = Object {
            bytes,
            etag: etag.clone(),
        };
        self.objects.insert(path.to_owned(), object);
        Ok(etag)
    }
}
