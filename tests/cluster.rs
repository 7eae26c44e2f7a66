//! SQL on a cluster of processes on this machine: it gives the answers of a single process, checks access, and
//! survives the loss of members.

mod access;
mod outages;

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

impl Running {
    /// Begins a server and gives the address that it listens on.
    fn begin(place: &Workplace, words: &str) -> (Self, String) {
        let mut command = place.command(words);
        // What it leaves would lie here.
        std::fs::create_dir_all(place.path("tmp")).unwrap();
        command.env("TMPDIR", place.path("tmp"));
        let mut running = Self(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut announced = String::new();
        let output = running.0.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut announced).unwrap();
        let address = announced.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(address.contains(':'), "{words}: {announced:?}");
        (running, address)
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let mut kill = std::process::Command::new("kill");
        assert!(kill.args(["-s", name, &id]).status().unwrap().success());
    }
}

/// A scheduler and executors of one slot.
struct Cluster {
    scheduler: Running,
    address: String,
    executors: Vec<Running>,
}

impl Cluster {
    /// Begins a cluster that may read the workplace. `all` goes to every server, `each` only to the executors.
    fn begin(place: &Workplace, executors: usize, all: &str, each: &str) -> Self {
        let words = format!("cluster scheduler --bind 127.0.0.1:0 --read . {all}");
        let (scheduler, address) = Running::begin(place, &words);
        let mut cluster = Self {
            scheduler,
            address,
            executors: Vec::new(),
        };
        for _ in 0..executors {
            cluster.add(place, &format!("{all} {each}"));
        }
        cluster
    }

    fn add(&mut self, place: &Workplace, more: &str) {
        let words = format!(
            "cluster executor {} --slots 1 --read . {more}",
            self.address
        );
        self.executors.push(Running::begin(place, &words).0);
    }

    fn ask(&self, place: &Workplace, more: &str, query: &str) -> Said {
        ask(place, &format!("--cluster {} {more}", self.address), query)
    }
}

fn ask(place: &Workplace, more: &str, query: &str) -> Said {
    let words = format!("sql -r results --data ds --format json {more}");
    place.command(&words).arg(query).output().unwrap().into()
}

fn with_results() -> Workplace {
    let place = Workplace::new().with_data_set();
    place.do_it("eval persistence ds -r results --context 3 --rollout 3");
    place.do_it("eval linear ds -r results --context 3 --rollout 3");
    place
}

/// A question whose answer is shuffled between executors.
const SHUFFLED: &str = "SELECT split, trajectory, count(*) AS n FROM frames GROUP BY split, trajectory ORDER BY split, trajectory";

const QUERIES: [&str; 9] = [
    "SELECT name, split, vrmse, vrmse_low, vrmse_high, last_lead FROM leaderboard ORDER BY name",
    "SELECT name, field, lead, low, vrmse, high FROM by_lead ORDER BY name, field, lead",
    "SELECT * FROM horizons ORDER BY name, horizon",
    "SELECT * FROM compare ORDER BY name, other, horizon",
    "SELECT split, trajectory, avg(band_energy(velocity_x, 0.1, 1)) AS energy FROM frames GROUP BY split, trajectory \
     ORDER BY split, trajectory",
    "SELECT a.step, avg(vrmse(b.tracer, a.tracer)) AS error, bootstrap(field_rms(a.pressure), a.trajectory)['high'] AS high \
     FROM frames a JOIN frames b ON a.split = b.split AND a.trajectory = b.trajectory AND b.step = a.step + 1 \
     WHERE a.split = 'train' GROUP BY a.step ORDER BY a.step",
    "SELECT count(*) AS n FROM frames WHERE step > 3 AND trajectory = 0",
    "WITH ranked AS (SELECT name, lead, value, row_number() OVER (PARTITION BY lead ORDER BY value DESC) AS rank \
     FROM metrics JOIN runs USING (run) WHERE metric = 'vrmse') \
     SELECT lead, max(value) AS worst FROM ranked WHERE rank <= 2 AND lead IN (SELECT max(lead) FROM metrics) \
     GROUP BY lead ORDER BY lead LIMIT 5",
    "SELECT lead, tag, last_value(value) OVER () AS same FROM (SELECT lead, unnest(['a', 'b']) AS tag, 1 AS value \
     FROM (SELECT DISTINCT lead FROM metrics)) ORDER BY lead, tag",
];

#[test]
fn a_cluster_answers_as_one_process_does() {
    let place = with_results();
    let cluster = Cluster::begin(&place, 2, "", "");
    for query in QUERIES {
        let one = ask(&place, "", query);
        let many = cluster.ask(&place, "", query);
        assert_eq!((one.code, many.code), (0, 0), "{query}\n{one:?}\n{many:?}");
        let rows =
            |said: &Said| -> Vec<serde_json::Value> { serde_json::from_str(&said.out).unwrap() };
        assert!(!rows(&one).is_empty());
        same(&rows(&one), &rows(&many), query);
    }
    let said = cluster.ask(&place, "", "SELECT nothing FROM frames");
    assert_eq!(said.code, 1, "{said:?}");
    let said = ask(&place, "--cluster 127.0.0.1:1", "SELECT 1");
    assert_eq!(said.code, 1, "{said:?}");
    let told = said
        .err
        .contains("the cluster at 127.0.0.1:1 cannot be used");
    assert!(told, "{}", said.err);
}

/// Whether answers are equal except for the order in which floats were added.
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
