//! Nothing that a file holds may lie outside it: an HDF5 file can name others, which may be missing,
//! or be any file of this machine. And a walk through it must end.

use std::collections::HashSet;

use hdf5::plist::dataset_create::Layout;
use hdf5::{Dataset, Group};

use super::attributes::utf8;
use crate::{Error, Result};

/// Groups in one another at most.
const DEEPEST: usize = 32;

/// Bytes that a stored one can become: deflate's best.
const EXPANSION: u64 = 1032;

/// Refuses datasets whose values are in other files or that claim chunks, for which the library would
/// take memory, larger than the file can have; and groups that are reached more than once.
/// Links to other files cannot be followed; whoever reads what they stand for names them.
///
/// # Errors
/// [`Error::Layout`], and [`Error::Read`].
pub(super) fn check(root: &Group, named: &str) -> Result<()> {
    let file = root.file().map_err(|source| Error::Read {
        file: named.to_owned(),
        object: "/".into(),
        source,
    })?;
    let mut walk = Walk {
        named,
        most: file.size().saturating_mul(EXPANSION),
        seen: HashSet::new(),
    };
    walk.group(root, "")
}

struct Walk<'a> {
    named: &'a str,
    /// Bytes of a chunk.
    most: u64,
    seen: HashSet<String>,
}

impl Walk<'_> {
    fn group(&mut self, at: &Group, path: &str) -> Result<()> {
        let failed = |source| Error::Read {
            file: self.named.to_owned(),
            object: if path.is_empty() { "/" } else { path }.to_owned(),
            source,
        };
        let (info, names) = (
            at.loc_info().map_err(failed)?,
            at.member_names().map_err(failed)?,
        );
        // A token can be compared and not be hashed.
        let is_new = self.seen.insert(format!("{:?}", info.token));
        if !is_new || path.matches('/').count() > DEEPEST {
            return Err(self.refused(
                path,
                "is a group that is linked to twice, or nested too deep",
            ));
        }
        for name in names {
            let name = utf8(name.into_bytes()).map_err(failed)?;
            let below = format!("{path}/{name}");
            if let Ok(group) = at.group(&name) {
                self.group(&group, &below)?;
            } else if let Ok(dataset) = at.dataset(&name) {
                self.dataset(&dataset, &below)?;
            }
        }
        Ok(())
    }

    fn dataset(&self, dataset: &Dataset, path: &str) -> Result<()> {
        let value = dataset.dtype().map_or(1, |kind| kind.size() as u64);
        let bytes = dataset.chunk().unwrap_or_default().into_iter();
        let bytes = bytes.fold(value, |bytes, n| bytes.saturating_mul(n as u64));
        if bytes > self.most {
            return Err(self.refused(path, "claims chunks larger than the file can have"));
        }
        let created = dataset.dcpl();
        let layout = created.and_then(|created| {
            let others = created.get_external()?;
            Ok((created.get_layout()?, others.is_empty()))
        });
        match layout {
            Ok((layout, true)) if layout != Layout::Virtual => Ok(()),
            Ok(_) => {
                let reason =
                    "has its values in other files; copy them into this one, with h5repack";
                Err(self.refused(path, reason))
            }
            Err(source) => Err(Error::Read {
                file: self.named.to_owned(),
                object: path.to_owned(),
                source,
            }),
        }
    }

    fn refused(&self, object: &str, reason: &str) -> Error {
        Error::Layout {
            file: self.named.to_owned(),
            object: object.trim_start_matches('/').to_owned(),
            reason: reason.to_owned(),
        }
    }
}
