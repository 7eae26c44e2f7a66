//! [`Config::annotated`]: every key with its meaning and its default.

use documented::DocumentedFields;
use serde::Serialize;

use super::{
    AugmentConfig, BaselineConfig, CnextUnetConfig, Config, DataConfig, FnoConfig, LossConfig,
    ModelConfig, OptimConfig, TrainConfig, TransformerConfig, UnetConfig, ValidationConfig,
};
use crate::{Error, Result};

impl Config {
    /// A configuration that says nothing but defaults, in TOML, with what each key means above it. Keys that are not
    /// set by default are there as comments.
    ///
    /// # Errors
    /// [`Error::Config`] for what TOML cannot say.
    pub fn annotated() -> Result<String> {
        let (values, baselines) = (table(&Self::default())?, baselines()?);
        let sections = fields::<Self>().into_iter().map(|(name, about)| {
            let held = values.get(name).and_then(toml::Value::as_table);
            let keys = keys_of(name).map(|(key, about)| entry(key, about, held));
            let more = if name == "model" {
                baselines.as_str()
            } else {
                ""
            };
            format!(
                "\n{}[{name}]\n{}{more}",
                comment(about),
                keys.collect::<String>()
            )
        });
        let preset = "# A recipe: paper-7.6M, paper-25M, paper-100M or released; what is typed below wins.\n# preset =\n";
        Ok(preset.to_owned() + &sections.collect::<String>())
    }
}

/// The keys of a section with what they mean.
fn keys_of(section: &str) -> impl Iterator<Item = Key> {
    let (first, second) = match section {
        "data" => (fields::<DataConfig>(), Vec::new()),
        // Its keys are an architecture's, here the default's, beside its own.
        "model" => (fields::<ModelConfig>(), fields::<TransformerConfig>()),
        "optim" => (fields::<OptimConfig>(), Vec::new()),
        "loss" => (fields::<LossConfig>(), Vec::new()),
        "augment" => (fields::<AugmentConfig>(), Vec::new()),
        "train" => (fields::<TrainConfig>(), Vec::new()),
        "validation" => (fields::<ValidationConfig>(), Vec::new()),
        _ => (Vec::new(), Vec::new()),
    };
    first.into_iter().chain(second)
}

/// The keys of The Well's baselines, as comments: those of `[model]` in their stead.
fn baselines() -> Result<String> {
    let of = [
        (
            "unet",
            BaselineConfig::Unet(UnetConfig::default()),
            fields::<UnetConfig>(),
        ),
        (
            "cnextunet",
            BaselineConfig::CnextUnet(CnextUnetConfig::default()),
            fields::<CnextUnetConfig>(),
        ),
        (
            "fno or tfno",
            BaselineConfig::Fno(FnoConfig::default()),
            fields::<FnoConfig>(),
        ),
    ];
    let mut text = String::new();
    for (name, config, keys) in of {
        let values = table(&config)?;
        let keys = keys
            .into_iter()
            .map(|(key, about)| entry(key, about, Some(&values)));
        let keys: String = keys
            .collect::<String>()
            .lines()
            .map(|line| format!("# {line}\n"))
            .collect();
        text += &format!(
            "# With architecture = {name}:\n{}",
            keys.replace("# # ", "#   ")
        );
    }
    Ok(text)
}

/// A key, and what it means.
type Key = (&'static str, &'static str);

fn fields<S: DocumentedFields>() -> Vec<Key> {
    let names = S::FIELD_NAMES.iter().copied();
    names.zip(S::FIELD_DOCS.iter().copied()).collect()
}

fn table(values: &impl Serialize) -> Result<toml::Table> {
    toml::Table::try_from(values).map_err(|error| Error::Config {
        reason: error.to_string(),
    })
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
