//! Ensembles: members that differ by their seeds, and what they say together.

use super::jitter::{Scene, SeamError};
use super::shared_out::by_ranks;
use super::*;

fn ensemble(members: usize, batch: usize) -> EvalOptions {
    EvalOptions {
        rollout: 3,
        every: Some(1),
        batch,
        jitter: Some(5),
        members: Some(members),
        ..options()
    }
}

/// The rows of an ensemble, but for their run.
const ROWS: &str = "SELECT trajectory, start, lead, field, member, metric, value FROM ensembles ORDER BY 1, 2, 3, 4, 5, 6";

/// A member is the rollout that an evaluation of its own has with its seeds.
#[test]
fn members_are_what_evaluations_with_their_seeds_give() {
    let scene = Scene::new();
    let subject = SeamError { seam: 0.1 };
    let together = ensemble(3, 2);
    for schedule in ["4", "random:9"] {
        scene
            .evaluate((&subject, schedule), schedule, &together)
            .unwrap();
        for member in 0..3 {
            let alone = EvalOptions {
                jitter: Some(5 + member),
                members: None,
                ..together.clone()
            };
            let own = match schedule {
                "4" => "4".to_owned(),
                _ => format!("random:{}", 9 + member),
            };
            let name = format!("{schedule}-{member}");
            scene.evaluate((&subject, &name), &own, &alone).unwrap();
        }
        let differing = scene.ask(&format!(
            "SELECT count(*) AS compared, count(DISTINCT e.value) > 30 AS differ, count(*) FILTER (WHERE e.value <> m.value) AS other
             FROM ensembles e JOIN runs r ON r.run = e.run AND r.name = '{schedule}'
             JOIN runs o ON o.name = r.name || '-' || e.member
             JOIN metrics m ON m.run = o.run AND m.metric = 'vrmse' AND m.trajectory = e.trajectory
               AND m.start = e.start AND m.lead = e.lead AND m.field = e.field
             WHERE e.member IS NOT NULL AND e.metric = 'vrmse'"
        ));
        // Two trajectories of two starts, three leads, three fields and three members.
        assert_eq!(differing, "compared,differ,other\n108,true,0\n");
    }
}

/// What is measured of the mean is the same in both tables, and the view is made of the rows.
#[test]
fn the_view_has_skill_spread_and_their_ratio() {
    let scene = Scene::new();
    let subject = SeamError { seam: 0.1 };
    let record = scene.evaluate((&subject, "s"), "4", &ensemble(4, 2));
    let record = record.unwrap().unwrap();
    assert_eq!(record.schedule, "4 jitter:5 members:4");
    assert_eq!((record.jitter, record.members), (Some(5), Some(4)));
    // All members cost.
    assert_eq!(record.tokens, 4.0 * 16.0);
    let same = scene.ask(
        "SELECT count(*) AS n FROM ensembles e JOIN metrics m USING (run, trajectory, start, lead, field, metric)
         WHERE e.member IS NULL AND e.metric = 'vrmse' AND e.value = m.value",
    );
    assert_eq!(same, "n\n36\n");
    let ratios = scene.ask(
        "SELECT count(*) AS n, max(abs(v.ratio - sqrt(1.25) * sqrt(e.spread / e.skill))) < 1e-12 AS is_ratio,
           min(v.expected_coverage) AS expected, min(v.starts) AS starts, bool_and(v.low <= v.crps AND v.crps <= v.high) AS within
         FROM ensemble v
         JOIN (
           SELECT field, lead, sum(value * value) FILTER (WHERE metric = 'spread') AS spread,
             sum(value * value) FILTER (WHERE metric = 'vrmse') AS skill
           FROM ensembles WHERE member IS NULL GROUP BY field, lead
         ) e ON e.field = v.field AND e.lead = v.lead",
    );
    assert_eq!(
        ratios,
        "n,is_ratio,expected,starts,within\n9,true,0.6,4,true\n"
    );
}

