//! Attacks by what is sent: tables, bodies, patterns and tiny frames of the kinds that cost most.

use super::frames;
use super::site::Site;
use super::tally::Tally;
use super::wire::{Refused, Wire};
use std::time::Duration;

/// What the largest message has, in bytes.
const BODY_MAX: u64 = 16 * 1024 * 1024;
/// Channels that begin a body each, in one connection, at most.
const CHANNELS_MAX: u32 = 2000;
/// Connections that do so.
const CONNECTIONS: u32 = 4;
/// Rounds of something between two looks at the clock.
const BATCH: usize = 500;
/// `#` in a pattern that is allowed.
const HASHES: usize = 2;
/// Bindings whose patterns match in many ways.
const PATTERNS: u32 = 200;
/// How long an answer is waited for that may not come.
const SHORT_WAIT: Duration = Duration::from_millis(200);

/// Sends what is to be refused, on a connection of its own; what came of it is counted.
fn refusal(site: &Site, tally: &Tally, what: &'static str, bytes: &[u8]) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    tally.tried(what, 1);
    // A refusal may come while the rest is being sent.
    let _taken = wire.send(bytes);
    match wire.until((20, 11)) {
        Err(refused @ (Refused::Channel(..) | Refused::Connection(_))) => {
            tally.refused(&refused);
            Ok(())
        }
        Err(refused) => Err(format!("{what}: {refused}")),
        Ok(()) => Err(format!("{what} were not refused")),
    }
}

/// Tables that are deep, wide, too large or lie about their lengths.
pub(crate) fn tables(site: &Site, tally: &Tally) -> Result<(), String> {
    let deep = frames::deep(10_000);
    let wide = frames::wide(6_000);
    let headers = |table: &[u8]| {
        let header = frames::header(1, 0, false, Some(table));
        [frames::publish_method(1, "amq.headers", "k", false), header].concat()
    };
    let mut lying = frames::declare_with("lying", false, &frames::wide(3));
    lying[30] ^= 0x7F;
    // Opening a channel twice is an error too: what is not refused before is refused then, and
    // counts as not refused.
    while {
        refusal(site, tally, "deep arguments", &frames::declare_with("deep", false, &deep))?;
        refusal(site, tally, "large arguments", &frames::declare_with("wide", false, &wide))?;
        refusal(site, tally, "lying arguments", &lying)?;
        refusal(site, tally, "deep headers", &headers(&deep))?;
        !site.is_over()
    } {}
    // Large headers are allowed, and every binding that looks into them does so for each message.
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare_exclusive("headers"), (50, 11))?;
    let names = [frames::short("headers"), frames::short("amq.headers"), frames::short("")].concat();
    for n in 0..100 {
        let table = [frames::short(&format!("key-{n}")), b"S".to_vec(), frames::long(b"no")].concat();
        wire.call(&frames::method(1, (50, 20), &[&[0, 0], &names, &[0], &frames::long(&table)]), (50, 21))?;
    }
    let messages = site.scale.round_trips;
    tally.tried("messages with 6000 headers against 100 bindings", messages.into());
    let message = headers(&frames::wide(6_000));
    for _message in 0..messages {
        wire.send(&message)?;
    }
    wire.call(&frames::declare_exclusive("headers"), (50, 11))?;
    Ok(wire.close()?)
}

/// Bodies that are announced and do not come, that come and do not end, and that are too large.
pub(crate) fn bodies(site: &Site, tally: &Tally) -> Result<(), String> {
    let begin = |channel| {
        let method = frames::publish_method(channel, "", "nowhere", false);
        [method, frames::header(channel, BODY_MAX, false, None), frames::frame(frames::BODY, channel, b"x")]
            .concat()
    };
    let channels = CHANNELS_MAX.min(site.scale.channels / (CONNECTIONS + 1));
    let channels = u16::try_from(channels).unwrap_or(u16::MAX);
    let mut wires = Vec::new();
    for number in 0..CONNECTIONS {
        let mut wire = site.enter(number)?;
        for channel in 2..=channels {
            wire.send(&[frames::open_channel(channel), begin(channel)].concat())?;
        }
        tally.tried("bodies of 16 MiB announced", u64::from(channels) - 1);
        wire.calls(&[], (20, 11), usize::from(channels) - 1)?;
        wires.push(wire);
    }
    unfinished(site, tally, &mut wires)?;
    drop(wires);
    let announced = |size| {
        let method = frames::publish_method(1, "", "nowhere", false);
        [method, frames::header(1, size, false, None)].concat()
    };
    for _turn in 0..20 {
        refusal(site, tally, "bodies over 16 MiB", &announced(BODY_MAX + 1))?;
        refusal(site, tally, "bodies over all measure", &announced(u64::MAX))?;
    }
    Ok(())
}

