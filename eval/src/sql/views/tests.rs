//! Views over tables written by hand, whose numbers have closed forms.

use serde::Deserialize;
use wellspring_store::{Location, Silent};

use crate::results::tables::{Draft, EvaluationClaim, MetricRow};
use crate::{Format, OnExisting, Results, RunRecord};

/// An evaluation of two fields; its errors are what a function of (trajectory, start, lead) gives, of either field.
struct MadeEvaluation {
    name: &'static str,
    strategy: &'static str,
    schedule: &'static str,
    split: &'static str,
    context: u64,
    rollout: u32,
    trajectories: u32,
    starts: Vec<u32>,
    error: fn(u32, u32, u32) -> f64,
}

impl MadeEvaluation {
    fn new(name: &'static str, rollout: u32, error: fn(u32, u32, u32) -> f64) -> Self {
        Self {
            name,
            strategy: "csm",
            schedule: "4,8",
            split: "test",
            context: 6,
            rollout,
            trajectories: 3,
            starts: vec![0],
            error,
        }
    }

    fn record(&self) -> RunRecord {
        RunRecord {
            run: format!(
                "{}-{}-{}-{}",
                self.name, self.schedule, self.split, self.context
            ),
            table_version: crate::TABLE_VERSION,
            name: self.name.into(),
            strategy: self.strategy.into(),
            parameters: 1,
            dim: 1,
            blocks: 1,
            train_steps: 1,
            train_dataset: "t".into(),
            weights: None,
            bands: None,
            dataset: "flow".into(),
            dataset_id: "d".into(),
            task: self.split.into(),
            grid: "8x8".into(),
            fields: "u,v".into(),
            split: self.split.into(),
            schedule: self.schedule.into(),
            jitter: None,
            members: None,
            context: self.context,
            rollout: u64::from(self.rollout),
            trajectories: u64::from(self.trajectories),
            starts: u64::from(self.trajectories) * self.starts.len() as u64,
            every: 1,
            tokens: 4.0,
            seconds_per_frame: 0.1,
            version: "0".into(),
            created: 0,
        }
    }

    async fn commit(&self, root: &Location) {
        let record = self.record();
        let mut draft = Draft::of(&record).unwrap();
        let windows = (0..self.trajectories)
            .flat_map(|trajectory| self.starts.iter().map(move |&start| (trajectory, start)));
        for (trajectory, start) in windows {
            let of_lead = |lead: u32| {
                ["u", "v"].map(|field| MetricRow {
                    run: &record.run,
                    trajectory,
                    start,
                    lead,
                    patch: "4",
                    tokens: 4,
                    field,
                    metric: "vrmse",
                    band: None,
                    value: (self.error)(trajectory, start, lead),
                })
            };
            let rows: Vec<MetricRow<'_>> = (1..=self.rollout).flat_map(of_lead).collect();
            draft.metrics.push(&rows).unwrap();
        }
        let claim = EvaluationClaim::new(&record, OnExisting::Add, root.to_string(), Vec::new());
        let claim = claim.unwrap().unwrap();
        draft.commit(record.clone(), &claim, root).await.unwrap();
    }
}

async fn results(evaluated: &[MadeEvaluation]) -> Results {
    let root = Location::parse("memory:///views").unwrap();
    for one in evaluated {
        one.commit(&root).await;
    }
    Results::open(&root, &Silent).await.unwrap()
}

async fn text(results: &Results, query: &str) -> String {
    let answer = results.sql(query).await.unwrap();
    String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap()
}

fn close(found: &[f64], expected: &[f64]) {
    let is_close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 2e-5 * b.abs();
    let same = found.iter().zip(expected).all(is_close);
    assert!(
        same && found.len() == expected.len(),
        "{found:?} {expected:?}"
    );
}

#[derive(Debug, Deserialize)]
struct Horizon {
    horizon: String,
    vrmse: f64,
    low: Option<f64>,
    high: Option<f64>,
    median: f64,
}

impl Horizon {
    async fn all(results: &Results, name: &str) -> Vec<Self> {
        let query = format!(
            "SELECT horizon, vrmse, low, high, median FROM horizons WHERE name = '{name}' ORDER BY first_lead, last_lead"
        );
        results.rows(&query).await.unwrap()
    }
}

