//! Reads the configuration of a run: a TOML file, then `--set key=value`.

use std::path::Path;

use anyhow::{Context as _, Result};
use toml::{Table, Value};
use wellspring_store::Location;
use wellspring_train::Config;

use crate::failure::misuse;

/// Reads a run's configuration; unknown keys and wrong types name themselves.
pub fn resolve(file: Option<&Path>, overrides: &[String]) -> Result<Config> {
    match file {
        Some(path) => {
            let name = format!("configuration {}", path.display());
            laid_over(&name, read(path)?, overrides)
        }
        None => laid_over("configuration from --set", Table::new(), overrides),
    }
}

/// The table of a text, with `--set` laid over it.
pub fn overridden(name: &str, text: &str, overrides: &[String]) -> Result<Table> {
    let mut table = table(name, text)?;
    for text in overrides {
        let (key, value) = pair(text)?;
        set(&mut table, key, value)?;
    }
    Ok(table)
}

/// Lays `--set` over the configuration that a run holds.
pub fn resumed(place: &Location, held: &[u8], overrides: &[String]) -> Result<Config> {
    if overrides.iter().any(|text| text.starts_with("preset=")) {
        misuse!(
            "--set preset: a run that continues has a value for every key; set the keys that are to change"
        );
    }
    let name = format!("the run's configuration {place}");
    let text = std::str::from_utf8(held).with_context(|| format!("{name} is not text"))?;
    laid_over(&name, table(&name, text)?, overrides)
}

fn laid_over(name: &str, mut table: Table, overrides: &[String]) -> Result<Config> {
    let mut typed = Table::new();
    for text in overrides {
        let (key, value) = pair(text)?;
        set(&mut typed, key, value.clone())?;
        set(&mut table, key, value)?;
    }
    // Epochs replace steps, but steps that are typed alone are meant.
    let has = |table: &Table, key: &str| {
        let train = table.get("train").and_then(Value::as_table);
        train.is_some_and(|train| train.contains_key(key))
    };
    if has(&typed, "steps")
        && !has(&typed, "epochs")
        && let Some(Value::Table(train)) = table.get_mut("train")
    {
        train.remove("epochs");
    }
    let text = toml::to_string(&table)?;
    Config::from_toml(&text).with_context(|| name.to_owned())
}

fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read configuration {}", path.display()))?;
    table(&format!("configuration {}", path.display()), &text)
}

fn table(name: &str, text: &str) -> Result<Table> {
    text.parse().with_context(|| format!("{name} is not TOML"))
}

/// A key and its value, as `--set` has them.
fn pair(text: &str) -> Result<(&str, Value)> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim(), parse(value.trim()))),
        None => misuse!("--set {text}: expected KEY=VALUE, such as optim.lr=3e-4"),
    }
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
        let config = resolve(Some(&file), &["preset=paper-25M".into()]).unwrap();
        assert_eq!((config.optim.lr, config.model.width()), (0.1, 384));
    }

    #[test]
    fn a_resumed_run_keeps_what_is_not_set() {
        let held = b"[data]\nroot = \"ds\"\n[optim]\nlr = 0.1\n[train]\nbatch = 7\nepochs = 2\n";
        let place = Location::parse("memory:///run/config.toml").unwrap();
        let over = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
            resumed(&place, held, &set).unwrap()
        };
        let config = over(&["optim.lr=0.25"]);
        assert_eq!((config.optim.lr, config.train.batch), (0.25, 7));
        assert_eq!(config.train.epochs, Some(2));
        // Steps are instead of epochs.
        let config = over(&["train.steps=30"]);
        assert_eq!((config.train.steps, config.train.epochs), (30, None));
        let error = resumed(&place, held, &["preset=released".into()]).unwrap_err();
        assert!(format!("{error:#}").contains("set the keys"), "{error:#}");
        let error = resumed(&place, b"[train", &[]).unwrap_err();
        assert!(
            format!("{error:#}").contains("run/config.toml"),
            "{error:#}"
        );
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
