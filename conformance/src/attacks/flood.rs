//! Many publishers that never wait against a slow consumer: the broker's memory stays flat, and
//! every confirmed message comes.
//!
//! A body is its publisher's number (u32) and its own (u64, from 1, big-endian), and filled up. One
//! consumer gets all of them, so each publisher's come in order, without a gap and once.

use super::frames;
use super::gauge;
use super::site::Site;
use super::tally::Tally;
use super::wire::{PATIENCE, Refused, Wire};
use crate::clock;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const QUEUE: &str = "flood";
/// Bytes of a body.
const BODY_BYTES: usize = 128;
/// Bytes of a message of the warm-up that fills whole pages of a store's cache.
const LARGE_BYTES: usize = 64 * 1024;
/// Messages that are sent at once.
const BATCH: u64 = 100;
/// A slow consumer takes so many, so often.
const SLOW: (u64, Duration) = (100, Duration::from_millis(100));
/// Its prefetch.
const PREFETCH: u16 = 5_000;
/// Messages between its acknowledgements once it is slow no longer.
const ACK_EVERY: u64 = 1_000;
/// Memory is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So much more may be resident in the second half than in the first.
const FLAT_KIB: u64 = 16 * 1024;
/// A flood of less time has not been everywhere in its first half.
const FLAT_AFTER: Duration = Duration::from_secs(20);
/// All that is published in a full flood, so that it does not fill the attacker's disk: as fast as
/// it goes, slice by slice of the time.
const MESSAGES_MAX: u64 = 40_000_000;
/// Slices of the flood's time; in each its share of the messages is published.
const SLICES: u64 = 30;

/// What publishers and consumer know of each other.
#[derive(Debug, Default)]
struct Stand {
    /// Publishers have stopped.
    drains: AtomicBool,
    published: AtomicU64,
    confirmed: AtomicU64,
    consumed: AtomicU64,
}

/// A load that no client means any harm by: what the broker's caches keep for good, they keep from
/// here on.
///
/// # Errors
/// The broker does not take it.
pub(crate) fn warm_up(site: &Site) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare(QUEUE, true), (50, 11))?;
    let batch = frames::publish(QUEUE, &[0; BODY_BYTES], true).repeat(1000);
    for _batch in 0..site.scale.warm_up / 1000 {
        wire.send(&batch)?;
    }
    let large = frames::publish(QUEUE, &[0; LARGE_BYTES], true);
    for _message in 0..site.scale.warm_up_large {
        wire.send(&large)?;
    }
    wire.call(&frames::delete(QUEUE), (50, 41))?;
    Ok(wire.close()?)
}

/// Publishes faster than one slow consumer takes, and checks memory and every confirmed message.
pub(crate) fn flood(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut owner = site.enter(0)?;
    owner.call(&frames::declare(QUEUE, true), (50, 11))?;
    let stand = Stand::default();
    let (flat, lost) = thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(site, &stand));
        let watch = scope.spawn(|| watch(site, &stand));
        let producers: Vec<_> = (0..site.scale.producers)
            .map(|number| {
                let stand = &stand;
                scope.spawn(move || produce(site, stand, number))
            })
            .collect();
        let sent: Result<Vec<u64>, String> = producers
            .into_iter()
            .map(|producer| producer.join().map_err(|_panic| "a publisher failed".to_owned())?)
            .collect();
        stand.drains.store(true, Ordering::Release);
        let flat = watch.join().map_err(|_panic| "the watch failed".to_owned())?;
        let came = consumer.join().map_err(|_panic| "the consumer failed".to_owned())?;
        Ok::<_, String>((flat, sent.and_then(|sent| compare(&sent, &came?))))
    })?;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    tally.tried("messages published", count(&stand.published));
    tally.note(format!("{} confirmed, {} consumed", count(&stand.confirmed), count(&stand.consumed)));
    lost?;
    tally.note("every one consumed once and in order".to_owned());
    owner.call(&frames::delete(QUEUE), (50, 41))?;
    owner.close()?;
    let (first, second) = flat;
    tally.note(format!(
        "resident in the first half {} MiB at the most, in the second {}",
        first >> 10,
        second >> 10
    ));
    if site.duration() >= FLAT_AFTER && second > first + FLAT_KIB {
        return Err(format!("memory is not flat: {first} KiB in the first half, {second} KiB in the second"));
    }
    Ok(())
}

/// All that was sent was confirmed, and came: nothing else is right after a flood that nothing went
/// wrong in.
fn compare(sent: &[u64], came: &[u64]) -> Result<(), String> {
    for (number, (sent, came)) in sent.iter().zip(came).enumerate() {
        if sent != came {
            return Err(format!("LOST: publisher {number} had {sent} messages confirmed, {came} came"));
        }
    }
    Ok(())
}

/// The most that was resident while the flood went on, in its first and in its second half, in KiB.
fn watch(site: &Site, stand: &Stand) -> (u64, u64) {
    let began = clock::now();
    let (mut first, mut second) = (0, 0);
    while !stand.drains.load(Ordering::Acquire) && !site.is_lost() {
        let resident = gauge::look(site.process).map_or(0, |gauge| gauge.resident_kib);
        let half = if began.elapsed() * 2 < site.duration() { &mut first } else { &mut second };
        *half = resident.max(*half);
        site.pause(LOOK_EVERY);
    }
    (first, second)
}

