//! Named starting points of a configuration: `preset = "paper-25M"`, before the first section.

use serde::Deserialize;
use toml::{Table, Value};

/// Training recipes of the paper (Mukhopadhyay et al., "Compute-adaptive surrogate modeling of PDEs", ICLR 2026)
/// and of its released code. The model's strategy is chosen beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Preset {
    /// The paper's recipe for its smallest model: 7.6 million weights in 3D, 6.6 million in 2D.
    #[serde(rename = "paper-7.6M")]
    Paper7M,
    /// The paper's recipe for its model of 25 million weights: 26.2 million in 2D.
    #[serde(rename = "paper-25M")]
    Paper25M,
    /// The paper's recipe for its model of 100 million weights: 104.6 million in 2D.
    #[serde(rename = "paper-100M")]
    Paper100M,
    /// What the released code trains with: the smallest model, a tenth of the paper's learning rate,
    /// stochastic depth and batches of 2.
    #[serde(rename = "released")]
    Released,
}

impl Preset {
    /// The values that differ from a configuration's defaults.
    fn table(self) -> Table {
        let (dim, heads) = match self {
            Self::Paper7M | Self::Released => (192, 3),
            Self::Paper25M => (384, 6),
            Self::Paper100M => (768, 12),
        };
        let mut table = toml::toml! {
            [data]
            context = 6
            [optim]
            lr = 1e-3
            weight_decay = 1e-4
            [train]
            epochs = 200
            batch = 16
        };
        set(&mut table, "model", "dim", dim);
        set(&mut table, "model", "heads", heads);
        if self == Self::Released {
            set(&mut table, "optim", "lr", 1e-4);
            set(&mut table, "train", "drop_path", 0.1);
            set(&mut table, "train", "batch", 2);
        }
        table
    }
}

fn set(table: &mut Table, section: &str, key: &str, value: impl Into<Value>) {
    let section = table.entry(section).or_insert_with(|| Table::new().into());
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value.into());
    }
}

/// Replaces the key `preset` of a configuration by the values of the preset; what else is typed wins.
///
/// # Errors
/// For a preset that there is not.
pub(super) fn unfolded(mut typed: Table) -> Result<Table, toml::de::Error> {
    let Some(name) = typed.remove("preset") else {
        return Ok(typed);
    };
    let mut table = name.try_into::<Preset>()?.table();
    let has = |key| {
        typed
            .get("train")
            .is_some_and(|train| train.get(key).is_some())
    };
    // Steps that are typed alone are meant.
    if has("steps")
        && !has("epochs")
        && let Some(Value::Table(train)) = table.get_mut("train")
    {
        train.remove("epochs");
    }
    for (section, values) in typed {
        match values {
            Value::Table(values) => {
                for (key, value) in values {
                    set(&mut table, &section, &key, value);
                }
            }
            value => drop(table.insert(section, value)),
        }
    }
    Ok(table)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;
    use wellspring_store::Boundary;

    use crate::{Config, Surrogate};

    #[test]
    fn the_models_have_the_weights_that_they_are_named_for() {
        for (name, axes, million) in [
            ("paper-7.6M", 2, 6.6),
            ("paper-7.6M", 3, 7.6),
            ("paper-25M", 2, 26.2),
            ("paper-100M", 2, 104.6),
            ("released", 3, 7.6),
        ] {
            let config = Config::from_toml(&format!("preset = \"{name}\"")).unwrap();
            let sides = vec![[Boundary::Periodic; 2]; axes];
            let model = Surrogate::new(&config.model, 4, sides, 0, &Device::Cpu).unwrap();
            let count = model.parameters().count();
            let off = count as f64 / 1e6 / million - 1.0;
            assert!(off.abs() < 0.01, "{name} in {axes}D: {count}");
        }
    }

    #[test]
    fn what_is_typed_wins_over_the_preset() {
        let config = |text: &str| Config::from_toml(text).unwrap();
        let paper = config("preset = \"paper-25M\"");
        assert_eq!((paper.train.epochs, paper.train.batch), (Some(200), 16));
        assert_eq!((paper.optim.lr, paper.model.width()), (1e-3, 384));
        let typed = config(
            "preset = \"released\"\n[optim]\nclip = 1.0\n[train]\nsteps = 7\nbatch = 3\n[model]\npatches = [4]",
        );
        assert_eq!((typed.optim.lr, typed.optim.clip), (1e-4, Some(1.0)));
        assert_eq!((typed.train.epochs, typed.train.steps), (None, 7));
        assert_eq!((typed.train.batch, typed.train.drop_path), (3, 0.1));
        assert_eq!(typed.model.patches().len(), 1);
        // A run keeps what the preset stood for.
        let kept = config(&typed.to_toml().unwrap());
        assert_eq!(kept, typed);
        assert!(!typed.to_toml().unwrap().contains("preset"));
    }

    #[test]
    fn a_preset_that_there_is_not_names_those_that_there_are() {
        for text in [
            "preset = \"paper-7M\"",
            "preset = \"released\"\n[optim]\nspeed = 1",
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(
                error.contains("paper-100M") || error.contains("speed"),
                "{error}"
            );
        }
    }
}
