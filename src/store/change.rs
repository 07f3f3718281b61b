//! What may happen to durable state, and the seam behind which it is kept.
//!
//! A [`Change`] is the unit of commit and of recovery. The rest of the broker sees the store
//! through [`Log`] (append, and learn when it is durable) and [`PageSource`] (read records back);
//! neither names a database. Invariant: what is appended by one call of [`Log::append`], or under
//! one [`AtomicBatch`], is on disk together or not at all.

use super::error::StoreError;
use super::seen::{SeenBy, SeenRecord};
use crate::auth::directory::AuthChange;
use crate::ids::{QueueId, SeqRange, Ticket};
use crate::message::Block;
use crate::metrics::IoCounters;
use crate::policy::PolicyChange;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, RwLockReadGuard};
use std::thread;

/// One durable mutation.
#[derive(Debug, Clone)]
pub enum Change {
    /// Records enter a queue: record `range.start` of `block` under the number `first`, and so on.
    ///
    /// Records that are not persistent may be among them, if they came in one block: they are read
    /// back by [`PageSource::load`], but recovery does not see them.
    Publish {
        /// The queue.
        queue: QueueId,
        /// The sequence number of the first record of `range`.
        first: u64,
        /// Where the records are.
        block: Arc<Block>,
        /// Which of the block's records.
        range: Range<u32>,
    },
    /// As [`Change::Publish`] of records that are not meant to last, but have no place in memory:
    /// they are read back by [`PageSource::load`] until the broker stops. They are part of no
    /// commit group.
    Spill {
        /// The queue.
        queue: QueueId,
        /// The sequence number of the first record of `range`.
        first: u64,
        /// Where the records are.
        block: Arc<Block>,
        /// Which of the block's records.
        range: Range<u32>,
    },
    /// Messages leave a queue for good: acknowledged, dropped, dead-lettered, purged. Numbers that
    /// are not on disk, or not any more, may be among them.
    Settle {
        /// The queue.
        queue: QueueId,
        /// Which messages.
        range: SeqRange,
    },
    /// A message was requeued: how often it has been delivered in vain, and how long it waits.
    Requeue {
        /// The queue.
        queue: QueueId,
        /// The message.
        seq: u64,
        /// Its deliveries that failed.
        deliveries: u32,
        /// Until when it waits, milliseconds since 1970; 0 when it does not. Of a message that has
        /// died, how: see [`super::mark`].
        due_ms: u64,
    },
    /// Written on a clean stop: messages of a lane below this number may have been delivered
    /// before.
    Delivered {
        /// The queue.
        queue: QueueId,
        /// One past the highest number of its lane that was ever delivered.
        up_to: u64,
    },
    /// Something about a stream beside its records.
    Stream {
        /// The queue.
        queue: QueueId,
        /// What.
        note: StreamNote,
    },
    /// A durable queue is declared.
    DeclareQueue(QueueRecord),
    /// A queue is gone with all its messages.
    DeleteQueue(QueueId),
    /// A durable exchange is declared.
    DeclareExchange(ExchangeRecord),
    /// An exchange is gone. Its bindings are removed by changes of their own.
    DeleteExchange {
        /// Its vhost.
        vhost: String,
        /// Its name.
        name: String,
    },
    /// A durable binding is made.
    Bind(BindingRecord),
    /// A binding is removed.
    Unbind(BindingRecord),
    /// A queue or an exchange that deduplicates has taken in a message with this value.
    Seen(SeenRecord),
    /// A queue or an exchange that deduplicates is gone with all it has seen.
    Forget(SeenBy),
    /// Something about users and what they may do.
    Auth(AuthChange),
    /// Something about policies.
    Policy(PolicyChange),
    /// A global parameter has another value.
    Parameter {
        /// Its name.
        name: String,
        /// Its value, a JSON text; none takes it away.
        value: Option<String>,
    },
}

/// A change that is no record counts once more for each so many bytes that it brings: a small one
/// takes about as long to write.
const SMALL_BYTES: usize = 256;

/// A queue that goes counts for so many: nine tables are looked through for what it has, which
/// takes ten microseconds and more, where a row takes half of one.
pub(super) const DELETE_WEIGHT: usize = 16;

