//! Anything a peer may send, to sessions that share a broker: the session neither panics nor grows,
//! and other clients do not notice. What one session alone makes of anything is fuzzed:
//! `conformance/fuzz/src/targets/session.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::session::script::play;
use crate::session::wire::encode;
use crate::session::world::{Pieces, World};
use crate::support::draw::{Draw, for_seeds};
use crate::targets::session::{Client, SENTENCES};
use leveret::broker::BrokerSettings;
use leveret::clock::Now;

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_795_000_000_000 };

fn below(end: usize, draw: &mut Draw) -> usize {
    usize::try_from(draw.below(u64::try_from(end.max(1)).unwrap())).unwrap()
}

fn mutate(bytes: &mut Vec<u8>, draw: &mut Draw) {
    for _ in 0..draw.below(4) {
        let at = below(bytes.len(), draw);
        match draw.below(4) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = u8::try_from(draw.below(256)).unwrap(),
            2 => bytes.truncate(at + 1),
            _ => bytes.insert(at, u8::try_from(draw.below(256)).unwrap()),
        }
    }
}

#[test]
fn damaged_dialogues_end_one_connection_and_nothing_else() {
    for_seeds(|draw| {
        let mut world = World::new(Pieces::Whole, BrokerSettings::default());
        for _round in 0..300 {
            let mut client = Client::open(&world.broker, NOW);
            let mut bytes = Vec::new();
            for _ in 0..draw.below(30) {
                let mut sentence = encode(SENTENCES[below(SENTENCES.len(), draw)]);
                if draw.one_in(10) {
                    mutate(&mut sentence, draw);
                }
                bytes.append(&mut sentence);
            }
            client.feed(&bytes, NOW, || 1 + below(3000, draw));
            client.session.handle_disconnect(NOW);
            assert!(client.session.is_closed());
        }
        let gauges = world.broker.gauges();
        assert_eq!((gauges.consumers, gauges.messages_unacked), (0, 0), "something was left behind");
        play(&mut world, "> 1 queue.declare fine\n< 1 queue.declare-ok fine 0 0");
    });
}

#[test]
fn truncated_methods_are_refused() {
    let world = World::new(Pieces::Whole, BrokerSettings::default());
    for sentence in SENTENCES {
        let whole = encode(sentence);
        // The payload of the first frame is cut, and its length is corrected, so that only the
        // method is damaged.
        let size = usize::try_from(u32::from_be_bytes([whole[3], whole[4], whole[5], whole[6]])).unwrap();
        for cut in 0..size {
            let mut bytes = whole[..7 + cut].to_vec();
            bytes[3..7].copy_from_slice(&u32::try_from(cut).unwrap().to_be_bytes());
            bytes.push(0xCE);
            let mut session = Client::open(&world.broker, NOW).session;
            assert_eq!(session.handle_input(&bytes, NOW), bytes.len(), "{sentence} cut at {cut}");
            session.handle_disconnect(NOW);
        }
    }
}
