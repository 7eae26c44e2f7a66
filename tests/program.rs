//! Runs the program and captures its output.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use wellspring_log::{LogRow, Training};
use wellspring_store::Location;

/// A folder of its own for one test.
pub(crate) struct Workplace(TempDir);

/// What a run left.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// The program with some words, in this folder.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wellspring"));
        command
            .current_dir(&self.0)
            .args(words.split_whitespace())
            .env_remove("RUST_LOG")
            // A process begun while this one writes HDF5 inherits the lock until it ends.
            .env("HDF5_USE_FILE_LOCKING", "FALSE");
        command
    }

    pub(crate) fn run(&self, words: &str) -> Said {
        self.command(words).output().unwrap().into()
    }

    /// The program after some words of a shell, such as `ulimit -v 4000000`.
    pub(crate) fn run_within(&self, limits: &str, words: &str) -> Said {
        let program = self.command(words);
        let mut command = Command::new("sh");
        command.current_dir(&self.0);
        command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]);
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output().unwrap().into()
    }

    /// Runs what must succeed.
    pub(crate) fn do_it(&self, words: &str) -> Said {
        let said = self.run(words);
        assert_eq!(said.code, 0, "wellspring {words}\n{said:?}");
        said
    }

    /// Answers a query as JSON.
    pub(crate) fn ask(&self, results: &str, query: &str) -> Vec<serde_json::Value> {
        let output = self
            .command(&format!("sql -r {results} --format json"))
            .arg(query)
            .output()
            .unwrap();
        let said = Said::from(output);
        assert_eq!(said.code, 0, "{query}\n{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Simulates a small data set into `sims` and ingests it into `ds`.
    pub(crate) fn with_data_set(self) -> Self {
        self.do_it("simulate shear-flow sims --shape 32x32 --frames 10 --train 3 --valid 1 --test 2 --seed 5");
        self.do_it("ingest sims ds");
        self
    }

    /// Copies files or folders of `tests/data` to places below this folder.
    pub(crate) fn lay(&self, files: &[(&str, &str)]) {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        for (file, to) in files {
            copy(&data.join(file), &self.path(to));
        }
    }

    /// Holds what another folder holds, and nothing else.
    pub(crate) fn become_copy_of(&self, other: &Self) {
        for entry in std::fs::read_dir(&self.0).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(path).unwrap(),
                false => std::fs::remove_file(path).unwrap(),
            }
        }
        copy(other.0.path(), self.0.path());
    }

    /// The manifest of a data set.
    pub(crate) fn manifest(&self, root: &str) -> serde_json::Value {
        let text = std::fs::read(self.path(root).join("manifest.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Answers a query over the frames of a data set as JSON.
    pub(crate) fn ask_frames(&self, root: &str, query: &str) -> Vec<serde_json::Value> {
        let mut asking = self.command(&format!("sql --data {root} --format json"));
        let said = Said::from(asking.arg(query).output().unwrap());
        assert_eq!(said.code, 0, "{query}\n{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Three training steps and an evaluation of a data set, beside persistence, all of finite numbers. Gives
    /// the row of the leaderboard, and leaves `ROOT-run` and `ROOT-results`.
    pub(crate) fn train_and_evaluate(&self, root: &str, more: &str) -> serde_json::Value {
        let small = SMALL.replace("data.root=ds", &format!("data.root={root}"));
        self.do_it(&format!(
            "train --out {root}-run {small} --set model.patches=[4] --set train.steps=3 --set train.batch=1 {more}"
        ));
        let losses = self.losses(&format!("{root}-run"));
        assert!(losses.len() == 3 && losses.iter().all(|loss| loss.is_finite()));
        let results = format!("{root}-results");
        for subject in [format!("{root}-run {root}"), format!("persistence {root}")] {
            let context = ["", "--context 3"][usize::from(subject.starts_with("persistence"))];
            self.do_it(&format!(
                "eval {subject} -r {results} --rollout 2 --existing replace {context}"
            ));
        }
        let broken = "SELECT run, field, metric, lead FROM metrics WHERE value IS NULL \
            OR metric = 'nonfinite' AND value > 0 OR metric = 'vrmse' AND (isnan(value) OR value > 1e6)";
        assert_eq!(self.ask(&results, broken), Vec::<serde_json::Value>::new());
        let ours = format!("SELECT * FROM leaderboard WHERE name = '{root}-run'");
        self.ask(&results, &ours).remove(0)
    }

    /// The loss of every step of a run, by its log.
    pub(crate) fn losses(&self, run: &str) -> Vec<f64> {
        let log = self.log(run).into_iter();
        let losses = log.filter_map(|row| row.loss);
        losses.map(f64::from).collect()
    }

    /// What counts of a run's log.
    pub(crate) fn log(&self, run: &str) -> Vec<LogRow> {
        let place = Location::parse(self.path(run).to_str().unwrap()).unwrap();
        let rows = async { Training::open(&place).await.unwrap().rows().await };
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(rows)
            .unwrap()
    }

    /// What a run's checkpoint after so many steps has learned.
    pub(crate) fn weights(&self, run: &str, steps: u64) -> Vec<u8> {
        let checkpoint = format!("{run}/checkpoints/{steps:08}/model.safetensors");
        std::fs::read(self.path(&checkpoint)).unwrap()
    }

    /// All files below a folder, with their bytes.
    pub(crate) fn files(&self, below: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        gather(&self.path(below), &mut files);
        files.sort();
        files
    }
}

/// Settings that lead to a server, as options of the program.
pub(crate) fn options(settings: Vec<(String, String)>) -> String {
    let settings = settings
        .into_iter()
        .map(|(key, value)| format!("--storage-option {key}={value}"));
    settings.collect::<Vec<_>>().join(" ")
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
        return;
    }
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

fn gather(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, files);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
}

impl Said {
    /// Asserts success, and a line on standard error with all these words; numbers stand alone in it.
    #[track_caller]
    pub(crate) fn tells(&self, words: &[&str]) {
        assert_eq!(self.code, 0, "{self:?}");
        self.names(words);
    }

    /// Asserts failure without a panic, and a line on standard error with all these words.
    #[track_caller]
    pub(crate) fn refuses(&self, words: &[&str]) {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.names(words);
    }

    #[track_caller]
    pub(crate) fn names(&self, words: &[&str]) {
        let named = self
            .err
            .lines()
            .any(|line| words.iter().all(|word| has(line, word)));
        assert!(named, "no line has {words:?}:\n{}", self.err);
    }
}

fn has(line: &str, word: &str) -> bool {
    match word.parse::<u64>() {
        Ok(_) => line
            .split(|c: char| !c.is_alphanumeric())
            .any(|part| part == word),
        Err(_) => line.contains(word),
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// A small model for [`Workplace::with_data_set`].
pub(crate) const SMALL: &str = "--set data.root=ds --set data.context=3 --set model.dim=32 --set model.heads=2 \
    --set model.blocks=1 --set model.groups=4 --set optim.warmup=2";
