//! The clients that have shaken hands: who they are, and what an operator wants of them.
//!
//! A session enters its client when it opens, and the client is gone when the session lets go of
//! it. Facts about it do not change. What does (its channels, its counts) only the session knows:
//! whoever wants it opens an [`StatsRequest`], every session is woken once and answers from its own
//! state, so that nothing is kept for the purpose. Whether there is anything to answer is one flag,
//! which a session looks at when it takes its mail.
//!
//! Locks here are leaves.

use super::counted::{ChannelEvents, TRAFFIC};
use crate::ids::{ConnectionId, QueueId, SeqRange};
use crate::queue::mailbox::Mailbox;
use crate::statistics::Recorder;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Inquiries that one session may have to answer at a time; one more is told that it is not heard.
const QUESTIONS_MAX: usize = 64;

/// What is known of a client from its handshake.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Where it came to, if that is known.
    pub local: Option<SocketAddr>,
    /// It speaks TLS.
    pub tls: bool,
    /// Its user.
    pub user: String,
    /// The vhost it is in.
    pub vhost: String,
    /// The mechanism it logged in by.
    pub mechanism: String,
    /// What it says of itself, as an encoded table.
    pub properties: Box<[u8]>,
    /// When it was let in, milliseconds since 1970.
    pub connected_at_unix_ms: u64,
    /// Channels it may have.
    pub channel_max: u16,
    /// The largest frame, in bytes.
    pub frame_max: u32,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat_s: u16,
}

impl Facts {
    /// Its name, as RabbitMQ makes it: `127.0.0.1:50000 -> 127.0.0.1:5672`.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.peer.to_string();
        if let Some(local) = self.local {
            // Writing to a String does not fail.
            let _always = write!(name, " -> {local}");
        }
        name
    }
}

/// How a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientStatus {
    /// It is served.
    Running,
    /// It published and waits, because the log is behind.
    Flow,
    /// It published and waits, because memory or disk is short.
    Blocked,
}

/// What publishing means on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publishing {
    /// Nothing is answered.
    Plain,
    /// Publishes are confirmed.
    Confirm,
    /// Publishes wait for their commit.
    Transaction,
}

/// What a session says of itself.
#[derive(Debug, Clone)]
pub struct ClientReport {
    /// What changes while it is connected.
    pub standing: ClientStatus,
    /// Bytes that came from the client since it was let in.
    pub received_bytes: u64,
    /// Bytes that were made for the client since it connected.
    pub sent_bytes: u64,
    /// Bytes that wait to be written.
    pub pending_bytes: u64,
    /// Its open channels, by number.
    pub channels: Vec<ChannelReport>,
    /// What it holds of the queue that was asked about.
    pub held: Vec<HeldRun>,
}

/// Consecutive messages of a queue that a channel holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRun {
    /// The channel's number.
    pub channel: u16,
    /// The tag of its consumer; empty for what `basic.get` fetched, and for a consumer that has
    /// gone.
    pub tag: Box<[u8]>,
    /// Which messages.
    pub range: SeqRange,
}

/// What a session says of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelReport {
    /// Its number.
    pub number: u16,
    /// What publishing means on it.
    pub publishing: Publishing,
    /// Its consumers.
    pub consumers: u64,
    /// Delivered to it and not settled.
    pub unacked: u64,
    /// Published on it and not confirmed.
    pub unconfirmed: u64,
    /// Published on it and not committed.
    pub uncommitted: u64,
    /// Settled on it and not committed.
    pub acks_uncommitted: u64,
    /// The window of consumers that come; 0 for none.
    pub prefetch: u16,
    /// The window that its consumers share; 0 for none.
    pub shared_prefetch: u32,
}

/// A connected client and what an operator has asked of it.
#[derive(Debug)]
pub struct Client {
    /// Its connection.
    pub id: ConnectionId,
    /// Who it is.
    pub facts: Facts,
    /// Bytes that came and went, over time.
    pub traffic_history: Recorder<TRAFFIC>,
    mailbox: Arc<Mailbox>,
    /// Bytes that came, and that went.
    traffic: [AtomicU64; TRAFFIC],
    /// Its open channels, by their numbers.
    channels: Mutex<BTreeMap<u16, Arc<ChannelEvents>>>,
    called: AtomicBool,
    calls: Mutex<Calls>,
}

