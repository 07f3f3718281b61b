//! What all clients of a run share: the history, where the broker is at the moment, and whether to
//! go on.

use super::body;
use super::history::{Event, History, Id, Settlement};
use super::topology::recorded_as;
use crate::client::incoming::Incoming;
use crate::client::method::{ack, nack, prefetch};
use crate::client::{Client, ClientError};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::AMQPMethod;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How long anything may take before it is taken for a fault of the broker: long, for it is only
/// reached by one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a client listens before it looks whether to go on.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// What all clients of a run share: the history, the address of the broker, and the stop flag.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) history: History,
    standing: Mutex<Standing>,
    /// Told when the broker comes and when the clients are to end.
    changed: Condvar,
    ended: AtomicBool,
    /// Clients are to say nothing.
    quiet: AtomicBool,
    /// The newest channel of any client.
    channels: AtomicU32,
}

/// Where the broker is.
#[derive(Debug, Clone, Default)]
struct Standing {
    epoch: u32,
    /// None while it is down.
    address: Option<String>,
}

impl World {
    /// A process is ready.
    pub(crate) fn is_up(&self, epoch: u32, address: String) {
        *self.standing() = Standing { epoch, address: Some(address) };
        self.changed.notify_all();
    }

    /// The process is about to end.
    pub(crate) fn is_down(&self) {
        self.standing().address = None;
    }

    /// Tells all clients to end, or to begin anew.
    pub(crate) fn set_ended(&self, ended: bool) {
        self.ended.store(ended, Ordering::SeqCst);
        drop(self.standing());
        self.changed.notify_all();
    }

    /// Whether clients are to go on.
    pub(crate) fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::SeqCst)
    }

    /// Keeps all clients quiet for `duration`.
    pub(crate) fn be_quiet(&self, duration: Duration) {
        self.quiet.store(true, Ordering::SeqCst);
        self.hold(duration);
        self.quiet.store(false, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// Connects once the broker is up; none when it goes down meanwhile, or clients are to end.
    pub(crate) fn connect(&self) -> Option<Session<'_>> {
        let waits = |standing: &mut Standing| standing.address.is_none() && self.goes_on();
        let (standing, _) = self
            .changed
            .wait_timeout_while(self.standing(), PATIENCE, waits)
            .expect("no client panics while it holds it");
        let Standing { epoch, address } = standing.clone();
        drop(standing);
        let connected = Client::connect_within(&address?, PATIENCE);
        // Another process may listen at the same place by now; it is not the one that was asked
        // for.
        let standing = self.standing();
        if standing.epoch != epoch || standing.address.is_none() {
            return None;
        }
        drop(standing);
        let client = match connected {
            Ok(client) => client,
            Err(why) => {
                self.history.record(epoch, 0, Event::Cut { why: format!("no connection: {why}") });
                return None;
            }
        };
        let channel = self.channels.fetch_add(1, Ordering::SeqCst) + 1;
        Some(Session { world: self, client, epoch, channel, published: 0, held: BTreeMap::new() })
    }

    /// Waits for a change, briefly.
    pub(crate) fn wait_a_moment(&self) {
        // Whether it changes or not, the caller looks anew.
        let _either = self.changed.wait_timeout(self.standing(), TICK);
    }

    /// Keeps things as they are for `duration`, unless clients are told to end.
    pub(crate) fn hold(&self, duration: Duration) {
        let goes_on = |_: &mut Standing| self.goes_on();
        // Only the time matters, not why it ends.
        let _either = self.changed.wait_timeout_while(self.standing(), duration, goes_on);
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().expect("no client panics while it holds it")
    }
}

/// A client's connection to one process, which records what it does. Gone with its connection.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) world: &'a World,
    pub(crate) client: Client,
    pub(crate) epoch: u32,
    pub(crate) channel: u32,
    /// The number of the newest publish.
    published: u32,
    /// Deliveries that are not settled, by their tags.
    held: BTreeMap<u64, (&'static str, Id)>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.record(Event::Closed);
    }
}

