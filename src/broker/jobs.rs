//! Jobs: messages of a queue moved to elsewhere, a batch at a time, each on a thread of its own.
//!
//! A job looks for its messages as a browser does, and moves each batch as [`super::transfer`]
//! does: a message is in one place or the other, whenever the power goes. What came to the queue
//! after the job began is not its own, so that it ends. Nothing of it is on disk: it ends with the
//! process, and what it has not moved by then is where it was. While the disk is full it waits.

use super::browse::{Browser, Direction, Found, Looked};
use super::effects::{EffectHandler, are_names};
use super::thread;
use super::transfer::{BATCH_MAX, COPIES_MAX, MoveOutcome, Planned, Target, Transfers, renewed};
use super::vhost::VHost;
use super::vhost::routing::PutOff;
use crate::clock::{self, Now};
use crate::ids::{Ticket, lane_of};
use crate::message::deaths::{self, Death};
use crate::message::{Block, Message, properties, table};
use crate::queue::browse::{MessageState, NotTaken};
use crate::queue::{Cause, DeathReason, Queue};
use crate::store::StoreError;
use crate::store::change::{Health, Log, Waiter};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Jobs that run at a time, at most.
pub const RUNNING_MAX: usize = 4;

/// Jobs that are remembered when they have ended, at most.
const ENDED_MAX: usize = 100;

/// Bytes of the records of a batch; the message that goes beyond is the last.
const BATCH_BYTES: usize = 1 << 20;

/// How often a job that waits looks whether the broker is still there, at least.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a job that is at work moves nothing.
const WAITS: &str = "it waits for room: the disk is full";

/// Batches of a second, where a job is to go slowly.
const BATCHES_PER_SECOND: u64 = 10;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Where an exchange sends them.
    Exchange {
        /// Its name; empty for the default exchange.
        exchange: String,
        /// With this key.
        routing_key: String,
    },
    /// Each into the queue in which it died last, as it was published there; one that is parked
    /// goes to the end of its own queue.
    QueueOfDeath,
    /// Each to where it had been published when it died last, with the keys that it had.
    ExchangeOfDeath,
}

/// Why somebody may not publish to an exchange with these keys, if it may not.
pub type MayPublish = Box<dyn Fn(&VHost, &str, &[&[u8]]) -> Result<(), String> + Send>;

/// What a job is to do.
pub struct Order {
    /// Whose messages.
    pub queue: Arc<Queue>,
    /// Where they go.
    pub destination: Destination,
    /// These; all if it is none.
    pub ids: Option<Vec<u64>>,
    /// Which of them, as far as their queue knows.
    pub wants: Box<dyn Fn(MessageState) -> bool + Send>,
    /// Which of them, as far as their records say.
    pub fits: Box<dyn Fn(&Found) -> bool + Send>,
    /// Messages that are moved, at most.
    pub limit: Option<u64>,
    /// Messages that are moved in a second, at most.
    pub rate: Option<u64>,
    /// Where whoever asks may publish.
    pub may: MayPublish,
    /// Who asks.
    pub by: String,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It is at work.
    Running,
    /// Everything is moved.
    Done,
    /// Somebody has ended it.
    Stopped,
    /// Some messages are where they were.
    Failed,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How it stands.
    pub state: JobState,
    /// Messages that are elsewhere.
    pub moved: u64,
    /// Messages that are not; while it runs, those that may still be.
    pub left: u64,
    /// Why some are left, in words: the first reason. While it runs, also why it waits.
    pub reason: Option<String>,
}

/// A job.
#[derive(Debug)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// Whether each message goes to where it died.
    pub redrives: bool,
    /// The name of the queue's vhost.
    pub vhost: Arc<str>,
    /// The name of the queue.
    pub queue: Arc<str>,
    /// Who has asked for it.
    pub by: String,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    progress: Progress,
    stops: bool,
    durable: Ticket,
}

/// All jobs of a broker.
#[derive(Debug, Default)]
pub struct Jobs {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    last: u64,
    jobs: BTreeMap<u64, Arc<Job>>,
}

/// Why a job is not begun.
#[derive(Debug)]
pub enum NotBegun {
    /// As many run as may.
    TooMany,
    /// There is no thread for it.
    NoThread(io::Error),
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({:?} to {:?})", self.queue, self.destination)
    }
}

