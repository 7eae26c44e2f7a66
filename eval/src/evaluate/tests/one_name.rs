//! Two data sets with one name are never mixed.

use std::collections::BTreeSet;

use super::*;
use crate::figures::report;
use crate::sample::waves_on;
use crate::{AnimationOptions, FigureSelection, ReportOptions, Results, View, animate, figures};

/// Persistence and a model on two data sets that are both called nova, of 16 × 16 and 32 × 32 cells; the first one
/// lies in two places.
fn results(runtime: &tokio::runtime::Runtime) -> Location {
    let results = Location::parse("memory:///results").unwrap();
    let coarse = runtime.block_on(waves_on("memory:///coarse", "nova", 16, 0.0, 1.0));
    let again = runtime.block_on(waves_on("memory:///again", "nova", 16, 0.0, 1.0));
    let fine = runtime.block_on(waves_on("memory:///fine", "nova", 32, 5.0, 3.0));
    let options = EvalOptions {
        rollout: 2,
        ..EvalOptions::default()
    };
    let persistence = Baseline::Persistence.with_context(1, 2);
    let model = CountingSubject::failing_at(usize::MAX);
    let work: [(&dyn Subject, &str, &str, &Dataset); 4] = [
        (&persistence, "persistence", "1", &coarse),
        (&model, "csm", "8", &again),
        (&persistence, "persistence", "1", &fine),
        (&model, "csm", "8", &fine),
    ];
    for (subject, name, schedule, dataset) in work {
        let evaluation = Evaluation {
            subject,
            name,
            schedule: &Schedule::parse(schedule, 2).unwrap(),
            dataset,
            options: &options,
        };
        evaluate(&results, evaluation, runtime.handle(), &Silent).unwrap();
    }
    results
}

#[test]
fn no_view_mixes_them() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let results = results(&runtime);
    runtime.block_on(async {
        let results = Results::open(&results, &Silent).await.unwrap();
        let ask = async |query: &str| {
            let answer = results.sql(query).await.unwrap();
            String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap()
        };
        // Without a fixed model nothing is claimed of elastic ones, and there is no ensemble.
        let views = View::OF_RESULTS.into_iter();
        for view in views.filter(|view| !["claims", "ensemble"].contains(&view.name)) {
            let name = view.name;
            let sets = ask(&format!("SELECT DISTINCT dataset FROM {name} ORDER BY dataset")).await;
            assert_eq!(sets, "dataset\nnova 16x16\nnova 32x32\n", "{name}");
        }
        // The model on the copy is compared with persistence on the original.
        let board = ask("SELECT dataset, name, of_persistence IS NULL AS alone FROM leaderboard ORDER BY 1, 2").await;
        let expected = "dataset,name,alone\nnova 16x16,csm,false\nnova 16x16,persistence,false\n\
            nova 32x32,csm,false\nnova 32x32,persistence,false\n";
        assert_eq!(board, expected);
        // Each number is that of one run.
        let mixed = "SELECT count(*) AS mixed FROM table1 t WHERE t.p8 IS NOT NULL AND NOT EXISTS \
            (SELECT 1 FROM leaderboard l WHERE l.dataset = t.dataset AND l.name = t.name AND abs(l.vrmse - t.p8) < 1e-12)";
        assert_eq!(ask(mixed).await, "mixed\n0\n");
        let own = ask("SELECT DISTINCT dataset, dataset_name, grid FROM runs ORDER BY 1").await;
        assert_eq!(own, "dataset,dataset_name,grid\nnova 16x16,nova,16x16\nnova 32x32,nova,32x32\n");
        let starts = ask("SELECT dataset, name, starts FROM divergence ORDER BY 1, 2").await;
        assert_eq!(starts.matches(",4\n").count(), 4, "{starts}");
    });
}

#[test]
fn each_has_its_figures() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let results = results(&runtime);
    runtime.block_on(async {
        let results = Results::open(&results, &Silent).await.unwrap();
        let all = figures(&results, &FigureSelection::default())
            .await
            .unwrap();
        let of = |label: &str| -> BTreeSet<String> {
            let names = all.iter().map(|figure| figure.name().to_owned());
            let own = names.filter(|name| name.contains(label));
            own.map(|name| name.replace(label, "")).collect()
        };
        assert_eq!(of("nova_16x16"), of("nova_32x32"));
        assert_eq!(of("nova_16x16").len() * 2, all.len());
        let chosen = async |name: &str| {
            let datasets = vec![name.to_owned()];
            let selection = FigureSelection {
                datasets,
                ..FigureSelection::default()
            };
            figures(&results, &selection).await.unwrap().len()
        };
        assert_eq!(chosen("nova").await, all.len());
        assert_eq!(chosen("nova 32x32").await * 2, all.len());
        let page = report(&results, &ReportOptions::default()).await.unwrap();
        assert!(page.contains("nova 16x16") && page.contains("nova 32x32"));
        let options = AnimationOptions {
            run: "csm".into(),
            schedule: None,
            fields: Vec::new(),
            trajectory: None,
            milliseconds: 100,
        };
        let error = animate(&results, &options).await.unwrap_err().to_string();
        assert!(
            error.contains("nova 16x16") && error.contains("nova 32x32"),
            "{error}"
        );
    });
}
