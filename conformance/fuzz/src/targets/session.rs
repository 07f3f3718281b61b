//! Whole sessions: whatever two peers send to one broker, in whatever pieces, nothing panics,
//! nothing piles up, and when they are gone nothing of them is left and the next peer is served.
//!
//! The first byte of an input says what the others are. Bit 0: they come after a handshake. Bit 1:
//! they are a dialogue of [`SENTENCES`], see [`dialogue`], and not what is sent itself. The rest:
//! how large the pieces are.

use crate::session::wire::encode;
use crate::support::log::{MemoryLog, NoPages};
use leveret::broker::{Broker, BrokerSettings};
use leveret::client::identity::Peer;
use leveret::clock::Now;
use leveret::protocol::amqp::session::Session;
use leveret::store::Opened;
use leveret::store::change::Recovered;
use std::sync::Arc;

/// When it all happens, unless a dialogue waits.
const NOW: Now = Now { mono_ms: 0, unix_ms: 1_795_000_000_000 };

/// More input than this is never kept by a session that was given it in pieces, bytes: two frames,
/// and a piece.
const UNUSED_MAX: usize = 300_000;

/// More output than this never waits for a peer that reads all of it each time, bytes.
const OUTPUT_MAX: usize = 4_000_000;

/// In how many pieces what is said at once comes, at most.
const PIECES_MAX: usize = 100;

/// What a client may say on its open channels 1 and 2, most of it sound.
pub const SENTENCES: [&str; 40] = [
    "1 queue.declare q",
    "1 queue.declare d durable",
    "1 queue.declare '' exclusive",
    "2 queue.declare a auto-delete",
    "1 queue.bind q amq.topic a.#",
    "1 queue.bind q amq.headers k x-match=any",
    "1 queue.unbind q amq.topic a.#",
    "1 queue.purge q",
    "2 queue.delete d",
    "1 queue.delete q nowait",
    "1 exchange.declare x fanout",
    "1 exchange.bind x amq.topic a.*",
    "1 exchange.delete x",
    "1 basic.publish '' q hello",
    "1 basic.publish amq.topic a.b *5000 persistent frame-max=4096",
    "2 basic.publish '' d *70000 persistent",
    "2 basic.publish '' nowhere x mandatory",
    "1 basic.publish '' q x expiration=1 user-id=guest",
    "1 basic.consume q c",
    "2 basic.consume q c no-ack",
    "2 basic.consume d '' nowait",
    "1 basic.cancel c",
    "1 basic.get q",
    "2 basic.get d no-ack",
    "1 basic.ack 1",
    "1 basic.ack 0 multiple",
    "1 basic.nack 2 requeue",
    "2 basic.reject 1 requeue",
    "2 basic.recover requeue",
    "1 basic.qos 3",
    "1 basic.qos 2 global",
    "2 confirm.select",
    "3 channel.open",
    "3 tx.select",
    "3 tx.commit",
    "3 basic.publish '' q inside",
    "3 channel.close",
    "1 channel.close-ok",
    "1 channel.open",
    "0 heartbeat",
];

/// A session as its server keeps it.
pub struct Client {
    /// The session.
    pub session: Session,
    /// What it was given and did not use.
    unused: Vec<u8>,
}

impl Client {
    /// A peer that has said nothing yet.
    #[must_use]
    pub fn new(broker: &Arc<Broker>, now: Now) -> Self {
        let peer = Peer::at(([127, 0, 0, 1], 1).into());
        Self { session: Session::new(Arc::clone(broker), peer, now), unused: Vec::new() }
    }

    /// A peer behind its handshake, with channels 1 and 2.
    #[must_use]
    pub fn open(broker: &Arc<Broker>, now: Now) -> Self {
        let mut client = Self::new(broker, now);
        for sentence in [
            "header",
            "0 connection.start-ok PLAIN guest guest consumer_cancel_notify",
            "0 connection.tune-ok 2047 131072 0",
            "0 connection.open /",
            "1 channel.open",
            "2 channel.open",
        ] {
            let bytes = encode(sentence);
            assert_eq!(client.session.handle_input(&bytes, now), bytes.len(), "{sentence}");
        }
        assert!(!client.session.is_closed(), "the handshake fails");
        client
    }