/// Squares of leads, so that mean and median differ; a horizon that the rollout ends within is left out.
#[tokio::test]
async fn horizons_are_whole() {
    let square = |trajectory: u32, _: u32, lead: u32| f64::from((trajectory + 1) * lead * lead);
    let of_60 = MadeEvaluation {
        trajectories: 1,
        ..MadeEvaluation::new("one", 60, square)
    };
    let of_30 = MadeEvaluation::new("three", 30, square);
    let results = results(&[of_60, of_30]).await;

    let found = Horizon::all(&results, "one").await;
    let names: Vec<&str> = found.iter().map(|row| row.horizon.as_str()).collect();
    assert_eq!(names, ["1", "1-20", "6-12", "13-30", "21-60"]);
    let vrmse: Vec<f64> = found.iter().map(|row| row.vrmse).collect();
    close(&vrmse, &[1.0, 143.5, 85.0, 8805.0 / 18.0, 1773.5]);
    assert_eq!(found[0].low, None);
    let median: Vec<f64> = found.iter().map(|row| row.median).collect();
    close(&median, &[1.0, 110.5, 81.0, 462.5, 1640.5]);

    // Three trajectories with one, two and three times as much.
    let found = Horizon::all(&results, "three").await;
    assert_eq!(found.len(), 4);
    close(&[found[2].vrmse], &[170.0]);
    assert_eq!((found[2].low, found[2].high), (Some(85.0), Some(255.0)));
    close(&[found[0].median], &[2.0]);
    let starts = "SELECT DISTINCT starts, rollout FROM horizons WHERE name = 'three'";
    assert_eq!(text(&results, starts).await, "starts,rollout\n3,30\n");
}

/// Whatever its sign, what is not a number is no small error.
#[tokio::test]
async fn a_median_counts_what_is_not_finite_as_the_worst() {
    let error = |trajectory: u32, _: u32, _: u32| {
        [-f64::NAN, 3.0, 1.0, f64::INFINITY, 2.0, f64::NAN, 4.0][trajectory as usize]
    };
    let mostly = MadeEvaluation {
        trajectories: 7,
        ..MadeEvaluation::new("mostly", 1, error)
    };
    let half = MadeEvaluation {
        trajectories: 6,
        ..MadeEvaluation::new("half", 1, error)
    };
    let results = results(&[mostly, half]).await;
    let found = Horizon::all(&results, "mostly").await;
    assert_eq!(found[0].median, 4.0);
    assert!(found[0].vrmse.is_nan());
    let ends = [found[0].low, found[0].high];
    assert!(ends.iter().flatten().all(|end| end.is_nan()) && ends[0].is_some());
    let found = Horizon::all(&results, "half").await;
    assert_eq!(found[0].median, f64::INFINITY);
}

#[derive(Debug, Deserialize)]
struct Comparison {
    horizon: String,
    vrmse: f64,
    other_vrmse: f64,
    ratio: f64,
    low: f64,
    high: f64,
    p: f64,
    starts: i64,
    trajectories: i64,
}

impl Comparison {
    async fn all(results: &Results, name: &str, other: &str) -> Vec<Self> {
        let query = format!(
            "SELECT horizon, vrmse, other_vrmse, ratio, low, high, p, starts, trajectories FROM compare \
             WHERE name = '{name}' AND other = '{other}' ORDER BY first_lead, last_lead"
        );
        results.rows(&query).await.unwrap()
    }

    fn ratios(&self) -> [f64; 4] {
        [self.ratio, self.low, self.high, self.p]
    }
}

/// 2, 4 and 8 times as good on three trajectories: of 27 resamples one has the first trajectory alone and one the last,
/// and of the 8 choices of signs two are as far from no difference.
#[tokio::test]
async fn the_better_of_two_is_so_in_every_row() {
    fn of(trajectory: u32, lead: u32) -> f64 {
        f64::from((1 + trajectory) * lead)
    }
    let good = MadeEvaluation::new("good", 20, |trajectory, _, lead| of(trajectory, lead));
    let bad = MadeEvaluation::new("bad", 20, |trajectory, _, lead| {
        f64::from(2 << trajectory) * of(trajectory, lead)
    });
    let results = results(&[good, bad]).await;
    let found = Comparison::all(&results, "good", "bad").await;
    let names: Vec<&str> = found.iter().map(|row| row.horizon.as_str()).collect();
    assert_eq!(names, ["1", "1-20", "6-12"]);
    for row in &found {
        close(&row.ratios(), &[0.25, 0.125, 0.5, 0.25]);
        assert_eq!((row.starts, row.trajectories), (3, 3));
    }
    close(
        &[found[2].vrmse, found[2].other_vrmse],
        &[18.0, 9.0 * 34.0 / 3.0],
    );
    for row in Comparison::all(&results, "bad", "good").await {
        close(&row.ratios(), &[4.0, 2.0, 8.0, 0.25]);
    }
    assert!(Comparison::all(&results, "good", "good").await.is_empty());
    let all = "SELECT name, other, schedule, other_schedule, strategy, other_strategy FROM compare WHERE horizon = '1' \
        ORDER BY name";
    let expected = "name,other,schedule,other_schedule,strategy,other_strategy\n\
        bad,good,\"4,8\",\"4,8\",csm,csm\ngood,bad,\"4,8\",\"4,8\",csm,csm\n";
    assert_eq!(text(&results, all).await, expected);
}

