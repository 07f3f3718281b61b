//! Attacks that would keep the broker's threads busy for long with one request or one read, so that
//! everybody else waits: topics, fanouts, headers, dead letters, transactions, deletes, purges,
//! backlogs that come and go at once, policies.
//!
//! Invariant: what an attack makes is gone when it ends, and it ends soon after its time is over.

use super::frames;
use super::site::Site;
use super::tally::Tally;
use super::wire::Wire;
use crate::faults::dice::Dice;

/// Requests that are sent before their answers are read.
const BATCH: u32 = 250;
/// Clients that attack at the same time.
const CLIENTS: u32 = 4;
/// Bytes of a large message.
const LARGE: usize = 64 * 1024;
/// Publishes of a client before it waits until they were looked at.
const PUBLISHES: u32 = 20;

/// Sends `count` requests, a batch at a time, and reads their answers.
fn make(
    wire: &mut Wire,
    made: (u16, u16),
    count: u32,
    request: impl Fn(u32) -> Vec<u8>,
) -> Result<(), String> {
    for first in (0..count).step_by(BATCH as usize) {
        let batch = first..(first + BATCH).min(count);
        let (bytes, len): (Vec<u8>, _) = (batch.clone().flat_map(&request).collect(), batch.len());
        wire.calls(&bytes, made, len)?;
    }
    Ok(())
}

/// An empty message for an exchange.
fn publish(exchange: &str, key: &str) -> Vec<u8> {
    [frames::publish_method(1, exchange, key, false), frames::header(1, 0, false, None)].concat()
}

/// Clients that send rounds of publishes by turns until time is up, each round looked at as a whole
/// before its next.
fn publish_rounds(
    site: &Site,
    tally: &Tally,
    what: &'static str,
    message: impl Fn(u32) -> Vec<u8>,
) -> Result<(), String> {
    let mut wires = (0..CLIENTS).map(|number| site.enter(number)).collect::<Result<Vec<_>, _>>()?;
    let mut number = 0;
    while !site.is_over() {
        for wire in &mut wires {
            let mut bytes = Vec::new();
            for _turn in 0..PUBLISHES {
                number += 1;
                bytes.extend(message(number));
            }
            bytes.extend(frames::select_confirm());
            tally.tried(what, PUBLISHES.into());
            wire.send(&bytes)?;
        }
        for wire in &mut wires {
            wire.until((85, 11))?;
        }
    }
    wires.into_iter().try_for_each(|wire| Ok(wire.close()?))
}

/// How many bindings an attack makes: most of what there may be.
fn bindings(site: &Site) -> u32 {
    site.scale.bindings / 10 * 6
}

/// How many queues an attack makes.
fn queues(site: &Site) -> u32 {
    site.scale.queues / 20 * 9
}

/// A topic all of whose nodes a message is in at a time: words `a` and `*` in every order, behind a
/// `#`.
pub(crate) fn topic(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare_exclusive("stall"), (50, 11))?;
    let word = |n: u32, at: u32| if n >> at & 1 == 0 { "a" } else { "*" };
    let pattern = |n: u32| {
        let words: Vec<&str> = (0..16).map(|at| word(n, at)).collect();
        format!("#.{}.#.b", words.join("."))
    };
    let count = bindings(site);
    tally.tried("patterns", count.into());
    make(&mut wire, (50, 21), count, |n| frames::bind("stall", "amq.topic", &pattern(n)))?;
    let words = ["a"; 104].join(".");
    publish_rounds(site, tally, "messages with 105 words", |n| {
        publish("amq.topic", &format!("{words}.{n}"))
    })?;
    wire.call(&frames::delete("stall"), (50, 41))?;
    Ok(wire.close()?)
}

/// Binds `stall` to the topic with patterns of which random keys of [`random_key`] reach nearly
/// all.
fn bind_patterns(site: &Site, tally: &Tally, wire: &mut Wire) -> Result<(), String> {
    let count = bindings(site) / 3;
    tally.tried("patterns", count.into());
    let pattern = |n: u32| {
        let mut dice = Dice::new(site.seed, n.into());
        let words: Vec<&str> = (0..8).map(|_word| dice.pick(&["a", "b", "*"])).collect();
        format!("#.{}.#.{n}", words.join("."))
    };
    make(wire, (50, 21), count, |n| frames::bind("stall", "amq.topic", &pattern(n)))
}

