//! Claims: a file that says what is being made at a place. It warns those who would make something else
//! there and learn only at the end that another was first. Nothing depends on it, since works share no names.

use serde::{Deserialize, Serialize};

use super::Head;
use crate::{Error, Location, Result};

/// Says which work was begun, and over which manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorkClaim {
    /// The key of the work.
    pub(super) key: String,
    /// Name of the manifest that it replaces, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) over: Option<String>,
    /// The generation that it makes.
    #[serde(default)]
    pub(super) generation: u64,
}

impl WorkClaim {
    pub(super) const PLACE: &str = "ingest/claim.json";

    /// How shards are made on demand, as earlier versions wrote it here.
    pub(super) const OLD_PROMISE: &str = "ingest/promise.json";

    /// The claim on a place.
    ///
    /// # Errors
    /// [`Error::Claim`] for one that cannot be understood.
    pub(super) async fn read(root: &Location) -> Result<Option<Self>> {
        let place = root.join(Self::PLACE);
        let Some(bytes) = place.get_opt().await? else {
            return Ok(None);
        };
        let claim = serde_json::from_slice(&bytes).map_err(|source| Error::Claim {
            object: place.to_string(),
            source,
        })?;
        Ok(Some(claim))
    }

    /// Whether its work takes the place of this manifest, or of none; any other can never be published.
    pub(super) fn is_over(&self, head: Option<&Head>) -> bool {
        self.over == head.map(Head::id)
    }

    /// Claims a place; `replace` takes it from a work that may go on. A work of the past keeps nothing.
    ///
    /// # Errors
    /// [`Error::Underway`]; [`Error::Claim`].
    pub(super) async fn put(
        &self,
        root: &Location,
        before: Option<&Head>,
        replace: bool,
    ) -> Result<()> {
        let place = root.join(Self::PLACE);
        let text = serde_json::to_vec(self).map_err(|source| Error::Claim {
            object: place.to_string(),
            source,
        })?;
        while !place.put_new(text.clone()).await? {
            match Self::read(root).await {
                Ok(Some(found)) if found.key == self.key => return Ok(()),
                Ok(Some(found)) if !replace && found.is_over(before) => {
                    return Err(Error::Underway {
                        root: root.to_string(),
                        found: found.key,
                        wanted: self.key.clone(),
                    });
                }
                // It was there, and is gone.
                Ok(None) => {}
                Ok(Some(_)) => place.delete().await?,
                Err(Error::Claim { .. }) if replace => place.delete().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the place up, if the claim on it is this one.
    pub(super) async fn release(&self, root: &Location) -> Result<()> {
        match Self::read(root).await {
            Ok(Some(found)) if found.key == self.key => root.join(Self::PLACE).delete().await,
            Ok(_) | Err(Error::Claim { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
