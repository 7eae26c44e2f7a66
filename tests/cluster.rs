//! SQL on a cluster: a scheduler and two executors on this machine answer as one process does.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crate::program::{Said, Workplace};

/// Ends its process.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const QUERIES: [&str; 5] = [
    "SELECT name, split, vrmse, vrmse_low, vrmse_high, last_lead FROM leaderboard ORDER BY name",
    "SELECT name, field, lead, low, vrmse, high FROM by_lead ORDER BY name, field, lead",
    "SELECT split, trajectory, avg(band_energy(velocity_x, 0.1, 1)) AS energy FROM frames GROUP BY split, trajectory \
     ORDER BY split, trajectory",
    "SELECT a.step, avg(vrmse(b.tracer, a.tracer)) AS error, bootstrap(field_rms(a.pressure), a.trajectory)['high'] AS high \
     FROM frames a JOIN frames b ON a.split = b.split AND a.trajectory = b.trajectory AND b.step = a.step + 1 \
     WHERE a.split = 'train' GROUP BY a.step ORDER BY a.step",
    "SELECT count(*) AS n FROM frames WHERE step > 3 AND trajectory = 0",
];

#[test]
fn a_cluster_answers_as_one_process_does() {
    let place = Workplace::new().with_data_set();
    place.do_it("eval persistence ds -r results --context 3 --rollout 3");
    place.do_it("eval linear ds -r results --context 3 --rollout 3");
    let mut scheduler = place.command("cluster scheduler --bind 127.0.0.1:0");
    let mut scheduler = Running(scheduler.stdout(Stdio::piped()).spawn().unwrap());
    let mut announced = String::new();
    BufReader::new(scheduler.0.stdout.take().unwrap())
        .read_line(&mut announced)
        .unwrap();
    let address = announced.trim().rsplit(' ').next().unwrap().to_owned();
    let _executors = [0, 1].map(|_| {
        let words = format!("cluster executor {address} --slots 1");
        Running(place.command(&words).spawn().unwrap())
    });
    let ask = |more: &str, query: &str| -> Said {
        let words = format!("sql -r results --data ds --format json {more}");
        place.command(&words).arg(query).output().unwrap().into()
    };
    for query in QUERIES {
        let one = ask("", query);
        let many = ask(&format!("--cluster {address}"), query);
        assert_eq!((one.code, many.code), (0, 0), "{query}\n{one:?}\n{many:?}");
        let rows =
            |said: &Said| -> Vec<serde_json::Value> { serde_json::from_str(&said.out).unwrap() };
        assert!(!rows(&one).is_empty());
        same(&rows(&one), &rows(&many), query);
    }
    let said = ask(
        &format!("--cluster {address}"),
        "SELECT nothing FROM frames",
    );
    assert_eq!(said.code, 1, "{said:?}");
    let said = ask("--cluster 127.0.0.1:1", "SELECT 1");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err
            .contains("the cluster at 127.0.0.1:1 cannot be used"),
        "{}",
        said.err
    );
}

/// Equal but for the order in which floats were added.
fn same(one: &[serde_json::Value], many: &[serde_json::Value], query: &str) {
    assert_eq!(one.len(), many.len(), "{query}");
    for (a, b) in one.iter().zip(many) {
        let (a, b) = (a.as_object().unwrap(), b.as_object().unwrap());
        assert_eq!(
            a.keys().collect::<Vec<_>>(),
            b.keys().collect::<Vec<_>>(),
            "{query}"
        );
        for (x, y) in a.values().zip(b.values()) {
            match (x.as_f64(), y.as_f64()) {
                (Some(x), Some(y)) => assert!((x - y).abs() <= 1e-9 * x.abs(), "{query}: {x} {y}"),
                _ => assert_eq!(x, y, "{query}"),
            }
        }
    }
}