/// Sends of bodies all but the end, by turns on all channels, until so many MiB lie there.
fn unfinished(site: &Site, tally: &Tally, wires: &mut Vec<Wire>) -> Result<(), String> {
    let part = vec![b'x'; frames::PAYLOAD_MAX];
    let (mut sent, goal) = (0_u64, u64::from(site.scale.unfinished_mib) << 20);
    let mut channel = 1;
    while sent < goal && !wires.is_empty() {
        channel = if channel < 100 { channel + 1 } else { 2 };
        let mut stays = Vec::new();
        for mut wire in wires.drain(..) {
            let taken = wire.send(&frames::frame(frames::BODY, channel, &part));
            sent += part.len() as u64;
            match taken.and_then(|()| wire.next(Duration::ZERO).map(|_anything| ())) {
                Ok(()) => stays.push(wire),
                Err(refused) => tally.refused(&refused),
            }
        }
        *wires = stays;
        if site.is_lost() {
            return Err("given up".to_owned());
        }
    }
    tally.tried("MiB of bodies that do not end", sent >> 20);
    Ok(())
}

/// Frames of the smallest kinds, as many as go: heartbeats, empty messages, acknowledgements of
/// nothing.
pub(crate) fn tiny_frames(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    let beats = frames::heartbeat().repeat(20 * BATCH);
    let empty = [frames::publish_method(1, "", "nowhere", false), frames::header(1, 0, false, None)].concat();
    let empty = empty.repeat(4 * BATCH);
    // A channel is closed for an acknowledgement of nothing, and opened again.
    let ack = [frames::ack(2, 7, true), frames::method(2, (20, 41), &[]), frames::open_channel(2)].concat();
    let acks = ack.repeat(BATCH);
    wire.call(&frames::open_channel(2), (20, 11))?;
    while !site.is_over() {
        tally.tried("heartbeats", 20 * BATCH as u64);
        wire.send(&beats)?;
        tally.tried("empty messages", 4 * BATCH as u64);
        wire.send(&empty)?;
        tally.tried("acknowledgements of nothing", BATCH as u64);
        wire.send(&acks)?;
        let mut opened = 0;
        while opened < BATCH {
            match wire.next(super::wire::PATIENCE) {
                Ok(Some(frame)) if frame.ids() == Some((20, 11)) => opened += 1,
                Ok(Some(_other)) => {}
                Ok(None) => return Err("no answer".to_owned()),
                Err(refused @ Refused::Channel(..)) => tally.refused(&refused),
                Err(refused) => return Err(refused.into()),
            }
        }
    }
    Ok(wire.close()?)
}

/// Patterns that match in as many ways as is allowed, and one more; and keys that all of them have
/// to be held against.
pub(crate) fn patterns(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare_exclusive("patterns"), (50, 11))?;
    let pattern = |hashes: usize, n: u32| format!("{}.x{n}", vec!["#.a"; hashes].join("."));
    for n in 0..PATTERNS {
        tally.tried("patterns", 2);
        wire.call(&frames::bind("patterns", "amq.topic", &pattern(HASHES, n)), (50, 21))?;
        match wire.call(&frames::bind("patterns", "amq.topic", &pattern(HASHES + 1, n)), (50, 21)) {
            Ok(()) => return Err("3 words # were allowed".to_owned()),
            Err(refused @ Refused::Channel(channel, _)) => {
                tally.refused(&refused);
                wire.reopen(channel)?;
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    let mut number = 0_u32;
    while !site.is_over() {
        let mut bytes = Vec::new();
        for _turn in 0..20 {
            number += 1;
            let key = format!("{}.{number}", vec!["a"; 120].join("."));
            bytes.extend(frames::publish_method(1, "amq.topic", &key, false));
            bytes.extend(frames::header(1, 0, false, None));
        }
        tally.tried("messages with 121 words", 20);
        bytes.extend(frames::declare_exclusive("patterns"));
        wire.call(&bytes, (50, 11))?;
    }
    // It may be told something more before it goes.
    let _nothing = wire.next(SHORT_WAIT)?;
    Ok(wire.close()?)
}