/// Starts 0 and 12 with 0 and 24 have the first in common; the others, where only one of them is bad, are not compared.
#[tokio::test]
async fn only_the_same_windows_are_compared() {
    let short = MadeEvaluation {
        starts: vec![0, 12],
        ..MadeEvaluation::new("short", 12, |_, start, _| 1.0 + 100.0 * f64::from(start))
    };
    let long = || MadeEvaluation {
        starts: vec![0, 24],
        ..MadeEvaluation::new("long", 24, |_, start, _| 2.0 + 100.0 * f64::from(start))
    };
    let other_frames = MadeEvaluation {
        context: 4,
        ..long()
    };
    let other_split = MadeEvaluation {
        split: "valid",
        ..long()
    };
    let results = results(&[short, long(), other_frames, other_split]).await;
    let found = Comparison::all(&results, "short", "long").await;
    let names: Vec<&str> = found.iter().map(|row| row.horizon.as_str()).collect();
    assert_eq!(names, ["1", "6-12"]);
    for row in &found {
        close(&[row.vrmse, row.other_vrmse], &[1.0, 2.0]);
        close(&row.ratios(), &[0.5, 0.5, 0.5, 0.25]);
        assert_eq!((row.starts, row.trajectories), (3, 3));
    }
    let all = "SELECT count(*) AS n FROM compare";
    assert_eq!(text(&results, all).await, "n\n4\n");
}

#[tokio::test]
async fn errors_of_nothing_and_of_infinity_compare() {
    let results = results(&[
        MadeEvaluation::new("exact", 1, |_, _, _| 0.0),
        MadeEvaluation::new("exact too", 1, |_, _, _| 1e-9),
        MadeEvaluation::new("inexact", 1, |_, _, _| 1e-3),
        MadeEvaluation::new("lost", 1, |trajectory, _, _| match trajectory {
            0 => -f64::NAN,
            _ => 1e-3,
        }),
    ])
    .await;
    let found = Comparison::all(&results, "exact", "exact too").await;
    let [ratio, low, high, _] = found[0].ratios();
    assert!([ratio, low, high].iter().all(|x| (x - 1.0).abs() < 2e-3));
    let found = Comparison::all(&results, "exact", "inexact").await;
    close(
        &found[0].ratios(),
        &[1.0 / 1001.0, 1.0 / 1001.0, 1.0 / 1001.0, 0.25],
    );
    let found = Comparison::all(&results, "inexact", "lost").await;
    assert!(found[0].ratios().iter().all(|x| x.is_nan()), "{found:?}");
}

/// A question about two evaluations joins the windows of those two alone.
#[tokio::test]
async fn a_comparison_of_two_is_not_one_of_all() {
    let results = results(&[
        MadeEvaluation::new("a", 1, |_, _, _| 1.0),
        MadeEvaluation::new("b", 1, |_, _, _| 2.0),
    ])
    .await;
    let query = "EXPLAIN SELECT * FROM compare WHERE name = 'a' AND other = 'b' AND horizon = '1'";
    let plan = text(&results, query).await;
    let (logical, _) = plan.split_once("physical_plan").unwrap();
    let lines: Vec<&str> = logical.lines().map(str::trim).collect();
    let filtered = |filter: &str, of: &str| {
        let pairs = lines.windows(2);
        pairs
            .filter(|pair| pair[0].contains(filter) && pair[1].starts_with(of))
            .count()
    };
    let one = |name: &str| {
        filtered(
            &format!("Filter: runs.name = Utf8(\"\"{name}\"\")"),
            "TableScan: runs",
        )
    };
    assert_eq!((one("a"), one("b")), (1, 1), "{plan}");
    assert_eq!(
        filtered("Filter: column1 = Utf8(\"\"1\"\")", "Values:"),
        2,
        "{plan}"
    );
}

/// The processor's own NaN has a sign, and would come before every number.
#[tokio::test]
async fn a_schedule_that_got_lost_is_not_the_best() {
    let results = results(&[
        MadeEvaluation {
            schedule: "4",
            ..MadeEvaluation::new("a", 2, |_, _, _| -f64::NAN)
        },
        MadeEvaluation {
            schedule: "8",
            ..MadeEvaluation::new("a", 2, |_, _, _| f64::INFINITY)
        },
        MadeEvaluation {
            schedule: "16",
            ..MadeEvaluation::new("a", 2, |_, _, _| 0.5)
        },
    ])
    .await;
    let best = "SELECT schedule, vrmse_last FROM best_schedule";
    assert_eq!(text(&results, best).await, "schedule,vrmse_last\n16,0.5\n");
}

