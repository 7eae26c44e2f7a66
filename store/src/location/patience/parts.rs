//! Uploads of large objects in parts.
//!
//! A request with gigabytes begins anew whenever the line breaks, and no bucket takes more than 5 GiB in one. In parts,
//! only the part that was on its way is sent again. The object appears with the last request, whole.
//!
//! Where a process is killed, a bucket keeps the parts that came, and no list shows them. A rule of the bucket removes
//! them after some days (Amazon: `AbortIncompleteMultipartUpload`).

use std::fmt;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, PutPayload, PutResult, Result};

use super::Patience;

/// The largest object that goes in one request, in bytes.
const LARGE: usize = 128 << 20;

/// Bytes of a part, unless there would be too many of them.
const PART: usize = 32 << 20;

/// Most parts of an object, by the rules of Amazon and Google.
const MOST: usize = 10_000;

/// Parts on their way at a time.
const AT_A_TIME: usize = 4;

/// Whether an object goes in parts.
pub(super) fn is_large(payload: &PutPayload) -> bool {
    payload.content_length() > LARGE
}

/// A bucket that takes objects in parts.
pub(super) struct PartStore {
    inner: Arc<dyn MultipartStore>,
    patience: Arc<Patience>,
}

impl fmt::Debug for PartStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartStore").finish_non_exhaustive()
    }
}

impl PartStore {
    pub(super) fn new(inner: Arc<dyn MultipartStore>, patience: Arc<Patience>) -> Self {
        Self { inner, patience }
    }

    /// Writes an object over any that is there.
    pub(super) async fn put(&self, key: &Path, payload: &PutPayload) -> Result<PutResult> {
        let size = PART.max(payload.content_length().div_ceil(MOST));
        let parts = cut(payload, size);
        // The last request makes an object of the parts. Where its answer is lost it may have been done, and would then be
        // refused a second time; so everything is sent again.
        self.patience.run(|| self.upload(key, &parts)).await
    }

    async fn upload(&self, key: &Path, parts: &[PutPayload]) -> Result<PutResult> {
        let begin = || self.inner.create_multipart(key);
        let id = self.patience.run(begin).await?;
        let written = match self.send(key, &id, parts).await {
            Ok(sent) => self.inner.complete_multipart(key, &id, sent).await,
            Err(error) => Err(error),
        };
        if written.is_err() {
            // Asked for once: the error above is what counts.
            self.inner.abort_multipart(key, &id).await.ok();
        }
        written
    }

    async fn send(
        &self,
        key: &Path,
        id: &MultipartId,
        parts: &[PutPayload],
    ) -> Result<Vec<PartId>> {
        let send = |(i, part): (usize, &PutPayload)| {
            let part = part.clone();
            async move {
                let put = || self.inner.put_part(key, id, i, part.clone());
                self.patience.run(put).await
            }
        };
        stream::iter(parts.iter().enumerate().map(send))
            .buffered(AT_A_TIME)
            .try_collect()
            .await
    }
}

/// Cuts bytes into parts of a size, the last of which may be smaller; nothing is copied.
fn cut(payload: &PutPayload, size: usize) -> Vec<PutPayload> {
    let (mut parts, mut part, mut room) = (Vec::new(), Vec::new(), size);
    for bytes in payload {
        let mut bytes = bytes.clone();
        while !bytes.is_empty() {
            let piece = bytes.split_to(room.min(bytes.len()));
            room -= piece.len();
            part.push(piece);
            if room == 0 {
                parts.push(PutPayload::from_iter(std::mem::take(&mut part)));
                room = size;
            }
        }
    }
    if !part.is_empty() {
        parts.push(PutPayload::from_iter(part));
    }
    parts
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_have_the_bytes_in_order_and_one_size(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9),
            size in 1_usize..12,
        ) {
            let whole = pieces.concat();
            let parts = cut(&pieces.into_iter().map(Bytes::from).collect(), size);
            let lengths: Vec<usize> = parts.iter().map(PutPayload::content_length).collect();
            let expected: Vec<usize> = whole.chunks(size).map(<[u8]>::len).collect();
            prop_assert_eq!(lengths, expected);
            let bytes: Vec<u8> = parts.into_iter().flatten().flatten().collect();
            prop_assert_eq!(bytes, whole);
        }
    }
}
