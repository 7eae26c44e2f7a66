//! [`Config::annotated`]: every key with its meaning and its default.

use documented::DocumentedFields;

use super::{
    AugmentConfig, Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig,
    ValidationConfig,
};
use crate::{Error, Result};

impl Config {
    /// A configuration that says nothing but defaults, in TOML, with what each key means above it. Keys that are not
    /// set by default are there as comments.
    ///
    /// # Errors
    /// [`Error::Config`] for what TOML cannot say.
    pub fn annotated() -> Result<String> {
        let values = toml::Table::try_from(Self::default()).map_err(|error| Error::Config {
            reason: error.to_string(),
        })?;
        let about = Self::FIELD_NAMES.iter().zip(Self::FIELD_DOCS);
        let sections = about.map(|(&name, about)| {
            let held = values.get(name).and_then(toml::Value::as_table);
            let keys = keys_of(name).map(|(key, about)| entry(key, about, held));
            format!("\n{}[{name}]\n{}", comment(about), keys.collect::<String>())
        });
        let preset = "# A recipe: paper-7.6M, paper-25M, paper-100M or released; what is typed below wins.\n# preset =\n";
        Ok(preset.to_owned() + &sections.collect::<String>())
    }
}

/// The keys of a section with what they mean.
fn keys_of(section: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (names, docs) = match section {
        "data" => fields::<DataConfig>(),
        "model" => fields::<ModelConfig>(),
        "optim" => fields::<OptimConfig>(),
        "loss" => fields::<LossConfig>(),
        "augment" => fields::<AugmentConfig>(),
        "train" => fields::<TrainConfig>(),
        "validation" => fields::<ValidationConfig>(),
        _ => (&[][..], &[][..]),
    };
    names.iter().copied().zip(docs.iter().copied())
}

type Texts = &'static [&'static str];

fn fields<S: DocumentedFields>() -> (Texts, Texts) {
    (S::FIELD_NAMES, S::FIELD_DOCS)
}

fn entry(key: &str, about: &str, values: Option<&toml::Table>) -> String {
    let line = match values.and_then(|values| values.get(key)) {
        Some(value) => format!("{key} = {value}"),
        None => format!("# {key} ="),
    };
    format!("{}{line}\n", comment(about))
}

fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_default_and_has_every_key() {
        let text = Config::annotated().unwrap();
        assert_eq!(Config::from_toml(&text).unwrap(), Config::default());
        for name in Config::FIELD_NAMES {
            let keys: Vec<_> = keys_of(name).collect();
            assert!(!keys.is_empty(), "{name}");
            for (key, about) in keys {
                assert!(about.ends_with('.'), "{name}.{key}: {about}");
                let set = |line: &str| {
                    line.trim_start_matches("# ")
                        .starts_with(&format!("{key} ="))
                };
                assert!(text.lines().any(set), "{name}.{key}");
            }
        }
    }
}
