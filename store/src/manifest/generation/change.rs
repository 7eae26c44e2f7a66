//! [`Change`]: one work on a data set. It claims the place, writes files under names of its own, publishes
//! the manifest, and tidies up.

use super::claim::WorkClaim;
use super::{Head, Stamp, litter, overtaken, publish};
use crate::{Error, Location, Manifest, Result, checksum};

/// What is to take the place of what is there. Works that are equal and began with the same manifest have the
/// same key, so they write the same bytes under the same names and may run side by side; no others share a name.
#[derive(Debug, Clone)]
pub struct Change {
    root: Location,
    before: Option<Head>,
    stamp: Stamp,
    /// Whether nothing stays of what was there.
    renews: bool,
}

/// A work that has begun, or the data set that it would make.
#[derive(Debug)]
pub enum ChangeStart {
    /// There is work to do.
    Work(Box<Change>),
    /// The work is done already; this is its data set.
    Done(Box<Manifest>),
}

/// The state of a work that failed.
#[derive(Debug)]
pub enum ChangeOutcome {
    /// Another process has completed an equal work.
    Made(Box<Manifest>),
    /// Another writer was first; this is the error to report.
    Overtaken(Error),
    /// The work can be continued.
    Open,
}

impl Change {
    /// Begins or continues a whole data set; with `overwrite`, it replaces an existing one. `work` is a name
    /// for everything that the data set depends on, which its provenance has as its key.
    ///
    /// # Errors
    /// [`Error::Exists`] for a data set that may not be replaced, [`Error::Underway`] for another work that was
    /// begun and may not be.
    pub async fn renew(root: &Location, work: &str, overwrite: bool) -> Result<ChangeStart> {
        loop {
            let before = Head::find(root).await?;
            let change = Self::of(root, before, work, true).await?;
            if overwrite && let Some(manifest) = change.made_before(work).await? {
                finish_work(root, work).await?;
                return Ok(ChangeStart::Done(Box::new(manifest)));
            }
            if let Some(head) = change.before.as_ref().filter(|_| !overwrite) {
                let manifest = head.manifest()?;
                if is_of(&manifest, work) {
                    finish_work(root, work).await?;
                    return Ok(ChangeStart::Done(Box::new(manifest)));
                }
                // One that was begun with leave to overwrite has it.
                let claim = WorkClaim::read(root).await?;
                if claim.is_none_or(|claim| claim.key != change.stamp.key) {
                    return Err(Error::Exists {
                        root: root.to_string(),
                    });
                }
            }
            if change.claim(overwrite).await? {
                return Ok(ChangeStart::Work(Box::new(change)));
            }
        }
    }

    /// What is there, where the work itself published it and was stopped before it had tidied up.
    async fn made_before(&self, work: &str) -> Result<Option<Manifest>> {
        let manifest = self.before.as_ref().and_then(|head| head.manifest().ok());
        let Some(manifest) = manifest.filter(|manifest| is_of(manifest, work)) else {
            return Ok(None);
        };
        let claim = WorkClaim::read(&self.root).await.ok().flatten();
        let is_own = claim.is_some_and(|claim| {
            claim.generation == manifest.generation && claim.key == key(work, claim.over.as_deref())
        });
        Ok(is_own.then_some(manifest))
    }

    /// Begins or continues the next generation of the data set whose manifest is `before`; none if that
    /// manifest has been replaced. `work` names what is added, and `overwrite` lets it begin although another
    /// work was begun.
    ///
    /// # Errors
    /// [`Error::Underway`].
    pub async fn extend(
        root: &Location,
        before: Head,
        work: &str,
        overwrite: bool,
    ) -> Result<Option<Self>> {
        let change = Self::of(root, Some(before), work, false).await?;
        Ok(change.claim(overwrite).await?.then_some(change))
    }

    /// The records of the work that was begun at a place and may go on, if there is one.
    ///
    /// # Errors
    /// [`Error::Claim`]; [`Error::Io`].
    pub async fn claimed(root: &Location) -> Result<Option<Location>> {
        // Most data sets have none, and that there is none takes no bytes.
        if !root.join(WorkClaim::PLACE).exists().await? {
            return Ok(None);
        }
        let claim = WorkClaim::read(root).await?;
        Ok(claim.map(|claim| {
            let stamp = Stamp {
                generation: claim.generation,
                key: claim.key,
            };
            records(root, &stamp)
        }))
    }

    /// A work without a claim.
    pub(crate) async fn unclaimed(root: &Location, before: Option<Head>) -> Result<Self> {
        Self::of(root, before, "", true).await
    }

    async fn of(root: &Location, before: Option<Head>, work: &str, renews: bool) -> Result<Self> {
        let generation = match &before {
            None => 0,
            Some(head) => 1 + generation(root, head).await?,
        };
        let key = key(work, before.as_ref().map(Head::id).as_deref());
        Ok(Self {
            root: root.clone(),
            stamp: Stamp { generation, key },
            before,
            renews,
        })
    }

    /// Claims the place; `false` where the data set has changed since it was looked at.
    async fn claim(&self, replace: bool) -> Result<bool> {
        let (claim, before) = (self.own_claim(), self.before.as_ref());
        claim.put(&self.root, before, replace).await?;
        let is_there = claim.is_over(Head::find(&self.root).await?.as_ref());
        if !is_there {
            claim.release(&self.root).await?;
        }
        Ok(is_there)
    }

