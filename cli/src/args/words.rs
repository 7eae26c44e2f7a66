//! Words that stand for the values of a library's enum.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Reads one of some values by its name; help lists the names.
pub fn one_of<T, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.map(name)).try_map(move |word| {
        let mut values = all.into_iter();
        let named = values.find(|&value| name(value) == word);
        named.ok_or("it is not one of the possible values")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fmt::Debug;

    use clap::{Arg, Command};
    use serde::Serialize;
    use wellspring_store::{Compression, Dtype, Normalization, NotFinite};
    use wellspring_train::{DeviceChoice, Precision};

    use super::*;

    fn typed<T: Copy + Debug + Send + Sync + 'static, const N: usize>(
        all: [T; N],
        name: fn(T) -> &'static str,
        word: &str,
    ) -> Option<T> {
        let value = Arg::new("value").value_parser(one_of(all, name));
        let found = Command::new("test")
            .arg(value)
            .try_get_matches_from(["test", word]);
        found.ok()?.get_one("value").copied()
    }

    /// Each name is read as its value, and is the word that stored values have.
    fn agree<T, const N: usize>(all: [T; N], name: fn(T) -> &'static str)
    where
        T: Copy + Debug + PartialEq + Serialize + Send + Sync + 'static,
    {
        for value in all {
            assert_eq!(typed(all, name, name(value)), Some(value));
            assert_eq!(serde_json::to_value(value).unwrap(), name(value));
        }
        assert_eq!(typed(all, name, "other"), None);
    }

    #[test]
    fn words_are_those_of_stored_values() {
        agree(Dtype::ALL, Dtype::name);
        agree(Compression::ALL, Compression::name);
        agree(Normalization::ALL, Normalization::name);
        agree(NotFinite::ALL, NotFinite::name);
        agree(DeviceChoice::ALL, DeviceChoice::name);
        agree(Precision::ALL, Precision::name);
    }
}
