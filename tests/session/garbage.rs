//! Anything a peer may send: the session neither panics nor grows, and other clients do not notice.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::session::script::play;
use crate::session::wire::encode;
use crate::session::world::{Pieces, World};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::session::{Peer, Session};
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_795_000_000_000 };

/// A xorshift generator: what it gives depends on the seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// Runs `test` with one fixed seed and a fresh one; a failure names its seed.
fn for_seeds(test: impl Fn(&mut Random)) {
    let fresh = RandomState::new().hash_one("a seed") | 1;
    for seed in [0x5EED, fresh] {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| test(&mut Random(seed)))) {
            print_seed(seed);
            resume_unwind(failure);
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failing seed must be seen, to be run again")]
fn print_seed(seed: u64) {
    eprintln!("failed with seed {seed:#x}");
}

const SENTENCES: [&str; 40] = [
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

/// A session behind its handshake, with channels 1 and 2.
fn open_session(broker: &Arc<Broker>) -> Session {
    let mut session = Session::new(Arc::clone(broker), Peer { address: "127.0.0.1:1".parse().unwrap() }, NOW);
    for sentence in [
        "header",
        "0 connection.start-ok PLAIN guest guest consumer_cancel_notify",
        "0 connection.tune-ok 2047 131072 0",
        "0 connection.open /",
        "1 channel.open",
        "2 channel.open",
    ] {
        let bytes = encode(sentence);
        assert_eq!(session.handle_input(&bytes, NOW), bytes.len());
    }
    session
}

/// Gives the bytes to the session in pieces, as a server would.
fn feed(session: &mut Session, bytes: &[u8], random: &mut Random) {
    let mut unused: Vec<u8> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + random.below(rest.len().min(3000)));
        rest = after;
        unused.extend_from_slice(piece);
        let used = session.handle_input(&unused, NOW);
        unused.drain(..used);
        assert!(unused.len() < 300_000, "input piles up");
        session.handle_mail(NOW);
        let written = session.output().len();
        assert!(written < 4_000_000, "output piles up");
        session.output().advance(written);
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => bytes.truncate(at + 1),
            _ => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
        }
    }
}

#[test]
fn damaged_dialogues_end_one_connection_and_nothing_else() {
    for_seeds(|random| {
        let mut world = World::new(Pieces::Whole, BrokerSettings::default());
        for _round in 0..300 {
            let mut session = open_session(&world.broker);
            let mut bytes = Vec::new();
            for _ in 0..random.below(30) {
                let mut sentence = encode(SENTENCES[random.below(SENTENCES.len())]);
                if random.below(10) == 0 {
                    mutate(&mut sentence, random);
                }
                bytes.append(&mut sentence);
            }
            feed(&mut session, &bytes, random);
            session.handle_disconnect(NOW);
            assert!(session.is_closed());
        }
        let gauges = world.broker.gauges();
        assert_eq!((gauges.consumers, gauges.messages_unacked), (0, 0), "something was left behind");
        play(&mut world, "> 1 queue.declare fine\n< 1 queue.declare-ok fine 0 0");
    });
}

#[test]
fn noise_is_refused_before_and_after_the_handshake() {
    for_seeds(|random| {
        let world = World::new(Pieces::Whole, BrokerSettings::default());
        for round in 0..500 {
            let mut session = match round % 2 {
                0 => open_session(&world.broker),
                _ => Session::new(
                    Arc::clone(&world.broker),
                    Peer { address: "127.0.0.1:1".parse().unwrap() },
                    NOW,
                ),
            };
            let mut noise: Vec<u8> =
                (0..random.below(2000)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            if round % 4 == 1 {
                noise.splice(0..0, encode("header"));
            }
            feed(&mut session, &noise, random);
            session.handle_disconnect(NOW);
        }
    });
}

#[test]
fn truncated_methods_are_refused() {
    let world = World::new(Pieces::Whole, BrokerSettings::default());
    for sentence in SENTENCES {
        let whole = encode(sentence);
        // The payload of the first frame is cut, and its length is corrected, so that only the method is damaged.
        let size = usize::try_from(u32::from_be_bytes([whole[3], whole[4], whole[5], whole[6]])).unwrap();
        for cut in 0..size {
            let mut bytes = whole[..7 + cut].to_vec();
            bytes[3..7].copy_from_slice(&u32::try_from(cut).unwrap().to_be_bytes());
            bytes.push(0xCE);
            let mut session = open_session(&world.broker);
            assert_eq!(session.handle_input(&bytes, NOW), bytes.len(), "{sentence} cut at {cut}");
            session.handle_disconnect(NOW);
        }
    }
}