impl JobState {
    /// As lists have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl Job {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

    /// Has it end after the batch at which it is.
    pub fn stop(&self) {
        self.lock().stops = true;
        self.changed.notify_all();
    }

    fn end(&self, state: JobState, reason: Option<String>) {
        let progress = {
            let progress = &mut self.lock().progress;
            progress.state = state;
            progress.reason = progress.reason.take().or(reason);
            progress.clone()
        };
        let Progress { moved, left, reason, .. } = progress;
        tracing::info!(job = self.id, queue = %self.queue, vhost = %self.vhost, moved, left, reason,
            "a job has ended: {}", state.name());
        self.changed.notify_all();
    }

    /// Waits until that is on disk; whether it is. It gives up when the store or the broker does.
    fn wait_for(self: &Arc<Self>, ticket: Ticket, log: &Weak<dyn Log>) -> bool {
        if let Some(log) = log.upgrade() {
            log.notify(ticket, &(Arc::clone(self) as Arc<dyn Waiter>));
        }
        loop {
            let state = self.lock();
            if state.durable >= ticket {
                return true;
            }
            let waited = self.changed.wait_timeout(state, LOOK_EVERY);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            match log.upgrade().map(|log| (log.durable() >= ticket, log.health())) {
                Some((true, _)) => return true,
                None | Some((false, Health::Failed)) => return false,
                Some((false, Health::Good | Health::Full)) => {}
            }
        }
    }

    /// Says that it waits for room, or does no longer.
    fn tell_waits(&self, waits: bool) {
        let reason = &mut self.lock().progress.reason;
        if waits {
            reason.get_or_insert_with(|| WAITS.to_owned());
        } else if reason.as_deref() == Some(WAITS) {
            *reason = None;
        }
    }

