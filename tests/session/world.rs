//! A broker and its clients, in one thread: what one sends is acted upon, and everybody's answers
//! are read, before anything else happens.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::session::wire::Answers;
use crate::support::log::{MemoryLog, NoPages};
use leveret::blocking;
use leveret::broker::{Broker, BrokerSettings};
use leveret::client::identity::Peer;
use leveret::clock::Now;
use leveret::config::Limits;
use leveret::protocol::amqp::session::Session;
use leveret::store::Opened;
use leveret::store::change::Recovered;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Waker};

/// Having had more than this to write, a session is asked for more once it is written; as the
/// server does.
const OUTPUT_LOW: usize = 16 * 1024;

/// Steps of one turn, beyond which a session holds its worker for too long: both budgets, and one
/// thing that is begun last and takes no longer than what is done on a worker.
const STEPS_MAX: usize = 4096;

/// How a client's bytes reach its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// All that the client says at once is one read.
    Whole,
    /// Every byte is a read.
    Bytes,
}

/// Names that the broker made up for reply queues, in the order in which they were heard:
/// `$1`, `$2`...
#[derive(Debug, Default)]
pub(crate) struct ReplyNames(Vec<String>);

impl ReplyNames {
    /// The sentence with names instead of numbers.
    pub(crate) fn put_in(&self, sentence: &str) -> String {
        let numbered = self.0.iter().enumerate().rev();
        numbered.fold(sentence.to_owned(), |said, (at, name)| said.replace(&format!("${}", at + 1), name))
    }

    /// The sentence with numbers instead of names.
    pub(crate) fn take_out(&mut self, mut sentence: String) -> String {
        const PREFIX: &str = "amq.rabbitmq.reply-to.";
        const LEN: usize = PREFIX.len() + 22;
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let made_up = |name: &&str| name.bytes().skip(PREFIX.len()).all(is_digit);
        while let Some(name) = sentence.find(PREFIX).and_then(|at| sentence.get(at..at + LEN)).filter(made_up)
        {
            let name = name.to_owned();
            let at = self.0.iter().position(|known| *known == name).unwrap_or_else(|| {
                self.0.push(name.clone());
                self.0.len() - 1
            });
            sentence = sentence.replace(&name, &format!("${}", at + 1));
        }
        sentence
    }
}

pub(crate) struct World {
    pub(crate) broker: Arc<Broker>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) now: Now,
    pub(crate) replies: ReplyNames,
    pieces: Pieces,
    clients: BTreeMap<String, Client>,
}

pub(crate) struct Client {
    pub(crate) session: Session,
    /// Sent, and not used by the session.
    unused: Vec<u8>,
    answers: Answers,
    /// Its output stays where it is, as if the client did not read.
    pub(crate) deaf: bool,
    /// How often it was listened to.
    pub(crate) turns: u32,
}

impl World {
    pub(crate) fn new(pieces: Pieces, settings: BrokerSettings) -> Self {
        let log = MemoryLog::new();
        let opened =
            Opened { log: Arc::clone(&log) as _, pages: Arc::new(NoPages), recovered: Recovered::default() };
        let now = Now { mono_ms: 1_000, unix_ms: 1_795_000_000_000 };
        let broker = Broker::start(opened, settings, now).unwrap();
        Self { broker, log, now, replies: ReplyNames::default(), pieces, clients: BTreeMap::new() }
    }

    /// A socket that has just been accepted.
    pub(crate) fn accept(&mut self, name: &str, address: &str) -> &mut Client {
        self.accept_peer(name, Peer::at(address.parse().unwrap()))
    }

    /// As [`Self::accept`], with all that is known about who comes.
    pub(crate) fn accept_peer(&mut self, name: &str, peer: Peer) -> &mut Client {
        let session = Session::new(Arc::clone(&self.broker), peer, self.now);
        let client =
            Client { session, unused: Vec::new(), answers: Answers::default(), deaf: false, turns: 0 };
        self.clients.insert(name.to_owned(), client);
        self.client(name)
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.clients.contains_key(name)
    }

    pub(crate) fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap()
    }

    /// The client says this, and the broker acts upon it.
    pub(crate) fn say(&mut self, name: &str, bytes: &[u8]) {
        let (now, pieces) = (self.now, self.pieces);
        let client = self.client(name);
        match pieces {
            Pieces::Whole => client.hear(bytes, now),
            Pieces::Bytes => bytes.chunks(1).for_each(|byte| client.hear(byte, now)),
        }
        self.settle();
    }

    /// The client says this, and the broker does with it what it does before others have their
    /// turn; whether there is more.
    pub(crate) fn begin_to_say(&mut self, name: &str, bytes: &[u8]) -> bool {
        let now = self.now;
        let client = self.client(name);
        client.unused.extend_from_slice(bytes);
        let more = client.hear_once(now);
        client.turn(|session| session.handle_mail(now));
        more
    }

    /// Everybody acts upon mail until there is none.
    pub(crate) fn settle(&mut self) {
        let context = Context::from_waker(Waker::noop());
        for _round in 0..1000 {
            let mut quiet = true;
            for client in self.clients.values_mut() {
                if client.session.mailbox().poll(&context).is_ready() || client.session.has_more_mail() {
                    client.turn(|session| session.handle_mail(self.now));
                    client.hear(&[], self.now);
                    quiet = false;
                }
                quiet &= !client.read(self.now);
            }
            if quiet {
                return;
            }
        }
        panic!("the sessions keep each other busy");
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.unix_ms += ms;
        for client in self.clients.values_mut() {
            if client.session.poll_deadline() <= self.now.mono_ms {
                client.session.handle_timeout(self.now);
            }
        }
        self.settle();
    }

    /// Everything the broker has said to this client since the last call.
    pub(crate) fn heard(&mut self, name: &str) -> Vec<String> {
        self.client(name).answers.take()
    }
}

impl Client {
    /// As the server does: what the session did not use is offered again with what comes next.
    fn hear(&mut self, bytes: &[u8], now: Now) {
        self.unused.extend_from_slice(bytes);
        if self.session.is_closed() || !self.session.wants_input() {
            return;
        }
        while self.hear_once(now) {}
    }

    /// One turn, after which others have theirs; whether it is not the last.
    pub(crate) fn hear_once(&mut self, now: Now) -> bool {
        let mut unused = mem::take(&mut self.unused);
        let used = self.turn(|session| session.handle_input(&unused, now));
        unused.drain(..used);
        self.unused = unused;
        self.turns += 1;
        self.session.has_more_input()
    }

    /// What a session does before others have their turn is limited.
    fn turn<R>(&mut self, work: impl FnOnce(&mut Session) -> R) -> R {
        self.session.renew_budget();
        let before = blocking::runs();
        let result = work(&mut self.session);
        let steps = self.session.steps_taken();
        assert!(steps <= STEPS_MAX || blocking::runs() > before, "{steps} steps on the worker");
        result
    }

    /// Takes all output; whether there was any.
    fn read(&mut self, now: Now) -> bool {
        if self.deaf || self.session.output().is_empty() {
            return false;
        }
        let asks_for_more = self.session.output().len() >= OUTPUT_LOW;
        while !self.session.output().is_empty() {
            let output = self.session.output();
            let mut slices = [IoSlice::new(&[]); 8];
            let count = output.slices(&mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            output.advance(bytes.len());
            self.answers.add(&bytes);
        }
        if asks_for_more {
            self.turn(|session| session.handle_mail(now));
        }
        true
    }
}

/// The broker's settings with other limits.
pub(crate) fn limited(limits: Limits) -> BrokerSettings {
    BrokerSettings { limits, ..BrokerSettings::default() }
}