impl Change {
    /// How many small changes it counts for. Records are counted by their bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let bytes = match self {
            Self::DeclareQueue(record) => return record.weight(),
            Self::DeleteQueue(_) => return DELETE_WEIGHT,
            Self::DeclareExchange(record) => record.arguments.len(),
            Self::Bind(record) | Self::Unbind(record) => record.routing_key.len() + record.arguments.len(),
            Self::Seen(record) => record.value.len(),
            Self::Parameter { value: Some(value), .. } => value.len(),
            _ => 0,
        };
        1 + bytes / SMALL_BYTES
    }
}

impl QueueRecord {
    /// As [`Change::weight`].
    #[must_use]
    pub fn weight(&self) -> usize {
        1 + self.arguments.len() / SMALL_BYTES
    }
}

/// What is kept of a stream beside its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamNote {
    /// It begins at this number: what is below is gone, and no number below is given again. The
    /// first such note makes a stream of a queue, all of whose records last.
    Begins(u64),
    /// A chunk begins.
    Chunk(StreamChunk),
    /// A named consumer has handled everything below a number.
    Offset {
        /// Its name.
        name: Box<str>,
        /// The first number that it has not handled.
        next: u64,
    },
    /// A named consumer is forgotten.
    Forget {
        /// Its name.
        name: Box<str>,
    },
}

/// Consecutive records of a stream that are found, and go, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamChunk {
    /// The number of its first record.
    pub first: u64,
    /// When that arrived, milliseconds since 1970; never less than of the chunk before.
    pub since_ms: u64,
    /// Bytes of all records that ever were in the stream before this chunk.
    pub position: u64,
}

/// What is kept of a stream beside its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveredStream {
    /// From [`StreamNote::Begins`].
    pub first: u64,
    /// Its chunks, in order.
    pub chunks: Vec<StreamChunk>,
    /// Named consumers, and what each has not handled yet.
    pub offsets: Vec<(Box<str>, u64)>,
}

/// A durable queue as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRecord {
    /// Its id: the key of its messages.
    pub id: QueueId,
    /// Its vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// Deleted when its last consumer goes.
    pub auto_delete: bool,
    /// Arguments as an encoded field table, without the table's own length.
    pub arguments: Vec<u8>,
}

/// A durable exchange as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeRecord {
    /// Its vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// `direct`, `fanout`, `topic`, `headers`, ...
    pub kind: String,
    /// Deleted when the last binding from it goes.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// Arguments as an encoded field table, without the table's own length.
    pub arguments: Vec<u8>,
}

/// A durable binding as it is kept; also the whole of its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingRecord {
    /// The vhost of both ends.
    pub vhost: String,
    /// The exchange that routes.
    pub source: String,
    /// Whether `destination` names an exchange rather than a queue.
    pub to_exchange: bool,
    /// The queue or exchange that receives.
    pub destination: String,
    /// The binding key.
    pub routing_key: Vec<u8>,
    /// Arguments as an encoded field table, without the table's own length.
    pub arguments: Vec<u8>,
}

/// Everything that was on disk.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Queues, in order of their ids.
    pub queues: Vec<RecoveredQueue>,
    /// Exchanges.
    pub exchanges: Vec<ExchangeRecord>,
    /// Bindings.
    pub bindings: Vec<BindingRecord>,
    /// What queues and exchanges have seen; of each in ascending order of numbers.
    pub seen: Vec<SeenRecord>,
    /// The changes that make the users and permissions that there are; none if there never was a
    /// user.
    pub auth: Option<Vec<AuthChange>>,
    /// The changes that make the policies that there are.
    pub policies: Vec<PolicyChange>,
    /// Global parameters: names, and values as JSON texts.
    pub parameters: Vec<(String, String)>,
    /// Runs of messages that do not match their checksums, found now or before: they are in no
    /// queue.
    pub damaged: Vec<DamagedRun>,
    /// Whether the last run stopped cleanly; if not, any message may have been delivered before.
    pub clean: bool,
    /// An id that no queue has ever had, nor any above it.
    pub next_queue: u64,
    /// How far the calendar by which all times are kept is ahead of the wall clock, in
    /// milliseconds.
    pub ahead_ms: i64,
}

