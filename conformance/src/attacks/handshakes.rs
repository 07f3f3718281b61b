//! Attacks on the way in: clients that never come in, that come by the thousand, that come and go,
//! that talk nonsense.

use super::frames;
use super::site::{Site, reset_at_end};
use super::tally::Tally;
use super::wire::{Refused, Wire};
use crate::clock;
use crate::faults::dice::Dice;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Half-open handshakes that each address has: more than its share, and few addresses, so that some
/// of the whole is left for others.
const HALF_OPEN_EACH: u32 = 1500;
/// Between two bytes of one.
const BYTE_EVERY: Duration = Duration::from_millis(200);
/// Connections beyond what there may be.
const BEYOND: u32 = 100;
/// Descriptors that broker and attacker need beside those of connections.
const RESERVE: u32 = 500;
/// Threads that connect at the same time.
const THREADS: u32 = 4;
/// The most that a nonsense client says.
const NONSENSE_BYTES: u64 = 4000;

/// A client that sends its handshake byte by byte.
struct HalfOpen {
    socket: TcpStream,
    since: Instant,
    /// Bytes that it has sent.
    sent: usize,
}

impl HalfOpen {
    /// Sends one more byte of `says`; whether the broker still listens.
    fn go_on(&mut self, says: &[u8]) -> bool {
        let still = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
        let heard = match self.socket.read(&mut [0; 1024]) {
            Ok(read) => read > 0,
            Err(error) => still(&error),
        };
        let byte = says[self.sent % says.len()];
        self.sent += 1;
        heard && self.socket.write(&[byte]).as_ref().map_or_else(still, |_written| true)
    }
}

/// All of them go on; those who were ended are counted and gone.
fn go_on_all(open: &mut Vec<HalfOpen>, says: &[u8], tally: &Tally, timeout: Duration) {
    open.retain_mut(|client| {
        let stays = client.go_on(says);
        if !stays {
            let soon = client.since.elapsed() < timeout * 9 / 10;
            tally.refused_as(if soon { "closed at once" } else { "closed when its time was up" }, 1);
        }
        stays
    });
}

/// Thousands of handshakes, byte by byte, until the broker has ended the last one.
pub(crate) fn half_open(site: &Site, tally: &Tally) -> Result<(), String> {
    let timeout = Duration::from_secs(site.scale.handshake_timeout_s.into());
    // The largest start-ok that there may be, which never ends.
    let says = [frames::PROTOCOL.to_vec(), vec![1, 0, 0, 0, 0, 0xFF, 0], vec![0; 4096]].concat();
    let mut open = Vec::new();
    let addresses = (site.scale.half_open / HALF_OPEN_EACH).max(1);
    for number in 0..site.scale.half_open.min(site.sockets_max.saturating_sub(RESERVE)) {
        tally.tried("handshakes", 1);
        let socket = site.socket(number % addresses);
        match socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) {
            Ok(socket) => open.push(HalfOpen { socket, since: clock::now(), sent: 0 }),
            Err(_not_even) => tally.refused(&Refused::Gone),
        }
        if number.is_multiple_of(250) {
            go_on_all(&mut open, &says, tally, timeout);
        }
    }
    let limit = timeout * 2 + Duration::from_secs(10);
    let began = clock::now();
    while !open.is_empty() {
        if site.is_lost() || began.elapsed() > limit {
            return Err(format!("{} half-open handshakes are still there after {limit:?}", open.len()));
        }
        go_on_all(&mut open, &says, tally, timeout);
        site.pause(BYTE_EVERY);
    }
    Ok(())
}

/// As many connections as there may be, all at once, and some more.
pub(crate) fn connections(site: &Site, tally: &Tally) -> Result<(), String> {
    // The probe is one of them, and does not count here.
    let max = site.scale.connections - 1;
    let here = max.min(site.sockets_max.saturating_sub(RESERVE));
    if here < max {
        tally.note(format!("this machine allows {} descriptors: {here} connections", site.sockets_max));
    }
    let mut held = Vec::new();
    for number in 0..here {
        held.push(site.enter(number % 16)?);
        tally.tried("connections", 1);
    }
    tally.note(format!("{} held at a time", held.len()));
    if here == max {
        for number in 0..BEYOND {
            tally.tried("connections", 1);
            match site.open(number % 16) {
                Ok(_more) => return Err(format!("connection {} was let in", max + 1)),
                Err(refused) => tally.refused(&refused),
            }
        }
    }
    // Half of them in order, half of them not.
    for (number, wire) in held.into_iter().enumerate() {
        if number % 2 == 0 {
            wire.close()?;
        }
    }
    Ok(())
}

