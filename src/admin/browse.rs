//! Messages of a queue, looked at where they are, and single ones deleted or made ready.
//!
//! Looking changes nothing: no message is taken, counted or moved. It takes the permission to read
//! from the queue, as does the rest, which takes messages out of their places.

use super::access::Requirement;
use super::messages::{MessageProperties, told_body};
use super::refusal::{Refusal, RefusalKind};
use super::selection::{Selection, ShownState, reason_of};
use super::{Caller, Performed, Told, find};
use crate::auth::permission::Right;
use crate::broker::Broker;
use crate::broker::browse::{Direction, Found};
use crate::broker::clients::{ClientReport, HeldRun};
use crate::broker::transfer::Undone;
use crate::clock::Clock;
use crate::ids::{ConnectionId, QueueId, Ticket};
use crate::queue::browse::{MessageState, NotTaken};
use crate::queue::{Cause, DeathReason, Queue, deadline_ms};
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Messages of a page, at most.
pub const COUNT_MAX: u64 = 500;

/// Bytes of bodies and properties of a page; the message that goes beyond is the last.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// What can be done with single messages of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BrowseOperation {
    /// A page of them, in the order of their numbers.
    ListMessages {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Where it begins: `head`, `tail`, `time:MS`, a number, or what a page before has said.
        from: String,
        /// Messages at most.
        count: u64,
        /// Bytes of a body that are told, at most.
        payload_bytes: usize,
        /// Which messages; all of them where nothing is said.
        #[serde(default)]
        selection: Selection,
    },
    /// A page of those that wait for their time, in the order of time.
    ListDelayed {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Where it begins: `head`, or what a page before has said.
        from: String,
        /// Messages at most.
        count: u64,
        /// Bytes of a body that are told, at most.
        payload_bytes: usize,
    },
    /// One of them.
    GetMessage {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Its number.
        id: u64,
        /// Bytes of its body that are told, at most.
        payload_bytes: usize,
    },
    /// One that no consumer has goes for good, and is not dead-lettered.
    DeleteMessage {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Its number.
        id: u64,
    },
    /// One that is delayed or parked is ready now.
    RequeueMessage {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Its number.
        id: u64,
    },
}

/// Messages of a queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MessagePage {
    /// Those that fit.
    pub messages: Vec<ShownMessage>,
    /// Where the next page begins; none if there is nothing more.
    pub next: Option<String>,
    /// Messages that were passed on the way.
    pub looked_at: u64,
}

/// A message of a queue, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownMessage {
    /// Its number in the queue, or its offset in a stream.
    pub id: String,
    /// How it stands.
    pub state: ShownState,
    /// When it came to the queue, milliseconds since 1970 by the wall clock, as are all times here.
    pub published_at: u64,
    /// When it is ready, if it is delayed.
    pub due_at: Option<u64>,
    /// When it expires, if it may while it stands so.
    pub expires_at: Option<u64>,
    /// Why it is parked, in words.
    pub parked_because: Option<String>,
    /// Why it died last, as RabbitMQ's `x-death` names it.
    pub reason: Option<String>,
    /// Who has it, as far as sessions have said.
    pub unacknowledged_by: Option<Holder>,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// How often its delivery failed.
    pub delivery_count: u32,
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Its properties.
    pub properties: MessageProperties,
    /// Its body, or the beginning of it.
    pub payload: String,
    /// `string` or `base64`.
    pub payload_encoding: String,
    /// Bytes of the whole body.
    pub payload_bytes: usize,
    /// Whether `payload` is the beginning of it only.
    pub truncated: bool,
}

/// Who has a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The name of the connection.
    pub connection: String,
    /// The number of the channel.
    pub channel: u16,
    /// The consumer's tag; empty for what `basic.get` fetched.
    pub consumer_tag: String,
}