/// Consecutive messages of a queue that are damaged on disk, where they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedRun {
    /// Where it is kept apart from the rest, if it was found when the broker started.
    pub(super) quarantined: Option<u64>,
    /// The queue, which may be what is damaged.
    pub queue: QueueId,
    /// The number of its first message, as it seems.
    pub first: u64,
    /// How many messages it has, as it seems; 0 when that cannot be told.
    pub messages: u32,
    /// Bytes of their records.
    pub bytes: u64,
}

/// A queue as it was on disk.
#[derive(Debug, Clone)]
pub struct RecoveredQueue {
    /// How it was declared.
    pub record: QueueRecord,
    /// Its messages, in order; neighbouring ranges are joined.
    pub messages: Vec<SeqRange>,
    /// Bytes of those messages' records.
    pub bytes: u64,
    /// Messages that were requeued, in order.
    pub requeues: Vec<RecoveredRequeue>,
    /// The lanes whose numbers were given, in order.
    pub lanes: Vec<RecoveredLane>,
    /// Whether some of its messages have an expiration of their own.
    pub expires: bool,
    /// What there is beside records if it is a stream.
    pub stream: Option<RecoveredStream>,
}

/// A message that was requeued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveredRequeue {
    /// Its number.
    pub seq: u64,
    /// Its deliveries that failed.
    pub deliveries: u32,
    /// Until when it waits, milliseconds since 1970; 0 when it does not. Of a message that has
    /// died, how: see [`super::mark`].
    pub due_ms: u64,
}

/// The numbers of a queue with the same top byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveredLane {
    /// The top byte.
    pub lane: u8,
    /// From [`Change::Delivered`]: meaningful after a clean stop only.
    pub delivered_up_to: u64,
    /// A number that no message of the lane on disk has, nor any above it.
    pub next: u64,
}

/// How the store fares, for those who publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It commits.
    Good,
    /// The disk is (nearly) full: what is pending waits, publishers should; settles still reach the
    /// disk when they can.
    Full,
    /// It will never commit again: nothing may be confirmed from now on.
    Failed,
}

/// Held while changes are appended that must reach the disk together; the commit thread waits for
/// it, so it is held for microseconds and never while waiting for anything but a queue's lock. Not
/// to be taken twice.
///
/// A panic while it is held ends the log: whether all that belongs together was appended is not
/// known.
pub struct AtomicBatch<'a> {
    log: &'a dyn Log,
    /// It was taken while a panic unwound, which is none of its own.
    unwinding: bool,
    _held: RwLockReadGuard<'a, ()>,
}

impl<'a> AtomicBatch<'a> {
    /// An atomic batch of `log`, as long as `held` is.
    pub fn new(log: &'a dyn Log, held: RwLockReadGuard<'a, ()>) -> Self {
        Self { log, unwinding: thread::panicking(), _held: held }
    }
}

impl fmt::Debug for AtomicBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtomicBatch")
    }
}

impl Drop for AtomicBatch<'_> {
    fn drop(&mut self) {
        if thread::panicking() && !self.unwinding {
            self.log.fail(StoreError::BrokerFault(
                "a panic left changes that belong together incomplete".to_owned(),
            ));
        }
    }
}

/// Learns when a commit group is on disk.
pub trait Waiter: Send + Sync {
    /// Everything up to and including `up_to` is on disk. Called on the commit thread; must not
    /// block.
    fn durable(&self, up_to: Ticket);
}

/// Takes changes in, and tells when they are on disk.
pub trait Log: Send + Sync {
    /// Appends the changes of `changes`, in order, as one unit; empties the vector but keeps its
    /// memory. Never blocks on the disk. Callers hold the lock of the queue concerned, so that the
    /// order of changes here is the order in the queue.
    fn append(&self, changes: &mut Vec<Change>) -> Ticket;

    /// The ticket with which all is durable that was appended until now, by whomever.
    fn last_appended(&self) -> Ticket {
        self.append(&mut Vec::new())
    }

    /// Begins a set of appends that reach the disk together.
    fn atomic_batch(&self) -> AtomicBatch<'_>;

