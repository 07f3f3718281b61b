//! A normal client beside the attacks: it publishes, waits for the confirm and for the delivery,
//! and acknowledges. Beside those that would have others wait it also declares, binds, unbinds and
//! deletes.

use super::frames;
use super::site::Site;
use super::wire::{PATIENCE, Wire};
use crate::clock;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Between two round trips while an attack goes on.
const PAUSE: Duration = Duration::from_millis(20);

/// Where its messages go.
const QUEUE: &str = "probe";

/// How long round trips took, in microseconds, in order of length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    /// Half of them took no longer.
    pub(crate) fn median_us(&self) -> u64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The longest.
    pub(crate) fn worst_us(&self) -> u64 {
        self.0.last().copied().unwrap_or_default()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many took longer than that.
    pub(crate) fn later_than(&self, us: u64) -> usize {
        self.0.len() - self.0.partition_point(|&time| time <= us)
    }

    /// Of round trips that took so long.
    pub(crate) fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self(times)
    }
}

/// A well-behaved client that runs beside an attack and measures how long it waits.
#[derive(Debug)]
pub(crate) struct Probe {
    wire: Wire,
    /// Messages so far; each carries its number.
    number: u64,
}

impl Probe {
    /// A client that comes now.
    ///
    /// # Errors
    /// It is not let in, or its queue is not as it left it.
    pub(crate) fn new(site: &Site) -> Result<Self, String> {
        let socket = site.normal_socket().map_err(|why| format!("a normal client cannot connect: {why}"))?;
        let failed = |refused| format!("a normal client is refused: {refused}");
        let mut wire = Wire::open(socket).map_err(failed)?;
        wire.call(&frames::declare(QUEUE, true), (50, 11)).map_err(failed)?;
        wire.call(&frames::select_confirm(), (85, 11)).map_err(failed)?;
        wire.call(&frames::consume(QUEUE, "probe"), (60, 21)).map_err(failed)?;
        Ok(Self { wire, number: 0 })
    }

    /// So many round trips.
    ///
    /// # Errors
    /// A message is not confirmed, does not come, or another one comes.
    pub(crate) fn round_trips(&mut self, count: u32) -> Result<Times, String> {
        (0..count).map(|_trip| self.round_trip()).collect::<Result<_, _>>().map(Times::of)
    }

    /// Round trips until `stop` is dropped, and the answers to what changes queues and bindings, if
    /// that is asked for.
    ///
    /// # Errors
    /// As [`Probe::round_trips`].
    pub(crate) fn round_trips_until(
        &mut self,
        stop: &Receiver<()>,
        with_changes: bool,
    ) -> Result<(Times, Times), String> {
        let (mut times, mut changes) = (vec![self.round_trip()?], Vec::new());
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(PAUSE) {
            times.push(self.round_trip()?);
            if with_changes {
                changes.extend(self.change()?);
            }
        }
        Ok((Times::of(times), Times::of(changes)))
    }

    /// A queue comes and goes, with a binding; how long each answer took.
    fn change(&mut self) -> Result<[u64; 4], String> {
        const NAME: &str = "probe-change";
        let mut call = |bytes: Vec<u8>, ids| {
            let began = clock::now();
            self.wire
                .call(&bytes, ids)
                .map_err(|refused| format!("a normal client was refused: {refused}"))?;
            Ok::<_, String>(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
        };
        Ok([
            call(frames::declare_exclusive(NAME), (50, 11))?,
            call(frames::bind(NAME, "amq.topic", "probe.*"), (50, 21))?,
            call(frames::unbind(NAME, "amq.topic", "probe.*"), (50, 51))?,
            call(frames::delete(NAME), (50, 41))?,
        ])
    }

    /// Goes in order; how many round trips there were.
    ///
    /// # Errors
    /// The broker does not let it go.
    pub(crate) fn end(self) -> Result<u64, String> {
        self.wire.close()?;
        Ok(self.number)
    }

    fn round_trip(&mut self) -> Result<u64, String> {
        let began = clock::now();
        self.number += 1;
        let body = self.number.to_be_bytes();
        let failed = |refused| format!("a normal client was ended: {refused}");
        self.wire.send(&frames::publish(QUEUE, &body, true)).map_err(failed)?;
        let (mut confirmed, mut delivered, mut tag) = (false, false, 0);
        while !(confirmed && delivered) {
            let Some(frame) = self.wire.next(PATIENCE).map_err(failed)? else {
                return Err(format!(
                    "a message of a normal client: confirmed {confirmed}, delivered {delivered}, nothing for {PATIENCE:?}"
                ));
            };
            match frame.ids() {
                Some((60, 80)) => confirmed = frame.settled().is_some_and(|(tag, _)| tag == self.number),
                Some((60, 60)) => tag = frame.delivery_tag().unwrap_or_default(),
                None if frame.kind == frames::BODY => {
                    if frame.payload != body {
                        return Err("a normal client got a message that it had acknowledged".to_owned());
                    }
                    delivered = true;
                }
                _ => {}
            }
        }
        self.wire.send(&frames::ack(1, tag, false)).map_err(failed)?;
        Ok(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}