    fn own_claim(&self) -> WorkClaim {
        WorkClaim {
            key: self.stamp.key.clone(),
            over: self.before.as_ref().map(Head::id),
            generation: self.stamp.generation,
        }
    }

    /// The root of the data set.
    #[must_use]
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// A name for the work and what it began with.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.stamp.key
    }

    /// The generation that it makes.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.stamp.generation
    }

    /// The folder for its records, which goes when it is done.
    #[must_use]
    pub fn records(&self) -> Location {
        records(&self.root, &self.stamp)
    }

    /// The name of a file that it writes.
    pub(crate) fn name(&self, stem: &str, extension: &str) -> String {
        self.stamp.name(stem, extension)
    }

    /// What has become of it where it could not go on: what it was to make, as `is_made` tells, may have been
    /// made by a twin, which is tidied up after; or another writer was first, and what this one wrote goes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn outcome(&self, is_made: impl Fn(&Manifest) -> bool) -> Result<ChangeOutcome> {
        let now = Head::find(&self.root).await?;
        let there = now.as_ref().and_then(|head| head.manifest().ok());
        if let Some(manifest) = there.filter(is_made) {
            self.finish().await?;
            return Ok(ChangeOutcome::Made(Box::new(manifest)));
        }
        if self.own_claim().is_over(now.as_ref()) {
            return Ok(ChangeOutcome::Open);
        }
        self.give_up().await?;
        let told = overtaken(&self.root, self.before.as_ref(), self.generation());
        Ok(ChangeOutcome::Overtaken(told))
    }

    /// Replaces the manifest that the work began with.
    ///
    /// # Errors
    /// [`Error::Overtaken`] or [`Error::Exists`] when another writer was first.
    pub(crate) async fn publish(&self, manifest: &Manifest) -> Result<()> {
        publish(&self.root, self.before.as_ref(), manifest).await
    }

    /// Tidies up once it is published, by whomever.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn finish(&self) -> Result<()> {
        finish(&self.root, Some(&self.own_claim()).filter(|_| self.renews)).await
    }

    /// Tidies up a data set whose last writer may have been stopped before it did.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn settle(root: &Location) -> Result<()> {
        finish(root, None).await
    }

    /// Removes the files of this work, which cannot be continued: its source is refused, or another writer
    /// was first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn give_up(&self) -> Result<()> {
        let now = Head::find(&self.root).await?;
        let named = now.map(|head| head.manifest()).transpose()?;
        let is_named = |path: &str| {
            named
                .iter()
                .flat_map(Manifest::paths)
                .any(|name| name == path)
        };
        for place in self.root.list().await? {
            let own = place.below(&self.root).filter(|path| {
                Stamp::of(path).is_some_and(|stamp| stamp == self.stamp) && !is_named(path)
            });
            if own.is_some() {
                place.delete().await?;
            }
        }
        self.own_claim().release(&self.root).await
    }
}

fn records(root: &Location, stamp: &Stamp) -> Location {
    root.join("ingest").join(&stamp.to_string())
}

/// A name for a work over a manifest: the work's own where there is none.
fn key(work: &str, over: Option<&str>) -> String {
    match over {
        None => work.to_owned(),
        Some(id) => checksum(format!("{work} over {id}").as_bytes()),
    }
}

/// Whether a data set is what a work makes.
fn is_of(manifest: &Manifest, work: &str) -> bool {
    let made = manifest.provenance.as_ref();
    made.is_some_and(|made| made.key == work)
}

/// The generation of a manifest; of one that cannot be read, one that comes after all that are kept.
async fn generation(root: &Location, head: &Head) -> Result<u64> {
    match head.manifest() {
        Ok(manifest) => Ok(manifest.generation),
        Err(error) if error.is_about_content() => {
            let kept = root.join("generations").list().await?;
            let numbers = kept.iter().filter_map(|place| {
                let (number, _) = place.name()?.split_once('-')?;
                number.parse::<u64>().ok()
            });
            Ok(numbers.max().map_or(0, |last| last.saturating_add(1)))
        }
        Err(error) => Err(error),
    }
}

/// Tidies up after a work that may have been stopped when it was published.
async fn finish_work(root: &Location, work: &str) -> Result<()> {
    let claim = match WorkClaim::read(root).await {
        Ok(claim) => claim,
        Err(Error::Claim { .. }) => None,
        Err(error) => return Err(error),
    };
    let own = claim.filter(|claim| claim.key == key(work, claim.over.as_deref()));
    finish(root, own.as_ref()).await
}

/// The steps after a publication; after an interruption the next writer does them. `renewed` is the claim of a
/// work that keeps no earlier generation.
async fn finish(root: &Location, renewed: Option<&WorkClaim>) -> Result<()> {
    tell_statistics(root).await?;
    let keep_from = renewed.map_or(0, |claim| claim.generation);
    litter::tidy(root, keep_from).await
}

/// Writes `stats.yaml` as the manifest has it. Since two may do so, each looks afterwards whether it was the
/// last manifest's that it wrote.
async fn tell_statistics(root: &Location) -> Result<()> {
    let mut head = Head::load(root).await?;
    loop {
        let manifest = head.manifest()?;
        let text = manifest.statistics.to_yaml(&manifest.schema)?;
        let place = root.join("stats.yaml");
        if place
            .get_opt()
            .await?
            .is_none_or(|there| there != text.as_bytes())
        {
            place.put(text).await?;
        }
        let now = Head::load(root).await?;
        if now.id() == head.id() {
            return Ok(());
        }
        head = now;
    }
}