/// Rows do not depend on batches, on ranks, nor on interruptions.
#[test]
fn an_ensemble_is_the_same_however_it_is_done() {
    let reference = Scene::new();
    let subject = SeamError { seam: 0.1 };
    reference
        .evaluate((&subject, "s"), "random:2", &ensemble(3, 1))
        .unwrap();
    let expected = reference.ask(ROWS);
    assert_eq!(expected.lines().count(), 1 + 36 * 7);
    for (batch, world) in [(2, 1), (5, 1), (1, 2), (2, 3)] {
        let scene = Scene::new();
        let options = ensemble(3, batch);
        let schedule = Schedule::parse("random:2", 2).unwrap();
        let evaluation = Evaluation {
            subject: &subject,
            name: "s",
            schedule: &schedule,
            dataset: &scene.dataset,
            options: &options,
        };
        let results = vec![scene.results.clone(); world];
        for told in by_ranks(&results, evaluation, scene.runtime.handle()) {
            told.unwrap();
        }
        assert_eq!(scene.ask(ROWS), expected, "{batch} {world}");
        let left = scene.results.join("unfinished");
        let left = scene.runtime.block_on(left.list()).unwrap();
        assert_eq!(left.len(), 0, "{left:?}");
    }
}

#[test]
fn an_interrupted_ensemble_goes_on_where_it_was() {
    let (undisturbed, scene) = (Scene::new(), Scene::new());
    let options = ensemble(3, 1);
    for schedule in ["4,8", "budget:18"] {
        let run = |scene: &Scene, subject: &CountingSubject| {
            let options = EvalOptions {
                existing: OnExisting::Replace,
                ..options.clone()
            };
            scene.evaluate((subject, "c"), schedule, &options)
        };
        let whole = CountingSubject::failing_at(usize::MAX);
        run(&undisturbed, &whole).unwrap();
        let failing = CountingSubject::failing_at(25);
        run(&scene, &failing).unwrap_err();
        let resumed = CountingSubject::failing_at(usize::MAX);
        run(&scene, &resumed).unwrap();
        let steps = |subject: &CountingSubject| subject.steps.load(Ordering::SeqCst);
        assert!(steps(&resumed) < steps(&whole), "{schedule}");
        assert_eq!(scene.ask(ROWS), undisturbed.ask(ROWS), "{schedule}");
    }
}

#[test]
fn members_that_would_not_differ_are_refused() {
    let scene = Scene::new();
    let subject = SeamError { seam: 0.1 };
    for (members, jitter, schedule) in [(1, Some(0), "4"), (0, Some(0), "4"), (4, None, "4,8")] {
        let options = EvalOptions {
            jitter,
            ..ensemble(members, 1)
        };
        let refused = scene.evaluate((&subject, "s"), schedule, &options);
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Ensemble { .. }), "{refused}");
    }
    let random = EvalOptions {
        jitter: None,
        ..ensemble(4, 1)
    };
    let record = scene.evaluate((&subject, "s"), "random:1", &random);
    assert_eq!(record.unwrap().unwrap().schedule, "random:1 members:4");
}

/// A table that is gone is told, as the others are.
#[test]
fn an_ensemble_without_its_table_is_left_out() {
    let scene = Scene::new();
    let subject = SeamError { seam: 0.1 };
    let record = scene.evaluate((&subject, "s"), "4", &ensemble(2, 1));
    let record = record.unwrap().unwrap();
    let single = EvalOptions {
        members: None,
        ..ensemble(2, 1)
    };
    scene.evaluate((&subject, "s"), "4", &single).unwrap();
    assert_eq!(scene.ask("SELECT count(*) AS n FROM runs"), "n\n2\n");
    let file = Table::Ensembles.file(&scene.results, &record.run);
    scene.runtime.block_on(file.delete()).unwrap();
    assert_eq!(
        scene.ask("SELECT schedule FROM runs"),
        "schedule\n4 jitter:5\n"
    );
}
