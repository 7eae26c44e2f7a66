//! A small run for tests, and queries about it.

use wellspring_log::{LogRow, Training};
use wellspring_store::Notes;

use super::*;
use crate::{StateDict, import};

/// A run of nine steps with a checkpoint every three, and what was told of it.
pub(super) struct Run {
    pub(super) runtime: Runtime,
    pub(super) dataset: Arc<Dataset>,
    pub(super) place: Location,
    pub(super) notes: Notes,
}

pub(super) fn nine_steps() -> Config {
    let mut config = config(Strategy::Ckm);
    transformer(&mut config).patches = vec![16.into()];
    config.train.checkpoint_every = 3;
    config
}

impl Run {
    /// What was told since this was asked last.
    pub(super) fn told(&self) -> String {
        self.notes.take().join("\n")
    }

    pub(super) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        Self {
            dataset: dataset(&runtime),
            place: memory(),
            notes: Notes::default(),
            runtime,
        }
    }

    /// A place without a run, and the weights of one of nine steps.
    pub(super) fn beside_weights() -> (Self, Vec<u8>) {
        let run = Self::new();
        run.go(&nine_steps()).unwrap();
        let weights = weights(&run.runtime, &run.place);
        let place = memory();
        (Self { place, ..run }, weights)
    }

    pub(super) fn go(&self, config: &Config) -> crate::Result<crate::Outcome> {
        self.stopped(config, &Stop::default(), &self.notes)
    }

    pub(super) fn stopped(
        &self,
        config: &Config,
        stop: &Stop,
        reporter: &dyn Reporter,
    ) -> crate::Result<crate::Outcome> {
        let options = TrainOptions {
            config,
            datasets: vec![Arc::clone(&self.dataset)],
            start: Start::Resume,
            validator: None,
            stop,
            collective: &SingleProcess,
        };
        train(&self.place, options, self.runtime.handle(), reporter)
    }

    pub(super) fn started(&self, config: &Config, start: Start) -> crate::Result<crate::Outcome> {
        let options = TrainOptions {
            config,
            datasets: vec![Arc::clone(&self.dataset)],
            start,
            validator: None,
            stop: &Stop::default(),
            collective: &SingleProcess,
        };
        train(&self.place, options, self.runtime.handle(), &self.notes)
    }

    pub(super) fn begin(&self, start: Start) -> crate::Result<crate::Outcome> {
        self.started(&nine_steps(), start)
    }

    pub(super) fn from(&self, config: &Config, step: u64) -> crate::Result<crate::Outcome> {
        self.started(config, Start::From(step))
    }

    /// A run on a disk.
    pub(super) fn in_folder(folder: &tempfile::TempDir) -> Self {
        let path = folder.path().join("run");
        Self {
            place: Location::parse(path.to_str().unwrap()).unwrap(),
            ..Self::new()
        }
    }

    /// Without the object that says whose the run is.
    pub(super) fn learned(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files();
        files.remove("lock");
        files
    }

    pub(super) fn steps(&self) -> Vec<u64> {
        let steps = crate::checkpoint::steps(&self.place);
        self.runtime.block_on(steps).unwrap()
    }

    pub(super) fn import(&self, config: &Config, weights: &[u8]) -> crate::Result<()> {
        let data = [Arc::clone(&self.dataset)];
        let weights = StateDict {
            bytes: weights,
            object: "theirs",
        };
        let imported = import(config, &data, &self.place, weights, &self.notes);
        self.runtime.block_on(imported)
    }

    pub(super) fn stop_after(&self, config: &Config, steps: u64) {
        let stop = Stop::default();
        let outcome = self.stopped(config, &stop, &StopAfter(AtomicU64::new(steps), &stop));
        assert_eq!(outcome.unwrap().step, steps);
    }

    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.runtime.block_on(async {
            let mut files = BTreeMap::new();
            for object in self.place.list().await.unwrap() {
                let path = object.below(&self.place).unwrap();
                files.insert(path, object.get().await.unwrap().to_vec());
            }
            files
        })
    }

    pub(super) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let place = self.place.join(path);
        self.runtime.block_on(place.put(bytes.into())).unwrap();
    }

    pub(super) fn delete(&self, path: &str) {
        self.runtime
            .block_on(self.place.join(path).delete())
            .unwrap();
    }

    pub(super) fn config(&self) -> Config {
        self.runtime.block_on(Config::load(&self.place)).unwrap()
    }

    /// The learning rate of each step.
    pub(super) fn rates(&self) -> Vec<f64> {
        let log = self.log();
        let steps = log.iter().filter(|row| row.event == "step");
        assert!(
            steps
                .clone()
                .all(|row| row.norm.is_none_or(|norm| norm > 0.0))
        );
        steps.map(|row| row.lr.unwrap()).collect()
    }

    /// What counts of the log.
    pub(super) fn log(&self) -> Vec<LogRow> {
        self.runtime.block_on(async {
            let training = Training::open(&self.place).await.unwrap();
            training.rows().await.unwrap()
        })
    }

    pub(super) fn loaded(&self) -> crate::Result<Predictor> {
        let device = crate::DeviceChoice::Cpu;
        let loaded = Predictor::load(&self.place, ModelChoice::default(), device, &self.notes);
        self.runtime.block_on(loaded)
    }
}
