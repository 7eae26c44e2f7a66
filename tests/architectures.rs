//! The Well's baseline models in place of the transformer: trained, measured, evaluated and continued as it is.

use crate::program::{SMALL, Workplace};

/// Each with sizes for a moment.
const ARCHITECTURES: [(&str, &str); 4] = [
    ("unet", "--set model.init_features=2"),
    (
        "cnextunet",
        "--set model.init_features=2 --set model.blocks_per_stage=1",
    ),
    ("fno", "--set model.modes=4 --set model.hidden=4"),
    ("tfno", "--set model.modes=4 --set model.hidden=4"),
];

/// What all of them train with.
const SHARED: &str = "--set data.root=ds --set data.context=3 --set optim.warmup=2 --set train.steps=4 \
    --set validation={every=2,windows=2}";

#[test]
fn each_trains_and_is_evaluated_as_a_transformer_is() {
    let place = Workplace::new().with_data_set();
    for (name, sizes) in ARCHITECTURES {
        let model = format!("--set model.architecture={name} {sizes}");
        let said = place.do_it(&format!("train --out {name} --estimate {SHARED} {model}"));
        assert!(said.out.contains("1024"), "tokens: {said:?}");
        place.do_it(&format!("train --out {name} {SHARED} {model}"));
        let losses = place.losses(name);
        assert!(losses.len() == 4 && losses.iter().all(|loss| loss.is_finite()));
        place.do_it(&format!("eval {name} ds -r results --rollout 3"));
        place.do_it(&format!(
            "predict {name} ds --to {name}-said --rollout 3 --trajectories 0..1"
        ));
        place.do_it(&format!("inspect {name}"));
        // Its weights go out and in, and over to a run of its own.
        place.do_it(&format!("export {name} {name}.safetensors"));
        for source in [format!("{name}.safetensors"), name.to_owned()] {
            let begun = format!("from-{source}");
            place.do_it(&format!("import {source} --out {begun} {SHARED} {model}"));
            assert_eq!(place.weights(name, 4), place.weights(&begun, 0));
        }
    }
    let query = "SELECT name, strategy, schedule, tokens, vrmse FROM leaderboard ORDER BY name";
    let rows = place.ask("results", query);
    assert_eq!(rows.len(), 4, "{rows:?}");
    for row in rows {
        assert_eq!(row["strategy"], row["name"]);
        assert_eq!(
            (row["schedule"].as_str(), row["tokens"].as_f64()),
            (Some("1"), Some(1024.0))
        );
        assert!(row["vrmse"].as_f64().unwrap().is_finite(), "{row}");
    }
    let one_step = place.ask("results", "SELECT p1 FROM table1");
    assert!(one_step.iter().all(|row| row["p1"].as_f64().unwrap() > 0.0));
}

#[test]
fn what_a_baseline_does_not_have_is_refused() {
    let place = Workplace::new().with_data_set();
    let unet = "--set model.architecture=unet --set model.init_features=2";
    let cases = [
        (
            format!("{SHARED} {unet} --set model.patches=[8]"),
            "patches",
        ),
        (
            format!("{SMALL} --set model.architecture=fno"),
            "model.architecture = fno",
        ),
        (
            format!("{SHARED} {unet} --set train.jitter=true"),
            "train.jitter",
        ),
        (
            format!("{SHARED} --set model.architecture=resnet"),
            "cnextunet",
        ),
        (format!("{SHARED} --set model.modes=4"), "modes"),
    ];
    for (words, key) in cases {
        place
            .run(&format!("train --out run {words}"))
            .refuses(&[key]);
    }
    place.do_it(&format!("train --out run {SHARED} {unet}"));
    let said = place.run("eval run ds -r results --schedule 4");
    said.refuses(&["no patch size 4", "grid points"]);
}
