//! Figures of tables written by hand.

use wellspring_log::{Event, LogWriter};
use wellspring_store::{Location, Silent};

use super::*;
use crate::figures::report::{ReportOptions, report};
use crate::results::pictures::Picture;
use crate::results::tables::{Draft, EvaluationClaim, MetricRow, SpectrumRow};
use crate::{Error, OnExisting, RunRecord};

/// Results of some runs over some leads; every number is what a function of (run, lead) gives.
struct KnownResults {
    folder: tempfile::TempDir,
    runs: usize,
    leads: u32,
    shape: Vec<u32>,
    value: fn(usize, u32) -> f64,
}

impl KnownResults {
    fn new(runs: usize, leads: u32) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            runs,
            leads,
            shape: vec![8, 12],
            value: |run, lead| 0.01 * f64::from(lead) * (run + 1) as f64,
        }
    }

    async fn results(&self) -> Results {
        let root = Location::parse(&self.folder.path().to_string_lossy()).unwrap();
        for run in 0..self.runs {
            self.commit(run, &root).await;
        }
        Results::open(&root, &Silent).await.unwrap()
    }

    async fn commit(&self, run: usize, root: &Location) {
        let record = record(run, self.leads);
        let id = record.run.clone();
        let mut draft = Draft::of(&record).unwrap();
        for lead in 1..=self.leads {
            let value = (self.value)(run, lead);
            draft.metrics.push(&metrics(&id, lead, value)).unwrap();
            draft.spectra.push(&spectra(&id, lead, value)).unwrap();
            draft.pictures.push(self.picture(lead, value));
        }
        let claim = EvaluationClaim::new(&record, OnExisting::Add, root.to_string(), Vec::new());
        let claim = claim.unwrap().unwrap();
        draft.commit(record, &claim, root).await.unwrap();
    }

    fn picture(&self, lead: u32, value: f64) -> Picture {
        let cells: u32 = self.shape.iter().product();
        let truth: Vec<f32> = (0..cells).map(|i| (i % 7) as f32).collect();
        let finite = |x: f32| x.is_finite().then_some(x);
        Picture {
            trajectory: 0,
            start: 0,
            lead,
            patch: "4".into(),
            field: "density".into(),
            shape: self.shape.clone(),
            prediction: truth.iter().map(|x| finite(x + value as f32)).collect(),
            truth: truth.into_iter().map(finite).collect(),
        }
    }

    async fn figures(&self) -> Vec<Figure> {
        figures(&self.results().await, &FigureSelection::default())
            .await
            .unwrap()
    }
}

fn record(run: usize, leads: u32) -> RunRecord {
    RunRecord {
        run: format!("run-{run:02}"),
        table_version: crate::TABLE_VERSION,
        name: format!("a model with a long name, number {run}"),
        strategy: "ckm".into(),
        parameters: 1,
        dim: 1,
        blocks: 1,
        train_steps: 1,
        train_dataset: "t".into(),
        weights: None,
        bands: None,
        dataset: "<flows> & more".into(),
        dataset_id: "d".into(),
        task: "t".into(),
        grid: "8x12".into(),
        fields: "density".into(),
        split: "test".into(),
        schedule: "4".into(),
        jitter: None,
        members: None,
        context: 1,
        rollout: u64::from(leads),
        trajectories: 1,
        starts: 1,
        every: 1,
        tokens: 64.0 + run as f64,
        seconds_per_frame: 0.1,
        version: "0".into(),
        created: 0,
    }
}

fn metrics(run: &str, lead: u32, value: f64) -> Vec<MetricRow<'_>> {
    let row = |metric, band| MetricRow {
        run,
        trajectory: 0,
        start: 0,
        lead,
        patch: "4",
        tokens: 64,
        field: "density",
        metric,
        band,
        value,
    };
    let bands = (0..3).map(|band| row("band_nmse", Some(band)));
    [row("vrmse", None)].into_iter().chain(bands).collect()
}