#[derive(Debug, Deserialize)]
struct Claim {
    claim: u32,
    sentence: String,
    verdict: String,
    ratio: f64,
    low: f64,
    high: f64,
    seeds: u64,
    agreeing: u64,
    low_over_seeds: f64,
    high_over_seeds: f64,
}

/// Claims about two seeds of an elastic model and a fixed one of the same size.
async fn claims(elastic: &[MadeEvaluation]) -> Vec<Claim> {
    let fixed = MadeEvaluation {
        strategy: "fixed",
        schedule: "8",
        trajectories: 6,
        ..MadeEvaluation::new("fixed8", 2, |_, _, _| 0.2)
    };
    let other_size = MadeEvaluation {
        schedule: "16",
        trajectories: 6,
        ..MadeEvaluation::new("fixed16", 2, |_, _, _| 9.0)
    };
    let root = Location::parse("memory:///views").unwrap();
    for one in elastic.iter().chain([&fixed, &other_size]) {
        one.commit(&root).await;
    }
    let results = Results::open(&root, &Silent).await.unwrap();
    let query = "SELECT claim, sentence, verdict, ratio, low, high, seeds, agreeing, low_over_seeds, \
        high_over_seeds FROM claims \
        WHERE schedule <> '16' AND other_schedule = '8' ORDER BY claim, sentence";
    results.rows(query).await.unwrap()
}

/// A model of patch 8 with half the fixed one's error, and a cyclic rollout that is no better than at 8 alone.
#[tokio::test]
async fn a_claim_holds_where_the_interval_and_all_seeds_are_for_it() {
    let seed = |name, schedule, error| MadeEvaluation {
        schedule,
        trajectories: 6,
        ..MadeEvaluation::new(name, 2, error)
    };
    let both = [
        seed("csm-seed0", "8", |_, _, _| 0.1),
        seed("csm-seed1", "8", |_, _, _| 0.1),
        seed("csm-seed0", "4,8", |_, _, _| 0.1),
        seed("csm-seed1", "4,8", |trajectory, _, _| {
            [0.05, 0.1, 0.2][trajectory as usize % 3]
        }),
    ];
    let found = claims(&both).await;
    let numbers: Vec<u32> = found.iter().map(|claim| claim.claim).collect();
    assert_eq!(numbers, [1, 3, 4], "{found:?}");
    assert_eq!(
        found[0].sentence,
        "csm at patch 8 errs less in one step than the fixed model of 8"
    );
    close(&[found[0].ratio, found[0].low, found[0].high], &[0.5; 3]);
    assert_eq!((found[0].seeds, found[0].agreeing), (2, 2));
    assert_eq!(found[0].verdict, "holds");
    // One seed is as good as at 8 alone, the other half as good, as good and twice as good.
    close(&[found[1].ratio], &[1.0]);
    let [own, fixed] =
        [&found[1], &found[2]].map(|claim| claim.high_over_seeds / claim.low_over_seeds);
    assert!(
        own > found[1].high / found[1].low && fixed > 1.0,
        "{found:?}"
    );
    assert_eq!(found[1].verdict, "undecided");
    assert_eq!(found[2].verdict, "holds");
}

/// The interval is against it, and so is each seed; or the interval is for it, but a seed is not.
#[tokio::test]
async fn a_claim_of_which_a_seed_says_otherwise_is_undecided() {
    let seeds = |errors: [fn(u32, u32, u32) -> f64; 2]| {
        let named = ["csm-seed0", "csm-seed1"].into_iter().zip(errors);
        let seed = |(name, error)| MadeEvaluation {
            schedule: "8",
            trajectories: 6,
            ..MadeEvaluation::new(name, 2, error)
        };
        named.map(seed).collect::<Vec<_>>()
    };
    let against = claims(&seeds([|_, _, _| 0.4, |_, _, _| 0.4])).await;
    close(&[against[0].ratio], &[2.0]);
    assert_eq!(against[0].verdict, "does not hold");
    let lost = claims(&seeds([|_, _, _| f64::NAN, |_, _, _| f64::NAN])).await;
    assert_eq!(lost[0].verdict, "undecided");
    let mixed = claims(&seeds([|_, _, _| 0.01, |_, _, _| 0.4])).await;
    assert!(mixed[0].high < 1.0, "{mixed:?}");
    // Either seed may be drawn twice.
    let over_seeds = [
        mixed[0].low_over_seeds / 0.05,
        mixed[0].high_over_seeds / 2.0,
    ];
    assert!(
        over_seeds.iter().all(|x| (x - 1.0).abs() < 1e-3),
        "{mixed:?}"
    );
    assert_eq!(
        (mixed[0].agreeing, mixed[0].verdict.as_str()),
        (1, "undecided")
    );
}
