//! `stats.yaml`: statistics in the layout of The Well's own file, kind → field → number or list of
//! components.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::{ChannelStatistics, Normalization, Statistics};
use crate::{Error, Field, Result, Schema, TensorOrder};

/// A number, or a list with one entry per component.
#[derive(Deserialize)]
#[serde(untagged)]
enum Components {
    One(f64),
    Many(Vec<f64>),
    Rows(Vec<Vec<f64>>),
}

impl Components {
    fn values(&self) -> Vec<f64> {
        match self {
            Self::One(value) => vec![*value],
            Self::Many(values) => values.clone(),
            Self::Rows(rows) => rows.concat(),
        }
    }
}

/// Kind of statistic → field → components.
type Yaml = BTreeMap<String, BTreeMap<String, Components>>;

/// A kind of statistics: its name in the file and the place of its value.
struct Kind {
    name: &'static str,
    value: fn(&mut ChannelStatistics) -> &mut f64,
}

/// Kinds by their names in The Well's files.
const KINDS: [Kind; 6] = [
    kind("mean", |s| &mut s.mean),
    kind("mean_delta", |s| &mut s.mean_delta),
    kind("rms", |s| &mut s.rms),
    kind("rms_delta", |s| &mut s.rms_delta),
    kind("std", |s| &mut s.std),
    kind("std_delta", |s| &mut s.std_delta),
];

const fn kind(name: &'static str, value: fn(&mut ChannelStatistics) -> &mut f64) -> Kind {
    Kind { name, value }
}

impl Kind {
    /// Differences are of fields that vary in time.
    fn of_changes(&self) -> bool {
        self.name.ends_with("_delta")
    }

    /// Whether a file must have it. A root mean square that nothing is divided by follows from mean
    /// and deviation; differences normalize nothing.
    fn is_needed(&self, normalization: Normalization) -> bool {
        match self.name {
            "mean" | "std" => true,
            "rms" => normalization == Normalization::Rms,
            _ => false,
        }
    }

    /// What a value must be.
    fn allows(&self, value: f64) -> bool {
        value.is_finite() && (value >= 0.0 || self.name.starts_with("mean"))
    }
}

impl Statistics {
    /// The file that The Well's loaders read: kind → field → number or list of components. Comments, which
    /// those loaders skip, name the fields whose statistics are of transformed values.
    ///
    /// # Errors
    /// When a channel of the schema has no statistics.
    pub fn to_yaml(&self, schema: &Schema) -> Result<String> {
        let mut yaml = String::new();
        for field in &schema.fields {
            if let Some(transform) = field.transform {
                let name = key(&field.name)?;
                let _ = writeln!(yaml, "# {name}: of values transformed by {transform}");
            }
        }
        for kind in &KINDS {
            let _ = writeln!(yaml, "{}:", kind.name);
            let mut fields: Vec<&Field> = schema.fields.iter().collect();
            fields.sort_by_key(|field| &field.name);
            for field in fields {
                if field.time_varying || !kind.of_changes() {
                    let values = self.values(kind, field, schema)?;
                    let _ = write!(yaml, "  {}:", key(&field.name)?);
                    yaml += &components(field.order, &values, schema.grid.ndim());
                }
            }
        }
        Ok(yaml)
    }

    fn values(&self, kind: &Kind, field: &Field, schema: &Schema) -> Result<Vec<f64>> {
        let channels = field.channels(&schema.grid);
        let values = channels.iter().map(|channel| {
            self.channel(channel)
                .map(|mut held| *(kind.value)(&mut held))
        });
        values.collect()
    }

    /// Reads The Well's `stats.yaml` for the fields of a schema; `object` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not such a file; when it lacks a field, a component, or a kind of
    /// statistic that the normalization needs; when a number is not finite, or negative where it is a
    /// deviation.
    pub fn from_yaml(
        text: &str,
        schema: &Schema,
        normalization: Normalization,
        object: &str,
    ) -> Result<Self> {
        let yaml: Yaml =
            serde_yaml_ng::from_str(text).map_err(|source| Error::malformed(object, source))?;
        let mut all = BTreeMap::new();
        for field in &schema.fields {
            let channels = field.channels(&schema.grid);
            let mut statistics = vec![ChannelStatistics::ZERO; channels.len()];
            for kind in &KINDS {
                let held = yaml.get(kind.name).and_then(|held| held.get(&field.name));
                match held {
                    Some(held) => kind.read(&held.values(), &mut statistics),
                    None => kind.do_without(normalization),
                }
                .map_err(|wrong| Error::malformed(object, format!("{wrong} of {}", field.name)))?;
            }
            let rms = yaml.get("rms").and_then(|held| held.get(&field.name));
            if rms.is_none() {
                let of = |held: &mut ChannelStatistics| held.rms = held.mean.hypot(held.std);
                statistics.iter_mut().for_each(of);
            }
            all.extend(channels.into_iter().zip(statistics));
        }
        Ok(Self(all))
    }
}

impl Kind {
    /// Takes the components' values.
    fn read(&self, values: &[f64], statistics: &mut [ChannelStatistics]) -> Result<(), String> {
        if values.len() != statistics.len() {
            let (found, expected) = (values.len(), statistics.len());
            return Err(format!(
                "{found} components instead of {expected} in {}",
                self.name
            ));
        }
        for (statistics, &value) in statistics.iter_mut().zip(values) {
            if !self.allows(value) {
                return Err(format!("{value} cannot be the {}", self.name));
            }
            *(self.value)(statistics) = value;
        }
        Ok(())
    }

    /// Whether a file may lack it.
    fn do_without(&self, normalization: Normalization) -> Result<(), String> {
        if self.is_needed(normalization) {
            let name = format!("{normalization:?}").to_lowercase();
            return Err(format!(
                "normalization {name} needs {0}, and there is no {0}",
                self.name
            ));
        }
        Ok(())
    }
}