/// A key of as many words as there may be.
fn random_key(site: &Site, n: u32) -> String {
    let mut dice = Dice::new(!site.seed, n.into());
    let words: Vec<&str> = (0..127).map(|_word| dice.pick(&["a", "b"])).collect();
    words.join(".")
}

/// Random keys, none of which comes twice.
pub(crate) fn words(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare_exclusive("stall"), (50, 11))?;
    bind_patterns(site, tally, &mut wire)?;
    publish_rounds(site, tally, "messages with 127 words", |n| publish("amq.topic", &random_key(site, n)))?;
    wire.call(&frames::delete("stall"), (50, 41))?;
    Ok(wire.close()?)
}

/// The same keys by way of a full queue, whose dead letters go to the topic.
pub(crate) fn letters(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare_exclusive("stall"), (50, 11))?;
    wire.call(&frames::declare_exchange("stall-x", "fanout"), (40, 11))?;
    let to = [frames::short("x-dead-letter-exchange"), b"S".to_vec(), frames::long(b"amq.topic")].concat();
    let arguments = [one_message(), to].concat();
    wire.call(&frames::declare_with("stall-full", false, &arguments), (50, 11))?;
    wire.call(&frames::bind("stall-full", "stall-x", ""), (50, 21))?;
    bind_patterns(site, tally, &mut wire)?;
    publish_rounds(site, tally, "dead letters with 127 words", |n| publish("stall-x", &random_key(site, n)))?;
    make(&mut wire, (50, 41), 2, |n| frames::delete(["stall", "stall-full"][n as usize]))?;
    wire.call(&frames::delete_exchange("stall-x"), (40, 21))?;
    Ok(wire.close()?)
}

/// The arguments of a queue that takes a message, and no more.
fn one_message() -> Vec<u8> {
    [frames::short("x-max-length"), b"I\0\0\0\x01".to_vec()].concat()
}

/// Two exchanges with nearly the same queues, so that each message is handed to thousands of them
/// on its own.
pub(crate) fn fanout(site: &Site, tally: &Tally) -> Result<(), String> {
    with_fanouts(site, tally, |message| publish_rounds(site, tally, "messages", message))
}

/// The same in transactions.
pub(crate) fn transactions(site: &Site, tally: &Tally) -> Result<(), String> {
    with_fanouts(site, tally, |message| {
        let mut wires = (0..CLIENTS).map(|number| site.enter(number)).collect::<Result<Vec<_>, _>>()?;
        wires.iter_mut().try_for_each(|wire| wire.call(&frames::method(1, (90, 10), &[]), (90, 11)))?;
        while !site.is_over() {
            for wire in &mut wires {
                let mut bytes: Vec<u8> = (0..PUBLISHES).flat_map(&message).collect();
                bytes.extend(frames::method(1, (90, 20), &[]));
                tally.tried("messages in transactions of 20", PUBLISHES.into());
                wire.send(&bytes)?;
            }
            wires.iter_mut().try_for_each(|wire| wire.until((90, 21)))?;
        }
        wires.into_iter().try_for_each(|wire| Ok(wire.close()?))
    })
}

