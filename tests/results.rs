//! Several evaluations in one folder, and the limits of untrusted names and queries.

use std::process::Stdio;

use crate::program::{Said, Workplace};
use crate::refusals::refused;

const PERSISTENCE: &str = "eval persistence ds -r results --context 3";

/// Five processes evaluate under one name at the same time; each is the first, or is told.
#[test]
fn one_of_many_at_the_same_time_has_the_name() {
    let place = Workplace::new().with_data_set();
    let at_once = |existing: &str| -> Vec<Said> {
        let processes: Vec<_> = (0..5)
            .map(|_| {
                let mut command = place.command(&format!("{PERSISTENCE} --existing {existing}"));
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        let ended = processes.into_iter();
        ended
            .map(|process| process.wait_with_output().unwrap().into())
            .collect()
    };
    let whole = |evaluations: usize| {
        for folder in ["runs", "metrics", "spectra", "frames"] {
            let files = place.files(&format!("results/{folder}")).len();
            assert_eq!(files, evaluations, "{folder}");
        }
        let rows = place.ask("results", "SELECT * FROM runs");
        assert_eq!(rows.len(), evaluations);
    };
    let said = at_once("refuse");
    assert_eq!(
        said.iter().filter(|said| said.code == 0).count(),
        1,
        "{said:?}"
    );
    for said in said.iter().filter(|said| said.code != 0) {
        refused(said, 1, &["holds persistence", "already"]);
    }
    whole(1);
    for existing in ["skip", "renew", "replace"] {
        for said in at_once(existing) {
            assert_eq!(said.code, 0, "{existing}: {said:?}");
        }
        // Where two replaced one at the same time, the next evaluation removes what the first had.
        place.do_it(PERSISTENCE);
        whole(1);
    }
}

#[test]
fn another_evaluation_of_the_name_is_told() {
    let place = Workplace::new().with_data_set();
    place.do_it(PERSISTENCE);
    let before = place.files("results");
    for existing in ["renew", "skip", "refuse"] {
        let said = place.run(&format!("{PERSISTENCE} --rollout 2 --existing {existing}"));
        let parts = ["rollout (1 there, 2 here)", "--name", "--existing replace"];
        refused(&said, 1, &parts);
    }
    let said = place.run("eval linear ds -r results --context 3 --name persistence");
    refused(&said, 1, &["weights (persistence there, linear here)"]);
    assert_eq!(place.files("results"), before);
    place.do_it(&format!("{PERSISTENCE} --rollout 2 --existing replace"));
    let rows = place.ask("results", "SELECT rollout FROM runs");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["rollout"], 2);
}

/// A folder that cannot be one is told at once.
#[test]
fn results_that_cannot_be_written_are_told_first() {
    let place = Workplace::new().with_data_set();
    std::fs::create_dir(place.path("results")).unwrap();
    std::fs::write(place.path("results/frames"), "a file").unwrap();
    let said = place.run(PERSISTENCE);
    refused(&said, 1, &["results", "nothing was computed"]);
}

/// A name that clears the terminal, sets its title and turns the reading direction.
const EVIL: &str = "a\u{1b}[2J\u{1b}]0;b\u{7}\u{9b}31m\u{202e}c</script>\"'&<b>";

fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}')
}

#[test]
fn names_never_reach_a_terminal_raw() {
    let place = Workplace::new().with_data_set();
    let said: Said = place
        .command(&format!("{PERSISTENCE} --name"))
        .arg(EVIL)
        .output()
        .unwrap()
        .into();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        is_plain(&said.err) && said.err.contains("\\u{1b}[2J"),
        "{}",
        said.err
    );
    for format in ["table", "md"] {
        let said = place
            .command(&format!("sql -r results --format {format}"))
            .arg("SELECT name, name || 'x' AS \"b\u{1b}[2J\" FROM runs")
            .output()
            .unwrap();
        let said = Said::from(said);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(
            is_plain(&said.out) && said.out.contains("\\u{1b}[2J"),
            "{}",
            said.out
        );
    }
    // A program that reads the answer has every byte.
    let rows = place.ask("results", "SELECT name FROM runs");
    assert_eq!(rows[0]["name"], EVIL);
    let said: Said = place
        .command("sql -r results")
        .arg(format!("SELECT \"{}\" FROM runs", "no\u{1b}[2Jcolumn"))
        .output()
        .unwrap()
        .into();
    assert_eq!(said.code, 1);
    assert!(is_plain(&said.err), "{}", said.err);
    assert!(is_plain(&place.do_it("inspect results").out));

    let said = place
        .command("report results page.html --title")
        .arg("{{body}} {{source}} </title><script>")
        .output()
        .unwrap();
    assert!(said.status.success());
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("<h1>{{body}} {{source}} &lt;/title&gt;&lt;script&gt;</h1>"));
    assert_eq!(page.matches("</script>").count(), 1);
    assert!(is_plain(&page.replace('\u{202e}', "")) && !page.contains("<b>"));
    place.do_it("figures results out");
    for (path, bytes) in place.files("out") {
        let svg = String::from_utf8(bytes).unwrap();
        assert!(is_plain(&svg.replace('\u{202e}', "")), "{path:?}");
        assert!(
            !svg.contains("</script>") && !svg.contains("<b>"),
            "{path:?}"
        );
    }
}

#[test]
fn a_query_too_deep_or_too_large_is_an_error_and_the_next_is_answered() {
    let place = Workplace::new().with_data_set();
    place.do_it(PERSISTENCE);
    let sum = vec!["value"; 10_000].join(" + ");
    let file = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    file("deep.sql", &format!("SELECT {sum} FROM metrics;"));
    refused(&place.run("sql -r results -f deep.sql"), 1, &["too deep"]);
    let brackets = format!("SELECT {}1{};", "(".repeat(10_000), ")".repeat(10_000));
    file("brackets.sql", &brackets);
    assert_eq!(place.run("sql -r results -f brackets.sql").code, 1);
    let large = "SELECT repeat('a', 1000) AS text FROM range(1000000);";
    file("large.sql", large);
    let said = place.run("sql -r results --memory 64MiB -f large.sql");
    refused(&said, 1, &["64 MiB", "--memory"]);
    file("small.sql", "SELECT name FROM runs ORDER BY name;");
    let said = place.do_it("sql -r results --memory 64MiB -f small.sql");
    assert!(said.out.contains("persistence"), "{}", said.out);
    let said = place.run("sql -r results --memory 16MiB SELECT");
    refused(&said, 2, &["64MiB at least"]);
    let said = place.run("sql -r results --memory lots SELECT");
    refused(&said, 2, &["lots", "2GiB"]);
}
