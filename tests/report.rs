//! Figures, animations and the report from outside.

use crate::program::{Said, Workplace};

fn refused(said: &Said, code: i32, parts: &[&str]) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(!said.err.contains("panicked"), "{}", said.err);
    for part in parts {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}

fn with_results() -> Workplace {
    let place = Workplace::new().with_data_set();
    place.do_it("eval persistence ds -r results --rollout 4 --context 3");
    place.do_it("eval linear ds -r results --rollout 4 --context 3");
    place
}

/// Width and height of a PNG, and its frames where it is animated.
fn png(bytes: &[u8]) -> (u32, u32, Option<u32>) {
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&bytes[bytes.len() - 8..bytes.len() - 4], b"IEND");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let animation = bytes.windows(4).position(|name| name == b"acTL");
    (number(16), number(20), animation.map(|at| number(at + 4)))
}

#[test]
fn figures_are_files_that_stand_alone() {
    let place = with_results();
    let said = place.do_it("figures results out --format svg,png");
    let files = place.files("out");
    assert!(
        said.err.contains(&format!("{} files in out", files.len())),
        "{}",
        said.err
    );
    for name in [
        "vrmse-by-lead",
        "bands",
        "bands-last",
        "residual-spectrum-x",
        "residual-spectrum-isotropic",
    ] {
        for extension in ["svg", "png"] {
            let file = place.path(&format!("out/{name}-shear_flow-test.{extension}"));
            assert!(file.exists(), "{}", file.display());
        }
    }
    for (path, bytes) in &files {
        if path.extension().is_some_and(|extension| extension == "png") {
            assert_eq!(png(bytes).0, 1280, "{}", path.display());
        } else {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"));
            assert!(
                text.contains("xmlns=") && !text.contains("currentColor"),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn a_selection_is_drawn_and_what_is_not_there_is_named() {
    let place = with_results();
    place.do_it("figures results one --name linear --field pressure");
    let by_lead =
        std::fs::read_to_string(place.path("one/vrmse-by-lead-shear_flow-test-pressure.svg"));
    let by_lead = by_lead.unwrap();
    assert!(
        by_lead.contains("linear") && !by_lead.contains("persistence"),
        "{by_lead}"
    );
    place.do_it("figures results each --each-field");
    assert!(place.path("each/bands-shear_flow-test-tracer.svg").exists());
    assert!(
        place
            .path("each/bands-shear_flow-test-velocity_y.svg")
            .exists()
    );
    for (words, parts) in [
        ("--field heat", ["heat is not a field", "pressure"]),
        (
            "--name ckm",
            ["ckm is not an evaluated run", "linear, persistence"],
        ),
        ("--dataset ocean", ["ocean is not a data set", "shear_flow"]),
    ] {
        refused(
            &place.run(&format!("figures results none {words}")),
            1,
            &parts,
        );
    }
    refused(
        &place.run("figures results none --format gif"),
        2,
        &["'gif' for '--format", "svg, png"],
    );
    assert!(!place.path("none").exists());
}

#[test]
fn a_rollout_moves() {
    let place = with_results();
    place.do_it("animate results linear out.png --field pressure --field tracer");
    let (width, height, frames) = png(&std::fs::read(place.path("out.png")).unwrap());
    assert_eq!((width, frames), (1280, Some(4)));
    place.do_it("animate results linear one.png --field pressure");
    assert!(png(&std::fs::read(place.path("one.png")).unwrap()).1 < height);
    for (words, parts) in [
        (
            "nothing out2.png",
            ["nothing is not an evaluation", "persistence--"],
        ),
        (
            "linear out2.png --field heat",
            ["heat is not a field", "pressure"],
        ),
        (
            "linear out2.png --trajectory 9",
            ["9 is not a kept trajectory", "there are: 0"],
        ),
    ] {
        refused(&place.run(&format!("animate results {words}")), 1, &parts);
    }
    place.do_it("eval linear ds -r results --rollout 4 --context 3 --existing add");
    refused(
        &place.run("animate results linear out2.png"),
        1,
        &["several evaluations", "linear--"],
    );
    place.do_it("eval mean ds -r results --rollout 4 --context 3 --keep 0");
    refused(
        &place.run("animate results mean out2.png"),
        1,
        &["kept no frames", "--keep 1"],
    );
    assert!(!place.path("out2.png").exists());
}

#[test]
fn broken_frames_are_named_and_missing_ones_are_not_missed() {
    let place = with_results();
    let (frames, bytes) = place.files("results/frames").remove(0);
    let name = frames.file_name().unwrap().to_string_lossy().into_owned();
    let foreign = std::fs::read(place.files("ds/test").remove(0).0).unwrap();
    let half = &bytes[..bytes.len() / 2];
    for (bytes, reason) in [
        (half, ""),
        (b"mine".as_slice(), ""),
        (foreign.as_slice(), "no column"),
    ] {
        std::fs::write(&frames, bytes).unwrap();
        for command in ["report results page.html", "figures results out"] {
            let parts = [name.as_str(), "is not a result table", reason];
            refused(&place.run(command), 1, &parts);
        }
    }
    assert!(!place.path("page.html").exists());
    std::fs::remove_dir_all(place.path("results/frames")).unwrap();
    place.do_it("report results page.html");
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("Residual spectrum") && !page.contains("data:image/png"));
}

#[test]
fn one_lead_and_three_dimensions_have_figures() {
    let place = Workplace::new();
    place.do_it("simulate decaying-turbulence-3d sims --shape 16x16x16 --frames 5 --train 1 --valid 0 --test 1");
    place.do_it("ingest sims ds");
    place.do_it("eval persistence ds -r results --context 2");
    place.do_it("figures results out --format png");
    let names: Vec<String> = place
        .files("out")
        .iter()
        .map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let has = |part: &str| names.iter().any(|name| name.starts_with(part));
    assert!(
        has("residual-spectrum-z") && has("bands-") && has("fields-"),
        "{names:?}"
    );
    assert!(!has("vrmse-by-lead") && !has("bands-last"), "{names:?}");
    place.do_it("report results page.html");
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("the middle plane of the last axis"));
    place.do_it("animate results persistence still.png");
    assert_eq!(
        png(&std::fs::read(place.path("still.png")).unwrap()).2,
        Some(1)
    );
}

#[test]
fn every_link_of_the_page_leads_somewhere() {
    let place = with_results();
    place.do_it("report results page.html");
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    let targets: Vec<&str> = page
        .split("href=\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(targets.len() > 20, "{}", targets.len());
    for target in targets {
        assert_eq!(
            page.matches(&format!("id=\"{target}\"")).count(),
            1,
            "{target}"
        );
    }
    // A number of the page is that of its SQL.
    let best = place.ask("results", "SELECT min(vrmse) AS vrmse FROM leaderboard");
    let best = best[0]["vrmse"].as_f64().unwrap();
    let shown = |digits: &str| {
        digits
            .parse::<f64>()
            .is_ok_and(|x| (x - best).abs() < 1e-4 * best)
    };
    assert!(page.split(['<', '>']).any(shown), "{best}");
}
