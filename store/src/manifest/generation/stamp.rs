//! Stamps: the part of a file's name that tells which work wrote it, so that no two works share a name.

use std::fmt;

use crate::Split;

/// The generation that a work makes, and the work's own key: `KEY`, or `g3-KEY` for a later generation than
/// the first. What was written by hand has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) generation: u64,
    pub(crate) key: String,
}

impl Stamp {
    /// The name of a file of a data set, such as `train/00000.KEY.arrow`.
    pub(crate) fn name(&self, stem: &str, extension: &str) -> String {
        match self.key.is_empty() {
            true => format!("{stem}.{extension}"),
            false => format!("{stem}.{self}.{extension}"),
        }
    }

    /// The stamp in a path below a data set's root: of a shard, of what a source holds beside fields, or of
    /// a record. Other objects have none, and are nobody's to delete.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (folder, below) = path.split_once('/')?;
        if folder == "ingest" {
            return Self::parse(below.split_once('/')?.0);
        }
        let is_digits = |stem: &str, digit: fn(&u8) -> bool, least: usize| {
            stem.len() >= least && stem.bytes().all(|byte| digit(&byte))
        };
        let (_, stamp) = match folder {
            "sources" => parts(below, ".json")
                .filter(|(stem, _)| is_digits(stem, u8::is_ascii_hexdigit, 16))?,
            _ => parts(below, ".arrow").filter(|(stem, _)| {
                let is_split = folder.parse::<Split>().is_ok();
                is_split && (*stem == "constants" || is_digits(stem, u8::is_ascii_digit, 5))
            })?,
        };
        match stamp {
            Some(stamp) => Self::parse(stamp),
            None => Some(Self {
                generation: 0,
                key: String::new(),
            }),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (generation, key) = match text.split_once('-') {
            Some((generation, key)) => (generation.strip_prefix('g')?.parse().ok()?, key),
            None => (0, text),
        };
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_key.then(|| Self {
            generation,
            key: key.to_owned(),
        })
    }
}

/// `STEM.STAMP` before an extension.
fn parts<'a>(file: &'a str, extension: &str) -> Option<(&'a str, Option<&'a str>)> {
    let name = file.strip_suffix(extension)?;
    Some(match name.split_once('.') {
        Some((stem, stamp)) => (stem, Some(stamp)),
        None => (name, None),
    })
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => f.write_str(&self.key),
            generation => write!(f, "g{generation}-{}", self.key),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_the_names_that_carry_it() {
        for (generation, key) in [(0, "abc"), (12, "0f")] {
            let key = key.to_owned();
            let stamp = Stamp { generation, key };
            for path in [
                stamp.name("train/00007", "arrow"),
                stamp.name("test/constants", "arrow"),
                stamp.name("sources/0123456789abcdef", "json"),
                format!("ingest/{stamp}/statistics/00000.json"),
            ] {
                assert_eq!(Stamp::of(&path).unwrap(), stamp, "{path}");
            }
        }
        let by_hand = Stamp::of("train/00000.arrow").unwrap();
        assert_eq!(by_hand.name("train/00000", "arrow"), "train/00000.arrow");
    }

    #[test]
    fn what_others_keep_in_the_folder_has_none() {
        for path in [
            "manifest.json",
            "stats.yaml",
            "ingest/claim.json",
            "generations/00000-0123456789abcdef.json",
            "train/README.arrow",
            "train/00000.arrow.bak",
            "train/0.arrow",
            "notes/00000.arrow",
            "sources/paper.json",
            "train/00000.a.b.arrow",
            "train/00000.g-abc.arrow",
        ] {
            assert_eq!(Stamp::of(path), None, "{path}");
        }
    }
}
