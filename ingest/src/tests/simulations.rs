//! Simulations are written in The Well's layout, and read like any others.

use std::path::Path;

use wellspring_store::{Boundary, Location, Silent, Split};

use super::convert;
use crate::catalogue::inspect;
use crate::{Equation, Error, IngestOptions, SimulateOptions, simulate};

fn small(equation: Equation, shape: &[usize]) -> SimulateOptions {
    SimulateOptions {
        shape: shape.to_vec(),
        frames: 3,
        train: 2,
        valid: 1,
        test: 1,
        ..SimulateOptions::of(equation)
    }
}

fn simulated(equation: Equation, shape: &[usize], folder: &Path) -> Vec<std::path::PathBuf> {
    simulate(equation, folder, &small(equation, shape), &Silent).unwrap()
}

#[tokio::test]
async fn simulations_are_files_like_any_others() {
    for (equation, shape) in [
        (Equation::ShearFlow, vec![16, 32]),
        (Equation::DecayingTurbulence3d, vec![8, 10, 12]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let files = simulated(equation, &shape, folder.path());
        assert_eq!(files.len(), 4);
        let file = Location::parse(files[0].to_str().unwrap()).unwrap();
        let summary = inspect(&file).await.unwrap().to_string();
        assert!(
            summary.contains(equation.dataset_name()) && summary.contains("periodic below"),
            "{summary}"
        );
        let (_, manifest) = convert(folder.path(), &IngestOptions::default())
            .await
            .unwrap();
        assert_eq!(manifest.schema.grid.shape(), shape);
        assert_eq!(
            manifest.schema.boundaries(),
            vec![[Boundary::Periodic; 2]; shape.len()]
        );
        assert_eq!(manifest.splits.len(), 3);
        assert!(manifest.split(Split::Test).unwrap().trajectories[0].parameters["Reynolds"] > 0.0);
    }
}

#[tokio::test]
async fn equal_seeds_give_equal_simulations() {
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            simulated(Equation::ShearFlow, &[16, 16], folder.path());
            ids.push(
                convert(folder.path(), &IngestOptions::default())
                    .await
                    .unwrap()
                    .1
                    .id(),
            );
        }
        ids
    };
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn simulations_are_not_written_over_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let equation = Equation::ShearFlow;
    simulated(equation, &[16, 16], folder.path());
    let options = SimulateOptions::of(equation);
    let error = simulate(equation, folder.path(), &options, &Silent).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    // The same once more is done; with a file gone it is not.
    let there = simulated(equation, &[16, 16], folder.path());
    std::fs::remove_file(&there[0]).unwrap();
    let error = simulate(
        equation,
        folder.path(),
        &small(equation, &[16, 16]),
        &Silent,
    )
    .unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    for shape in [vec![16], vec![4, 4], vec![16, 1 << 20]] {
        let options = SimulateOptions {
            shape,
            overwrite: true,
            ..SimulateOptions::of(equation)
        };
        assert!(matches!(
            simulate(equation, folder.path(), &options, &Silent),
            Err(Error::Simulation { .. })
        ));
    }
}
