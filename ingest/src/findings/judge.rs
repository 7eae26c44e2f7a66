//! Decides the consequence of a finding: the first one that is refused ends an ingest; a check continues.

use std::collections::BTreeSet;

use wellspring_store::{NotFinite, Reporter, Selection};

use super::{Finding, FindingKind, Severity};
use crate::{Error, Result};

/// Decides over findings.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    allowed: BTreeSet<FindingKind>,
    nan: NotFinite,
    goes_on: bool,
}

impl Judge {
    /// The judge of an ingest, which ends at the first finding that is refused.
    ///
    /// # Errors
    /// [`Error::Selection`] for a kind that is unknown, or that cannot be let through.
    pub(crate) fn of(selection: &Selection) -> Result<Self> {
        let mut allowed = BTreeSet::new();
        for text in &selection.allow {
            let kind: FindingKind = text.parse()?;
            if !kind.may_be_allowed() {
                let why = match (kind.severity(), kind) {
                    (Severity::Told, _) => "it is told, not refused".to_owned(),
                    (_, kind) => kind.remedy(),
                };
                let reason = format!("{kind} is not a finding that can be let through: {why}");
                return Err(Error::Selection { reason });
            }
            allowed.insert(kind);
        }
        if selection.nan == NotFinite::Zero {
            allowed.insert(FindingKind::NotFinite);
        }
        Ok(Self {
            allowed,
            nan: selection.nan,
            goes_on: false,
        })
    }

    /// The judge of a check, which collects every finding.
    pub(crate) fn going_on(self) -> Self {
        Self {
            goes_on: true,
            ..self
        }
    }

    /// Whether zero takes the place of values that are not finite; a check counts them so.
    pub(crate) fn zeroes(&self) -> bool {
        self.goes_on || self.nan == NotFinite::Zero
    }

    /// Whether something ends no work where it is found.
    pub(crate) fn allows(&self, kind: FindingKind) -> bool {
        self.goes_on || kind.severity() == Severity::Told || self.allowed.contains(&kind)
    }

    /// The finding that an error about a file is, if the work goes on after it.
    ///
    /// # Errors
    /// The error, if not.
    pub(crate) fn unless_it_ends(&self, file: &str, work: Result<()>) -> Result<Option<Finding>> {
        match work {
            Ok(()) => Ok(None),
            Err(Error::Refused { finding }) if self.goes_on => Ok(Some(*finding)),
            Err(error) if self.goes_on => Ok(Some(Finding::unreadable(file, &error))),
            Err(error) => Err(error),
        }
    }

    /// Decides the consequence of a finding.
    ///
    /// # Errors
    /// [`Error::Refused`], if the work ends with it.
    pub(crate) fn pass(&self, mut finding: Finding) -> Result<Finding> {
        if self.allowed.contains(&finding.kind) {
            finding.severity = Severity::Told;
        }
        match finding.severity {
            Severity::Refused if !self.goes_on => Err(Error::Refused {
                finding: Box::new(finding),
            }),
            _ => Ok(finding),
        }
    }
}

/// Number of findings of a kind that are reported one by one. All files that are left out are reported, and so
/// are all remarks, of which there is one for all files.
const TOLD: usize = 12;

/// Reports findings: some of each kind, and the number of the others.
pub(crate) fn tell(findings: &[Finding], reporter: &dyn Reporter) {
    let kinds: BTreeSet<FindingKind> = findings.iter().map(|finding| finding.kind).collect();
    for kind in kinds {
        let own = findings.iter().filter(|finding| finding.kind == kind);
        let told = match kind {
            FindingKind::LeftOut | FindingKind::Remark => usize::MAX,
            _ => TOLD,
        };
        own.clone()
            .take(told)
            .for_each(|finding| reporter.note(&format!("{kind}: {finding}")));
        let more = own.count().saturating_sub(told);
        if more > 0 {
            reporter.note(&format!(
                "{kind}: {more} more; `wellspring check` lists all of them"
            ));
        }
    }
}
