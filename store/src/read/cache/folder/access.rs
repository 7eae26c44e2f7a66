//! Decides who may use a cache folder, and which files in it are accepted.
//!
//! A folder is its user's alone (mode 700), or shared by its group on purpose (mode 2770: the bit makes
//! its files the group's). One that others can write to in another way is refused: whoever can put a link
//! under the name of the next file chooses what this process writes over. For the same reason no link is
//! followed, and a file that is opened must be a plain one with one name, and this user's or, in a shared
//! folder, the group's.
#![expect(
    clippy::disallowed_methods,
    reason = "files of the cache's folder are the operating system's"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

/// The users of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// This user only.
    Private,
    /// A group, by its id.
    Group(u32),
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Written by the process that holds its lock.
    Part,
    /// Complete, and not written to any longer.
    Whole,
}

/// How often a name that comes and goes is looked at.
const LOOKS: u32 = 100;

impl Access {
    /// Makes a folder for this user alone where there is none.
    ///
    /// # Errors
    /// For a folder that others can write to and that is not shared on purpose, and for another user's.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        if let Some(above) = folder.parent() {
            std::fs::create_dir_all(above)?;
        }
        match create_private(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Self::found(folder),
        }
    }

    /// Permissions of a file.
    #[cfg(unix)]
    fn mode(self, purpose: Purpose) -> u32 {
        match (self, purpose) {
            (Self::Private, Purpose::Part) => 0o600,
            (Self::Private, Purpose::Whole) => 0o400,
            (Self::Group(_), Purpose::Part) => 0o660,
            (Self::Group(_), Purpose::Whole) => 0o440,
        }
    }

    /// Opens a file to write to, and makes it where there is none.
    ///
    /// # Errors
    /// For a link, a file with other names, another user's, and what is not a file.
    pub(super) fn open_or_create(self, path: &Path) -> io::Result<File> {
        for _ in 0..LOOKS {
            match self.create(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                answer => return answer,
            }
            let mut options = OpenOptions::new();
            match self.open(options.read(true).write(true), path) {
                // Another process has removed it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                answer => return answer,
            }
        }
        Err(io::Error::other(format!(
            "{} comes and goes; who removes it?",
            path.display()
        )))
    }

    /// Opens a file to read.
    ///
    /// # Errors
    /// As [`Access::open_or_create`]; [`ErrorKind::NotFound`].
    pub(super) fn open_to_read(self, path: &Path) -> io::Result<File> {
        self.open(OpenOptions::new().read(true), path)
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{DirBuilder, Permissions};
    use std::os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    };

    use super::*;
    use crate::location::is_at;

    pub(super) fn create_private(folder: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)
    }

    pub(super) fn this_user() -> u32 {
        // SAFETY: it takes nothing, cannot fail, and only gives a number.
        #[expect(
            unsafe_code,
            reason = "the standard library does not say whose a process is"
        )]
        unsafe {
            libc::geteuid()
        }
    }

    impl Access {
        pub(super) fn found(folder: &Path) -> io::Result<Self> {
            let about = std::fs::metadata(folder)?;
            let (mode, owner) = (about.mode() & 0o7777, about.uid());
            let refused = |reason: String| {
                Err(io::Error::new(
                    ErrorKind::PermissionDenied,
                    format!(
                        "{reason}; make it yours alone (chmod 700), or share it with its group on purpose \
                         (chmod 2770)"
                    ),
                ))
            };
            if !about.is_dir() {
                return Err(ErrorKind::NotADirectory.into());
            }
            if mode & 0o002 != 0 {
                return refused(format!("everybody can write to it (mode {mode:o})"));
            }
            match (mode & 0o020 != 0, mode & 0o2000 != 0) {
                (true, true) => Ok(Self::Group(about.gid())),
                (true, false) => refused(format!("its group can write to it (mode {mode:o})")),
                (false, _) if owner != this_user() => refused(format!("it is user {owner}'s")),
                (false, _) => Ok(Self::Private),
            }
        }

        pub(super) fn create(self, path: &Path) -> io::Result<File> {
            let mode = self.mode(Purpose::Part);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(mode);
            let file = options.open(path)?;
            // Whatever the umask leaves of it.
            file.set_permissions(Permissions::from_mode(mode))?;
            Ok(file)
        }

        pub(super) fn open(self, options: &mut OpenOptions, path: &Path) -> io::Result<File> {
            // Not to wait for the other end of a pipe either.
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = match options.custom_flags(flags).open(path) {
                Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                    return Err(strange(path, "is a link"));
                }
                answer => answer?,
            };
            self.check(&file, path)?;
            Ok(file)
        }

        fn check(self, file: &File, path: &Path) -> io::Result<()> {
            let about = file.metadata()?;
            if !about.is_file() {
                return Err(strange(path, "is not a file"));
            }
            // None: it was removed since it was opened, or renamed over.
            if about.nlink() > 1 {
                return Err(strange(path, "has another name, too"));
            }
            let is_known = match self {
                Self::Private => about.uid() == this_user(),
                Self::Group(group) => about.uid() == this_user() || about.gid() == group,
            };
            match is_known {
                true => Ok(()),
                false => Err(strange(path, &format!("is user {}'s", about.uid()))),
            }
        }

        /// Gives an open file the permissions of its purpose, which only its owner can. Whether it is this
        /// user's, and is what lies under its path.
        pub(in super::super) fn guard(self, path: &Path, file: &File, purpose: Purpose) -> bool {
            let guarded = || -> io::Result<bool> {
                let is_ours = is_at(file, path)? && file.metadata()?.uid() == this_user();
                if is_ours {
                    file.set_permissions(Permissions::from_mode(self.mode(purpose)))?;
                }
                Ok(is_ours)
            };
            guarded().unwrap_or(false)
        }
    }

    fn strange(path: &Path, what: &str) -> io::Error {
        let message = format!("{} {what}, which no file of the cache is", path.display());
        io::Error::new(ErrorKind::PermissionDenied, message)
    }
}

#[cfg(unix)]
use unix::create_private;

#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<()> {
    std::fs::create_dir(folder)
}

/// Users are kept apart by the system's own lists of rights.
#[cfg(not(unix))]
impl Access {
    fn found(_: &Path) -> io::Result<Self> {
        Ok(Self::Private)
    }

    fn create(self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).open(path)
    }

    fn open(self, options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        options.open(path)
    }

    pub(super) fn guard(self, _: &Path, _: &File, _: Purpose) -> bool {
        true
    }
}
