//! Retries of failed requests to stores on a network; nothing else retries.
//!
//! [`failure`] decides which failures are temporary. A request that met one is made again after a pause of
//! random length, at most twice as long as before (full jitter: a thousand processes do not come back at
//! once), until the setting `retry_for` has passed since its first failure. An answer that breaks off is
//! continued where it ended, and new bytes restart the time. The clients below make every request once.
//!
//! A conditional write (`put_new`, a manifest's replacement) is retried only if the first one cannot have
//! succeeded: otherwise the second would be refused because of the first.

pub(super) mod failure;
mod parts;
mod store;

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use object_store::{Error, Result};
use tokio::time::Instant;

use crate::Reporter;

pub(super) use self::store::PatientStore;

use self::failure::Failure;
use super::settings::RETRY_FOR;

/// How long requests are retried by default.
pub const DEFAULT_RETRY_FOR: Duration = Duration::from_secs(10 * 60);

/// The longest first pause, and the longest of all.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// Time after which the outage of a waiting request is reported, and time between reports.
const TOLD_AFTER: Duration = Duration::from_secs(1);
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The reporter of outages. It is the whole process's, since outages are met deep below the opening of a location.
static LISTENER: RwLock<Option<Arc<dyn Reporter>>> = RwLock::new(None);

/// Stores that have answered this process.
static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Reports outages to `reporter` from now on: times when this process waits for stores that do not answer.
pub fn report_outages(reporter: Arc<dyn Reporter>) {
    *LISTENER.write().unwrap_or_else(PoisonError::into_inner) = Some(reporter);
}

/// Retry policy of a store.
#[derive(Debug)]
pub(super) struct Patience {
    /// URL of the store.
    store: String,
    limit: Duration,
    /// Requests that were made again.
    retries: AtomicU64,
    told: Mutex<LastNote>,
}

/// What was told of outages.
#[derive(Debug, Default)]
struct LastNote {
    last: Option<Instant>,
    /// Whether the end of one is to be told.
    lasts: bool,
}

/// The tries of one request.
#[derive(Debug)]
struct Tries {
    patience: Arc<Patience>,
    made: u32,
    /// When the first one failed.
    began: Option<Instant>,
    /// Whether it must not be made again where it may have been done.
    once: bool,
}

/// A request that failed however often it was made.
#[derive(Debug, thiserror::Error)]
#[error("{tries} tries within {} failed", rounded(*.waited))]
pub(super) struct GaveUp {
    pub(super) tries: u32,
    pub(super) waited: Duration,
    /// The error of the last try.
    pub(super) source: Error,
}

impl Patience {
    /// The policy for a store with this URL, from the settings.
    ///
    /// # Errors
    /// For a setting that is not a duration.
    pub(super) fn with(store: &str, options: &[(String, String)]) -> Result<Arc<Self>> {
        let mut set = options.iter().rev();
        let set = set.find(|(key, _)| key.eq_ignore_ascii_case(RETRY_FOR));
        let limit = match set {
            Some((_, text)) => humantime::parse_duration(text).map_err(|error| {
                let source = format!("{RETRY_FOR}={text} is not a duration such as 10m: {error}");
                let source = source.into();
                Error::NotSupported { source }
            })?,
            None => DEFAULT_RETRY_FOR,
        };
        Ok(Arc::new(Self {
            store: store.to_owned(),
            limit,
            retries: AtomicU64::new(0),
            told: Mutex::default(),
        }))
    }

    /// Requests that were made again.
    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Makes a request until it succeeds, fails for good, or the time is over.
    pub(super) async fn run<T, F>(self: &Arc<Self>, request: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.tries(false).run(request).await
    }

    fn tries(self: &Arc<Self>, once: bool) -> Tries {
        Tries {
            patience: Arc::clone(self),
            made: 0,
            began: None,
            once,
        }
    }

    /// Notes that the store is there.
    fn answered(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut told.lasts) {
            tell(&format!("{} answers again", self.store));
        }
        drop(told);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&self.store) {
            known.insert(self.store.clone());
        }
    }

    fn is_known(&self) -> bool {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&self.store)
    }

    /// Reports an outage, unless it was reported a moment ago.
    fn tell(&self, reason: &str, left: Duration, now: Instant) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |last| now.duration_since(last) >= TOLD_EVERY;
        if told.last.is_none_or(is_old) {
            (told.last, told.lasts) = (Some(now), true);
            tell(&format!(
                "{} does not answer ({reason}); trying again for up to {}",
                self.store,
                rounded(left)
            ));
        }
    }
}

fn tell(message: &str) {
    let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner);
    match listener.as_ref() {
        Some(listener) => listener.note(message),
        None => tracing::warn!("{message}"),
    }
}

