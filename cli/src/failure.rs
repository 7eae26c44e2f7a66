//! Turns errors into a message for people and an exit code for scripts.

use std::fmt;

use crate::{plain, progress};

/// A command that was asked for something that makes no sense: exit code 2, as clap's own.
#[derive(Debug)]
pub struct Misuse(pub String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// A command that a signal has stopped and that has said so: the exit code is 128 and the signal's number, as
/// a shell's.
#[derive(Debug)]
pub struct Interruption(pub u8);

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was interrupted")
    }
}

impl std::error::Error for Interruption {}

/// Stops a command with [`Misuse`].
macro_rules! misuse {
    ($($part:tt)*) => {
        return Err($crate::failure::Misuse(format!($($part)*)).into())
    };
}
pub(crate) use misuse;

/// Prints the error with its causes and gives the exit code: 2 for a misuse, 1 for a failure, a signal's
/// for an interruption, and 0 where the reader of a pipe has had enough.
pub fn report(error: &anyhow::Error) -> u8 {
    if is_broken_pipe(error) {
        return 0;
    }
    if let Some(Interruption(code)) = error.downcast_ref() {
        return *code;
    }
    let is_misuse = error.is::<Misuse>();
    progress::error(&chain(error.as_ref()), is_misuse);
    match is_misuse {
        true => 2,
        false => 1,
    }
}

/// Whether all ranks have the same error: they differ from one another, or were all asked for the same nonsense.
pub fn is_of_all_ranks(error: &anyhow::Error) -> bool {
    let is_common = |cause: &(dyn std::error::Error + 'static)| {
        use wellspring_eval::Error::Patch;
        use wellspring_train::Error::{Collective, Diverged, Value};
        let of_train = cause.downcast_ref();
        matches!(
            of_train,
            Some(Collective { .. } | Diverged { .. } | Value { .. })
        ) || matches!(cause.downcast_ref(), Some(Patch { .. }))
    };
    error.chain().any(is_common) || error.is::<Misuse>()
}

/// Prints the error of one of several ranks, with its number and machine.
pub fn report_of_rank(error: &anyhow::Error, rank: usize) {
    plain::silence(false);
    let host = wellspring_train::host();
    let error = chain(error.as_ref());
    progress::line(&format!("error: rank {rank} on {host}: {error}"));
}

/// An error and its causes, on one line, without secrets.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = String::new();
    for cause in anyhow::Chain::new(error) {
        let cause = cause.to_string();
        // Transparent wrappers repeat their source word for word.
        if message.ends_with(&cause) {
            continue;
        }
        if !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&cause);
    }
    wellspring_store::masked(&message).into_owned()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
