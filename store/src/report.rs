//! How libraries tell what they are doing; only the program draws it.

/// Listens to long work. Calls may come from any thread.
pub trait Reporter: Send + Sync {
    /// A stage of work begins: a phrase such as "statistics", how much there is to do if that is
    /// known, and of what ("bytes", "frames", "steps").
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str);
    /// So much more is done.
    fn advance(&self, by: u64);
    /// The stage is over.
    fn end(&self);
    /// Something worth a person's notice.
    fn note(&self, message: &str);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, _: &str) {}
}