    /// Gives bytes to the session in pieces, as a server would, and reads all that it answers.
    pub fn feed(&mut self, bytes: &[u8], now: Now, mut piece_len: impl FnMut() -> usize) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_len().clamp(1, rest.len()));
            rest = after;
            self.unused.extend_from_slice(piece);
            if self.session.wants_input() {
                let used = self.session.handle_input(&self.unused, now);
                self.unused.drain(..used);
            }
            self.listen(now);
            if self.session.is_closed() {
                self.unused.clear();
                return;
            }
            assert!(self.unused.len() < UNUSED_MAX, "input piles up");
        }
    }

    /// As [`Client::feed`], in pieces of one length; longer ones where there would be too many to
    /// be of use.
    fn say(&mut self, bytes: &[u8], now: Now, piece_len: usize) {
        let piece_len = piece_len.max(bytes.len() / PIECES_MAX);
        self.feed(bytes, now, || piece_len);
    }

    /// Acts upon mail, and reads all that the session says.
    pub fn listen(&mut self, now: Now) {
        self.session.handle_mail(now);
        let written = self.session.output().len();
        assert!(written < OUTPUT_MAX, "output piles up");
        self.session.output().advance(written);
    }
}

/// A broker without a disk.
#[must_use]
pub fn broker() -> Arc<Broker> {
    let opened =
        Opened { log: MemoryLog::new() as _, pages: Arc::new(NoPages), recovered: Recovered::default() };
    Broker::start(opened, BrokerSettings::default(), NOW).expect("there is nothing to recover")
}

/// Plays `data`.
pub fn check(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else { return };
    let (is_open, is_dialogue, piece_len) = (mode & 1 != 0, mode & 2 != 0, 1 + usize::from(mode >> 2) * 50);
    let broker = broker();
    if is_dialogue {
        dialogue(&broker, data, piece_len);
    } else {
        let mut client = if is_open { Client::open(&broker, NOW) } else { Client::new(&broker, NOW) };
        client.say(data, NOW, piece_len);
        client.session.handle_disconnect(NOW);
        assert!(client.session.is_closed(), "a session outlives its socket");
    }
    let gauges = broker.gauges();
    assert_eq!((gauges.consumers, gauges.messages_unacked), (0, 0), "something was left behind");
    let _next_is_served = Client::open(&broker, NOW);
}

/// Plays a dialogue of two clients. A byte is a step: bit 7 is whose; the low six bits are a
/// sentence, a sentence of which another byte is changed as the next three say (41 and more), one
/// second that passes (62), or the end of the connection, which is then made anew (63).
fn dialogue(broker: &Arc<Broker>, steps: &[u8], piece_len: usize) {
    let mut now = NOW;
    let mut clients = [Client::open(broker, now), Client::open(broker, now)];
    let mut steps = steps.iter().copied();
    while let Some(step) = steps.next() {
        let who = usize::from(step >> 7);
        match usize::from(step & 0x3f) {
            63 => {
                clients[who].session.handle_disconnect(now);
                clients[who] = Client::open(broker, now);
            }
            62 => {
                now = Now { mono_ms: now.mono_ms + 1_000, unix_ms: now.unix_ms + 1_000 };
                for client in &mut clients {
                    if client.session.poll_deadline() <= now.mono_ms {
                        client.session.handle_timeout(now);
                    }
                }
            }
            sentence if sentence < SENTENCES.len() => {
                clients[who].say(&encode(SENTENCES[sentence]), now, piece_len);
            }
            _ => {
                let mut next = || usize::from(steps.next().unwrap_or_default());
                let mut bytes = encode(SENTENCES[next() % SENTENCES.len()]);
                let at = next() % bytes.len();
                bytes[at] = u8::try_from(next()).unwrap_or_default();
                clients[who].say(&bytes, now, piece_len);
            }
        }
        clients.iter_mut().for_each(|client| client.listen(now));
    }
    for client in &mut clients {
        client.session.handle_disconnect(now);
        assert!(client.session.is_closed(), "a session outlives its socket");
    }
}

/// A dialogue of all sentences, one of a few, and bytes before and after a handshake.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (0..40).flat_map(|sentence| [sentence, sentence | 0x80]).collect();
    let raw: Vec<u8> = SENTENCES.iter().take(20).flat_map(|sentence| encode(sentence)).collect();
    vec![
        [&[0xff][..], &all].concat(),
        vec![0xff, 0, 18, 0x80 | 13, 13, 24, 26, 62, 63, 22, 28],
        [&[0xfd][..], &raw].concat(),
        [&[0xfc][..], &encode("header")].concat(),
    ]
}
