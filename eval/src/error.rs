//! The errors of this crate: evaluations, results, queries and figures.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of whatever is being evaluated.
pub type SubjectError = Box<dyn std::error::Error + Send + Sync>;

/// Every variant says which object it is about and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is not a schedule.
    #[error(
        "{text} is not a schedule: {reason}; give 16 | 4,8,16 | 16x8x8 | list:4,4,16 | random:SEED | budget:TOKENS"
    )]
    Schedule {
        /// The text as given.
        text: String,
        /// Why not.
        reason: String,
    },

    /// A patch size of the schedule that cannot be used on this grid.
    #[error("schedule {schedule} cannot be used: {source}")]
    Patch {
        /// The schedule.
        schedule: String,
        /// What the model says.
        source: SubjectError,
    },

    /// A jitter where no axis is periodic.
    #[error(
        "{dataset} has no periodic axis along which its grid could be rolled; leave --jitter out"
    )]
    NotPeriodic {
        /// Name of the data set.
        dataset: String,
    },

    /// An ensemble whose members would not differ.
    #[error(
        "an ensemble needs members that differ, at least two: {reason}; give --jitter SEED, or --schedule random:SEED"
    )]
    Ensemble {
        /// Why it has none.
        reason: String,
    },

    /// The step function failed.
    #[error("{name} failed at lead {lead} of {split} trajectory {trajectory}: {source}")]
    Step {
        /// What was evaluated.
        name: String,
        /// Frames predicted so far, and this one.
        lead: usize,
        /// The split.
        split: String,
        /// Trajectory of the first window in the batch.
        trajectory: u32,
        /// What the model says.
        source: SubjectError,
    },

    /// The system did not start a thread.
    #[error(
        "cannot start a thread to measure predictions; allow more memory or processes (ulimit -v, ulimit -u)"
    )]
    Threads {
        /// The system's own words.
        source: std::io::Error,
    },

    /// The ranks of an evaluation do not hear one another.
    #[error("a rank of this evaluation cannot be reached: {source}")]
    Ranks {
        /// What the launcher's engine says.
        source: SubjectError,
    },

    /// What a rank has measured is not where the first looks for it.
    #[error(
        "{root} holds nothing that rank {rank} has measured; give --results a folder or a bucket that all ranks see"
    )]
    LostPart {
        /// The folder, as the first rank sees it.
        root: String,
        /// The rank.
        rank: usize,
    },

    /// No evaluation where results were expected.
    #[error("{root} holds no results; make some: wellspring eval RUN DATASET -r {root}")]
    NoResults {
        /// The folder.
        root: String,
    },

    /// No training where some were expected.
    #[error("{root} holds no trainings; make one: wellspring train --out {root}/NAME")]
    NoTrainings {
        /// The folder.
        root: String,
    },

    /// A log that cannot be read.
    #[error("the log of {run} cannot be read: {source}")]
    Log {
        /// The run.
        run: String,
        /// Which file of it, and why not.
        source: Box<wellspring_log::Error>,
    },

    /// Logs of trainings on a cluster.
    #[error("the logs of trainings can only be asked by this machine; ask without --cluster")]
    RemoteLogs,

    /// An equal evaluation is there and was to be kept.
    #[error(
        "{root} holds {name} with schedule {schedule} on the {split} split already; --existing replace, add or skip"
    )]
    Exists {
        /// The folder.
        root: String,
        /// Name of the run.
        name: String,
        /// Schedule of the evaluation.
        schedule: String,
        /// Split of the evaluation.
        split: String,
    },

    /// Another evaluation has the name.
    #[error(
        "{root} holds another {name} with schedule {schedule} on the {split} split, which differs in {differences}; give this one another --name, or --existing replace to put it in that one's place, or add to keep both"
    )]
    Clash {
        /// The folder.
        root: String,
        /// Name of the run.
        name: String,
        /// Schedule of the evaluation.
        schedule: String,
        /// Split of the evaluation.
        split: String,
        /// What differs, each with its value there and here.
        differences: String,
    },

    /// A results folder that cannot be written, seen before anything is computed.
    #[error(
        "{root} cannot take results: {source}; nothing was computed, choose another --results or see to its permissions"
    )]
    Unwritable {
        /// The folder.
        root: String,
        /// What happened to a file that was written to find out.
        source: Box<wellspring_store::Error>,
    },

    /// A file that is not what its place says.
    #[error("{object} is not a result table: {reason}; move it away")]
    Malformed {
        /// URL of the file.
        object: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A committed evaluation one of whose files is gone or cut off.
    #[error("{object} {reason}; delete {row} and evaluate again")]
    Damaged {
        /// URL of the file.
        object: String,
        /// What is wrong with it: `is gone`, `is cut off`, `has 0 bytes`.
        reason: String,
        /// URL of the evaluation's row in `runs`.
        row: String,
    },

    /// Tables of a later version of this program.
    #[error(
        "{object} has table version {found}, this program reads up to {supported}; use the wellspring that wrote it"
    )]
    NewerTables {
        /// URL of the file.
        object: String,
        /// Version of the table.
        found: u32,
        /// [`crate::TABLE_VERSION`].
        supported: u32,
    },

    /// Two data sets of one name.
    #[error("the name {name} is taken; give another one: --data NAME=ROOT")]
    Taken {
        /// The name.
        name: String,
    },

    /// A scheduler or an executor of a cluster cannot work.
    #[error("the cluster at {address} cannot be used: {reason}")]
    Cluster {
        /// HOST:PORT.
        address: String,
        /// Why not.
        reason: String,
    },

    /// A token that cannot guard a cluster.
    #[error("the token cannot be used: {reason}; make one: openssl rand -hex 32")]
    Token {
        /// What is wrong with it; never the token.
        reason: &'static str,
    },

    /// A certificate, a key or an authority that cannot be used.
    #[error(
        "the {what} of the cluster cannot be used: {reason}; give PEM files: --tls-cert, --tls-key, --tls-ca"
    )]
    Certificate {
        /// `certificate`, `key` or `authority`.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// An address that others reach, with nothing that asks who they are.
    #[error(
        "{address} can be reached from other machines, so it needs a token: --token-file FILE, or WELLSPRING_TOKEN"
    )]
    Exposed {
        /// The address.
        address: String,
    },

    /// A cluster without executors.
    #[error(
        "no executor has registered with {address} for {seconds} s; start one: wellspring cluster executor {address}; or wait longer: --cluster-wait"
    )]
    NoExecutor {
        /// HOST:PORT of the scheduler.
        address: String,
        /// Time that the cluster was without executors, in seconds.
        seconds: u64,
    },

    /// A text that names none of the choices.
    #[error("{text} is not {what}; choose {choices}")]
    Choice {
        /// The text as given.
        text: String,
        /// What was to be chosen, with its article: "a format".
        what: &'static str,
        /// The choices.
        choices: &'static str,
    },

    /// A name that the results do not hold.
    #[error("{text} is not {what} of these results; there are: {choices}")]
    Unknown {
        /// The name as given.
        text: String,
        /// What was named, with its article: "a field".
        what: &'static str,
        /// What there is.
        choices: String,
    },

    /// A name of several evaluations where one is wanted.
    #[error("{text} names several evaluations; say --schedule, or one of: {choices}")]
    Ambiguous {
        /// The name as given.
        text: String,
        /// Identities of the evaluations with the name.
        choices: String,
    },

    /// An evaluation without pictures.
    #[error("{run} kept no frames; evaluate it again with --keep 1 or more")]
    NoFrames {
        /// The evaluation.
        run: String,
    },

    /// A figure could not be drawn.
    #[error("cannot draw {figure}: {reason}")]
    Figure {
        /// Name of the figure.
        figure: &'static str,
        /// Why not.
        reason: String,
    },

    /// SQL that goes deeper than a stack holds.
    #[error(
        "the query is too deep: more than {deepest} operators in a row, brackets in brackets, or joined tables and queries; write a long sum or OR as IN, VALUES or a table, or cut the query in parts"
    )]
    Deep {
        /// The deepest that is tried.
        deepest: usize,
    },

    /// SQL that takes more memory than it may.
    #[error(
        "the query needs more than the {mib} MiB of memory that it may have, and not all of it can wait in temporary files; give it more (--memory), or ask for less: fewer columns, a WHERE, a LIMIT ({reason})"
    )]
    Memory {
        /// What it may have.
        mib: u64,
        /// Which part of the query asked for how much memory.
        reason: String,
    },

    /// SQL that cannot be planned or run.
    #[error("{0}")]
    Sql(#[from] datafusion::error::DataFusionError),

    /// Rows that cannot become a table.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),

    /// Parquet could not be written.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),

    /// A field of a shape that no spectrum has.
    #[error(transparent)]
    Spectra(#[from] wellspring_spectra::Error),

    /// Data or results could not be read or written.
    #[error(transparent)]
    Store(#[from] wellspring_store::Error),
}
