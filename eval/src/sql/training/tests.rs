#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "a lock as another process holds it"
)]

use wellspring_log::{Event, LogWriter};
use wellspring_store::{Location, Notes, Silent};

use crate::{Database, Error, Format};

/// A step whose loss falls from `first`, and takes half a second, a tenth of it waiting.
fn step(step: u64, first: f32) -> Event {
    Event::Step {
        step,
        loss: first / step as f32,
        data: "waves".into(),
        patch: "8".into(),
        lr: 1e-3,
        norm: Some(2.0),
        seconds: 0.5,
        waited: 0.05,
    }
}

fn validation(step: u64, patch: &str, lead: u64, vrmse: f64) -> Event {
    Event::Validation {
        step,
        data: "waves".into(),
        patch: patch.into(),
        lead,
        vrmse,
        seconds: 1.0,
    }
}

fn start(step: u64) -> Event {
    Event::Start {
        step,
        steps: Some(9),
        version: "1".into(),
        device: "cpu".into(),
    }
}

async fn begin(run: &Location, lr: f64) {
    let config = format!("[optim]\nlr = {lr}\n[train]\nsteps = 9\n");
    run.join("config.toml").put(config).await.unwrap();
    run.join("checkpoints/00000000/state.json")
        .put("")
        .await
        .unwrap();
}

async fn write(run: &Location, after: u64, events: Vec<Event>) {
    let mut log = LogWriter::new(run, after);
    events.into_iter().for_each(|event| log.push(event));
    log.write().await.unwrap();
}

/// `a` is done, `b` was stopped, `c` was killed and has gone on; `old/d` has an old log and no other.
async fn runs(root: &Location) {
    let [a, b, c, d] = ["a", "b", "c", "old/d"].map(|name| root.join(name));
    begin(&a, 1e-3).await;
    let mut events = vec![start(0)];
    for at in 1..=9 {
        events.push(step(at, 1.0));
        events.push(validation(at, "8", 1, (at as f64 - 6.0).abs() + 0.5));
        events.push(validation(at, "4", 1, (at as f64 - 6.0).abs() + 0.7));
    }
    events.push(validation(9, "4,8", 4, 3.0));
    events.push(Event::Done { step: 9 });
    write(&a, 0, events).await;

    begin(&b, 1e-2).await;
    let events = vec![start(0), step(1, 4.0), validation(1, "8", 1, 0.25)];
    write(&b, 0, [events, vec![Event::Stopped { step: 1 }]].concat()).await;

    begin(&c, 1e-2).await;
    write(
        &c,
        0,
        vec![start(0), step(1, 4.0), step(2, 4.0), step(3, 4.0)],
    )
    .await;
    write(&c, 3, vec![step(4, 4.0), validation(4, "8", 1, 0.01)]).await;
    write(&c, 2, vec![start(2)]).await;
    write(&c, 2, vec![step(3, 6.0), validation(3, "8", 1, 0.2)]).await;

    begin(&d, 1e-3).await;
    let line = |step: u64| {
        format!(
            "{{\"event\":\"step\",\"step\":{step},\"loss\":1.0,\"data\":\"waves\",\"patch\":\"16\",\"lr\":0.5,\
             \"seconds\":1.0,\"waited\":0.0}}\n"
        )
    };
    let lines: String = (1..=9).map(line).collect();
    d.join("log.jsonl").put(lines).await.unwrap();
}

async fn ask(database: &Database, query: &str) -> String {
    let answer = database.sql(query).await.unwrap();
    String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap()
}

async fn opened(root: &Location) -> Database {
    let database = Database::new().unwrap();
    let found = database
        .add_trainings(std::slice::from_ref(root), &Silent)
        .await;
    assert_eq!(found.unwrap(), ["a", "b", "c", "old/d"]);
    database
}