    /// Waits while much is pending, until the disk has what is pending now. Who brings many
    /// changes, a part at a time, calls it before each part, without a lock and without an atomic
    /// batch: all commits are one line, and those of others come after what it has appended.
    fn wait_for_room(&self) {}

    /// The same for who appends more at once than may be pending: they go on one after the other,
    /// each when the one before is on disk.
    fn wait_for_turn(&self) {}

    /// Whether so much is left of a full disk that the broker may go on moving messages from queue
    /// to queue, a few at a time. Never waited for: whoever may not now asks again later.
    fn has_spare(&self) -> bool {
        false
    }

    /// The newest ticket that is on disk.
    fn durable(&self) -> Ticket;

    /// The newest ticket up to which a
    /// [`PageSource`] finds everything; never above [`Log::durable`]. Whoever forgets records goes
    /// by this one.
    fn stored(&self) -> Ticket;

    /// Has `waiter` told once `ticket` is durable (at once, when it is already): something now
    /// waits for the disk, so the group is committed without gathering. Never answers after the
    /// store failed.
    fn notify(&self, ticket: Ticket, waiter: &Arc<dyn Waiter>);

    /// Bytes of records that are appended and neither on disk nor dropped: the measure for slowing
    /// publishers.
    fn pending_bytes(&self) -> usize;

    /// Changes that are appended and neither on disk nor dropped, which measures the same where
    /// messages are small.
    fn pending_changes(&self) -> usize {
        0
    }

    /// Whether the store still commits.
    fn health(&self) -> Health;

    /// What was done to the data file, if there is one.
    fn io(&self) -> Option<&IoCounters> {
        None
    }

    /// Nothing is confirmed or written from now on, because of `fault`: [`Log::health`] is
    /// [`Health::Failed`].
    fn fail(&self, fault: StoreError);

    /// Looks whether what was written can still be found by the next who starts here; if not, the
    /// store has failed. To be called now and then; it asks the file system.
    fn check_place(&self) {}

    /// Keeps how far the calendar is ahead of the wall clock, in milliseconds; on disk when it
    /// returns, so that it may block for as long as a commit takes. A log that does not outlive the
    /// process has nothing to keep.
    ///
    /// # Errors
    /// It could not be written.
    fn keep_ahead(&self, _ahead_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// A copy of all that is durable now, part by part, for [`crate::store::restore`]; each part is
    /// read when it is asked for, which may block. A log that does not outlive the process has
    /// none.
    fn backup(&self) -> CopyParts {
        Box::new(std::iter::empty())
    }

    /// Commits what is pending, marks the stop as clean, and ends the commit thread. Appends after
    /// this are dropped.
    ///
    /// # Errors
    /// What kept the last group from the disk.
    fn close(&self) -> Result<(), StoreError>;
}

/// The bytes of a copy, part by part; after a fault there are no more.
pub type CopyParts = Box<dyn Iterator<Item = Result<Vec<u8>, StoreError>> + Send>;

/// Records that were read back.
#[derive(Debug, Clone)]
pub struct Page {
    /// The number of the block's first record.
    pub first: u64,
    /// The records; some may be settled already.
    pub block: Block,
}

/// Reads records back from disk.
pub trait PageSource: Send + Sync {
    /// The pages of `queue` from the one that holds `from` on, in order, until they make
    /// `bytes_max` bytes or `up_to` is reached; at least one, if
    /// `from` or anything after it below `up_to` is on disk and whole: what is damaged is left out.
    /// Blocks on the disk: call it on a thread that may.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&self, queue: QueueId, range: SeqRange, bytes_max: usize) -> Result<Vec<Page>, StoreError>;

    /// The runs that are known to be damaged: those that were found at the start, and those that
    /// [`PageSource::load`] has come upon and left out since.
    ///
    /// # Errors
    /// The store cannot be read.
    fn damaged(&self) -> Result<Vec<DamagedRun>, StoreError> {
        Ok(Vec::new())
    }

    /// The records of such a run, as they are on disk.
    ///
    /// # Errors
    /// The store cannot be read.
    fn damaged_records(&self, run: &DamagedRun) -> Result<Vec<u8>, StoreError> {
        let _never_made = run;
        Ok(Vec::new())
    }
}