    /// Waits so long, unless it is to stop.
    fn pause(&self, until_ms: u64) {
        let left = Duration::from_millis(until_ms.saturating_sub(clock::mono_ms()));
        let state = self.lock();
        if !state.stops && !left.is_zero() {
            let waited = self.changed.wait_timeout(state, left.min(LOOK_EVERY));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter for Job {
    fn durable(&self, up_to: Ticket) {
        self.lock().durable = up_to;
        self.changed.notify_all();
    }
}

impl Jobs {
    /// Begins a job.
    ///
    /// # Errors
    /// Too many run already, or the system has no thread for it.
    pub(super) fn begin(&self, handler: &Arc<EffectHandler>, order: Order) -> Result<Arc<Job>, NotBegun> {
        let mut all = self.lock();
        let is_running = |job: &&Arc<Job>| job.progress().state == JobState::Running;
        let running = all.jobs.values().filter(is_running).count();
        if running >= RUNNING_MAX {
            return Err(NotBegun::TooMany);
        }
        if all.jobs.len() - running >= ENDED_MAX
            && let Some(oldest) = all.jobs.values().find(|job| !is_running(job)).map(|job| job.id)
        {
            all.jobs.remove(&oldest);
        }
        let stats = order.queue.stats();
        let known = order.ids.as_ref().map(|ids| ids.len() as u64);
        let most = known.unwrap_or_else(|| {
            let ready = (MessageState::Ready, stats.ready);
            let delayed = order.queue.purgeable().saturating_sub(stats.ready);
            let (delayed, parked) = ((MessageState::Delayed { due_ms: 0 }, delayed), stats.parked);
            let of_state = |(state, count)| if (order.wants)(state) { count } else { 0 };
            of_state(ready) + of_state(delayed) + if (order.wants)(PARKED) { parked } else { 0 }
        });
        let left = most.min(order.limit.unwrap_or(u64::MAX));
        let progress = Progress { state: JobState::Running, moved: 0, left, reason: None };
        let job = Arc::new(Job {
            id: all.last + 1,
            redrives: !matches!(order.destination, Destination::Exchange { .. }),
            vhost: Arc::clone(&order.queue.home().name),
            queue: Arc::clone(&order.queue.name),
            by: order.by.clone(),
            started_ms: handler.clock.now().unix_ms,
            state: Mutex::new(State { progress, stops: false, durable: Ticket(0) }),
            changed: Condvar::new(),
        });
        let (weak, own) = (Arc::downgrade(handler), Arc::clone(&job));
        thread::start("leveret-job", handler.log(), move || Work::of(order, own).run(&weak))
            .map_err(NotBegun::NoThread)?;
        all.last = job.id;
        all.jobs.insert(job.id, Arc::clone(&job));
        Ok(job)
    }

    /// All that are remembered, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Job>> {
        self.lock().jobs.values().cloned().collect()
    }

    /// The job of that number.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<Job>> {
        self.lock().jobs.get(&id).cloned()
    }

    /// Has all of them end.
    pub(super) fn stop_all(&self) {
        self.list().iter().for_each(|job| job.stop());
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Any parked message.
const PARKED: MessageState =
    MessageState::Dead { reason: DeathReason::Rejected, cause: Some(Cause::NoRoute) };

/// A job at work.
struct Work {
    order: Order,
    job: Arc<Job>,
    /// What came later than the job has one of these numbers or a higher one of its lane.
    tails: Vec<u64>,
    /// Where to go on: a number, or a place in the list of them.
    at: u64,
    moved: u64,
    /// Messages that are left where they were.
    stuck: u64,
    newest: Ticket,
}

/// What comes after a batch.
enum Next {
    More,
    /// Nothing is left to look at.
    End,
    /// It makes no sense to go on, for this reason.
    Fail(String),
}

impl Work {
    fn of(order: Order, job: Arc<Job>) -> Self {
        let tails = order.queue.tails();
        Self { order, job, tails, at: 0, moved: 0, stuck: 0, newest: Ticket(0) }
    }

    fn run(mut self, handler: &Weak<EffectHandler>) {
        let started_ms = clock::mono_ms();
        let Some(log) = handler.upgrade().map(|handler| Arc::downgrade(handler.log())) else { return };
        let (state, reason) = loop {
            if self.job.lock().stops {
                self.job.tell_waits(false);
                break (JobState::Stopped, None);
            }
            // The broker may be gone.
            let Some(handler) = handler.upgrade() else { return };
            let due_ms = self
                .order
                .rate
                .map_or(0, |rate| started_ms.saturating_add(self.moved.saturating_mul(1000) / rate.max(1)));
            let is_full = handler.is_full();
            self.job.tell_waits(is_full);
            if is_full {
                drop(handler);
                self.job.pause(u64::MAX);
                continue;
            }
            if due_ms > clock::mono_ms() {
                drop(handler);
                self.job.pause(due_ms);
                continue;
            }
            match self.batch(&handler) {
                Next::More => {}
                Next::End if self.stuck == 0 => break (JobState::Done, None),
                Next::End => break (JobState::Failed, None),
                Next::Fail(why) => break (JobState::Failed, Some(why)),
            }
        };
        if !self.job.wait_for(self.newest, &log) {
            let why = "what was moved last is not on disk".to_owned();
            self.job.end(JobState::Failed, Some(why));
            return;
        }
        self.job.end(state, reason);
    }

    /// Moves the next batch.
    fn batch(&mut self, handler: &Arc<EffectHandler>) -> Next {
        let queue = Arc::clone(&self.order.queue);
        let vhost = handler.vhost_of(&queue);
        let is_there = |place: &Arc<VHost>| place.find_queue(&queue.name).is_some_and(|of| of.id == queue.id);
        let Some(place) = vhost.filter(is_there) else {
            return Next::Fail(format!("queue '{}' was deleted", queue.name));
        };
        let now = handler.clock.now();
        let mut plan = Plan::of(self, (&place, now));
        let looked = match &self.order.ids {
            Some(ids) => plan.choose_named(handler, ids, self.at),
            None => plan.choose(handler, self.at, &self.tails),
        };
        let Plan { planned, ids, why: unplanned, left_out, .. } = plan;
        let (is_redrive, is_named) = (self.job.redrives, self.order.ids.is_some());
        let (outcomes, ticket) = match planned.len() {
            0 => (Vec::new(), Ticket(0)),
            _ => Transfers(handler).move_batch(&queue, planned, now),
        };
        self.newest = self.newest.max(ticket);
        let (mut moved, mut stuck, mut why, mut is_full) = (0, left_out, unplanned, false);
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            match outcome {
                MoveOutcome::Moved => moved += 1,
                // Somebody else has it.
                MoveOutcome::NotTaken(NotTaken::Gone | NotTaken::Unacknowledged) if !is_named => {}
                MoveOutcome::NotTaken(not) => {
                    stuck += 1;
                    why.get_or_insert_with(|| format!("message {id} {}", not_taken(not)));
                }
                MoveOutcome::Refused => {
                    (stuck, is_full) = (stuck + 1, true);
                    why.get_or_insert_with(|| format!("message {id} is refused: a queue is full"));
                }
            }
        }
        (self.moved, self.stuck) = (self.moved + moved, self.stuck + stuck);
        let next = match looked {
            Err(error) => Next::Fail(format!("messages cannot be read: {error}")),
            // Those that come after go the same way.
            Ok(_) if is_full || (stuck > 0 && !is_redrive) => Next::End,
            Ok(Looked { next: Some(at), .. }) if self.room() > 0 => {
                self.at = at;
                Next::More
            }
            Ok(_) => Next::End,
        };
        let is_whole = matches!(next, Next::End) && !is_full && (is_redrive || stuck == 0);
        let progress = &mut self.job.lock().progress;
        progress.moved = self.moved;
        progress.left = if is_whole { self.stuck } else { progress.left.saturating_sub(moved) };
        progress.reason = progress.reason.take().or(why);
        next
    }

    /// How many more messages may be moved.
    fn room(&self) -> u64 {
        self.order.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.moved))
    }
}

