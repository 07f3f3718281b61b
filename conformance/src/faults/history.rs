//! What every client did and saw, in the order in which it did and saw it.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// A message: the channel that published it, and its number there, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The publishing channel; no two of a run share a number.
    pub channel: u32,
    /// In the order of publishing.
    pub number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.channel, self.number)
    }
}

/// What a consumer says about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done with.
    Ack,
    /// Back into the queue.
    Requeue,
    /// Refused for good: to the dead letters, where the queue has some.
    Reject,
}

/// How a queue is emptied by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// queue.purge.
    Purge,
    /// queue.delete.
    Delete,
}

/// One thing that happened. What is "tried" is recorded before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Refused messages of a queue become dead letters in another.
    DeadLetters {
        /// The queue.
        queue: &'static str,
        /// Where they go.
        dead: &'static str,
    },
    /// Messages move along this queue's dead-letter exchanges by themselves. A crash may undo
    /// moves, and a message that was delivered at the end is then delivered again, as a dead letter
    /// that is new there.
    Wanders {
        /// The queue.
        queue: &'static str,
    },
    /// The channel may be given messages of `queue` from now on.
    Consumes {
        /// The queue.
        queue: &'static str,
    },
    /// The client is about to give up its connection, or has found it gone.
    Closed,
    /// The connection ended though the client wanted to keep it.
    Cut {
        /// As the client was told.
        why: String,
    },
    /// A publish was tried; in a transaction it waits for the commit.
    Published {
        /// The message.
        id: Id,
        /// Every queue that it is for.
        queues: &'static [&'static str],
    },
    /// The broker confirmed it.
    Confirmed {
        /// The message.
        id: Id,
    },
    /// The broker refused it.
    Refused {
        /// The message.
        id: Id,
    },
    /// A message came.
    Delivered {
        /// The message.
        id: Id,
        /// The queue that it came from.
        queue: &'static str,
        /// As the broker marked it.
        redelivered: bool,
    },
    /// A body came that nobody sent as it is.
    Damaged {
        /// The queue that it came from.
        queue: &'static str,
    },
    /// A delivery was settled; in a transaction this waits for the commit.
    Settled {
        /// The message.
        id: Id,
        /// The queue that it came from.
        queue: &'static str,
        /// In which way.
        settlement: Settlement,
    },
    /// The broker answered something on this channel: it has taken everything that was sent there
    /// before.
    Answered,
    /// The channel has become transactional.
    Transactional,
    /// A commit was tried.
    CommitTried,
    /// It was answered.
    Committed,
    /// A rollback was tried: whether it is answered or not, what it ends never takes effect.
    RolledBack,
    /// A declare was tried.
    DeclareTried {
        /// The queue.
        queue: &'static str,
    },
    /// It was answered.
    Declared {
        /// The queue.
        queue: &'static str,
    },
    /// A purge or a delete was tried.
    RemoveTried {
        /// The queue.
        queue: &'static str,
        /// Which of them.
        how: Removal,
    },
    /// It was answered.
    Removed {
        /// The queue.
        queue: &'static str,
        /// Which of them.
        how: Removal,
    },
    /// Somebody asked whether a queue is there.
    Looked {
        /// The queue.
        queue: &'static str,
        /// Whether it is.
        there: bool,
    },
    /// The process is about to be killed, or asked to stop.
    Ending {
        /// It gets no chance to put anything in order.
        crash: bool,
    },
    /// The process ended, or could not start, though nobody asked it to end.
    Died {
        /// What is known.
        why: String,
    },
    /// Nothing went on any more, though nothing kept the broker from it.
    Stuck {
        /// What was waited for.
        what: String,
    },
    /// A fault begins.
    Fault {
        /// In words.
        what: String,
    },
}

impl Event {
    /// The message that it is about, if it is about one.
    #[must_use]
    pub fn message(&self) -> Option<Id> {
        match self {
            Self::Published { id, .. }
            | Self::Confirmed { id }
            | Self::Refused { id }
            | Self::Delivered { id, .. }
            | Self::Settled { id, .. } => Some(*id),
            _ => None,
        }
    }
}

/// An event, and where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The broker's process, counted from 0: one more with each start.
    pub epoch: u32,
    /// The client's channel, which is also its connection; 0 for what is no client's.
    pub channel: u32,
    /// What happened.
    pub event: Event,
}

/// A history that grows, shared by all clients.
#[derive(Debug, Default)]
pub struct History {
    records: Mutex<Growing>,
    /// Told when the goal is reached.
    reached: Condvar,
}

#[derive(Debug, Default)]
struct Growing {
    records: Vec<Record>,
    /// Events that count as progress.
    progress: u64,
    /// The progress that somebody waits for.
    goal: Option<u64>,
}

impl History {
    /// Appends what happened.
    pub fn record(&self, epoch: u32, channel: u32, event: Event) {
        let mut growing = self.lock();
        if matches!(event, Event::Confirmed { .. } | Event::Committed) {
            growing.progress += 1;
            if growing.goal == Some(growing.progress) {
                self.reached.notify_all();
            }
        }
        growing.records.push(Record { epoch, channel, event });
    }

    /// Waits until `count` more publishes or commits are confirmed, for `limit` at most; whether
    /// they were.
    #[must_use]
    pub fn wait_for_progress(&self, count: u64, limit: Duration) -> bool {
        let mut growing = self.lock();
        let goal = growing.progress + count;
        growing.goal = Some(goal);
        let waited = self.reached.wait_timeout_while(growing, limit, |growing| growing.progress < goal);
        let (mut growing, _) = waited.expect("no client panics while it records");
        growing.goal = None;
        growing.progress >= goal
    }

    /// Everything so far; the history is empty afterwards.
    #[must_use]
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.lock().records)
    }

    fn lock(&self) -> MutexGuard<'_, Growing> {
        self.records.lock().expect("no client panics while it records")
    }
}
