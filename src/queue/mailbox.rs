//! A connection's inbox: what queues and the log have for one session.
//!
//! Queues post runs of messages to it, the log wakes it when a ticket is durable; the session takes
//! everything at once. Its lock is a leaf: whoever holds it takes no other. It is not bounded by
//! itself: a consumer is dealt no more than its window, and everything else is one entry for
//! something the session asked for.

use crate::ids::{ConsumerId, Ticket};
use crate::message::Block;
use crate::queue::unread::Unread;
use crate::store::change::Waiter;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Consecutive messages of one block, dealt to one consumer.
#[derive(Debug, Clone)]
pub struct DeliveryRun {
    /// Who gets them.
    pub consumer: ConsumerId,
    /// The sequence number of record `range.start`.
    pub first: u64,
    /// Where the records are.
    pub block: Arc<Block>,
    /// Which of them.
    pub range: Range<u32>,
    /// Whether they may have been delivered before.
    pub redelivered: bool,
    /// How many deliveries of each have failed: the `x-delivery-count` header, when over 0.
    pub deliveries: u32,
}

/// Something for a session.
#[derive(Debug)]
pub enum Mail {
    /// Messages for one of its consumers.
    Deliver(DeliveryRun),
    /// The queue of this consumer is gone; the consumer with it.
    Cancelled(ConsumerId),
    /// A `basic.get` that had to wait for the disk may be tried again.
    Retry,
}

/// A connection's inbox for deliveries, confirms and wake-ups.
#[derive(Debug, Default)]
pub struct Mailbox {
    inbox: Mutex<Inbox>,
    unread: Arc<Unread>,
}

#[derive(Debug, Default)]
struct Inbox {
    mail: Vec<Mail>,
    /// Something came since the last [`Mailbox::take`].
    fresh: bool,
    waker: Option<Waker>,
}

impl Mailbox {
    /// An empty mailbox of a client of its own.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An empty mailbox of a client that shares `unread` with others.
    #[must_use]
    pub fn among(unread: &Arc<Unread>) -> Arc<Self> {
        Arc::new(Self { unread: Arc::clone(unread), ..Self::default() })
    }

    /// What lies ready for this client and those it is among.
    #[must_use]
    pub fn unread(&self) -> &Arc<Unread> {
        &self.unread
    }

    /// Moves everything in `mail` into the mailbox and wakes its session once.
    pub fn post(&self, mail: &mut Vec<Mail>) {
        self.tell(|inbox| inbox.mail.append(mail));
    }

    /// Has the session look around: a change that is not mail.
    pub fn wake(&self) {
        self.tell(|_inbox| ());
    }

    /// Moves all mail to the end of `into`.
    pub fn take(&self, into: &mut Vec<Mail>) {
        let mut inbox = self.lock();
        inbox.fresh = false;
        if into.is_empty() {
            std::mem::swap(into, &mut inbox.mail);
        } else {
            into.append(&mut inbox.mail);
        }
    }

    /// Ready once something came since the last [`Mailbox::take`]; otherwise the task of `context`
    /// is woken when it does.
    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut inbox = self.lock();
        if inbox.fresh {
            return Poll::Ready(());
        }
        match &mut inbox.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    fn tell(&self, change: impl FnOnce(&mut Inbox)) {
        let waker = {
            let mut inbox = self.lock();
            change(&mut inbox);
            if inbox.fresh {
                return;
            }
            inbox.fresh = true;
            inbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter for Mailbox {
    /// The session asks the log itself up to where everything is on disk.
    fn durable(&self, _up_to: Ticket) {
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Wakes(AtomicU32);
    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_session_is_woken_once_for_all_that_came() {
        let (mailbox, wakes) = (Mailbox::new(), Arc::new(Wakes::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        let context = Context::from_waker(&waker);
        assert_eq!(mailbox.poll(&context), Poll::Pending);
        mailbox.post(&mut vec![Mail::Retry]);
        mailbox.durable(Ticket(7));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(mailbox.poll(&context), Poll::Ready(()));
        let mut mail = Vec::new();
        mailbox.take(&mut mail);
        assert_eq!(mail.len(), 1);
        assert_eq!(mailbox.poll(&context), Poll::Pending, "everything was taken");
    }
}