fn not_taken(why: NotTaken) -> &'static str {
    match why {
        NotTaken::Gone => "is not there",
        NotTaken::Unacknowledged => "is unacknowledged",
        NotTaken::Leaving => "has died and is on its way to elsewhere",
        NotTaken::Ready | NotTaken::Stream => "cannot be taken",
    }
}

/// What a batch is made of.
struct Plan<'a> {
    work: &'a Work,
    place: &'a Arc<VHost>,
    now: Now,
    put_off: PutOff,
    planned: Vec<Planned>,
    /// The number of each.
    ids: Vec<u64>,
    room: u64,
    copies: usize,
    bytes: usize,
    /// Messages that have nowhere to go.
    left_out: u64,
    /// Why the first of them has not.
    why: Option<String>,
}

impl<'a> Plan<'a> {
    fn of(work: &'a Work, (place, now): (&'a Arc<VHost>, Now)) -> Self {
        let in_time = work.order.rate.map_or(u64::MAX, |rate| (rate / BATCHES_PER_SECOND).max(1));
        Self {
            work,
            place,
            now,
            put_off: PutOff::default(),
            planned: Vec::new(),
            ids: Vec::new(),
            room: work.room().min(in_time).min(BATCH_MAX as u64),
            copies: 0,
            bytes: 0,
            left_out: 0,
            why: None,
        }
    }

    /// Takes in the next that fit, from this number on.
    fn choose(&mut self, handler: &EffectHandler, from: u64, tails: &[u64]) -> Result<Looked, StoreError> {
        let order = &self.work.order;
        let is_own = |seq: u64| tails.iter().any(|&tail| lane_of(tail) == lane_of(seq) && seq < tail);
        let wants = |state| may_leave(state) && (order.wants)(state);
        Browser(handler).each(&order.queue, Direction { from, back: false }, wants, |found| {
            !(is_own(found.seq) && (order.fits)(&found)) || self.take(&found)
        })
    }

    /// As [`Self::choose`], of these numbers, from that place in their list on.
    fn choose_named(
        &mut self,
        handler: &EffectHandler,
        ids: &[u64],
        from: u64,
    ) -> Result<Looked, StoreError> {
        let order = &self.work.order;
        for (at, &seq) in ids.iter().enumerate().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            let is_taken = match Browser(handler).one(&order.queue, seq)? {
                None => self.leave(format!("message {seq} is no longer in the queue")),
                Some(found) if !may_leave(found.state) => {
                    self.leave(format!("message {seq} is with a consumer, or on its way"))
                }
                Some(found) => self.take(&found),
            };
            if !is_taken {
                return Ok(Looked { next: Some(at as u64), looked_at: 0 });
            }
        }
        Ok(Looked::default())
    }

    fn leave(&mut self, why: String) -> bool {
        if self.room == 0 {
            return false;
        }
        self.left_out += 1;
        self.why.get_or_insert(why);
        true
    }

    /// Takes in a message, if there is room for it.
    fn take(&mut self, found: &Found) -> bool {
        let is_full = self.copies >= COPIES_MAX || self.bytes >= BATCH_BYTES;
        if is_full || self.planned.len() as u64 >= self.room || self.left_out >= BATCH_MAX as u64 {
            return false;
        }
        match self.plan(found) {
            Ok(planned) => {
                self.copies += planned.target.copies();
                self.bytes += planned.block.bytes().len();
                self.ids.push(found.seq);
                self.planned.push(planned);
                true
            }
            Err(why) => self.leave(format!("message {}: {why}", found.seq)),
        }
    }

    /// What is to become of a message.
    fn plan(&mut self, found: &Found) -> Result<Planned, String> {
        let message = found.message();
        let (block, target) = match &self.work.order.destination {
            Destination::Exchange { exchange, routing_key } => {
                self.by_exchange(&message, exchange, &[routing_key.as_bytes()])?
            }
            Destination::QueueOfDeath => self.by_queue(found)?,
            Destination::ExchangeOfDeath => match last_death(found)? {
                None => {
                    let exchange = String::from_utf8_lossy(message.exchange);
                    self.by_exchange(&message, &exchange, &[message.routing_key])?
                }
                Some(death) => {
                    let keys: Vec<&[u8]> = death.routing_keys.iter().map(Vec::as_slice).collect();
                    self.by_exchange(&message, &death.exchange, &keys)?
                }
            },
        };
        Ok(Planned { named: found.named(), block, target })
    }

    fn by_queue(&self, found: &Found) -> Result<(Block, Target), String> {
        let (message, own) = (found.message(), &self.work.order.queue);
        let Some(death) = last_death(found)? else {
            (self.work.order.may)(self.place, "", &[own.name.as_bytes()])?;
            let came_by = (message.exchange, message.routing_key);
            return Ok((renewed(&message, came_by, self.now), Target::Back(Arc::clone(own))));
        };
        let queue = self.place.find_queue(&death.queue);
        let queue = queue.ok_or_else(|| format!("the queue '{}' does not exist", death.queue))?;
        (self.work.order.may)(self.place, "", &[queue.name.as_bytes()])?;
        let key = death.routing_keys.first().map_or(&[][..], Vec::as_slice);
        if !are_names([death.exchange.as_bytes(), key]) {
            return Err("its header x-death makes no sense".to_owned());
        }
        let block = renewed(&message, (death.exchange.as_bytes(), key), self.now);
        Ok((block, Target::Back(queue)))
    }

    fn by_exchange(
        &mut self,
        message: &Message<'_>,
        exchange: &str,
        keys: &[&[u8]],
    ) -> Result<(Block, Target), String> {
        let key = keys.first().copied().unwrap_or_default();
        if !are_names([exchange.as_bytes(), key]) {
            return Err("its header x-death makes no sense".to_owned());
        }
        (self.work.order.may)(self.place, exchange, keys)?;
        let route = self.place.route_own_by(exchange, keys, message.properties, &mut self.put_off);
        let route = route.ok_or_else(|| format!("the exchange '{exchange}' does not exist"))?;
        if route.queues.is_empty() {
            let key = String::from_utf8_lossy(key);
            return Err(format!("no queue takes it from the exchange '{exchange}' with the key '{key}'"));
        }
        let block = renewed(message, (exchange.as_bytes(), key), self.now);
        Ok((block, Target::Queues(route.queues.clone())))
    }
}

/// Whether messages that stand so may be taken out of their queue.
fn may_leave(state: MessageState) -> bool {
    match state {
        MessageState::Ready | MessageState::Delayed { .. } | MessageState::Dead { cause: Some(_), .. } => {
            true
        }
        MessageState::Unacknowledged | MessageState::Dead { cause: None, .. } => false,
    }
}

/// How a message died last; none of one that is parked in the queue in which it died.
fn last_death(found: &Found) -> Result<Option<Death>, String> {
    if matches!(found.state, MessageState::Dead { .. }) {
        return Ok(None);
    }
    let headers = properties::headers(found.message().properties);
    let headers = headers.and_then(|headers| table::decode(headers).ok());
    let death = headers.and_then(|headers| deaths::read(&headers).into_iter().next());
    death.map(Some).ok_or_else(|| "it is not a dead letter (no x-death header)".to_owned())
}
