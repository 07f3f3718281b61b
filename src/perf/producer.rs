//! A producer: one connection that publishes as fast, or at the pace, that it is told.

use amq_protocol::protocol::{AMQPClass, confirm};

use crate::clock;
use crate::perf::connection::{Connection, decode, unexpected};
use crate::perf::error::PerfError;
use crate::perf::inbox::Incoming;
use crate::perf::options::{Options, portion, share};
use crate::perf::pace::{self, Pace};
use crate::perf::ring::Ring;
use crate::perf::run::{Phase, Run, Tally};
use crate::perf::window::Window;
use crate::protocol::amqp::wire::encode::Content;

/// How long the broker may leave the last publishes unconfirmed, or take no bytes, once the run is
/// over.
const PATIENCE_US: u64 = 60_000_000;
/// Content properties, flags and list: none, and delivery mode 2 (AMQP 0-9-1 section 4.2.6.1).
const TRANSIENT: &[u8] = &[0, 0];
const PERSISTENT: &[u8] = &[0x10, 0, 2];

/// A connection that publishes.
pub struct Producer<'a> {
    connection: Connection,
    ring: Ring,
    /// What is not confirmed; `None` without confirms.
    window: Option<Window>,
    pace: Option<Pace>,
    stamped: bool,
    /// Messages sent.
    sent: u64,
    /// Messages to send.
    limit: u64,
    run: &'a Run,
    tally: &'a Tally,
}

impl<'a> Producer<'a> {
    /// Connects producer number `index`.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub fn open(
        options: &Options,
        queues: &[String],
        index: usize,
        run: &'a Run,
        tally: &'a Tally,
    ) -> Result<Self, PerfError> {
        let mut connection = Connection::open(&options.uri, &format!("leveret perf producer {index}"))?;
        let body: Vec<u8> = (b'a'..=b'z').cycle().take(options.size).collect();
        let messages: Vec<_> = share(queues, index, options.producers)
            .into_iter()
            .map(|queue| Content {
                exchange: options.exchange.as_bytes(),
                routing_key: options.key_for(queue).as_bytes(),
                properties: if options.persistent { PERSISTENT } else { TRANSIENT },
                body: &body,
            })
            .collect();
        let ring = Ring::new(&messages, connection.frame_max)?;
        if options.confirm > 0 {
            let select = confirm::Select { nowait: false };
            connection.call(&AMQPClass::Confirm(confirm::AMQPMethod::Select(select)))?;
        }
        let (number, producers) = (index as u64, options.producers as u64);
        Ok(Self {
            connection,
            ring,
            window: (options.confirm > 0).then(|| Window::new(options.confirm)),
            pace: options.rate.map(|rate| Pace { start_us: 0, rate, index: number, share: producers }),
            stamped: options.latency,
            sent: 0,
            limit: options.messages.map_or(u64::MAX, |total| portion(total, number, producers)),
            run,
            tally,
        })
    }

    /// Publishes until the run or the number of messages ends it.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub fn run(mut self, start_us: u64) -> Result<(), PerfError> {
        if let Some(pace) = &mut self.pace {
            pace.start_us = start_us;
        }
        self.publish()?;
        if self.window.is_some() {
            self.await_confirms()?;
        } else {
            // Published is what the broker took, not what the socket took.
            self.connection.finish_channel()?;
            self.tally.touch();
        }
        self.connection.close()
    }

    fn publish(&mut self) -> Result<(), PerfError> {
        while self.sent < self.limit && !self.run.reached(Phase::Draining) {
            let free = self.window.as_ref().map_or(u64::MAX, Window::free).min(self.limit - self.sent);
            if free == 0 {
                self.connection.read()?;
                self.hear()?;
                self.connection.check_blocked(0)?;
                continue;
            }
            let due = self.pace.map_or(u64::MAX, |pace| pace.due(clock::mono_us()).saturating_sub(self.sent));
            match self.pace {
                Some(pace) if due == 0 => pace::pause_until(pace.deadline_us(self.sent)),
                _ => self.send(free.min(due))?,
            }
            // With a window that fills up, what the broker says is read once it is full.
            if self.window.is_none() || self.pace.is_some() {
                self.connection.read_available()?;
                self.hear()?;
            }
        }
        Ok(())
    }

    /// Sends one write's worth of messages, at most `room` and at least one.
    fn send(&mut self, room: u64) -> Result<(), PerfError> {
        let stamp = self.stamped.then(|| self.run.stamp(clock::mono_us()));
        let (count, mut rest) = self.ring.take(room, stamp);
        if let Some(window) = &mut self.window {
            window.publish(count);
        }
        self.sent += count;
        let mut stuck_since_us = clock::mono_us();
        loop {
            let written = self.connection.write(rest)?;
            rest = &rest[written..];
            if rest.is_empty() {
                break;
            }
            // The broker takes no more for now. Perhaps it waits for us to take what it has to say.
            self.connection.read_available()?;
            hear(&mut self.connection, &mut self.window, self.tally)?;
            self.connection.check_blocked(0)?;
            let now_us = clock::mono_us();
            if written > 0 || !self.run.reached(Phase::Draining) {
                stuck_since_us = now_us;
            } else if now_us > stuck_since_us + PATIENCE_US || self.run.reached(Phase::Over) {
                return Err(PerfError::TimedOut("it takes no more messages"));
            }
        }
        if self.window.is_none() {
            self.tally.add(count);
        }
        Ok(())
    }

    fn await_confirms(&mut self) -> Result<(), PerfError> {
        let mut deadline_us = clock::mono_us() + PATIENCE_US;
        while self.window.as_ref().is_some_and(|window| window.outstanding() > 0)
            && !self.run.reached(Phase::Over)
        {
            if self.connection.read()? {
                self.hear()?;
                deadline_us = clock::mono_us() + PATIENCE_US;
            }
            self.connection.check_blocked(0)?;
            if clock::mono_us() > deadline_us {
                return Err(PerfError::TimedOut("the last publishes are not confirmed"));
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<(), PerfError> {
        hear(&mut self.connection, &mut self.window, self.tally)
    }
}

/// Takes what the broker said to a producer.
fn hear(connection: &mut Connection, window: &mut Option<Window>, tally: &Tally) -> Result<(), PerfError> {
    let (mut confirmed, mut refused) = (0, 0);
    while let Some(incoming) = connection.inbox.next()? {
        match (incoming, &mut *window) {
            (Incoming::Confirm { tag, multiple, refused: false }, Some(window)) => {
                confirmed += window.settle(tag, multiple)?;
            }
            (Incoming::Confirm { tag, multiple, refused: true }, Some(window)) => {
                refused += window.settle(tag, multiple)?;
            }
            (Incoming::Method(payload), _) => {
                let method = decode(payload)?;
                connection.unasked(&method)?;
            }
            _ => return Err(unexpected("something to say to a producer")),
        }
    }
    tally.add(confirmed);
    tally.refuse(refused);
    Ok(())
}
