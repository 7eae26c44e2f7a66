//! Configuration from what was typed: a TOML file, then `--set key=value`, read once.

use std::path::Path;

use anyhow::{Context as _, Result};
use toml::{Table, Value};
use wellspring_train::Config;

use crate::failure::misuse;

/// Reads a run's configuration; unknown keys and wrong types name themselves.
pub fn resolve(file: Option<&Path>, overrides: &[String]) -> Result<Config> {
    let mut table = match file {
        Some(path) => read(path)?,
        None => Table::new(),
    };
    for text in overrides {
        let Some((key, value)) = text.split_once('=') else {
            misuse!("--set {text}: expected KEY=VALUE, such as optim.lr=3e-4");
        };
        set(&mut table, key.trim(), parse(value.trim()))?;
    }
    let text = toml::to_string(&table)?;
    Config::from_toml(&text).with_context(|| match file {
        Some(path) => format!("configuration {}", path.display()),
        None => "configuration from --set".to_owned(),
    })
}

fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read configuration {}", path.display()))?;
    text.parse()
        .with_context(|| format!("configuration {} is not TOML", path.display()))
}

/// A TOML value where it is one (`3`, `[4, 8]`, `true`), else the text itself.
fn parse(text: &str) -> Value {
    format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => set(inner, rest, value),
                _ => misuse!("--set {key}: {section} is a value, not a section"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_override_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, "[data]\nroot = \"ds\"\n[optim]\nlr = 0.1\n").unwrap();
        let config = resolve(Some(&file), &["optim.lr=0.25".into()]).unwrap();
        assert_eq!(config.optim.lr, 0.25);
        assert_eq!(config.data.root.list(), ["ds"]);
    }

    #[test]
    fn a_bare_word_is_a_string_and_a_list_is_a_list() {
        assert_eq!(parse("ckm"), Value::String("ckm".into()));
        assert_eq!(parse("[4, 8]").as_array().unwrap().len(), 2);
        assert_eq!(
            parse("s3://bucket/ds"),
            Value::String("s3://bucket/ds".into())
        );
    }

    #[test]
    fn an_unknown_key_names_itself() {
        let error = resolve(None, &["data.root=ds".into(), "optim.speed=1".into()]).unwrap_err();
        assert!(format!("{error:#}").contains("speed"), "{error:#}");
    }
}
