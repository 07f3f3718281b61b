//! Attacks by silence: clients that do not read, and clients that do not acknowledge.

use super::frames;
use super::site::{Site, take_little};
use super::tally::Tally;
use super::wire::{Refused, Wire};
use crate::clock;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Where the messages are that are not read.
const QUEUE: &str = "deaf";
/// How many for each who consumes them, and how large: more than is dealt to one ahead of what
/// it takes, with what the system takes in its stead.
const BACKLOG: (u32, usize) = (400, 16 * 1024);
/// So often each of them says what it says between two looks.
const TURNS: u32 = 200;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long nothing comes before nothing more will come.
const QUIET: Duration = Duration::from_millis(700);

/// A client that goes on saying one thing, and does not hear.
struct Deaf {
    socket: TcpStream,
    says: Vec<u8>,
    /// How much of it is said.
    said: usize,
}

impl Deaf {
    fn new(wire: &Wire, says: Vec<u8>) -> std::io::Result<Self> {
        let socket = wire.socket()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, says, said: 0 })
    }

    /// Says as much as is taken at once, but not for ever; whether the broker is still there.
    fn go_on(&mut self) -> bool {
        for _turn in 0..TURNS {
            match self.socket.write(&self.says[self.said..]) {
                Ok(written) => self.said = (self.said + written) % self.says.len(),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// Clients that do not read what they consume, what is returned, what is confirmed, what they asked
/// for: until each is closed.
pub(crate) fn deaf(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut owner = site.enter(0)?;
    owner.call(&frames::declare_exclusive("deaf-own"), (50, 11))?;
    owner.call(&frames::declare(QUEUE, false), (50, 11))?;
    for _message in 0..BACKLOG.0 * site.scale.deaf {
        owner.send(&frames::publish(QUEUE, &vec![b'x'; BACKLOG.1], false))?;
    }
    owner.call(&frames::declare(QUEUE, false), (50, 11))?;
    let returned =
        [frames::publish_method(1, "", "nowhere", true), frames::header(1, 0, false, None)].concat();
    let mut clients = Vec::new();
    for number in 0..site.scale.deaf {
        for (what, first, says) in [
            ("that consume", frames::consume(QUEUE, ""), frames::heartbeat()),
            ("with returns", Vec::new(), returned.repeat(100)),
            ("with returns and confirms", frames::select_confirm(), returned.repeat(100)),
            ("that ask", Vec::new(), frames::prefetch(1).repeat(100)),
        ] {
            let socket = site.socket(number).map_err(|why| why.to_string())?;
            take_little(&socket).map_err(|why| why.to_string())?;
            let mut wire = Wire::open(socket)?;
            wire.send(&first)?;
            clients.push(Deaf::new(&wire, says).map_err(|why| why.to_string())?);
            tally.tried(what, 1);
        }
    }
    // At most twice the write timeout, and what the system keeps to send.
    let limit = Duration::from_secs(u64::from(site.scale.write_timeout_s)) * 3 + Duration::from_secs(20);
    let began = clock::now();
    while !clients.is_empty() {
        if site.is_lost() || began.elapsed() > limit {
            return Err(format!(
                "{} clients that do not read are still there after {limit:?}",
                clients.len()
            ));
        }
        let before = clients.len();
        clients.retain_mut(Deaf::go_on);
        tally.refused_as("closed for not reading", (before - clients.len()) as u64);
        site.pause(LOOK_EVERY);
    }
    owner.call(&frames::delete(QUEUE), (50, 41))?;
    Ok(owner.close()?)
}

/// Consumers without a prefetch that do not acknowledge, and basic.get without end.
pub(crate) fn unacked(site: &Site, tally: &Tally) -> Result<(), String> {
    let max = u64::from(site.scale.unacked);
    let mut owner = site.enter(0)?;
    owner.call(&frames::declare("unacked", false), (50, 11))?;
    let messages = 2 * max + max / 2;
    let message = frames::publish("unacked", b"unacknowledged", true);
    for _batch in 0..messages / 100 {
        owner.send(&message.repeat(100))?;
    }
    owner.call(&frames::declare("unacked", false), (50, 11))?;
    let mut consumer = site.enter(1)?;
    consumer.call(&frames::consume("unacked", ""), (60, 21))?;
    let mut dealt = 0_u64;
    while let Some(frame) = consumer.next(QUIET)? {
        dealt += u64::from(frame.kind == frames::BODY);
    }
    tally.tried("deliveries", dealt);
    if dealt > max {
        return Err(format!("{dealt} messages are unacknowledged where {max} may be"));
    }
    tally.note(format!("{messages} were there, {dealt} were dealt"));
    let mut getter = site.enter(2)?;
    let refused = get_until_refused(&mut getter, tally, max)?;
    tally.refused(&refused);
    // What both hold comes back, and goes with the queue.
    drop((consumer, getter));
    owner.call(&frames::delete("unacked"), (50, 41))?;
    Ok(owner.close()?)
}

fn get_until_refused(getter: &mut Wire, tally: &Tally, max: u64) -> Result<Refused, String> {
    let gets = frames::get("unacked").repeat(500);
    for _batch in 0..max / 500 + 1 {
        tally.tried("gets", 500);
        getter.send(&gets)?;
        let mut got = 0;
        while got < 500 {
            match getter.next(super::wire::PATIENCE) {
                Ok(Some(frame)) => got += u32::from(frame.kind == frames::BODY),
                Ok(None) => return Err("no answer".to_owned()),
                Err(refused @ Refused::Channel(..)) => return Ok(refused),
                Err(refused) => return Err(refused.into()),
            }
        }
    }
    Err(format!("more than {max} messages were fetched and not acknowledged"))
}