/// A field's name as a key: quoted where YAML would take it for something else.
fn key(name: &str) -> Result<String> {
    const TAKEN: [&str; 10] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan",
    ];
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(is_word)
        && !TAKEN.contains(&name.to_lowercase().as_str());
    match is_plain {
        true => Ok(name.to_owned()),
        false => {
            serde_json::to_string(name).map_err(|source| Error::malformed("statistics", source))
        }
    }
}

/// A number, a list of them for a vector, a list of lists for a tensor.
fn components(order: TensorOrder, values: &[f64], ndim: usize) -> String {
    let items = values.iter().enumerate().map(|(index, &value)| {
        let dashes = match order {
            TensorOrder::Scalar => " ",
            TensorOrder::Vector => "\n  - ",
            TensorOrder::Tensor if index % ndim.max(1) == 0 => "\n  - - ",
            TensorOrder::Tensor => "\n    - ",
        };
        format!("{dashes}{}", number(value))
    });
    items.collect::<String>() + "\n"
}

/// A number with a point and a sign before its exponent: without them, Python reads a text.
fn number(value: f64) -> String {
    let text = format!("{value:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let fields = [("u", TensorOrder::Scalar), ("no", TensorOrder::Tensor)];
        Schema::periodic("tiny", &[("x", 2), ("y", 2)], &fields)
    }

    /// Mean, deviation and root mean square of the field `u` alone.
    fn scalar() -> Schema {
        Schema::periodic("tiny", &[("x", 2)], &[("u", TensorOrder::Scalar)])
    }

    fn statistics(scale: f64) -> Statistics {
        let channels = schema().channels().into_iter().zip(1..);
        let held = channels.map(|(channel, i)| {
            let x = scale * f64::from(i);
            let held = ChannelStatistics {
                mean: -x,
                std: x,
                rms: 2.0 * x,
                mean_delta: -x,
                std_delta: x / 3.0,
                rms_delta: x,
                own_std: None,
            };
            (channel, held)
        });
        Statistics(held.collect())
    }

    #[test]
    fn every_scale_goes_there_and_back_and_is_a_number_to_python() {
        for scale in [1e-30, 1e-7, 0.1, 1.0, 1e16, 1e30] {
            let written = statistics(scale);
            let text = written.to_yaml(&schema()).unwrap();
            for word in text.split_whitespace().filter(|word| word.contains('e')) {
                let Some((mantissa, exponent)) = word.split_once('e') else {
                    continue;
                };
                if mantissa.parse::<f64>().is_ok() {
                    assert!(mantissa.contains('.'), "{word}");
                    assert!(exponent.starts_with(['+', '-']), "{word}");
                }
            }
            let read = Statistics::from_yaml(&text, &schema(), Normalization::Rms, "stats.yaml");
            assert_eq!(read.unwrap(), written, "{text}");
        }
    }

    #[test]
    fn a_comment_tells_of_a_transform_and_readers_skip_it() {
        let plain = statistics(1.0).to_yaml(&schema()).unwrap();
        let mut schema = schema();
        schema.fields[0].transform = Some("asinh:1e-3".parse().unwrap());
        let text = statistics(1.0).to_yaml(&schema).unwrap();
        let comment = "# u: of values transformed by asinh:1e-3\n";
        assert_eq!(text, format!("{comment}{plain}"));
        let read = Statistics::from_yaml(&text, &schema, Normalization::Rms, "stats.yaml");
        assert_eq!(read.unwrap(), statistics(1.0));
    }

    #[test]
    fn what_the_normalization_needs_must_be_there() {
        let read = |text: &str, normalization| {
            Statistics::from_yaml(text, &scalar(), normalization, "stats.yaml")
                .map_err(|error| error.to_string())
        };
        let whole = "mean: {u: 3.0}\nstd: {u: 4.0}\nrms: {u: 5.0}\n";
        read(whole, Normalization::Rms).unwrap();
        for (gone, normalization) in [
            ("rms", Normalization::Rms),
            ("mean", Normalization::Zscore),
            ("std", Normalization::Zscore),
        ] {
            let kinds = whole.lines().filter(|line| !line.starts_with(gone));
            let text: String = kinds.map(|line| format!("{line}\n")).collect();
            let error = read(&text, normalization).unwrap_err();
            for named in ["stats.yaml", gone, "of u"] {
                assert!(error.contains(named), "{error}");
            }
            let of_another = whole.replace(&format!("{gone}: {{u:"), &format!("{gone}: {{v:"));
            assert_eq!(read(&of_another, normalization).unwrap_err(), error);
        }
        // It follows from the others where nothing is divided by it.
        let known = read("mean: {u: -3.0}\nstd: {u: 4.0}\n", Normalization::Zscore);
        assert_eq!(known.unwrap().channel("u").unwrap().rms, 5.0);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (kind, value) in [
            ("std", "-1.0"),
            ("rms", "-1e-30"),
            ("mean", ".nan"),
            ("mean", "-.inf"),
            ("std", "1e999"),
            ("std_delta", "-2.0"),
            ("mean", "[1.0, 2.0]"),
            ("mean", "high"),
        ] {
            let mut text = String::new();
            for known in ["mean", "std", "rms", "std_delta"] {
                let value = if known == kind { value } else { "1.0" };
                text += &format!("{known}: {{u: {value}}}\n");
            }
            let read = Statistics::from_yaml(&text, &scalar(), Normalization::Rms, "stats.yaml");
            let error = read.unwrap_err().to_string();
            assert!(error.contains("stats.yaml"), "{error}");
            assert!(value == "high" || error.contains(kind), "{error}");
        }
    }
}
