//! Keys of a bucket that no [`Path`](object_store::path::Path) can hold, such as `a//b`. One of them
//! would turn a whole list into an error, so they are removed from the server's answers.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::address::parse_key;

/// Elements of the lists of S3, Google and Azure, and the element in each that holds the key.
const ENTRIES: [(&str, &str); 4] = [
    ("Contents", "Key"),
    ("CommonPrefixes", "Prefix"),
    ("Blob", "Name"),
    ("BlobPrefix", "Name"),
];

/// The keys that were taken out so far.
#[derive(Debug, Default)]
pub(super) struct OddKeys(Mutex<BTreeSet<String>>);

impl OddKeys {
    fn held(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The odd keys below a folder; an empty one is the whole bucket.
    pub(super) fn below(&self, folder: &str) -> Vec<String> {
        let is_below = |key: &str| match key.strip_prefix(folder) {
            Some(rest) => folder.is_empty() || rest.starts_with('/'),
            None => false,
        };
        let held = self.held();
        held.iter().filter(|key| is_below(key)).cloned().collect()
    }

    /// A page of a list without them, if it has any.
    pub(super) fn sift(&self, page: &str) -> Option<String> {
        let mut sifted = None;
        for (entry, name) in ENTRIES {
            let page = sifted.as_deref().unwrap_or(page);
            sifted = self.sift_entries(page, entry, name).or(sifted);
        }
        sifted
    }

    fn sift_entries(&self, page: &str, entry: &str, name: &str) -> Option<String> {
        let (open, close) = (format!("<{entry}>"), format!("</{entry}>"));
        let (mut kept, mut rest, mut found) = (String::new(), page, false);
        while let Some(start) = rest.find(&open) {
            let end = start + rest[start..].find(&close)? + close.len();
            let key = text_of(&rest[start..end], name);
            let marks_folder = entry != "CommonPrefixes" && entry != "BlobPrefix";
            let taken = match Key::of(&key) {
                Key::Sound => false,
                Key::Folder => marks_folder,
                Key::Odd => {
                    self.held().insert(key);
                    true
                }
            };
            kept += &rest[..if taken { start } else { end }];
            rest = &rest[end..];
            found |= taken;
        }
        found.then(|| kept + rest)
    }
}

enum Key {
    Sound,
    /// `a/`: what consoles write where someone makes a folder. It holds nothing.
    Folder,
    Odd,
}

impl Key {
    fn of(key: &str) -> Self {
        match parse_key(key) {
            Ok(path) if path.as_ref().is_empty() => Self::Odd,
            Ok(_) if key.ends_with('/') => Self::Folder,
            Ok(_) => Self::Sound,
            Err(_) => Self::Odd,
        }
    }
}

/// The text in the first element of a name.
fn text_of(xml: &str, name: &str) -> String {
    let inner = xml.split_once(&format!("<{name}>"));
    let inner = inner.and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
    unescaped(inner.map_or("", |(text, _)| text))
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .split_once(';')
            .and_then(|(name, rest)| Some((entity(name)?, rest)))
        {
            Some((character, rest)) => {
                whole.push(character);
                whole += rest;
            }
            None => {
                whole.push('&');
                whole += part;
            }
        }
    }
    whole
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_taken_out_and_kept_in_mind() {
        let entry = |key: &str| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
        let keys = [
            "a/b",
            "a//b",
            "/a",
            "a/",
            "",
            "a/&#10;",
            "a/../b",
            "a &amp; &lt;b",
        ];
        let page: String = keys.map(entry).concat();
        let odd = OddKeys::default();
        let kept = odd.sift(&format!("<L>{page}</L>"));
        let expected = format!("<L>{}{}</L>", entry("a/b"), entry("a &amp; &lt;b"));
        assert_eq!(kept, Some(expected));
        assert_eq!(odd.below(""), ["", "/a", "a/\n", "a/../b", "a//b"]);
        assert_eq!(odd.below("a"), ["a/\n", "a/../b", "a//b"]);
        assert_eq!(odd.sift(&entry("a/b")), None);

        let azure =
            "<Blobs><Blob><Name>x//y</Name></Blob><BlobPrefix><Name>x/</Name></BlobPrefix></Blobs>";
        let kept = odd.sift(azure);
        assert_eq!(
            kept.as_deref(),
            Some("<Blobs><BlobPrefix><Name>x/</Name></BlobPrefix></Blobs>")
        );
    }
}
