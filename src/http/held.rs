//! Answers that are large: how much of them there is in memory at a time is limited, whoever asks
//! for how many and reads none of them.

use super::answer::Fault;
use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of all large answers that are made and not read yet: a quarter of what the broker may have
/// in memory, within these.
const ALL_BYTES: RangeInclusive<usize> = 32 << 20..=256 << 20;

/// Bytes that a permit stands for.
const PERMIT_BYTES: usize = 64 * 1024;

/// An answer of fewer bytes is not counted.
const COUNTED_MIN: usize = 1 << 20;

/// How long an answer waits until others have been read.
const WAIT: Duration = Duration::from_secs(10);

/// What of an answer is handed to the connection at a time: it holds the last of these by itself.
const PART_BYTES: usize = 64 * 1024;

/// Room for all large answers.
pub(super) struct Room {
    /// What there is of it.
    permits: usize,
    /// For those that are being read.
    read: Arc<Semaphore>,
    /// For those that wait for that: a share of as much each as they will have.
    waiting: Arc<Semaphore>,
}

/// An answer.
pub(super) struct Held {
    /// What the connection has not taken.
    rest: Bytes,
}

/// The bytes of a large answer and their share of the room, for as long as anybody has a part of
/// them: the connection has the last ones when this body has ended.
struct Counted {
    bytes: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// Where the broker may have so many bytes in memory.
    pub(super) fn for_memory(bytes: u64) -> Self {
        let share = usize::try_from(bytes / 4).unwrap_or(usize::MAX);
        Self::of(share.clamp(*ALL_BYTES.start(), *ALL_BYTES.end()))
    }

    /// For so many bytes that are being read, and a quarter as many that wait for that.
    fn of(bytes: usize) -> Self {
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes / PERMIT_BYTES));
        Self { permits: bytes / PERMIT_BYTES, read: semaphore(bytes), waiting: semaphore(bytes / 4) }
    }

    /// A share for so many bytes, once there is one.
    async fn share(&self, wait: Duration, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // One that is larger than all there may be has all of it.
        let wanted = bytes.div_ceil(PERMIT_BYTES).min(self.permits);
        // It fits, being at most a few thousand.
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        if let Ok(share) = Arc::clone(&self.read).try_acquire_many_owned(wanted) {
            return Some(share);
        }
        let _place = Arc::clone(&self.waiting).try_acquire_many_owned(wanted).ok()?;
        timeout(wait, Arc::clone(&self.read).acquire_many_owned(wanted)).await.ok()?.ok()
    }
}

impl Held {
    /// Holds an answer once there is room for it.
    ///
    /// # Errors
    /// Too much is not read.
    pub(super) async fn of(bytes: Vec<u8>, room: &Room) -> Result<Self, Fault> {
        Self::within(WAIT, bytes, room).await
    }

    async fn within(wait: Duration, bytes: Vec<u8>, room: &Room) -> Result<Self, Fault> {
        if bytes.len() < COUNTED_MIN {
            return Ok(Self { rest: bytes.into() });
        }
        match room.share(wait, bytes.len()).await {
            Some(share) => Ok(Self { rest: Bytes::from_owner(Counted { bytes, _share: share }) }),
            None => Err(Fault::unavailable("too many large answers are not read: try again")),
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
        let part = self.rest.len().min(PART_BYTES);
        let part = self.rest.split_to(part);
        Poll::Ready((!part.is_empty()).then(|| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::runtime::Builder;

    const MIB: usize = 1 << 20;

    fn hold(bytes: usize, room: &Room) -> Result<Held, Fault> {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Held::within(Duration::ZERO, vec![0; bytes], room))
    }

    #[test]
    fn what_is_not_read_is_in_the_way_of_large_answers_alone() {
        let room = Room::of(2 * MIB);
        let (first, second) = (hold(MIB, &room).unwrap(), hold(MIB, &room).unwrap());
        assert!(hold(MIB, &room).is_err());
        assert!(hold(COUNTED_MIN - 1, &room).is_ok());
        drop(first);
        assert!(hold(MIB, &room).is_ok());
        drop(second);
        assert_eq!(room.read.available_permits(), 32);
    }

    /// Hyper takes what it can get, and forgets the body once it has the last of it.
    #[test]
    fn an_answer_counts_until_its_last_byte_is_written() {
        let room = Room::of(2 * MIB);
        let mut held = hold(2 * MIB, &room).unwrap();
        let mut parts = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(part))) = Pin::new(&mut held).poll_frame(&mut context) {
            let part = part.into_data().unwrap();
            assert!(part.len() <= PART_BYTES);
            parts.push(part);
        }
        assert_eq!(parts.iter().map(Bytes::len).sum::<usize>(), 2 * MIB);
        drop(held);
        let last = parts.pop();
        drop(parts);
        assert!(hold(MIB, &room).is_err());
        drop(last);
        assert!(hold(MIB, &room).is_ok());
    }

    #[test]
    fn few_may_wait() {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let room = Room::of(8 * MIB);
            let all = Held::of(vec![0; 8 * MIB], &room).await.unwrap();
            let one = || Held::of(vec![0; MIB], &room);
            let (first, second, third, read) = tokio::join!(one(), one(), one(), async { drop(all) });
            let () = read;
            assert!(first.is_ok() && second.is_ok() && third.is_err());
        });
    }
}
