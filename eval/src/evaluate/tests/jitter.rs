//! Rollouts that see the grid rolled by random shifts.

use super::*;

/// Persistence of one frame that errs by the place of a cell in its patch, as a model with patches does.
pub(super) struct SeamError {
    pub(super) seam: f32,
}

impl Subject for SeamError {
    fn description(&self) -> Description {
        CountingSubject::failing_at(usize::MAX).description()
    }

    fn context(&self) -> usize {
        1
    }

    fn stride(&self) -> usize {
        1
    }

    fn patches(&self) -> Vec<Patch> {
        [4, 8].map(|size| Patch::uniform(size, 2)).into()
    }

    fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize, SubjectError> {
        let sizes = patch.sizes().iter().zip(space);
        Ok(sizes.map(|(size, n)| n / *size).product())
    }

    fn step(&self, context: Context<'_>, patch: &Patch) -> Result<Frames, SubjectError> {
        let mut next = context.frames.frame(0);
        let (cells, width) = (next.cells(), next.space()[1]);
        let [rows, columns] = [0, 1].map(|axis: usize| patch.sizes()[axis]);
        for (place, x) in next.data_mut().iter_mut().enumerate() {
            let (row, column) = (place % cells / width, place % width);
            let within = (row % rows * columns + column % columns) as f32;
            *x += self.seam * (within - (rows * columns - 1) as f32 / 2.0);
        }
        Ok(next)
    }
}

/// A scene of evaluations of one subject in one folder.
pub(super) struct Scene {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) dataset: Dataset,
    pub(super) results: Location,
}

impl Scene {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        Self {
            dataset: runtime.block_on(plane("memory:///plane")),
            results: Location::parse("memory:///results").unwrap(),
            runtime,
        }
    }

    pub(super) fn evaluate(
        &self,
        (subject, name): (&dyn Subject, &str),
        schedule: &str,
        options: &EvalOptions,
    ) -> Result<Option<RunRecord>> {
        let evaluation = Evaluation {
            subject,
            name,
            schedule: &Schedule::parse(schedule, 2).unwrap(),
            dataset: &self.dataset,
            options,
        };
        evaluate(&self.results, evaluation, self.runtime.handle(), &Silent)
    }

    pub(super) fn ask(&self, query: &str) -> String {
        let answer = self.runtime.block_on(async {
            let database = Database::new()?;
            database.add_results(&self.results, &Silent).await?;
            database.sql(query).await
        });
        String::from_utf8(Format::Csv.write(&answer.unwrap()).unwrap()).unwrap()
    }

    /// Rows of metrics of the evaluations with a name, but for their run.
    fn metrics(&self, name: &str) -> String {
        self.ask(&format!(
            "SELECT trajectory, start, lead, patch, field, metric, band, value FROM metrics JOIN runs USING (run) \
             WHERE name = '{name}' ORDER BY 1, 2, 3, 5, 6, 7"
        ))
    }
}

fn jittered(seed: u64, batch: usize) -> EvalOptions {
    EvalOptions {
        rollout: 3,
        every: Some(1),
        batch,
        jitter: Some(seed),
        ..options()
    }
}

/// What does not know where the grid begins predicts the same, bit for bit.
#[test]
fn persistence_is_the_same_wherever_the_grid_begins() {
    let scene = Scene::new();
    let still = jittered(5, 3);
    let plain = EvalOptions {
        jitter: None,
        ..still.clone()
    };
    let subject = SeamError { seam: 0.0 };
    for (name, options) in [("rolled", still), ("plain", plain)] {
        scene.evaluate((&subject, name), "4,8", &options).unwrap();
    }
    assert_eq!(scene.metrics("rolled"), scene.metrics("plain"));
}

#[test]
fn shifts_do_not_depend_on_which_windows_are_rolled_out_together() {
    let scene = Scene::new();
    let subject = SeamError { seam: 0.1 };
    for batch in [1, 2, 5] {
        let name = format!("by {batch}");
        let options = jittered(5, batch);
        scene.evaluate((&subject, &name), "4,8", &options).unwrap();
    }
    assert_eq!(scene.metrics("by 2"), scene.metrics("by 1"));
    assert_eq!(scene.metrics("by 5"), scene.metrics("by 1"));
    scene
        .evaluate((&subject, "other seed"), "4,8", &jittered(6, 1))
        .unwrap();
    assert_ne!(scene.metrics("other seed"), scene.metrics("by 1"));
}

/// Evaluations with and without jitter have places of their own, and SQL tells them apart. Seams that move do not add up.
#[test]
fn a_jitter_is_part_of_what_an_evaluation_is() {
    let scene = Scene::new();
    let subject = SeamError { seam: 1.0 };
    for jitter in [None, Some(7), Some(8), Some(7)] {
        let options = EvalOptions {
            jitter,
            ..jittered(0, 2)
        };
        scene.evaluate((&subject, "s"), "4", &options).unwrap();
    }
    let runs = scene.ask("SELECT schedule, jitter FROM runs ORDER BY schedule");
    assert_eq!(runs, "schedule,jitter\n4,\n4 jitter:7,7\n4 jitter:8,8\n");
    let last = scene
        .ask("SELECT avg(vrmse) FROM by_lead WHERE lead = 3 GROUP BY schedule ORDER BY schedule");
    let last: Vec<f64> = last
        .lines()
        .skip(1)
        .map(|value| value.parse().unwrap())
        .collect();
    assert!(
        last[1] < 0.9 * last[0] && last[2] < 0.9 * last[0],
        "{last:?}"
    );
}