impl BrowseOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::DeleteMessage { .. } | Self::RequeueMessage { .. })
    }

    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        let (vhost, queue) = self.names();
        Requirement::Queue { vhost, queue, right: Right::Read, publishes: None }
    }

    fn names(&self) -> (&str, &str) {
        match self {
            Self::ListMessages { vhost, queue, .. }
            | Self::ListDelayed { vhost, queue, .. }
            | Self::GetMessage { vhost, queue, .. }
            | Self::DeleteMessage { vhost, queue, .. }
            | Self::RequeueMessage { vhost, queue, .. } => (vhost, queue),
        }
    }

    /// The queue of which sessions are asked what they hold, if it tells that.
    pub(super) fn held_of(&self, broker: &Broker) -> Option<QueueId> {
        let shows_held = match self {
            Self::ListMessages { selection, .. } => {
                selection.state.is_none_or(|state| state == ShownState::Unacknowledged)
            }
            Self::GetMessage { .. } => true,
            Self::ListDelayed { .. } | Self::DeleteMessage { .. } | Self::RequeueMessage { .. } => false,
        };
        let (vhost, queue) = self.names();
        let queue = if shows_held { broker.vhosts().get(vhost)?.find_queue(queue)? } else { return None };
        (!queue.is_stream() && queue.stats().unacked > 0).then_some(queue.id)
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Arc<Broker>,
    operation: BrowseOperation,
    caller: &Caller,
) -> Result<Performed, Refusal> {
    let (vhost, name) = operation.names();
    let queue = &find::queue(broker, vhost, name)?;
    let reports = caller.inquiry.as_ref().map(|inquiry| inquiry.take()).unwrap_or_default();
    let view = |payload_bytes| View { broker, queue, payload_bytes, holders: Holders::of(broker, &reports) };
    match operation {
        BrowseOperation::ListMessages { from, count, payload_bytes, selection, .. } => {
            check_count(count)?;
            let page = view(payload_bytes).page(&Start::parse(&from)?, count, &selection)?;
            Ok(Performed::told(Told::MessagePage(page), Ticket(0)))
        }
        BrowseOperation::ListDelayed { from, count, payload_bytes, .. } => {
            check_count(count)?;
            let page = view(payload_bytes).delayed(&from, count)?;
            Ok(Performed::told(Told::MessagePage(page), Ticket(0)))
        }
        BrowseOperation::GetMessage { id, payload_bytes, .. } => {
            let found = broker.browser().one(queue, id).map_err(|error| unreadable(queue, &error))?;
            let found = found.ok_or_else(|| gone(queue, id))?;
            Ok(Performed::told(Told::Message(Box::new(view(payload_bytes).show(&found))), Ticket(0)))
        }
        BrowseOperation::DeleteMessage { id, .. } => {
            let deleted = broker.transfers().delete(queue, id, caller.now);
            deleted.map(Performed::done).map_err(|why| undone(queue, id, why))
        }
        BrowseOperation::RequeueMessage { id, .. } => {
            let requeued = broker.transfers().requeue(queue, id, caller.now);
            requeued.map(Performed::done).map_err(|why| undone(queue, id, why))
        }
    }
}

/// Whether a page may have so many messages.
fn check_count(count: u64) -> Result<(), Refusal> {
    if count <= COUNT_MAX {
        return Ok(());
    }
    let why = format!("count is {COUNT_MAX} at most, not {count}");
    Err(Refusal::new(RefusalKind::Invalid, why))
}

fn gone(queue: &Queue, id: u64) -> Refusal {
    Refusal::new(RefusalKind::NotFound, format!("there is no message {id} in queue '{}'", queue.name))
}

pub(super) fn unreadable(queue: &Queue, error: &StoreError) -> Refusal {
    let why = format!("messages of queue '{}' cannot be read: {error}", queue.name);
    Refusal::new(RefusalKind::Unavailable, why)
}

/// Messages cannot be moved now.
pub(super) fn no_room() -> Refusal {
    let why = "the disk is full: messages are moved once there is room again";
    Refusal::new(RefusalKind::Unavailable, why)
}

fn undone(queue: &Queue, id: u64, why: Undone) -> Refusal {
    let name = &queue.name;
    let why = match why {
        Undone::NotTaken(NotTaken::Gone) => return gone(queue, id),
        Undone::Store(error) => return unreadable(queue, &error),
        Undone::NotTaken(NotTaken::Stream) => {
            let why = format!("queue '{name}' is a stream: its messages are removed by size and age only");
            return Refusal::new(RefusalKind::Invalid, why);
        }
        Undone::NotTaken(NotTaken::Unacknowledged) => {
            format!("message {id} of queue '{name}' is unacknowledged: its consumer decides about it")
        }
        Undone::NotTaken(NotTaken::Leaving) => {
            format!("message {id} of queue '{name}' has died and is on its way to elsewhere")
        }
        Undone::NotTaken(NotTaken::Ready) => {
            format!("message {id} of queue '{name}' is ready, and neither delayed nor parked")
        }
        Undone::Full => format!("queue '{name}' is full"),
        Undone::NoRoom => return no_room(),
    };
    Refusal::new(RefusalKind::Conflict, why)
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    direction: Direction,
    /// Those that came earlier are passed over: milliseconds since 1970 by the wall clock.
    since_ms: Option<u64>,
    /// The place of those that came later has to be looked for.
    looks_for_time: bool,
}