/// A duration for people: no parts of a second unless there is nothing else.
pub(crate) fn rounded(time: Duration) -> humantime::FormattedDuration {
    let whole = Duration::from_secs(time.as_secs());
    humantime::format_duration(match whole.is_zero() {
        true => Duration::from_millis(time.as_millis() as u64),
        false => whole,
    })
}

/// Uniform in 0..1.
fn draw() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

impl Tries {
    async fn run<T, F>(mut self, request: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        loop {
            match request().await {
                Ok(answer) => {
                    self.patience.answered();
                    return Ok(answer);
                }
                Err(error) => self.pause(error).await?,
            }
        }
    }

    /// Waits until a request that failed is to be made again.
    ///
    /// # Errors
    /// What it failed with, where it is not.
    async fn pause(&mut self, error: Error) -> Result<()> {
        let pause = self.after(error, Instant::now(), draw())?;
        self.patience.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// How long to wait after a failure at `now`; `drawn` is uniform in 0..1.
    fn after(&mut self, error: Error, now: Instant, drawn: f64) -> Result<Duration> {
        let Some(failure) = Failure::of(&error) else {
            // An answer too, if not a good one.
            self.patience.answered();
            return Err(error);
        };
        let is_final = (self.once && failure.may_be_done)
            // A name that was never known is more likely a wrong one.
            || (failure.is_unresolved && !self.patience.is_known());
        if is_final {
            return Err(error);
        }
        self.made += 1;
        let waited = now.duration_since(*self.began.get_or_insert(now));
        let left = self.patience.limit.saturating_sub(waited);
        if left.is_zero() {
            return Err(self.gave_up(error, waited));
        }
        tracing::info!(store = %self.patience.store, tries = self.made, reason = failure.reason, "a request is made again");
        if waited >= TOLD_AFTER {
            self.patience.tell(&failure.reason, left, now);
        }
        let most = FIRST.saturating_mul(1 << (self.made - 1).min(16));
        let pause = most.min(LONGEST).mul_f64(drawn);
        Ok(pause.max(failure.asked_wait.unwrap_or_default()).min(left))
    }

    fn gave_up(&self, source: Error, waited: Duration) -> Error {
        match self.made {
            1 => source,
            tries => Error::Generic {
                store: "network",
                source: Box::new(GaveUp {
                    tries,
                    waited,
                    source,
                }),
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::location::refusal::Busy;

    fn busy() -> Error {
        Error::Generic {
            store: "S3",
            source: Box::new(Busy::of(503, &Default::default(), "SlowDown")),
        }
    }

    fn tries(limit: &str) -> Tries {
        let options = [(RETRY_FOR.to_owned(), limit.to_owned())];
        Patience::with("s3://patience", &options)
            .unwrap()
            .tries(false)
    }

    /// The pauses after failures that come at once, each with this draw, and the last error.
    fn pauses(limit: &str, drawn: f64) -> (Vec<Duration>, Error) {
        let (mut tries, mut now, mut pauses) = (tries(limit), Instant::now(), Vec::new());
        loop {
            match tries.after(busy(), now, drawn) {
                Ok(pause) => {
                    now += pause;
                    pauses.push(pause);
                }
                Err(error) => return (pauses, error),
            }
        }
    }

    #[test]
    fn pauses_grow_to_a_longest_and_end_with_the_time() {
        let (pauses, error) = pauses("10m", 1.0);
        assert_eq!(pauses[0], FIRST);
        assert_eq!(pauses[3], FIRST * 8);
        assert_eq!(pauses[12], LONGEST);
        assert_eq!(pauses.iter().sum::<Duration>(), DEFAULT_RETRY_FOR);
        let text = crate::with_causes(&error);
        let said = format!("{} tries within 10m failed", pauses.len() + 1);
        assert!(text.contains(&said) && text.contains("503"), "{text}");
    }

    #[test]
    fn pauses_are_drawn_from_all_that_are_no_longer() {
        let mut tries = tries("10m");
        let now = Instant::now();
        assert_eq!(tries.after(busy(), now, 0.0).unwrap(), Duration::ZERO);
        assert_eq!(tries.after(busy(), now, 0.25).unwrap(), FIRST / 2);
        let draws: Vec<f64> = (0..1000).map(|_| draw()).collect();
        let mean = draws.iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
    }

    #[test]
    fn a_store_that_asks_for_a_pause_gets_it() {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let error = Error::Generic {
            store: "S3",
            source: Box::new(Busy::of(429, &headers, "")),
        };
        let pause = tries("10m").after(error, Instant::now(), 0.5).unwrap();
        assert_eq!(pause, Duration::from_secs(7));
    }

    #[test]
    fn no_time_is_one_try_with_its_own_error() {
        let error = tries("0s").after(busy(), Instant::now(), 0.5).unwrap_err();
        assert!(!error.to_string().contains("tries"), "{error}");
        assert!(Patience::with("s3://b", &[(RETRY_FOR.into(), "soon".into())]).is_err());
    }
}