/// Along an axis of 16 cells.
fn spectra(run: &str, lead: u32, value: f64) -> Vec<SpectrumRow<'_>> {
    let wave = 2.0 * std::f64::consts::PI / 16.0;
    let row = |axis, bin: u32| SpectrumRow {
        run,
        lead,
        patch: "4",
        field: "density",
        axis,
        bin,
        k_low: ((f64::from(bin) - 0.5) * wave).max(0.0),
        k_high: (f64::from(bin) + 0.5) * wave,
        truth: 1.0,
        prediction: 1.0,
        residual: value / f64::from(bin + 1),
    };
    let bins = (0..=8).flat_map(|bin| [row("x", bin), row("isotropic", bin)]);
    bins.collect()
}

fn headings(figures: &[Figure]) -> BTreeSet<&str> {
    figures.iter().map(Figure::heading).collect()
}

fn text(figure: &Figure) -> String {
    String::from_utf8(figure.image(ImageFormat::Svg).unwrap()).unwrap()
}

/// Width and height of a PNG that can be decoded.
fn decoded(bytes: &[u8]) -> (u32, u32) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    (frame.width, frame.height)
}

#[test]
fn names_are_safe_and_different() {
    let mut taken = BTreeSet::new();
    let names = ["a/../b c", "a/../b?c", "A_.._b_c"].map(|name| free_name(name, &mut taken));
    assert_eq!(names, ["a_.._b_c", "a_.._b_c-2", "A_.._b_c-3"]);
}

#[tokio::test]
async fn thirty_runs_are_all_named_in_every_chart() {
    let figures = KnownResults::new(30, 4).figures().await;
    assert_eq!(headings(&figures).len(), 7);
    for figure in &figures {
        let (width, height) = decoded(&figure.image(ImageFormat::Png).unwrap());
        assert_eq!(width, 1280);
        assert!(height > 500, "{}", figure.name());
        let svg = text(figure);
        assert!(
            svg.contains("&lt;flows&gt; &amp; more"),
            "{}",
            figure.name()
        );
        if figure.heading() != "Truth, predictions and errors" {
            assert_eq!(svg.matches("number ").count(), 30, "{}", figure.name());
        }
    }
}

#[tokio::test]
async fn the_harmonics_of_the_patch_are_marked() {
    let figures = KnownResults::new(1, 1).figures().await;
    let spectrum = |axis: &str| {
        let wanted = format!("residual-spectrum-{axis}-");
        let found = figures
            .iter()
            .find(|figure| figure.name().starts_with(&wanted));
        text(found.unwrap())
    };
    for axis in ["x", "isotropic"] {
        assert!(spectrum(axis).contains("p = 4"), "{axis}");
    }
}

#[tokio::test]
async fn one_lead_is_no_line_by_lead() {
    let figures = KnownResults::new(2, 1).figures().await;
    let headings = headings(&figures);
    assert!(headings.contains("Error against tokens") && headings.contains("Residual spectrum"));
    assert!(
        !headings.iter().any(|heading| heading.contains("lead")),
        "{headings:?}"
    );
}

