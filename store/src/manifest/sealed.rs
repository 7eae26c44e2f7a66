//! JSON documents that carry a checksum of their content. A wrong checksum is an error; a missing one is not,
//! so documents from before there were checksums stay readable.
//!
//! The checksum is the value of the document's key [`KEY`]: XXH3-64 of the rest, as [`checksum_of`] encodes
//! it. Spaces, line breaks and the order of keys do not count. To edit a document by hand, delete that key.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::{Error, Result};

/// The key of the checksum, beside the document's own keys.
pub const KEY: &str = "checksum";

/// The text of a document, with its checksum as the last key. It must be an object without such a key.
///
/// # Errors
/// What cannot be written as JSON, such as a map whose keys are not texts.
pub fn to_json<T: Serialize>(document: &T) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Sealed<'a, T> {
        #[serde(flatten)]
        document: &'a T,
        checksum: String,
    }
    // The checksum is computed from the text, as readers compute it, so that no number differs by rounding.
    let plain = serde_json::from_slice(&serde_json::to_vec(document)?)?;
    let checksum = checksum_of(&plain);
    let text = serde_json::to_string_pretty(&Sealed { document, checksum })?;
    Ok(text + "\n")
}

/// Reads a document and compares it with its checksum, if it carries one; `object` names it in errors. The
/// type must allow the key [`KEY`].
///
/// # Errors
/// [`Error::Malformed`] for what is not such a document, [`Error::Altered`] for one that is not as it was
/// written.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8], object: &str) -> Result<T> {
    check(bytes, object)?;
    serde_json::from_slice(bytes).map_err(|error| Error::malformed(object, error))
}

/// Compares a document with its checksum; `false` says that it carries none.
///
/// # Errors
/// As [`from_json`].
pub fn check(bytes: &[u8], object: &str) -> Result<bool> {
    let document = serde_json::from_slice(bytes);
    let mut document: Value = document.map_err(|error| Error::malformed(object, error))?;
    let said = document.as_object_mut().and_then(|keys| keys.remove(KEY));
    let said = match said {
        None => return Ok(false),
        Some(Value::String(said)) => said,
        Some(other) => other.to_string(),
    };
    let found = checksum_of(&document);
    match found == said {
        true => Ok(true),
        false => Err(Error::Altered {
            object: object.to_owned(),
            found,
            said,
        }),
    }
}

/// XXH3-64 of a JSON value, sixteen hexadecimal digits. What is hashed: `n`, `t` and `f` for null and the
/// truth values; `i`, the digits and `;` for an integer; `d` and the eight bytes of any other number (IEEE 754,
/// little-endian); `s`, the length and the bytes of a text in UTF-8; `[`, the length and the items of a list;
/// `{`, the length, and keys (as texts) and values of an object, sorted by the keys' bytes. Lengths are u64,
/// little-endian.
#[must_use]
pub fn checksum_of(value: &Value) -> String {
    let mut hash = Xxh3::new();
    add(&mut hash, value);
    format!("{:016x}", hash.digest())
}

fn add(hash: &mut Xxh3, value: &Value) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(true) => hash.update(b"t"),
        Value::Bool(false) => hash.update(b"f"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => {
                hash.update(b"d");
                hash.update(&float.to_bits().to_le_bytes());
            }
            None => hash.update(format!("i{number};").as_bytes()),
        },
        Value::String(text) => add_text(hash, text),
        Value::Array(items) => {
            add_length(hash, b"[", items.len());
            items.iter().for_each(|item| add(hash, item));
        }
        Value::Object(keys) => {
            add_length(hash, b"{", keys.len());
            let mut keys: Vec<_> = keys.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| key.as_bytes());
            for (key, value) in keys {
                add_text(hash, key);
                add(hash, value);
            }
        }
    }
}

fn add_text(hash: &mut Xxh3, text: &str) {
    add_length(hash, b"s", text.len());
    hash.update(text.as_bytes());
}

fn add_length(hash: &mut Xxh3, tag: &[u8], length: usize) {
    hash.update(tag);
    hash.update(&(length as u64).to_le_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Document {
        name: String,
        std: Vec<f64>,
        step: u64,
    }

    fn document() -> Document {
        Document {
            name: "vorticity \u{e9}\n".into(),
            std: vec![0.1 + 0.2, 1e300, -0.0, 5e-324, 3.0],
            step: u64::MAX,
        }
    }

    #[test]
    fn a_document_comes_back_and_an_edit_of_any_value_is_told() {
        let text = to_json(&document()).unwrap();
        assert_eq!(
            from_json::<Document>(text.as_bytes(), "it").unwrap(),
            document()
        );
        for (from, to) in [
            ("0.30000000000000004", "0.30000000000000010"),
            ("18446744073709551615", "18446744073709551614"),
            ("-0.0", "0.0"),
            ("vorticity", "Vorticity"),
            ("\"step\"", "\"steq\""),
            ("3.0\n", "3.0, 1\n"),
        ] {
            let edited = text.replace(from, to);
            assert_ne!(edited, text, "{from}");
            let error = check(edited.as_bytes(), "it").unwrap_err();
            assert!(matches!(error, Error::Altered { .. }), "{from}: {error}");
        }
    }

    #[test]
    fn spaces_and_the_order_of_keys_do_not_count() {
        let text = to_json(&document()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut keys: Vec<_> = value.as_object().unwrap().iter().collect();
        keys.reverse();
        let keys: Vec<_> = keys
            .iter()
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        let turned = format!("{{{}}}", keys.join(" ,\t"));
        assert!(check(turned.as_bytes(), "it").unwrap());
    }

    #[test]
    fn a_document_without_a_checksum_is_taken_as_it_is() {
        let text = serde_json::to_string(&document()).unwrap();
        assert!(!check(text.as_bytes(), "it").unwrap());
        assert_eq!(
            from_json::<Document>(text.as_bytes(), "it").unwrap(),
            document()
        );
    }

    /// Documents on disks have it, so it must never change.
    #[test]
    fn the_checksum_of_a_value_stays() {
        let value = serde_json::json!({"b": [null, true, -1, 0.5], "a": {"x": "y"}});
        assert_eq!(checksum_of(&value), "941554cc08e83a76");
    }
}