impl Session<'_> {
    /// Records what happened on this channel.
    pub(crate) fn record(&self, event: Event) {
        self.world.history.record(self.epoch, self.channel, event);
    }

    /// The id of the next publish.
    pub(crate) fn next_id(&mut self) -> Id {
        self.published += 1;
        Id { channel: self.channel, number: self.published }
    }

    /// Says nothing as long as clients are to be quiet.
    pub(crate) fn rest(&self) {
        while self.world.quiet.load(Ordering::SeqCst) && self.world.goes_on() {
            self.world.wait_a_moment();
        }
    }

    /// The next thing but a request to pause, if it comes within `limit`.
    pub(crate) fn poll(&mut self, limit: Duration) -> Result<Option<Incoming>, ClientError> {
        let incoming = self.client.poll(limit)?;
        Ok(incoming.filter(|incoming| !matches!(incoming.method, AMQPClass::Connection(_))))
    }

    /// Calls, and records that everything before has been taken.
    pub(crate) fn call(&mut self, method: AMQPClass) -> Result<Incoming, ClientError> {
        let answer = self.client.ask(method)?;
        self.record(Event::Answered);
        Ok(answer)
    }

    /// Records that this channel may be given messages of `queue` from now on.
    pub(crate) fn consumes(&self, queue: &'static str) {
        self.record(Event::Consumes { queue: recorded_as(queue) });
    }

    /// Takes a delivery of `queue`, or the answer to a get; returns its tag, its id, and whether it
    /// had come before.
    pub(crate) fn take(&mut self, queue: &'static str, incoming: &Incoming) -> Option<(u64, Id, bool)> {
        let queue = recorded_as(queue);
        let (tag, redelivered) = match &incoming.method {
            AMQPClass::Basic(AMQPMethod::Deliver(deliver)) => (deliver.delivery_tag, deliver.redelivered),
            AMQPClass::Basic(AMQPMethod::GetOk(got)) => (got.delivery_tag, got.redelivered),
            _ => return None,
        };
        let Some(id) = body::decode(&incoming.body) else {
            self.record(Event::Damaged { queue });
            return None;
        };
        self.held.insert(tag, (queue, id));
        self.record(Event::Delivered { id, queue, redelivered });
        Some((tag, id, redelivered))
    }

    /// How many deliveries are not settled.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Settles a delivery; sent with the next flush.
    pub(crate) fn settle(&mut self, tag: u64, settlement: Settlement) -> Result<(), ClientError> {
        self.record_settled(tag, settlement);
        self.client.put_method(match settlement {
            Settlement::Ack => ack(tag, false),
            Settlement::Requeue => nack(tag, true),
            Settlement::Reject => nack(tag, false),
        })
    }

    /// Acknowledges everything that is held; sent at once.
    pub(crate) fn ack_all(&mut self) -> Result<(), ClientError> {
        let Some((&newest, _)) = self.held.last_key_value() else { return Ok(()) };
        let tags: Vec<u64> = self.held.keys().copied().collect();
        for tag in tags {
            self.record_settled(tag, Settlement::Ack);
        }
        self.client.put_method(ack(newest, true))?;
        self.client.flush()
    }

    /// Records that a delivery is settled, by whatever is sent next.
    pub(crate) fn record_settled(&mut self, tag: u64, settlement: Settlement) {
        if let Some((queue, id)) = self.held.remove(&tag) {
            self.record(Event::Settled { id, queue, settlement });
        }
    }

    /// Everything that is held, to be settled by a transaction: it stays held, for that may be
    /// rolled back.
    pub(crate) fn record_all_settled(&self) -> Vec<u64> {
        for &(queue, id) in self.held.values() {
            self.record(Event::Settled { id, queue, settlement: Settlement::Ack });
        }
        self.held.keys().copied().collect()
    }

    /// What was held is settled.
    pub(crate) fn forget_held(&mut self) {
        self.held.clear();
    }

    /// Waits until the broker has taken everything that was sent so far.
    pub(crate) fn catch_up(&mut self, count: u16) -> Result<(), ClientError> {
        self.call(prefetch(count)).map(|_qos_ok| ())
    }
}
