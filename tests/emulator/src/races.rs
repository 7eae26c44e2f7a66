//! Runs tests of a program again, with the thread sanitizer watching the kernels.
//!
//! The kernels are compiled once more, each CUDA thread a thread for the sanitizer (`emulator.cpp`), into a
//! library that is loaded before the program. Then [`launch`](crate::launch) takes the library's emulator. A
//! sanitizer is slow, so of each kernel only the first launches of different extents are watched.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsString, c_char, c_int, c_ulong, c_void};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{env, fs, io, mem, ptr};

use crate::{Extent, Launch};

/// Extents of a kernel that are watched.
const EXTENTS: usize = 2;

/// Flags of the build script, but fast to compile, and with lines for the reports.
const FLAGS: [&str; 7] = [
    "-std=c++17",
    "-O1",
    "-g1",
    "-w",
    "-fPIC",
    "-fno-strict-aliasing",
    "-DEMULATOR_RACES",
];

/// A program's tests, watched.
#[derive(Debug)]
pub struct Watch {
    library: PathBuf,
    sanitizer: String,
    options: OsString,
}

/// What came of a run.
#[derive(Debug)]
pub struct RaceReport {
    /// Whether the tests passed and no race was reported.
    pub clean: bool,
    /// Kernels that were watched.
    pub kernels: BTreeSet<String>,
    /// All output, including the sanitizer's reports.
    pub said: String,
}

impl Watch {
    /// Compiles the watched kernels into a folder.
    ///
    /// # Errors
    /// Files that cannot be written, and a compiler that fails or has no thread sanitizer.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let (library, emulator) = (folder.join("watched.so"), folder.join("emulator.o"));
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let compile = |flags: &[&str]| {
            let mut compiler = Command::new(env!("EMULATOR_COMPILER"));
            compiler.args(FLAGS).arg("-I").arg(&sources).args(flags);
            compiler
        };
        // The emulator itself switches between the threads that are watched, so it is not watched.
        output(
            compile(&["-c", "-o"])
                .arg(&emulator)
                .arg(sources.join("emulator.cpp")),
        )?;
        output(
            compile(&["-fsanitize=thread", "-shared", "-o"])
                .arg(&library)
                .args(env::split_paths(env!("EMULATOR_UNITS")))
                .arg(emulator),
        )?;
        let named = output(&mut compile(&["-print-file-name=libtsan.so"]))?;

        // What the program itself asks of the C library is none of the kernels' business.
        let program = env::current_exe()?;
        let program = program.file_name().unwrap_or_default().to_string_lossy();
        let suppressions = folder.join("suppressions");
        fs::write(&suppressions, format!("called_from_lib:{program}\n"))?;
        let mut options = OsString::from("atexit_sleep_ms=0:suppressions=");
        options.push(&suppressions);
        Ok(Self {
            library,
            sanitizer: named.trim().to_owned(),
            options,
        })
    }

    /// Runs the tests of this program that the arguments name, as `cargo test -- ARGUMENTS` would, one by one.
    ///
    /// # Errors
    /// A program that does not start.
    pub fn run(&self, arguments: &[&str]) -> io::Result<RaceReport> {
        let mut preloaded = OsString::from(format!("{} ", self.sanitizer));
        preloaded.push(&self.library);
        let mut tests = Command::new(env::current_exe()?);
        tests.args(arguments).arg("--test-threads=1");
        tests.env("LD_PRELOAD", preloaded);
        tests.env("TSAN_OPTIONS", &self.options);
        // Only the emulator's kernels can be watched.
        tests.env_remove("WELLSPRING_TEST_DEVICE");
        // SAFETY: a system call and nothing else.
        unsafe { tests.pre_exec(keep_addresses) };
        let output = tests.output()?;
        let said = [output.stdout, output.stderr].map(|x| String::from_utf8_lossy(&x).into_owned());
        let said = said.concat();
        let kernels = said.split("watched: ").skip(1);
        let kernels = kernels.filter_map(|rest| rest.lines().next().map(str::to_owned));
        Ok(RaceReport {
            clean: output.status.success(),
            kernels: kernels.collect(),
            said,
        })
    }
}

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn personality(persona: c_ulong) -> c_int;
}

/// Asks for addresses that are not drawn at random: the sanitizer wants some for itself.
fn keep_addresses() -> io::Result<()> {
    const ADDR_NO_RANDOMIZE: c_ulong = 0x0004_0000;
    // SAFETY: it takes a number. Where it is refused, the sanitizer says whether it can do without.
    unsafe { personality(ADDR_NO_RANDOMIZE) };
    Ok(())
}

/// The emulator of the library, if there is one and it is to run this launch.
pub(crate) fn watching(kernel: &str, extent: Extent) -> Option<Launch> {
    static WATCHING: LazyLock<Option<Launch>> = LazyLock::new(|| {
        // SAFETY: a program exports no such name, so it is that of a library made of the same sources.
        unsafe {
            let found = dlsym(ptr::null_mut(), c"emulator_launch".as_ptr());
            (!found.is_null()).then(|| mem::transmute::<*mut c_void, Launch>(found))
        }
    });
    static SEEN: Mutex<BTreeMap<String, Vec<Extent>>> = Mutex::new(BTreeMap::new());
    let launch = (*WATCHING)?;
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.entry(kernel.to_owned()).or_default();
    let new = seen.len() < EXTENTS && !seen.contains(&extent);
    new.then(|| {
        seen.push(extent);
        launch
    })
}

/// What a command prints.
fn output(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?}: {said}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
