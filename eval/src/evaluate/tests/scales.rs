//! The errors of a field do not depend on its units.

use std::collections::BTreeMap;

use serde::Deserialize;
use wellspring_store::Notes;

use super::*;
use crate::Results;
use crate::sample::waves_on;

/// A fixed linear step on stored values: most of the last frame, and some of its neighbour's.
struct Fixed;

impl Subject for Fixed {
    fn description(&self) -> Description {
        Description {
            strategy: "ckm".into(),
            ..Description::default()
        }
    }

    fn context(&self) -> usize {
        1
    }

    fn stride(&self) -> usize {
        1
    }

    fn patches(&self) -> Vec<Patch> {
        vec![Patch::uniform(4, 2)]
    }

    fn tokens(&self, _: &Patch, _: &[usize]) -> Result<usize, SubjectError> {
        Ok(16)
    }

    fn step(&self, context: Context<'_>, _: &Patch) -> Result<Frames, SubjectError> {
        let context = context.frames;
        let last = context.frame(context.time() - 1);
        let mut next = last.clone();
        let pairs = next.data_mut().iter_mut().zip(last.data().iter().skip(16));
        pairs.for_each(|(x, neighbour)| *x = 0.8 * *x + 0.1 * neighbour);
        Ok(next)
    }
}

#[derive(Deserialize)]
struct Mean {
    key: String,
    value: Option<f64>,
}

/// The mean of every metric of persistence and a fixed step, and what was noted.
fn measured(shift: f64, scale: f64) -> (BTreeMap<String, f64>, Vec<String>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(waves_on("memory:///waves", "waves", 16, shift, scale));
    let results = Location::parse("memory:///results").unwrap();
    let options = EvalOptions {
        rollout: 2,
        split: Split::Test,
        temporal: true,
        ..EvalOptions::default()
    };
    let notes = Notes::default();
    let persistence = Baseline::Persistence.with_context(1, 2);
    let subjects: [(&dyn Subject, &str, &str); 2] =
        [(&persistence, "persistence", "1"), (&Fixed, "fixed", "4")];
    for (subject, name, schedule) in subjects {
        let evaluation = Evaluation {
            subject,
            name,
            schedule: &Schedule::parse(schedule, 2).unwrap(),
            dataset: &dataset,
            options: &options,
        };
        evaluate(&results, evaluation, runtime.handle(), &notes).unwrap();
    }
    let means: Vec<Mean> = runtime.block_on(async {
        let results = Results::open(&results, &Silent).await.unwrap();
        let query = "SELECT concat_ws(' ', r.name, m.lead, m.metric, m.band) AS key, avg(m.value) AS value \
            FROM runs r JOIN metrics m ON m.run = r.run GROUP BY 1 \
            UNION SELECT concat(name, ' of_persistence'), of_persistence FROM leaderboard \
            UNION SELECT concat_ws(' ', r.name, s.lead, 'spectrum', s.axis, s.bin), s.residual FROM runs r \
                JOIN spectra s ON s.run = r.run WHERE s.bin IN (1, 3, 7) AND s.axis = 'x'";
        results.rows(query).await.unwrap()
    });
    let finite = means
        .into_iter()
        .filter_map(|mean| Some((mean.key, mean.value.filter(|value| value.is_finite())?)));
    (finite.collect(), notes.take())
}

/// How a metric depends on the field's units, by the word of its name; of those that have none of a shift's.
fn power(metric: &str) -> Option<i32> {
    match metric {
        "mse" | "band_mse" | "spectrum" => Some(2),
        "mae" | "rmse" | "linf" => Some(1),
        "vmse" | "vrmse" | "pearson" | "divergence_lead" | "band_nmse" | "of_persistence" => {
            Some(0)
        }
        _ => None,
    }
}

#[test]
fn units_and_a_shift_change_no_error() {
    let (ordinary, notes) = measured(0.0, 1.0);
    assert!(notes.is_empty(), "{notes:?}");
    assert!(ordinary["fixed 1 vrmse"] > 0.1 && ordinary["persistence 1 band_nmse 2"] > 0.1);
    // On 1e8 the numbers of 1e-3 themselves have only five digits in f64.
    for (shift, scale, tolerance) in [
        (0.0, 1e-30, 1e-5),
        (0.0, 1e-24, 1e-5),
        (0.0, 1e30, 1e-5),
        (-1e8, 1.0, 1e-5),
        (1e8, 1e-3, 2e-4),
    ] {
        let (found, notes) = measured(shift, scale);
        assert_eq!(notes.is_empty(), scale == 1.0, "{notes:?}");
        let mut compared = 0;
        for (key, expected) in &ordinary {
            let metric = key.split(' ').nth(if key.ends_with("of_persistence") {
                1
            } else {
                2
            });
            let Some(power) = metric.and_then(power) else {
                continue;
            };
            // The truth's mean is in the band of the largest scales.
            if shift != 0.0 && key.ends_with("band_nmse 0") {
                continue;
            }
            let expected = expected * scale.powi(power);
            let apart = (found[key] - expected).abs();
            assert!(
                apart <= tolerance * expected.abs(),
                "{key} at {shift:e} ± {scale:e}: {} instead of {expected}",
                found[key]
            );
            compared += 1;
        }
        assert!(compared > 40, "{compared}");
        // Where there is no shift, what is relative to the truth itself is the same too.
        for key in [
            "nmse",
            "nrmse",
            "nmae",
            "dtw_distance",
            "dtw_path_distortion",
        ] {
            let key = format!("fixed 2 {key}");
            let apart = (found[&key] - ordinary[&key]).abs();
            assert!(
                shift != 0.0 || apart <= 1e-5 * ordinary[&key],
                "{key} at {scale:e}"
            );
        }
    }
}

/// Frames that stand still: persistence has no error, and a ratio to it says nothing.
#[test]
fn a_ratio_to_no_error_is_absent() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(waves_on("memory:///still", "still", 16, 1.0, 0.0));
    let results = Location::parse("memory:///results").unwrap();
    let evaluation = Evaluation {
        subject: &Baseline::Persistence.with_context(1, 2),
        name: "persistence",
        schedule: &Schedule::parse("1", 2).unwrap(),
        dataset: &dataset,
        options: &EvalOptions::default(),
    };
    evaluate(&results, evaluation, runtime.handle(), &Silent).unwrap();
    let answer = runtime.block_on(async {
        let results = Results::open(&results, &Silent).await.unwrap();
        results
            .sql("SELECT vrmse, of_persistence FROM leaderboard")
            .await
    });
    let text = String::from_utf8(Format::Csv.write(&answer.unwrap()).unwrap()).unwrap();
    assert_eq!(text, "vrmse,of_persistence\n0.0,\n");
}
