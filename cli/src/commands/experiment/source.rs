//! Where an experiment's text comes from: a file, or one that comes with the program.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::file::{Experiment, SHIPPED};
use crate::failure::misuse;
use crate::settings;

/// The text of an experiment.
pub struct Source {
    /// What errors call it.
    about: String,
    /// Name of its folder, unless another is given.
    pub name: String,
    pub text: String,
}

/// Reads a file, or the shipped one of that name where there is no such file. A folder of that name is what the shipped one
/// has made before.
pub fn read(file: &str) -> Result<Source> {
    let path = Path::new(file);
    let shipped = SHIPPED.iter().find(|(name, _)| *name == file);
    if let (Some((name, text)), false) = (shipped, path.is_file()) {
        return Ok(Source {
            about: format!("experiment {name}"),
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        });
    }
    let names = SHIPPED.map(|(name, _)| name).join(", ");
    let about = format!("experiment {file}");
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {about}; those that are shipped are {names}"))?;
    let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
        misuse!("{file} has no name to call its folder by; give --out");
    };
    Ok(Source {
        about,
        name: name.to_owned(),
        text,
    })
}

impl Source {
    /// The experiment, with settings laid over.
    pub fn resolve(&self, overrides: &[String]) -> Result<Experiment> {
        let read = || -> Result<Experiment> {
            let experiment: Experiment = match overrides {
                // From the text itself: errors show its lines.
                [] => toml::from_str(&self.text)?,
                _ => settings::overridden(&self.about, &self.text, overrides)?.try_into()?,
            };
            experiment.check()?;
            Ok(experiment)
        };
        read().with_context(|| self.about.clone())
    }
}
