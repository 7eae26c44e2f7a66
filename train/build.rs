//! With the feature `cuda`: the kernels of `src/ops/*.cu` as PTX, in `OUT_DIR/ptx.rs`.
//!
//! PTX is for every card since Ampere: the driver compiles it for the one that it finds. Where there is an nvcc, it
//! makes the PTX; where there is none, the files of `ptx/` are taken, which `make ptx` wrote. Their first line says of
//! which sources they are, so that old kernels never get into a new program.
#![allow(clippy::disallowed_methods, reason = "a build script makes files")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=src/ops");
    println!("cargo::rerun-if-changed=ptx");
    println!("cargo::rerun-if-env-changed=NVCC");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let compiler = compiler();
    let headers = files("src/ops", "cuh")?;
    let sources = files("src/ops", "cu")?;
    let ptx =
        |source: &Path| out.join(source.with_extension("ptx").file_name().unwrap_or_default());
    match &compiler {
        Some(nvcc) => compile(nvcc, &sources, ptx)?,
        None => {
            for source in &sources {
                fs::write(ptx(source), kept(source, &headers)?)?;
            }
        }
    }
    let mut table = String::from("&[\n");
    for source in &sources {
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        let ptx = ptx(source);
        table.push_str(&format!("    ({name:?}, include_str!({ptx:?})),\n"));
    }
    table.push(']');
    fs::write(out.join("ptx.rs"), table)?;
    Ok(())
}

/// The nvcc that NVCC names, or that is on the path; nothing where there is none, or only the stand-in of `make check`.
fn compiler() -> Option<PathBuf> {
    let nvcc = PathBuf::from(env::var_os("NVCC").unwrap_or_else(|| "nvcc".into()));
    let stand_in = nvcc.file_name().is_some_and(|name| name == "stub-nvcc");
    let there = || Command::new(&nvcc).arg("--version").output().is_ok();
    (!stand_in && there()).then_some(nvcc)
}

/// As many at a time as cargo allows.
fn compile(nvcc: &Path, sources: &[PathBuf], ptx: impl Fn(&Path) -> PathBuf) -> Result<()> {
    let jobs = env::var("NUM_JOBS")?.parse()?;
    for sources in sources.chunks(jobs) {
        let mut running = Vec::new();
        for source in sources {
            let started = Command::new(nvcc)
                .args(["-ptx", "-O3", "-std=c++17", "-arch=compute_80", "-o"])
                .args([&ptx(source), source])
                .stderr(Stdio::piped())
                .spawn()?;
            running.push((source.display(), started));
        }
        for (source, started) in running {
            let output = started.wait_with_output()?;
            if !output.status.success() {
                let (nvcc, said) = (nvcc.display(), String::from_utf8_lossy(&output.stderr));
                return Err(format!("{nvcc} could not compile {source}:\n{said}").into());
            }
        }
    }
    Ok(())
}

/// The file of `ptx/` for a source, if it was made of what the source is now.
fn kept(source: &Path, headers: &[PathBuf]) -> Result<String> {
    let path = Path::new("ptx").join(source.with_extension("ptx").file_name().unwrap_or_default());
    let advice = "install CUDA's nvcc (.ci/cuda does), or run `make ptx`";
    let text = fs::read_to_string(&path).map_err(|error| {
        let path = path.display();
        format!("there is no nvcc here, and {path} cannot be read ({error}): {advice}")
    })?;
    let mut hash = OFFSET;
    for path in headers.iter().map(PathBuf::as_path).chain([source]) {
        hash = fnv_1a(hash, &fs::read(path)?);
    }
    if text.lines().next() != Some(&format!("// sources: {hash:016x}")) {
        let (path, source) = (path.display(), source.display());
        return Err(format!(
            "there is no nvcc here, and {path} is not of the present {source}: {advice}"
        )
        .into());
    }
    Ok(text)
}

/// The hash of nothing.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a in 64 bits, of what was hashed before and these bytes: a few lines here and in `.ci/cuda-kernels`, where a
/// better hash would be one more crate for every build.
fn fnv_1a(hash: u64, bytes: &[u8]) -> u64 {
    let next = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(hash, next)
}

/// Files of a folder with an ending, by name.
fn files(folder: &str, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