/// What somebody wants of a session.
#[derive(Debug, Default)]
pub struct Calls {
    /// The operator ends the connection, for this reason.
    pub close: Option<String>,
    /// Who wants to know how it stands.
    pub questions: Vec<Question>,
}

impl Client {
    /// Has the connection ended for `reason`. The client is told it, unless somebody was first.
    pub fn close(&self, reason: &str) {
        self.calls().close.get_or_insert_with(|| reason.to_owned());
        self.call();
    }

    /// What is wanted, if anything is; for the session.
    #[inline]
    #[must_use]
    pub fn take_calls(&self) -> Option<Calls> {
        // The flag is seen with what was asked before it was set: whoever sets it wakes the session
        // afterwards.
        if !self.called.load(Ordering::Relaxed) {
            return None;
        }
        let mut calls = self.calls();
        self.called.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut *calls))
    }

    /// So many bytes came, and went, since the client was let in; for the session.
    #[inline]
    pub fn note_traffic(&self, bytes: [u64; TRAFFIC]) {
        for (counter, bytes) in self.traffic.iter().zip(bytes) {
            counter.store(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes that came, and that went, at the end of the session's last turn.
    #[must_use]
    pub fn traffic(&self) -> [u64; TRAFFIC] {
        self.traffic.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }

    /// A channel is opened: where it counts.
    #[must_use]
    pub fn open_channel(&self, number: u16) -> Arc<ChannelEvents> {
        let events = Arc::<ChannelEvents>::default();
        self.lock_channels().insert(number, Arc::clone(&events));
        events
    }

    /// A channel is closed.
    pub fn close_channel(&self, number: u16) {
        self.lock_channels().remove(&number);
    }

    /// What the open channels have counted, by their numbers.
    #[must_use]
    pub fn channels(&self) -> Vec<(u16, Arc<ChannelEvents>)> {
        self.lock_channels().iter().map(|(&number, events)| (number, Arc::clone(events))).collect()
    }

    fn lock_channels(&self) -> MutexGuard<'_, BTreeMap<u16, Arc<ChannelEvents>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, question: Question) {
        let mut calls = self.calls();
        if calls.questions.len() < QUESTIONS_MAX {
            calls.questions.push(question);
            drop(calls);
            self.call();
        }
    }

    fn call(&self) {
        let calls = self.calls();
        self.called.store(true, Ordering::Relaxed);
        drop(calls);
        self.mailbox.wake();
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All clients of a broker.
#[derive(Debug, Default)]
pub struct Clients {
    all: Arc<Mutex<BTreeMap<ConnectionId, Arc<Client>>>>,
}

/// A client's place among them, given up when dropped.
#[derive(Debug)]
pub struct ClientHandle {
    client: Arc<Client>,
    all: Arc<Mutex<BTreeMap<ConnectionId, Arc<Client>>>>,
}

impl ClientHandle {
    /// The client itself.
    #[inline]
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.client.id);
    }
}

impl Clients {
    /// A client is let in.
    #[must_use]
    pub fn enter(&self, id: ConnectionId, facts: Facts, mailbox: &Arc<Mailbox>) -> ClientHandle {
        let client = Arc::new(Client {
            id,
            facts,
            traffic_history: Recorder::default(),
            mailbox: Arc::clone(mailbox),
            traffic: Default::default(),
            channels: Mutex::default(),
            called: AtomicBool::new(false),
            calls: Mutex::default(),
        });
        self.lock().insert(id, Arc::clone(&client));
        ClientHandle { client, all: Arc::clone(&self.all) }
    }

    /// All of them, in the order in which they came.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    /// The client of a connection.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<Arc<Client>> {
        self.lock().get(&id).cloned()
    }

    /// Asks every session how it stands, and what it holds of a queue.
    #[must_use]
    pub fn inquire(&self, held_of: Option<QueueId>) -> Arc<StatsRequest> {
        let inquiry = Arc::new(StatsRequest { held_of, ..StatsRequest::default() });
        for client in self.list() {
            client.ask(Question::of(client.id, &inquiry));
        }
        inquiry
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Client>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the sessions answer.
#[derive(Debug, Default)]
pub struct StatsRequest {
    held_of: Option<QueueId>,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    missing: usize,
    reports: BTreeMap<ConnectionId, ClientReport>,
    waker: Option<Waker>,
}

/// An inquiry, put to one session. One that ends without an answer is not waited for.
#[derive(Debug)]
pub struct Question {
    id: ConnectionId,
    inquiry: Arc<StatsRequest>,
}

impl StatsRequest {
    /// Ready once every session has answered or is gone; otherwise the task of `context` is woken
    /// when that is so.
    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut answers = self.lock();
        if answers.missing == 0 {
            return Poll::Ready(());
        }
        answers.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// What has been answered so far.
    #[must_use]
    pub fn take(&self) -> BTreeMap<ConnectionId, ClientReport> {
        std::mem::take(&mut self.lock().reports)
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    fn of(id: ConnectionId, inquiry: &Arc<StatsRequest>) -> Self {
        inquiry.lock().missing += 1;
        Self { id, inquiry: Arc::clone(inquiry) }
    }

    /// The queue of which it is told what the session holds.
    #[must_use]
    pub fn held_of(&self) -> Option<QueueId> {
        self.inquiry.held_of
    }

    /// Answers it.
    pub fn answer(self, report: ClientReport) {
        self.inquiry.lock().reports.insert(self.id, report);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut answers = self.inquiry.lock();
        answers.missing -= 1;
        let waker = if answers.missing == 0 { answers.waker.take() } else { None };
        drop(answers);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(port: u16) -> Facts {
        Facts {
            peer: ([127, 0, 0, 1], port).into(),
            local: Some(([127, 0, 0, 1], 5672).into()),
            tls: false,
            user: "u".to_owned(),
            vhost: "/".to_owned(),
            mechanism: "PLAIN".to_owned(),
            properties: Box::default(),
            connected_at_unix_ms: 0,
            channel_max: 1,
            frame_max: 4096,
            heartbeat_s: 0,
        }
    }

    fn report() -> ClientReport {
        let (received_bytes, sent_bytes, pending_bytes) = (1, 2, 3);
        let (standing, channels) = (ClientStatus::Running, Vec::new());
        let held = Vec::new();
        ClientReport { standing, received_bytes, sent_bytes, pending_bytes, channels, held }
    }

    #[test]
    fn an_inquiry_ends_when_all_have_answered_or_are_gone() {
        let (clients, context) = (Clients::default(), Context::from_waker(Waker::noop()));
        assert!(clients.inquire(None).poll(&context).is_ready(), "there is nobody to wait for");
        let entries: Vec<_> =
            (1..=3).map(|n| clients.enter(ConnectionId(n), facts(9), &Mailbox::new())).collect();
        let inquiry = clients.inquire(None);
        assert!(inquiry.poll(&context).is_pending());
        let mut entries = entries.into_iter();
        let (first, second) = (entries.next().unwrap(), entries.next().unwrap());
        let calls = first.client().take_calls().unwrap();
        assert!(first.client().take_calls().is_none(), "it was taken");
        calls.questions.into_iter().for_each(|question| question.answer(report()));
        drop(second);
        assert!(inquiry.poll(&context).is_pending());
        drop(entries);
        assert!(inquiry.poll(&context).is_ready());
        assert_eq!(inquiry.take().into_keys().collect::<Vec<_>>(), [ConnectionId(1)]);
        assert_eq!(clients.list().len(), 1);
    }

    #[test]
    fn a_session_is_woken_to_hear_that_it_is_to_end() {
        let (clients, context) = (Clients::default(), Context::from_waker(Waker::noop()));
        let mailbox = Mailbox::new();
        let entry = clients.enter(ConnectionId(1), facts(50_000), &mailbox);
        assert_eq!(entry.client().facts.name(), "127.0.0.1:50000 -> 127.0.0.1:5672");
        assert!(mailbox.poll(&context).is_pending());
        clients.get(ConnectionId(1)).unwrap().close("enough");
        clients.get(ConnectionId(1)).unwrap().close("later");
        assert!(mailbox.poll(&context).is_ready());
        assert_eq!(entry.client().take_calls().unwrap().close.as_deref(), Some("enough"));
    }
}
