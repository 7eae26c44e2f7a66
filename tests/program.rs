//! Runs the program and keeps what it said.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

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

    /// What a run's checkpoint after so many steps has learned.
    pub(crate) fn weights(&self, run: &str, steps: u64) -> Vec<u8> {
        let checkpoint = format!("{run}/checkpoints/{steps:08}/model.safetensors");
        std::fs::read(self.path(&checkpoint)).unwrap()
    }

    /// Every file below a folder with its bytes.
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