async fn is_asked(root: Location) {
    runs(&root).await;
    let database = opened(&root).await;
    let best =
        "SELECT config['optim.lr'] AS lr, min(vrmse) AS vrmse FROM training GROUP BY 1 ORDER BY 1";
    assert_eq!(
        ask(&database, best).await,
        "lr,vrmse\n0.001,0.5\n0.01,0.2\n"
    );
    let counted = "SELECT run, count(*) AS n, count(DISTINCT step) AS steps FROM training WHERE event = 'step' \
        GROUP BY run ORDER BY run";
    let expected = "run,n,steps\na,9,9\nb,1,1\nc,3,3\nold/d,9,9\n";
    assert_eq!(ask(&database, counted).await, expected);
    let last = "SELECT loss, segment FROM training WHERE run = 'c' AND step = 3 AND event = 'step'";
    assert_eq!(ask(&database, last).await, "loss,segment\n2.0,4\n");
    let all = "SELECT count(*) AS n FROM training";
    assert_eq!(ask(&database, all).await, "n\n49\n");
    let chosen = "SELECT count(*) AS n FROM training WHERE config['optim.lr'] = '0.01'";
    assert_eq!(ask(&database, chosen).await, "n\n10\n");
    let plan = ask(&database, &format!("EXPLAIN {chosen}")).await;
    assert!(
        plan.contains("/b/log") && !plan.contains("/a/log"),
        "{plan}"
    );
    assert!(!ask(&database, "SELECT * FROM training").await.is_empty());
    let last =
        "SELECT run, count(*) AS n FROM training WHERE steps_after = 0 GROUP BY run ORDER BY run";
    assert_eq!(
        ask(&database, last).await,
        "run,n\na,30\nb,4\nc,2\nold/d,9\n"
    );
    let plan = ask(&database, &format!("EXPLAIN {last}")).await;
    assert!(
        plan.contains("/c/log/00004-") && !plan.contains("/c/log/00001-"),
        "{plan}"
    );
    let empty = "SELECT count(*) AS n FROM training WHERE run = 'e'";
    assert_eq!(ask(&database, empty).await, "n\n0\n");
}

#[tokio::test]
async fn a_disk_and_a_bucket_are_asked_alike() {
    is_asked(Location::parse("memory:///runs").unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    is_asked(Location::parse(folder.path().to_str().unwrap()).unwrap()).await;
}

#[tokio::test]
async fn the_views_show_runs_and_curves() {
    let folder = tempfile::tempdir().unwrap();
    let root = Location::parse(folder.path().to_str().unwrap()).unwrap();
    runs(&root).await;
    let database = opened(&root).await;
    let columns = "run, state, step, steps, round(loss, 3) AS loss, best, best_step, rate, \
        round(waited, 3) AS waited, why";
    let query = format!("SELECT {columns} FROM training_runs ORDER BY run");
    assert_eq!(
        ask(&database, &query).await,
        "run,state,step,steps,loss,best,best_step,rate,waited,why\n\
         a,done,9,9,0.314,0.6,6,2.0,0.1,\n\
         b,stopped,1,9,4.0,0.25,1,2.0,0.1,\n\
         c,dead,3,9,2.667,0.2,3,2.0,0.1,\n\
         old/d,done,9,9,1.0,,,1.0,0.0,\n"
    );
    let query = "SELECT step, loss, smooth, rate, vrmse, rollout FROM curves WHERE run = 'a' AND step IN (2, 9) \
        ORDER BY step";
    let expected =
        "step,loss,smooth,rate,vrmse,rollout\n2,0.5,0.75,2.0,4.6,\n9,0.11111111,0.3143298";
    let found = ask(&database, query).await;
    assert!(
        found.starts_with(expected) && found.ends_with(",2.0,3.6,3.0\n"),
        "{found}"
    );

    // A lock that a process holds; and what an error has ended.
    let lock = std::fs::File::create(folder.path().join("c/lock")).unwrap();
    lock.lock().unwrap();
    let what = "the disk is full".to_owned();
    write(
        &root.join("b"),
        1,
        vec![start(1), Event::Failed { step: 1, what }],
    )
    .await;
    let database = opened(&root).await;
    let query = "SELECT state, why FROM training_runs WHERE run IN ('b', 'c') ORDER BY run";
    let found = ask(&database, query).await;
    assert_eq!(found, "state,why\nfailed,the disk is full\nrunning,\n");
}

#[tokio::test]
async fn damaged_segments_are_named() {
    let root = Location::parse("memory:///runs").unwrap();
    runs(&root).await;
    let short = root.join("a/log/00002-00000009-00000009.parquet");
    short.put("PAR1").await.unwrap();
    let (database, notes) = (Database::new().unwrap(), Notes::default());
    let places = [root.join("a"), root.join("b"), root.clone()];
    let found = database.add_trainings(&places, &notes).await.unwrap();
    assert_eq!(found.len(), 4, "each run once: {found:?}");
    let told = notes.take().join("\n");
    assert!(
        told.contains(&short.to_string()) && told.contains("4 bytes"),
        "{told}"
    );
    let query = "SELECT count(loss) AS n FROM training";
    assert_eq!(ask(&database, query).await, "n\n22\n");

    let segment = root.join("b/log/00001-00000000-00000001.parquet");
    let bytes = segment.get().await.unwrap();
    for damaged in [bytes.slice(..bytes.len() - 9), bytes.slice(9..)] {
        segment.put(damaged).await.unwrap();
        database.add_trainings(&places, &notes).await.unwrap();
        let error = database
            .sql("SELECT avg(loss) AS n FROM training")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Log { .. }), "{error}");
        assert!(error.to_string().contains(&segment.to_string()), "{error}");
    }
    let nothing = Location::parse("memory:///nothing").unwrap();
    let error = database
        .add_trainings(&[nothing], &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoTrainings { .. }), "{error}");
}
