//! The broker, its clients and the naive broker, and the comparison after each step.

use super::client::Client;
use super::naive::{self, ChannelKey, Delivered, Naive};
use crate::broker::start_broker;
use crate::support::disk::SimDisk;
use crate::support::draw::Draw;
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::AMQPMethod as Basic;
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::{Clock, mono_ms};
use leveret::ids::Ticket;
use leveret::store::change::Waiter;
use leveret::store::{self, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Clients.
pub(super) const CLIENTS: [usize; 3] = [0, 1, 2];

/// The channels that each has.
pub(super) const CHANNELS: [u16; 2] = [1, 2];

/// How long the broker may take for a step before the step counts as failed.
const PATIENCE_MS: u64 = 20_000;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Waiter for Unpark {
    fn durable(&self, _up_to: Ticket) {
        self.0.unpark();
    }
}

/// The broker under test, its clients, and the naive model that it is compared with.
pub(super) struct ComparedBroker {
    pub(super) random: Draw,
    disk: SimDisk,
    pub(super) broker: Arc<Broker>,
    pub(super) clients: BTreeMap<usize, Client>,
    pub(super) naive: Naive,
    waker: Waker,
    unpark: Arc<dyn Waiter>,
    /// Which queue each consumer tag consumes from.
    pub(super) consumed: BTreeMap<String, String>,
    pub(super) numbers: u64,
    /// What the step was, for the failure's text.
    pub(super) step: String,
}

/// What a step must bring beside deliveries.
#[derive(Default)]
pub(super) struct Expected {
    /// Answers on one channel, in order.
    pub(super) replies: Vec<(ChannelKey, AMQPClass)>,
    /// Messages that come back to a client.
    pub(super) returned: Vec<(usize, u64)>,
    /// Whether `basic.get` brings a message, and how many it leaves.
    pub(super) got: Option<(ChannelKey, String, u32)>,
    /// Consumers that lose their queue.
    pub(super) cancelled: Vec<(ChannelKey, String)>,
}

impl ComparedBroker {
    pub(super) fn new(seed: u64) -> Result<Self, String> {
        let disk = SimDisk::default();
        let unpark = Arc::new(Unpark(thread::current()));
        let mut fixture = Self {
            random: Draw::new(seed),
            broker: start(&disk),
            disk,
            clients: BTreeMap::new(),
            naive: Naive::default(),
            waker: Waker::from(Arc::clone(&unpark)),
            unpark,
            consumed: BTreeMap::new(),
            numbers: 0,
            step: "connect".to_owned(),
        };
        fixture.connect()?;
        Ok(fixture)
    }

    pub(super) fn connect(&mut self) -> Result<(), String> {
        for index in CLIENTS {
            self.clients.insert(index, Client::connect(index, &self.broker, &CHANNELS));
        }
        self.compare(&Expected::default())
    }

    /// One client's socket breaks. Its second channel is closed first: with two open, it is
    /// nobody's promise which one's messages come back first.
    pub(super) fn drop_client(&mut self, index: usize) -> Result<(), String> {
        self.close((index, CHANNELS[1]))?;
        self.settled()?;
        self.step = format!("disconnect {index}");
        self.naive.close((index, CHANNELS[0]));
        self.clients.remove(&index).expect("it is connected").drop_connection();
        self.compare(&Expected::default())
    }

    pub(super) fn restart(&mut self) -> Result<(), String> {
        for index in CLIENTS {
            self.drop_client(index)?;
        }
        self.settled()?;
        self.step = "restart".to_owned();
        self.broker.shutdown().map_err(|fault| format!("shutdown: {fault}"))?;
        self.broker = start(&self.disk);
        self.naive.restart();
        self.connect()
    }

    pub(super) fn client(&mut self, (index, _): ChannelKey) -> &mut Client {
        self.clients.get_mut(&index).expect("it is connected")
    }

    pub(super) fn send(&mut self, channel: ChannelKey, method: AMQPClass) {
        self.client(channel).send(channel.1, method);
    }

    pub(super) fn compare(&mut self, expected: &Expected) -> Result<(), String> {
        self.compare_got(expected).map(|_got| ())
    }

    /// Waits for everything the step must bring, and finds fault with anything else.
    pub(super) fn compare_got(&mut self, expected: &Expected) -> Result<Option<Delivered>, String> {
        self.wait(expected)
            .and_then(|()| self.judge(expected))
            .map_err(|what| format!("{what}\nafter {}", self.step))
    }

    fn wait(&mut self, expected: &Expected) -> Result<(), String> {
        let until_ms = mono_ms() + PATIENCE_MS;
        let due: usize = self.naive.queues.values().map(naive::Queue::due).sum();
        let replies = expected.replies.len() + expected.cancelled.len();
        loop {
            for client in self.clients.values_mut() {
                client.pump(&self.waker)?;
            }
            let sum = |count: fn(&Client) -> usize| self.clients.values().map(count).sum::<usize>();
            let have = (
                sum(|client| client.replies.len()),
                sum(|client| client.returned.len()),
                sum(|client| client.delivered.len()),
                sum(|client| usize::from(client.got.is_some())),
            );
            let want = (replies, expected.returned.len(), due, usize::from(expected.got.is_some()));
            let enough = have.0 >= want.0 && have.1 >= want.1 && have.2 >= want.2 && have.3 >= want.3;
            if enough && self.clients.values().all(Client::is_confirmed) {
                return Ok(());
            }
            if mono_ms() > until_ms {
                return Err(format!(
                    "of replies, returns, deliveries, gets there came {have:?} and not {want:?}, or confirms are missing"
                ));
            }
            thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Waits until the queues of both hold the same, and nothing is on its way any more.
    pub(super) fn settled(&mut self) -> Result<(), String> {
        let until_ms = mono_ms() + PATIENCE_MS;
        let want: Vec<_> =
            self.naive.queues.iter().map(|(name, queue)| (name.clone(), queue.stats())).collect();
        loop {
            // A session that does not want input yet (the log is behind) has it still.
            for client in self.clients.values_mut() {
                client.pump(&self.waker)?;
            }
            let mut have = Vec::new();
            self.broker.vhost().each_queue(|queue| {
                let stats = queue.stats();
                have.push((
                    queue.name.to_string(),
                    (stats.ready, stats.unacked, stats.parked, stats.consumers),
                ));
            });
            have.sort();
            if have == want && self.everything_is_routed() {
                break;
            }
            if mono_ms() > until_ms {
                return Err(format!("queues hold {have:?} and not {want:?}\nafter {}", self.step));
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        let idle = |client: &mut Client| client.pump(&self.waker).map(|()| client.is_idle());
        for client in self.clients.values_mut() {
            if !idle(client)? {
                return Err(format!("something more came\nafter {}", self.step));
            }
        }
        Ok(())
    }

    /// Whether every message that has left one queue is where it goes. Between the two a dead
    /// letter is nowhere, and finds what is declared meanwhile; but it goes in one atomic batch,
    /// and what left its queue is durable only once that is open.
    fn everything_is_routed(&self) -> bool {
        let log = self.broker.log();
        let left = log.append(&mut Vec::new());
        log.notify(left, &self.unpark);
        log.durable() >= left
    }

    fn judge(&mut self, expected: &Expected) -> Result<Option<Delivered>, String> {
        let mut seen: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
        let (mut replies, mut returned, mut cancelled, mut got) = (Vec::new(), Vec::new(), Vec::new(), None);
        for (&index, client) in &mut self.clients {
            for (channel, reply) in client.replies.drain(..) {
                match reply {
                    AMQPClass::Basic(Basic::Cancel(cancel)) => {
                        cancelled.push(((index, channel), cancel.consumer_tag.as_str().to_owned()));
                    }
                    reply => replies.push(((index, channel), reply)),
                }
            }
            returned.extend(client.returned.drain(..).map(|id| (index, id)));
            got = got.or(client.got.take());
            for delivery in client.delivered.drain(..) {
                let tag = delivery.consumer.as_deref().unwrap_or_default();
                let queue = self.consumed.get(tag).ok_or(format!("nobody consumes as {tag}"))?;
                seen.entry(queue.clone()).or_default().push(delivery);
            }
        }
        cancelled.sort();
        same("replies", &replies, &expected.replies)?;
        same("returned messages", &returned, &expected.returned)?;
        same("cancelled consumers", &cancelled, &expected.cancelled)?;
        let names: BTreeSet<String> = self.naive.queues.keys().chain(seen.keys()).cloned().collect();
        for name in names {
            self.naive.delivered(&name, seen.get(&name).map_or(&[], Vec::as_slice))?;
        }
        self.judge_got(got, expected.got.as_ref())
    }

    fn judge_got(
        &mut self,
        got: Option<(Delivered, u32)>,
        expected: Option<&(ChannelKey, String, u32)>,
    ) -> Result<Option<Delivered>, String> {
        let (Some((delivery, left)), Some((channel, queue, want))) = (&got, expected) else {
            same("gets", &got.is_some(), &expected.is_some())?;
            return Ok(None);
        };
        same("channels and messages left", &(delivery.channel, *left), &(*channel, *want))?;
        let first = self.naive.queues[queue].ready.keys().next().map(|&(rank, _)| rank);
        let (rank, _) = self.naive.accept(queue, delivery)?;
        same("ranks", &Some(rank), &first)?;
        Ok(got.map(|(delivery, _)| delivery))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, want: &T) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, expected {want:?}")) }
}

fn start(disk: &SimDisk) -> Arc<Broker> {
    let opened =
        store::open_backend(disk.clone(), Options::default()).expect("a disk in memory can be opened");
    start_broker(opened, BrokerSettings::default(), Clock::starting(0).now())
        .expect("what was stored makes sense")
}
