//! Gives each evaluation and each training one stroke, which it has in every figure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::style::Stroke;
use crate::{Result, Results};

/// A model's name without the seed of a run of an experiment: its seeds are drawn as one line, their mean.
pub(super) const MODEL: &str = "regexp_replace(name, '-seed[0-9]+$', '')";

/// Strokes by name and schedule.
pub(super) struct Strokes(BTreeMap<(String, String), Stroke>);

#[derive(Deserialize)]
struct Line {
    name: String,
    schedule: String,
    model: bool,
}

impl Strokes {
    pub(super) async fn of(results: &Results) -> Result<Self> {
        let lines: Vec<Line> = results
            .rows(&format!(
                "SELECT {MODEL} AS name, schedule, bool_or(strategy <> 'baseline') AS model FROM runs \
                 GROUP BY {MODEL}, schedule ORDER BY {MODEL}, schedule"
            ))
            .await?;
        let mut strokes = BTreeMap::new();
        let (mut models, mut baselines) = (BTreeMap::new(), 0);
        for Line {
            name,
            schedule,
            model,
        } in lines
        {
            let stroke = if model {
                let count = models.len();
                let (model, schedules) = models.entry(name.clone()).or_insert((count, 0));
                *schedules += 1;
                Stroke {
                    model: Some(*model),
                    schedule: *schedules - 1,
                }
            } else {
                baselines += 1;
                Stroke {
                    model: None,
                    schedule: baselines - 1,
                }
            };
            strokes.insert((name, schedule), stroke);
        }
        let mut strokes = Self(strokes);
        for name in results.trainings() {
            strokes.add_training(name, &mut models);
        }
        Ok(strokes)
    }

    /// A training is drawn as the model of its folder's name; one that nothing was evaluated of, as a new model.
    fn add_training(&mut self, name: &str, models: &mut BTreeMap<String, (usize, usize)>) {
        let folder = name.rsplit('/').next().unwrap_or(name);
        let (model, _) = folder.rsplit_once("-seed").unwrap_or((folder, ""));
        let known = [name, folder, model]
            .iter()
            .find_map(|&name| models.get(name));
        let model = known.map_or(models.len(), |(model, _)| *model);
        if known.is_none() {
            models.insert(name.to_owned(), (model, 1));
        }
        let stroke = Stroke {
            model: Some(model),
            schedule: 0,
        };
        self.0.insert((name.to_owned(), String::new()), stroke);
    }

    /// Stroke of an evaluation; without a schedule, that of the model.
    pub(super) fn get(&self, name: &str, schedule: &str) -> Stroke {
        let key = (name.to_owned(), schedule.to_owned());
        let other = || {
            let first = self.0.range((name.to_owned(), String::new())..).next();
            first.filter(|((found, _), _)| found == name)
        };
        let found = self.0.get(&key).copied();
        let found = found.or_else(|| {
            other().map(|(_, &stroke)| Stroke {
                schedule: 0,
                ..stroke
            })
        });
        found.unwrap_or(Stroke {
            model: None,
            schedule: 0,
        })
    }
}