#[tokio::test]
async fn what_is_not_finite_leaves_its_lines_and_no_error() {
    let astray = |run: usize, lead: u32| match (run, lead) {
        (0, _) => f64::NAN,
        (1, 2) => f64::INFINITY,
        _ => 0.5,
    };
    let given = KnownResults {
        value: astray,
        ..KnownResults::new(3, 4)
    };
    let all = given.figures().await;
    let by_lead = all
        .iter()
        .find(|figure| figure.name().starts_with("vrmse-by-lead"));
    let svg = text(by_lead.unwrap());
    assert!(
        !svg.contains("number 0") && svg.contains("number 1"),
        "{svg}"
    );
    let nothing = KnownResults {
        value: |_, _| f64::NAN,
        ..KnownResults::new(2, 3)
    };
    let figures = nothing.figures().await;
    assert_eq!(
        headings(&figures),
        BTreeSet::from(["Truth, predictions and errors"])
    );
    assert!(figures[0].caption().contains("not finite is black"));
    report(&nothing.results().await, &ReportOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_report_has_the_horizons_that_rollouts_hold() {
    for (leads, is_there) in [(5, false), (12, true)] {
        let given = KnownResults::new(2, leads);
        let page = report(&given.results().await, &ReportOptions::default())
            .await
            .unwrap();
        assert_eq!(page.contains("<h2>Error over horizons</h2>"), is_there);
    }
}

/// A training of 600 steps whose loss falls to a floor, validated a few times.
async fn train(run: &Location, floor: f32) {
    let mut log = LogWriter::new(run, 0);
    for step in 1..=600 {
        log.push(Event::Step {
            step,
            loss: floor + 1.0 / step as f32,
            data: "waves".into(),
            patch: "8".into(),
            lr: 1e-3,
            norm: Some(f64::from(floor) + (step as f64).sin().abs()),
            seconds: 0.1,
            waited: 0.0,
        });
        if step.is_multiple_of(100) {
            log.push(Event::Validation {
                step,
                data: "waves".into(),
                patch: "8".into(),
                lead: 1,
                vrmse: f64::from(floor) + 10.0 / step as f64,
                seconds: 1.0,
            });
        }
    }
    log.push(Event::Done { step: 600 });
    log.write().await.unwrap();
    run.join("config.toml").put("").await.unwrap();
    run.join("lock").put("").await.unwrap();
}

#[tokio::test]
async fn trainings_are_drawn_with_the_colours_of_their_models() {
    let given = KnownResults::new(2, 2);
    let mut results = given.results().await;
    let runs = results.location().join("trainings");
    let name = record(1, 2).name;
    train(&runs.join(&format!("sweep/{name}")), 0.02).await;
    train(&runs.join("other"), 0.1).await;
    results.add_trainings(&[runs], &Silent).await.unwrap();
    let figures = figures(&results, &FigureSelection::default())
        .await
        .unwrap();
    let names: Vec<&str> = figures.iter().map(Figure::name).collect();
    let curves = ["smooth", "vrmse", "norm", "rate"].map(|curve| format!("training-{curve}"));
    assert_eq!(names[..4], curves);
    let strokes = Strokes::of(&results).await.unwrap();
    let models = [&format!("sweep/{name}"), "other"].map(|name| strokes.get(name, "").model);
    assert_eq!(models, [Some(1), Some(2)]);
    assert_eq!(strokes.get(&name, "4").model, Some(1));
    let page = report(&results, &ReportOptions::default()).await.unwrap();
    assert!(page.contains("<h2>Trainings</h2>") && page.contains("<h2>Loss by step</h2>"));
}

#[tokio::test]
async fn lines_planes_and_cubes_are_pictures() {
    for shape in [
        vec![40],
        vec![8, 12],
        vec![6, 5, 4],
        vec![1, 1],
        vec![3000, 2],
    ] {
        let given = KnownResults {
            shape: shape.clone(),
            ..KnownResults::new(2, 2)
        };
        let figures = given.figures().await;
        let fields = figures.last().unwrap();
        assert!(fields.name().starts_with("fields-"), "{shape:?}");
        assert_eq!(
            decoded(&fields.image(ImageFormat::Png).unwrap()).0,
            1280,
            "{shape:?}"
        );
        // Truth and two predictions above two errors, each with a colour bar.
        assert_eq!(text(fields).matches("<image ").count(), 10, "{shape:?}");
    }
}

#[tokio::test]
async fn an_animation_has_a_frame_for_each_lead() {
    let given = KnownResults::new(2, 5);
    let results = given.results().await;
    let options = |run: &str| AnimationOptions {
        run: run.into(),
        schedule: None,
        fields: Vec::new(),
        trajectory: None,
        milliseconds: 200,
    };
    let (bytes, frames) = animate(&results, &options("run-01")).await.unwrap();
    assert_eq!(frames, 5);
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes.as_slice()))
        .read_info()
        .unwrap();
    assert_eq!(reader.info().animation_control().unwrap().num_frames, 5);
    let mut seen = BTreeSet::new();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    for _ in 0..frames {
        reader.next_frame(&mut pixels).unwrap();
        seen.insert(pixels.clone());
    }
    // The error grows from lead to lead.
    assert_eq!(seen.len(), 5);
    let error = animate(&results, &options("run")).await.unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
}
