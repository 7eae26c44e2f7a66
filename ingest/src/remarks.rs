//! What a person should know of files that are taken all the same: each remark told once, however many
//! files it is true of.

use std::collections::BTreeMap;

use wellspring_store::Reporter;

/// Remarks, each with the first file that it is true of and how many there are.
#[derive(Debug, Default)]
pub(crate) struct Remarks(BTreeMap<String, (String, usize)>);

impl Remarks {
    pub(crate) fn add(&mut self, file: &str, remark: String) {
        let held = self.0.entry(remark);
        held.or_insert_with(|| (file.to_owned(), 0)).1 += 1;
    }

    pub(crate) fn tell(self, reporter: &dyn Reporter) {
        for (remark, (file, count)) in self.0 {
            let others = match count {
                1 => String::new(),
                2 => " and another file".to_owned(),
                _ => format!(" and {} other files", count - 1),
            };
            reporter.note(&format!("{file}{others}: {remark}"));
        }
    }
}
