//! The documentation: its commands run, its links lead somewhere, and its reference is of this program.

use std::path::{Path, PathBuf};
use std::process::Command;

use wellspring_s3_testing::Server;
use wellspring_store::Location;

use crate::program::{Said, Workplace};

// The help of `cluster` is that of a program that has it.
#[cfg(feature = "cluster")]
mod reference;

/// The program as pages name it, with what makes simulations, models and trainings small.
const PROGRAM: &str = r#"#!/bin/sh
model="--set model.dim=32 --set model.heads=2 --set model.blocks=1 --set model.groups=4"
short="--set train.steps=2 --set train.batch=1 --set validation.every=0 --set optim.warmup=1"
command=$1
case "$*" in
    simulate*) set -- "$@" --shape 32x32 --frames 20 ;;
    train*--resume*) ;;
    train*epochs* | plan*) set -- "$@" $model ;;
    train*) set -- "$@" $model $short ;;
    experiment*--print | help*) ;;
    experiment*) set -- "$@" --set 'seeds=[0]' --set budget.steps=1 --set settings.train.batch=1 \
        --set settings.validation.every=0 --set data.shear_flow.simulate.shape='[32,32]' \
        --set data.shear_flow.simulate.train=2 --set data.shear_flow.simulate.test=2 \
        --set data.shear_flow.simulate.frames=12 --set evaluation.rollout=2 ;;
esac
exec PROGRAM "$@"
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

fn text_of(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap()
}

/// The pages of the book, and the README.
fn pages() -> Vec<String> {
    let summary = text_of("docs/SUMMARY.md");
    let listed = links(&summary)
        .into_iter()
        .map(|link| format!("docs/{link}"));
    listed.chain(["README.md".to_owned()]).collect()
}

/// Blocks of commands of a page; those that need other machines or a build are marked `sh,norun`.
fn commands(text: &str) -> String {
    let mut running = false;
    let mut script = String::new();
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(language) => running = !running && language == "sh",
            None if running => script += &format!("{line}\n"),
            None => {}
        }
    }
    script
}

/// Targets of Markdown's links, without those of the web and without places within pages.
fn links(text: &str) -> Vec<String> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let targets = targets.map(|target| target.split('#').next().unwrap_or_default());
    let near = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    near.map(str::to_owned).collect()
}

/// Runs a page's commands one after another in a folder of their own, with simulations in an emulated bucket.
fn run(page: &str) {
    let (server, place) = (Server::start().unwrap(), Workplace::new());
    let program = PROGRAM.replace("PROGRAM", env!("CARGO_BIN_EXE_wellspring"));
    std::fs::create_dir(place.path("bin")).unwrap();
    std::fs::write(place.path("bin/wellspring"), program).unwrap();
    let script = format!(
        "chmod +x bin/wellspring; export PATH=$PWD/bin:$PATH\n{}",
        commands(&text_of(page))
    );
    if script.contains("s3://bucket/shear_flow") {
        put_simulations(&place, &server);
    }
    let settings = server.settings().into_iter();
    let mut shell = Command::new("sh");
    shell
        .args(["-eu", "-c", &script])
        .current_dir(place.path(""));
    shell.env("HDF5_USE_FILE_LOCKING", "FALSE");
    shell.envs(settings.map(|(key, value)| (key.to_uppercase(), value)));
    let said = Said::from(shell.output().unwrap());
    assert_eq!(said.code, 0, "{page}\n{}\n{}", said.out, said.err);
}

/// Simulations in the bucket, as The Well's folders have them.
fn put_simulations(place: &Workplace, server: &Server) {
    place
        .do_it("simulate shear-flow source --shape 32x32 --frames 20 --train 4 --valid 1 --test 1");
    let bucket = Location::parse_with("s3://bucket/shear_flow", &server.settings()).unwrap();
    let upload = async {
        for (path, bytes) in place.files("source") {
            let below = path.strip_prefix(place.path("source")).unwrap();
            if below.starts_with("data/train") {
                server.put("/bucket/shear_flow.hdf5", bytes.clone());
            }
            let to = bucket.join(below.to_str().unwrap());
            to.put(bytes).await.unwrap();
        }
    };
    tokio::runtime::Runtime::new().unwrap().block_on(upload);
}

#[test]
fn the_first_answer() {
    run("docs/first-answer.md");
}

#[test]
fn from_a_bucket() {
    run("docs/from-a-bucket.md");
}

#[test]
fn many_machines() {
    run("docs/machines.md");
}

#[test]
fn the_readme() {
    run("README.md");
}

/// Commands of the other pages run too, so that a block added to them does.
#[test]
fn every_other_page() {
    let own = [
        "docs/first-answer.md",
        "docs/from-a-bucket.md",
        "docs/machines.md",
        "README.md",
    ];
    for page in pages().iter().filter(|page| !own.contains(&page.as_str())) {
        run(page);
    }
}

#[test]
fn links_lead_somewhere() {
    for page in pages()
        .into_iter()
        .chain(["docs/SUMMARY.md".to_owned(), "ARCHITECTURE.md".to_owned()])
    {
        let folder = root().join(&page);
        let folder = folder.parent().unwrap();
        for link in links(&text_of(&page)) {
            assert!(folder.join(&link).exists(), "{page}: {link}");
        }
    }
}