/// Has `attack` publish what it is given, each message for thousands of queues.
fn with_fanouts(
    site: &Site,
    tally: &Tally,
    attack: impl FnOnce(fn(u32) -> Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    const EXCHANGES: [&str; 2] = ["stall-x", "stall-y"];
    let mut wire = site.enter(0)?;
    let (name, count) = (|n: u32| format!("stall-{n}"), queues(site));
    make(&mut wire, (40, 11), 2, |n| frames::declare_exchange(EXCHANGES[n as usize], "fanout"))?;
    make(&mut wire, (50, 11), count + 1, |n| frames::declare_with(&name(n), false, &one_message()))?;
    make(&mut wire, (50, 21), count, |n| frames::bind(&name(n), EXCHANGES[0], ""))?;
    make(&mut wire, (50, 21), count + 1, |n| frames::bind(&name(n), EXCHANGES[1], ""))?;
    tally.tried("queues", (count + 1).into());
    attack(|n| publish(EXCHANGES[n as usize % 2], ""))?;
    make(&mut wire, (50, 41), count + 1, |n| frames::delete(&name(n)))?;
    make(&mut wire, (40, 21), 2, |n| frames::delete_exchange(EXCHANGES[n as usize]))?;
    Ok(wire.close()?)
}

/// Persistent messages of a MiB, each for fifty durable queues, so that the disk has much to do.
pub(crate) fn copies(site: &Site, tally: &Tally) -> Result<(), String> {
    const EXCHANGE: &str = "stall-copies";
    const QUEUES: u32 = 50;
    let mut wire = site.enter(0)?;
    let name = |n: u32| format!("stall-{n}");
    wire.call(&frames::declare_exchange(EXCHANGE, "fanout"), (40, 11))?;
    make(&mut wire, (50, 11), QUEUES, |n| frames::declare_with(&name(n), true, &one_message()))?;
    make(&mut wire, (50, 21), QUEUES, |n| frames::bind(&name(n), EXCHANGE, ""))?;
    let mut wires = (0..CLIENTS).map(|number| site.enter(number)).collect::<Result<Vec<_>, _>>()?;
    wires.iter_mut().try_for_each(|wire| wire.call(&frames::select_confirm(), (85, 11)))?;
    let message =
        [frames::publish_method(1, EXCHANGE, "", false), frames::content(&vec![b'x'; 1024 * 1024], true)]
            .concat();
    while !site.is_over() {
        tally.tried("messages of 1 MiB to 50 queues", CLIENTS.into());
        wires.iter_mut().try_for_each(|wire| wire.send(&message))?;
        wires.iter_mut().try_for_each(|wire| wire.until((60, 80)))?;
    }
    make(&mut wire, (50, 41), QUEUES, |n| frames::delete(&name(n)))?;
    wire.call(&frames::delete_exchange(EXCHANGE), (40, 21))?;
    wires.into_iter().chain([wire]).try_for_each(|wire| Ok(wire.close()?))
}

/// A headers exchange with many bindings, none of which matches.
pub(crate) fn headers(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare_exclusive("stall"), (50, 11))?;
    let names = [frames::short("stall"), frames::short("amq.headers"), frames::short("")].concat();
    let bind = |n: u32| {
        let table = [frames::short(&format!("key-{n}")), b"S".to_vec(), frames::long(b"no")].concat();
        frames::method(1, (50, 20), &[&[0, 0], &names, &[0], &frames::long(&table)])
    };
    let count = bindings(site);
    tally.tried("bindings", count.into());
    make(&mut wire, (50, 21), count, bind)?;
    publish_rounds(site, tally, "messages", |n| publish("amq.headers", &n.to_string()))?;
    wire.call(&frames::delete("stall"), (50, 41))?;
    Ok(wire.close()?)
}

/// A queue and an exchange with many bindings that are deleted, and queues that go with their
/// connection.
pub(crate) fn deletes(site: &Site, tally: &Tally) -> Result<(), String> {
    let count = bindings(site);
    loop {
        let mut wire = site.enter(0)?;
        for delete_queue in [true, false] {
            wire.call(&frames::declare("stall", true), (50, 11))?;
            wire.call(&frames::declare_exchange("stall-x", "topic"), (40, 11))?;
            make(&mut wire, (50, 21), count, |n| frames::bind("stall", "stall-x", &format!("{n}.*.stall")))?;
            tally.tried("bindings", count.into());
            if delete_queue {
                wire.call(&frames::delete("stall"), (50, 41))?;
            }
            wire.call(&frames::delete_exchange("stall-x"), (40, 21))?;
        }
        wire.call(&frames::delete("stall"), (50, 41))?;
        let exclusive = queues(site);
        make(&mut wire, (50, 11), exclusive, |n| frames::declare_exclusive(&format!("stall-{n}")))?;
        tally.tried("queues", exclusive.into());
        wire.close()?;
        if site.is_over() {
            return Ok(());
        }
    }
}

