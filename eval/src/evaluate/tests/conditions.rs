//! What goes with the frames of a rollout.

use std::sync::Mutex;

use wellspring_store::Conditioning;

use super::*;

/// Persistence of two frames that keeps the conditions it was given.
struct Curious {
    wanted: Conditioning,
    given: Mutex<Vec<Vec<wellspring_store::Conditions>>>,
}

impl Subject for Curious {
    fn description(&self) -> Description {
        Description {
            strategy: "ckm".into(),
            ..Description::default()
        }
    }

    fn context(&self) -> usize {
        2
    }

    fn stride(&self) -> usize {
        1
    }

    fn patches(&self) -> Vec<Patch> {
        vec![Patch::uniform(4, 2)]
    }

    fn conditioning(&self) -> Conditioning {
        self.wanted
    }

    fn tokens(&self, _: &Patch, _: &[usize]) -> Result<usize, SubjectError> {
        Ok(16)
    }

    fn step(&self, context: Context<'_>, _: &Patch) -> Result<Frames, SubjectError> {
        self.given.lock().unwrap().push(context.conditions.to_vec());
        Ok(context.frames.frame(1))
    }
}

/// At every lead a subject gets the scalars and times of its context and of the next frame: those of the data, also
/// where frames are its own predictions.
#[test]
fn conditions_follow_a_rollout() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    let schedule = Schedule::parse("4", 2).unwrap();
    let options = EvalOptions {
        rollout: 3,
        batch: 2,
        every: Some(1),
        ..options()
    };
    let run = |wanted| {
        let subject = Curious {
            wanted,
            given: Mutex::default(),
        };
        let evaluation = Evaluation {
            subject: &subject,
            name: "c",
            schedule: &schedule,
            dataset: &dataset,
            options: &options,
        };
        let results = Location::parse("memory:///results").unwrap();
        evaluate(&results, evaluation, runtime.handle(), &Silent).unwrap();
        subject.given.into_inner().unwrap()
    };
    // One start in each of two trajectories of five frames, rolled out together.
    let given = run(Conditioning::Everything);
    assert_eq!(given.len(), 3);
    let forcing = [0.0, 0.0, 1.0, 0.0, 1.0];
    for (lead, given) in given.iter().enumerate() {
        assert_eq!(given.len(), 2);
        for (trajectory, found) in given.iter().enumerate() {
            assert_eq!(found.window.trajectory as usize, trajectory);
            assert_eq!(found.scalars["forcing"], forcing[lead..lead + 3]);
            assert_eq!(
                found.scalars["Reynolds"],
                [100.0 * (trajectory + 1) as f64; 3]
            );
            let times = [0.0, 0.5, 1.0].map(|time| time + 0.5 * lead as f64);
            assert_eq!(found.times, times);
            assert_eq!(found.constants, None);
        }
    }
    assert_eq!(run(Conditioning::Nothing), vec![Vec::new(); 3]);
}
