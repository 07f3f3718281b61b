//! Answers that are large: how much of them there is in memory at a time is limited, whoever asks
//! for how many and reads none of them.

use super::answer::Fault;
use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of all large answers that are made and not read yet.
const ALL_BYTES_MAX: usize = 256 << 20;

/// Bytes that a permit stands for.
const PERMIT_BYTES: usize = 64 * 1024;

/// An answer of fewer bytes is not counted.
const COUNTED_MIN: usize = 1 << 20;

/// How long an answer waits until others have been read.
const WAIT: Duration = Duration::from_secs(10);

/// The bytes of an answer, and its share of what there is for all of them.
pub(super) struct Held {
    bytes: Option<Bytes>,
    _share: Option<OwnedSemaphorePermit>,
}

/// Room for all large answers.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ALL_BYTES_MAX / PERMIT_BYTES))
}

impl Held {
    /// Holds an answer once there is room for it.
    ///
    /// # Errors
    /// Too much is not read.
    pub(super) async fn of(bytes: Vec<u8>, room: &Arc<Semaphore>) -> Result<Self, Fault> {
        Self::within(WAIT, bytes, room).await
    }

    async fn within(wait: Duration, bytes: Vec<u8>, room: &Arc<Semaphore>) -> Result<Self, Fault> {
        let len = bytes.len();
        let bytes = Some(Bytes::from(bytes));
        if len < COUNTED_MIN {
            return Ok(Self { bytes, _share: None });
        }
        // One that is larger than all there may be has all of it.
        let wanted = len.min(ALL_BYTES_MAX).div_ceil(PERMIT_BYTES);
        // It fits, being at most a few thousand.
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        match timeout(wait, Arc::clone(room).acquire_many_owned(wanted)).await {
            // Nobody closes it.
            Ok(share) => Ok(Self { bytes, _share: share.ok() }),
            Err(_late) => Err(Fault::unavailable("too many large answers are not read: try again")),
        }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    #[test]
    fn what_is_not_read_is_in_the_way_of_large_answers_alone() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let room = Arc::new(Semaphore::new((2 << 20) / PERMIT_BYTES));
            let hold = |bytes: usize| Held::within(Duration::ZERO, vec![0; bytes], &room);
            let (first, second) = (hold(1 << 20).await.unwrap(), hold(1 << 20).await.unwrap());
            assert!(hold(1 << 20).await.is_err());
            assert!(hold(COUNTED_MIN - 1).await.is_ok());
            drop(first);
            assert!(hold(1 << 20).await.is_ok());
            drop(second);
            assert_eq!(room.available_permits(), 32);
        });
    }
}