/// Messages that each lie in a block of their own, and that come back, are acknowledged or go all
/// at once.
pub(crate) fn backlog(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare("stall", false), (50, 11))?;
    wire.call(&frames::declare("stall-too", false), (50, 11))?;
    wire.call(&frames::declare_exchange("stall-x", "fanout"), (40, 11))?;
    wire.calls(
        &[frames::bind("stall", "stall-x", ""), frames::bind("stall-too", "stall-x", "")].concat(),
        (50, 21),
        2,
    )?;
    // By turns for one queue and for two: a block for one ends that for the other.
    let pairs = site.scale.unacked / 2;
    let fill = |wire: &mut Wire| -> Result<(), String> {
        for first in (0..pairs).step_by(BATCH as usize) {
            let count = BATCH.min(pairs - first);
            wire.send(
                &[frames::publish("stall", b"x", false), publish("stall-x", "")]
                    .concat()
                    .repeat(count as usize),
            )?;
        }
        tally.tried("messages", u64::from(pairs) * 2);
        Ok(wire.call(&frames::select_confirm(), (85, 11))?)
    };
    let take_all = |wire: &mut Wire| -> Result<(), String> {
        wire.call(&frames::open_channel(2), (20, 11))?;
        let consume =
            [&[0, 0][..], &frames::short("stall"), &frames::short("c"), &[0], &frames::long(&[])].concat();
        wire.send(&frames::method(2, (60, 20), &[&consume]))?;
        (0..2 * pairs).try_for_each(|_delivery| wire.until((60, 60)))?;
        Ok(())
    };
    loop {
        fill(&mut wire)?;
        take_all(&mut wire)?;
        wire.call(&frames::close_channel(2), (20, 41))?;
        take_all(&mut wire)?;
        wire.send(&frames::ack(2, 0, true))?;
        wire.call(&frames::close_channel(2), (20, 41))?;
        fill(&mut wire)?;
        wire.call(&frames::method(1, (50, 30), &[&[0, 0], &frames::short("stall"), &[0]]), (50, 31))?;
        fill(&mut wire)?;
        if site.is_over() {
            break;
        }
        // The other one has had all that went to two; it goes with them.
        wire.call(&frames::delete("stall-too"), (50, 41))?;
        wire.call(&frames::declare("stall-too", false), (50, 11))?;
        wire.call(&frames::bind("stall-too", "stall-x", ""), (50, 21))?;
        wire.call(&frames::method(1, (50, 30), &[&[0, 0], &frames::short("stall"), &[0]]), (50, 31))?;
    }
    wire.calls(&[frames::delete("stall"), frames::delete("stall-too")].concat(), (50, 41), 2)?;
    wire.call(&frames::delete_exchange("stall-x"), (40, 21))?;
    Ok(wire.close()?)
}

/// Many bytes on disk that go at once.
pub(crate) fn purge(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::method(1, (90, 10), &[]), (90, 11))?;
    let (rounds, body) = (site.scale.warm_up_large / 2, vec![b'x'; LARGE]);
    let purge = frames::method(1, (50, 30), &[&[0, 0], &frames::short("stall"), &[0]]);
    while !site.is_over() {
        for (end, done) in [(&purge, (50, 31)), (&frames::delete("stall"), (50, 41))] {
            wire.call(&frames::declare("stall", true), (50, 11))?;
            for _round in 0..rounds {
                // A MiB at a time: it is not the publishing that others are to wait for.
                wire.send(&frames::publish("stall", &body, true).repeat(16))?;
                wire.call(&frames::method(1, (90, 20), &[]), (90, 21))?;
            }
            tally.tried("messages", (16 * rounds).into());
            wire.call(end, done)?;
        }
    }
    Ok(wire.close()?)
}

/// A policy for everything there is.
pub(crate) fn policy(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    let (name, count, exchanges) = (|n: u32| format!("stall-{n}"), queues(site), site.scale.exchanges / 2);
    make(&mut wire, (50, 11), count, |n| frames::declare(&name(n), n.is_multiple_of(4)))?;
    make(&mut wire, (40, 11), exchanges, |n| frames::declare_exchange(&name(n), "fanout"))?;
    loop {
        let set = ["set_policy", "--apply-to", "all", "stall", "^stall-", r#"{"max-length": 1000}"#];
        tally.tried("policies", 2);
        site.operate(&set)?;
        site.operate(&["clear_policy", "stall"])?;
        if site.is_over() {
            break;
        }
    }
    make(&mut wire, (50, 41), count, |n| frames::delete(&name(n)))?;
    make(&mut wire, (40, 21), exchanges, |n| frames::delete_exchange(&name(n)))?;
    Ok(wire.close()?)
}