impl Start {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let number = |text: &str| text.parse::<u64>().ok();
        let at = |from: u64, back: bool, since_ms: Option<u64>, looks_for_time: bool| {
            Some(Self { direction: Direction { from, back }, since_ms, looks_for_time })
        };
        let parts: Vec<&str> = text.split(':').collect();
        let start = match parts.as_slice() {
            ["head"] => at(0, false, None, false),
            ["tail"] => at(u64::MAX, true, None, false),
            ["tail", id] => number(id).and_then(|id| at(id.saturating_add(1), true, None, false)),
            ["time", ms] => number(ms).and_then(|ms| at(0, false, Some(ms), true)),
            ["time", ms, id] => {
                number(ms).zip(number(id)).and_then(|(ms, id)| at(id, false, Some(ms), false))
            }
            [id] => number(id).and_then(|id| at(id, false, None, false)),
            _ => None,
        };
        start.ok_or_else(|| {
            let why = format!("from is 'head', 'tail', 'time:' and milliseconds, or a number, not '{text}'");
            Refusal::new(RefusalKind::Invalid, why)
        })
    }

    /// How the page is called that begins with message `next`, or one past it on the way back.
    fn going_on(&self, next: u64) -> String {
        match self.since_ms {
            Some(ms) => format!("time:{ms}:{next}"),
            None if self.direction.back => format!("tail:{}", next.saturating_sub(1)),
            None => next.to_string(),
        }
    }
}

/// Who holds which messages.
struct Holders<'a> {
    broker: &'a Broker,
    /// By the number of the first message.
    runs: BTreeMap<u64, (ConnectionId, &'a HeldRun)>,
}

impl<'a> Holders<'a> {
    fn of(broker: &'a Broker, reports: &'a BTreeMap<ConnectionId, ClientReport>) -> Self {
        let held = reports.iter().flat_map(|(&id, report)| report.held.iter().map(move |run| (id, run)));
        Self { broker, runs: held.map(|(id, run)| (run.range.first, (id, run))).collect() }
    }

    fn of_message(&self, seq: u64) -> Option<Holder> {
        let (_, &(connection, run)) = self.runs.range(..=seq).next_back()?;
        let client = self.broker.clients().get(connection)?;
        (seq < run.range.end).then(|| Holder {
            connection: client.facts.name(),
            channel: run.channel,
            consumer_tag: String::from_utf8_lossy(&run.tag).into_owned(),
        })
    }
}

/// How messages of a queue are shown.
struct View<'a> {
    broker: &'a Broker,
    queue: &'a Queue,
    payload_bytes: usize,
    holders: Holders<'a>,
}