/// Clients that come and go as fast as they can: in order, without a word, by a reset, in the
/// middle of something.
pub(crate) fn connection_churn(site: &Site, tally: &Tally) -> Result<(), String> {
    thread::scope(|scope| {
        let churns: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || churn(site, tally, thread))).collect();
        churns
            .into_iter()
            .try_for_each(|churn| churn.join().map_err(|_panic| "a thread failed".to_owned())?)
    })
}

fn churn(site: &Site, tally: &Tally, thread: u32) -> Result<(), String> {
    let mut number = thread;
    while !site.is_over() {
        number += THREADS;
        let from = number % 64;
        tally.tried("connections", 1);
        if number / THREADS % 4 == 3 {
            let socket = site.socket(from).map_err(|why| format!("cannot connect: {why}"))?;
            reset_at_end(&socket).map_err(|why| why.to_string())?;
            let mut silent = Wire::silent(socket);
            silent.send(&frames::handshake()[..usize::try_from(number % 40).unwrap_or_default()])?;
            continue;
        }
        let mut wire = site.enter(from)?;
        match number / THREADS % 4 {
            0 => wire.close()?,
            1 => wire.call(&frames::declare_exclusive(""), (50, 11))?,
            _ => {
                reset_at_end(&wire.socket().map_err(|why| why.to_string())?)
                    .map_err(|why| why.to_string())?;
                wire.send(&frames::publish("nowhere", b"x", false)[..30])?;
            }
        }
    }
    Ok(())
}

/// Random bytes, and right dialogues with random damage.
pub(crate) fn garbage(site: &Site, tally: &Tally) -> Result<(), String> {
    tally.note(format!("seed {}", site.seed));
    thread::scope(|scope| {
        let all: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || nonsense(site, tally, thread))).collect();
        all.into_iter().try_for_each(|one| one.join().map_err(|_panic| "a thread failed".to_owned())?)
    })
}

fn nonsense(site: &Site, tally: &Tally, thread: u32) -> Result<(), String> {
    let mut dice = Dice::new(site.seed, thread.into());
    while !site.is_over() {
        let socket = site.socket(thread * 16 + u32::try_from(dice.between(0, 15)).unwrap_or_default());
        let socket = socket.map_err(|why| format!("cannot connect: {why}"))?;
        reset_at_end(&socket).map_err(|why| why.to_string())?;
        let mut wire = Wire::silent(socket);
        let (what, bytes) = match dice.between(0, 3) {
            0 => ("random bytes", random(&mut dice)),
            1 => ("random bytes for a handshake", [frames::PROTOCOL.to_vec(), random(&mut dice)].concat()),
            2 => ("random frames", random_frames(&mut dice)),
            _ => ("damaged dialogues", damaged(&mut dice)),
        };
        tally.tried(what, 1);
        // Whether all of it is taken is the broker's to decide.
        let _taken = wire.send(&bytes);
        let _taken = wire.send(&frames::close());
        loop {
            match wire.next(Duration::from_millis(50)) {
                Ok(Some(frame)) if frame.ids() == Some((10, 51)) => break,
                Ok(Some(_other)) => {}
                Ok(None) => break,
                Err(refused) => {
                    tally.refused(&refused);
                    break;
                }
            }
        }
    }
    Ok(())
}

fn random(dice: &mut Dice) -> Vec<u8> {
    (0..dice.between(1, NONSENSE_BYTES)).map(|_byte| dice.any().to_le_bytes()[0]).collect()
}

/// Frames that are right by themselves, of methods that there are, with arguments that are
/// anything.
fn random_frames(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = frames::handshake();
    for _frame in 0..dice.between(1, 20) {
        let class = dice.pick(&[10, 20, 30, 40, 50, 60, 85, 90, 100]);
        let method = dice.pick(&[10, 11, 20, 21, 30, 40, 41, 50, 60, 70, 80, 90, 100, 110, 120]);
        let mut payload = random(dice);
        payload.truncate(usize::try_from(dice.between(0, 60)).unwrap_or_default());
        let channel = dice.pick(&[0, 1, 1, 1, 2, 65535]);
        bytes.extend(match dice.between(0, 5) {
            0 => frames::frame(dice.pick(&[0, 2, 3, 4, 8, 255]), channel, &payload),
            _ => frames::method(channel, (class, method), &[&payload]),
        });
    }
    bytes
}

fn damaged(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = [
        frames::handshake(),
        frames::declare_exclusive(""),
        frames::publish_method(1, "amq.headers", "key", true),
        frames::header(1, 5, true, Some(&frames::deep(10))),
        frames::frame(frames::BODY, 1, b"hello"),
        frames::consume("probe-not", "tag"),
        frames::ack(1, 1, true),
    ]
    .concat();
    for _byte in 0..dice.between(1, 5) {
        let at = usize::try_from(dice.between(0, bytes.len() as u64 - 1)).unwrap_or_default();
        bytes[at] = dice.any().to_le_bytes()[0];
    }
    bytes
}
