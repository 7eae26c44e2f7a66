//! Remarks on files that are taken nevertheless. Each is reported once, however many files it is true of.

use std::collections::BTreeMap;

use super::{Finding, FindingKind};

/// Remarks, each with the first file that it is true of and how many there are.
#[derive(Debug, Default)]
pub(crate) struct Remarks(BTreeMap<String, (String, usize)>);

impl Remarks {
    pub(crate) fn add(&mut self, file: &str, remark: String) {
        let held = self.0.entry(remark);
        held.or_insert_with(|| (file.to_owned(), 0)).1 += 1;
    }

    /// A finding for each.
    pub(crate) fn findings(self) -> impl Iterator<Item = Finding> {
        self.0.into_iter().map(|(remark, (file, count))| {
            let message = match count {
                1 => remark,
                2 => format!("{remark} (and another file)"),
                _ => format!("{remark} (and {} other files)", count - 1),
            };
            Finding::new(FindingKind::Remark, &file, message)
        })
    }
}