impl View<'_> {
    fn page(&self, start: &Start, count: u64, selection: &Selection) -> Result<MessagePage, Refusal> {
        let (browser, clock) = (self.broker.browser(), self.broker.clock());
        let unreadable = |error: StoreError| unreadable(self.queue, &error);
        let mut direction = start.direction;
        let since_ms = start.since_ms.map(|ms| clock.calendar_ms(ms));
        if let Some(ms) = since_ms.filter(|_| start.looks_for_time) {
            direction.from = browser.since(self.queue, ms).map_err(unreadable)?;
        }
        let mut room = Room::of(count);
        let looked = browser.each(
            self.queue,
            direction,
            |state| selection.wants(state),
            |found| {
                let is_late = since_ms.is_none_or(|ms| found.message().arrived_at_ms >= ms);
                !(is_late && selection.fits(&found)) || room.take(|| self.show(&found))
            },
        );
        let looked = looked.map_err(unreadable)?;
        let next = looked.next.map(|next| start.going_on(next));
        Ok(MessagePage { messages: room.messages, next, looked_at: looked.looked_at })
    }

    fn delayed(&self, from: &str, count: u64) -> Result<MessagePage, Refusal> {
        let numbers = || from.split_once(':').and_then(|(ms, id)| Some((ms.parse().ok()?, id.parse().ok()?)));
        let after = if from == "head" { Some((0, 0)) } else { numbers() };
        let after = after.ok_or_else(|| {
            let why = format!("from is 'head', or 'next' of the page before, not '{from}'");
            Refusal::new(RefusalKind::Invalid, why)
        })?;
        let mut room = Room::of(count);
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let show = |found: Found| room.take(|| self.show(&found));
        let next = self.broker.browser().delayed(self.queue, after, most, show);
        let next = next.map_err(|error| unreadable(self.queue, &error))?;
        let next = next.map(|(due_ms, seq)| format!("{due_ms}:{seq}"));
        let looked_at = room.messages.len() as u64;
        Ok(MessagePage { messages: room.messages, next, looked_at })
    }

    fn show(&self, found: &Found) -> ShownMessage {
        let (message, clock) = (found.message(), self.broker.clock());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let state = ShownState::from(found.state);
        let may_expire = matches!(state, ShownState::Ready | ShownState::Unacknowledged);
        let ttl_ms = self.queue.in_effect().ttl_ms;
        let deadline = if may_expire { deadline_ms(&message, ttl_ms) } else { None };
        let (payload, payload_encoding, truncated) = told_body(message.body, self.payload_bytes);
        let is_held = state == ShownState::Unacknowledged;
        ShownMessage {
            id: found.seq.to_string(),
            state,
            published_at: clock.wall_ms(message.arrived_at_ms),
            due_at: wall(clock, found.due_ms()),
            expires_at: wall(clock, deadline),
            parked_because: parked_because(found.state),
            reason: reason_of(found),
            unacknowledged_by: if is_held { self.holders.of_message(found.seq) } else { None },
            redelivered: found.redelivered,
            delivery_count: found.deliveries,
            exchange: text(message.exchange),
            routing_key: text(message.routing_key),
            properties: MessageProperties::of(&message),
            payload,
            payload_encoding: payload_encoding.to_owned(),
            payload_bytes: message.body.len(),
            truncated,
        }
    }
}

fn wall(clock: &Clock, ms: Option<u64>) -> Option<u64> {
    ms.map(|ms| clock.wall_ms(ms))
}

fn parked_because(state: MessageState) -> Option<String> {
    let MessageState::Dead { reason, cause: Some(cause) } = state else { return None };
    let died = match reason {
        DeathReason::Rejected => "it was rejected",
        DeathReason::DeliveryLimit => "it was at its delivery limit",
        DeathReason::Expired => "it expired",
        DeathReason::MaxLen => "the queue was full",
        DeathReason::Delayed => "its time had come",
    };
    let stuck = match cause {
        Cause::NoExchange => "the queue has no dead-letter exchange",
        Cause::ExchangeMissing => "the exchange does not exist",
        Cause::NoRoute => "no queue is bound to it there",
        Cause::Refused => "a queue was full and refused it",
    };
    Some(format!("{died}, and {stuck}"))
}

/// What a page has room for.
struct Room {
    messages: Vec<ShownMessage>,
    count: usize,
    bytes: usize,
}

impl Room {
    fn of(count: u64) -> Self {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Self { messages: Vec::new(), count, bytes: PAGE_BYTES_MAX }
    }

    /// Takes a message, if there is room for one.
    fn take(&mut self, show: impl FnOnce() -> ShownMessage) -> bool {
        if self.messages.len() >= self.count || self.bytes == 0 {
            return false;
        }
        let shown = show();
        let headers = shown.properties.headers.as_ref().map_or(0, |headers| 64 * headers.len());
        self.bytes = self.bytes.saturating_sub(shown.payload.len() + headers);
        self.messages.push(shown);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let next = |from: &str| Start::parse(from).map(|start| start.going_on(7));
        for (from, expected) in
            [("head", "7"), ("3", "7"), ("tail", "tail:6"), ("tail:9", "tail:6"), ("time:5", "time:5:7")]
        {
            assert_eq!(next(from).unwrap(), expected);
        }
        assert_eq!(Start::parse("tail:6").unwrap().direction, Direction { from: 7, back: true });
        for wrong in ["", "middle", "-1", "tail:x", "time:", "time:1:2:3", "1:2"] {
            assert_eq!(Start::parse(wrong).unwrap_err().kind, RefusalKind::Invalid, "{wrong}");
        }
    }
}
