//! Evaluations by several ranks, each of which is a thread here.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// A rank that tells every rank what it has to say. One that has ended is not heard of again.
struct Thread {
    share: Share,
    to: Vec<Sender<String>>,
    from: Vec<Mutex<Receiver<String>>>,
}

impl Thread {
    fn of_world(world: usize) -> Vec<Self> {
        let mut threads: Vec<Self> = (0..world)
            .map(|rank| Self {
                share: Share { rank, world },
                to: Vec::new(),
                from: Vec::new(),
            })
            .collect();
        for from in 0..world {
            for to in 0..world {
                let (sender, receiver) = channel();
                threads[from].to.push(sender);
                threads[to].from.push(Mutex::new(receiver));
            }
        }
        threads
    }
}

impl Ranks for Thread {
    fn share(&self) -> Share {
        self.share
    }

    fn exchange(&self, own: &str) -> Result<Vec<String>, SubjectError> {
        for to in &self.to {
            to.send(own.to_owned())?;
        }
        let from = self.from.iter();
        from.map(|from| Ok(from.lock().unwrap().recv()?)).collect()
    }
}

/// What each of some ranks gets, with the results that it sees.
pub(super) fn by_ranks(
    results: &[Location],
    evaluation: Evaluation<'_>,
    runtime: &Handle,
) -> Vec<Result<Option<RunRecord>>> {
    std::thread::scope(|scope| {
        let ranks = Thread::of_world(results.len()).into_iter().zip(results);
        let threads = ranks.map(|(rank, results)| {
            scope.spawn(move || evaluate_by_ranks(results, evaluation, &rank, runtime, &Silent))
        });
        let threads: Vec<_> = threads.collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    })
}

/// Any number of ranks, more than there are batches too, commits what one process commits, and leaves nothing else.
#[test]
fn ranks_commit_what_one_process_commits() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    for (text, batch) in [("4,8", 1), ("4,8", 3), ("budget:18", 1)] {
        let schedule = Schedule::parse(text, 2).unwrap();
        let options = EvalOptions {
            rollout: 2,
            every: Some(1),
            batch,
            keep: 5,
            ..options()
        };
        let subject = CountingSubject::failing_at(usize::MAX);
        let evaluation = Evaluation {
            subject: &subject,
            name: "c",
            schedule: &schedule,
            dataset: &dataset,
            options: &options,
        };
        let one = Location::parse("memory:///one").unwrap();
        evaluate(&one, evaluation, runtime.handle(), &Silent).unwrap();
        let expected = runtime.block_on(everything(&one));
        for world in [2, 3, 9] {
            let results = Location::parse("memory:///ranks").unwrap();
            let told = by_ranks(&vec![results.clone(); world], evaluation, runtime.handle());
            let told: Vec<RunRecord> = told.into_iter().map(|one| one.unwrap().unwrap()).collect();
            assert!(told.iter().all(|record| *record == told[0]));
            let found = runtime.block_on(everything(&results));
            assert_eq!(found, expected, "{text} in batches of {batch} by {world}");
            let left = runtime.block_on(results.join("unfinished").list()).unwrap();
            assert_eq!(left.len(), 0, "{left:?}");
        }
    }
}

/// Rows and pictures, in the order in which they are written. Sums of spectra are taken in another order.
async fn everything(results: &Location) -> (Vec<String>, usize) {
    let text = rows(results).await;
    let rounded = |cell: &str| match cell.parse::<f64>() {
        Ok(number) if cell.contains('.') => format!("{number:.9e}"),
        _ => cell.to_owned(),
    };
    let line = |line: &str| line.split(',').map(rounded).collect::<Vec<_>>().join(",");
    let frames = results.join("frames").list().await.unwrap();
    let pictures = crate::results::pictures::read(&frames[0]).await.unwrap();
    (text.lines().map(line).collect(), pictures.len())
}

/// What is there already is skipped by all, as the first finds it.
#[test]
fn ranks_skip_together() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    let results = vec![Location::parse("memory:///results").unwrap(); 2];
    let skip = EvalOptions {
        existing: OnExisting::Skip,
        ..options()
    };
    let subject = CountingSubject::failing_at(usize::MAX);
    let evaluation = Evaluation {
        subject: &subject,
        name: "c",
        schedule: &Schedule::parse("4", 2).unwrap(),
        dataset: &dataset,
        options: &skip,
    };
    for is_done in [true, false] {
        for told in by_ranks(&results, evaluation, runtime.handle()) {
            assert_eq!(told.unwrap().is_some(), is_done);
        }
    }
}

/// Ranks that do not see the same results say so.
#[test]
fn a_part_that_the_first_does_not_see_is_named() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    let results = ["memory:///here", "memory:///there"];
    let results = results.map(|text| Location::parse(text).unwrap());
    let subject = CountingSubject::failing_at(usize::MAX);
    let options = options();
    let evaluation = Evaluation {
        subject: &subject,
        name: "c",
        schedule: &Schedule::parse("4", 2).unwrap(),
        dataset: &dataset,
        options: &options,
    };
    let told = by_ranks(&results, evaluation, runtime.handle());
    let told: Vec<String> = told
        .into_iter()
        .map(|one| one.unwrap_err().to_string())
        .collect();
    let expected = "memory:///here holds nothing that rank 1 has measured; ";
    assert!(told[0].starts_with(expected), "{told:?}");
    assert!(told[1].contains("cannot be reached"), "{told:?}");
}