/// Publishes until time is up; how many messages, all of which are confirmed.
fn produce(site: &Site, stand: &Stand, number: u32) -> Result<u64, String> {
    let mut wire = site.enter(1 + number)?;
    wire.call(&frames::select_confirm(), (85, 11))?;
    let socket = wire.socket().map_err(|why| why.to_string())?;
    let done = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        let reader = scope.spawn(|| hear_confirms(&mut wire, stand, &done));
        let sent = pour(socket, site, stand, number);
        // After a failure there is nothing to wait for.
        done.store(*sent.as_ref().unwrap_or(&0), Ordering::Release);
        reader.join().map_err(|_panic| "a reader failed".to_owned())??;
        sent
    })
}

fn pour(mut socket: TcpStream, site: &Site, stand: &Stand, number: u32) -> Result<u64, String> {
    let mut sent = 0;
    let mut body = vec![0; BODY_BYTES];
    body[..4].copy_from_slice(&number.to_be_bytes());
    let message = frames::publish(QUEUE, &body, true);
    // The number lies behind the publisher's, before the rest of the body and the end of the frame.
    let at = message.len() - 1 - BODY_BYTES + 4;
    let mut batch = message.repeat(usize::try_from(BATCH).unwrap_or(1));
    let began = clock::now();
    let slice = site.duration().max(Duration::from_secs(1)) / u32::try_from(SLICES).unwrap_or(1);
    while !site.is_over() {
        let slices = u64::try_from(began.elapsed().as_nanos() / slice.as_nanos()).unwrap_or(SLICES) + 1;
        if stand.published.load(Ordering::Relaxed) >= MESSAGES_MAX / SLICES * slices {
            site.pause(SLOW.1);
            continue;
        }
        for part in batch.chunks_mut(message.len()) {
            sent += 1;
            part[at..at + 8].copy_from_slice(&u64::to_be_bytes(sent));
        }
        socket.write_all(&batch).map_err(|why| format!("publisher {number} was ended: {why}"))?;
        stand.published.fetch_add(BATCH, Ordering::Relaxed);
    }
    Ok(sent)
}

/// Counts confirms until as many are there as `done` says in the end.
fn hear_confirms(wire: &mut Wire, stand: &Stand, done: &AtomicU64) -> Result<(), String> {
    // All up to here, and some beyond.
    let (mut up_to, mut beyond) = (0, BTreeSet::new());
    let mut quiet = Duration::ZERO;
    while up_to < done.load(Ordering::Acquire) {
        let Some(frame) = wire.next(LOOK_EVERY)? else {
            quiet += LOOK_EVERY;
            if quiet > PATIENCE {
                return Err(format!("nothing was confirmed for {PATIENCE:?} after message {up_to}"));
            }
            continue;
        };
        quiet = Duration::ZERO;
        let Some((tag, multiple)) = frame.settled().filter(|_| frame.ids() == Some((60, 80))) else {
            return Err(format!("a publisher was told {:?} where a confirm is due", frame.ids()));
        };
        let before = up_to;
        if multiple {
            up_to = up_to.max(tag);
        } else {
            beyond.insert(tag);
        }
        beyond.retain(|&tag| tag > up_to);
        while beyond.remove(&(up_to + 1)) {
            up_to += 1;
        }
        stand.confirmed.fetch_add(up_to - before, Ordering::Relaxed);
    }
    Ok(())
}

/// Takes messages slowly while the flood goes on, and fast until the last; how many came of each
/// publisher.
fn consume(site: &Site, stand: &Stand) -> Result<Vec<u64>, String> {
    let mut wire = site.enter(0)?;
    wire.send(&frames::prefetch(PREFETCH))?;
    wire.send(&frames::consume(QUEUE, ""))?;
    let mut came = vec![0_u64; usize::try_from(site.scale.producers).unwrap_or_default()];
    let (mut consumed, mut tag, mut acknowledged) = (0_u64, 0, 0);
    loop {
        let drains = stand.drains.load(Ordering::Acquire);
        if drains && consumed == stand.published.load(Ordering::Acquire) {
            if acknowledged < tag {
                wire.send(&frames::ack(1, tag, true))?;
            }
            wire.close()?;
            return Ok(came);
        }
        let every = if drains { ACK_EVERY } else { SLOW.0 };
        let before = consumed;
        match wire.next(if drains { PATIENCE } else { LOOK_EVERY }) {
            Ok(Some(frame)) if frame.ids() == Some((60, 60)) => {
                tag = frame.delivery_tag().unwrap_or_default()
            }
            Ok(Some(frame)) if frame.kind == frames::BODY => {
                take(&mut came, frame.payload)?;
                consumed += 1;
                stand.consumed.store(consumed, Ordering::Relaxed);
            }
            Ok(Some(_other)) => {}
            Ok(None) if !drains => {}
            Ok(None) | Err(Refused::Silence) => return Ok(came),
            Err(refused) => return Err(format!("the consumer was ended: {refused}")),
        }
        if consumed > before && consumed.is_multiple_of(every) {
            wire.send(&frames::ack(1, tag, true))?;
            acknowledged = tag;
            if !drains {
                site.pause(SLOW.1);
            }
        }
        if site.is_lost() {
            return Err("given up".to_owned());
        }
    }
}

/// Counts a message, which has to be the next one of its publisher.
fn take(came: &mut [u64], body: &[u8]) -> Result<(), String> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    let (publisher, message) =
        (number(body.get(..4).unwrap_or_default()), number(body.get(4..12).unwrap_or_default()));
    let last = usize::try_from(publisher).ok().and_then(|publisher| came.get_mut(publisher));
    let last = last.ok_or_else(|| format!("a message of publisher {publisher} came, who does not exist"))?;
    if message != *last + 1 {
        return Err(format!("LOST or twice: message {message} of publisher {publisher} came after {last}"));
    }
    *last = message;
    Ok(())
}
