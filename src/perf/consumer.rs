//! A consumer: one connection that takes deliveries, or polls for messages, and acknowledges them.

use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::FieldTable;

use crate::clock;
use crate::perf::connection::{CHANNEL, Connection, decode, short, unexpected};
use crate::perf::error::PerfError;
use crate::perf::histogram::Histogram;
use crate::perf::inbox::{Incoming, STAMP_BYTES};
use crate::perf::options::{Options, share};
use crate::perf::pace;
use crate::perf::run::{Phase, Run, Tally};
use crate::protocol::amqp::wire::encode;

/// How long a poller waits when no queue has anything: it should load the broker with messages, not
/// with questions.
const EMPTY_PAUSE_US: u64 = 1_000;

/// How long the broker may take to answer the first poll.
const FIRST_POLL_MAX_US: u64 = 60_000_000;

/// How long the broker may take no acknowledgements once the run is over.
const SETTLE_MAX_US: u64 = 5_000_000;

/// A connection that consumes.
pub struct Consumer<'a> {
    connection: Connection,
    /// The polls of `--get`, encoded, one a queue; empty when consuming.
    polls: Vec<Vec<u8>>,
    /// Messages that came before the run began.
    early: u64,
    settling: Settling,
    latency: Option<Histogram>,
    run: &'a Run,
    tally: &'a Tally,
}

/// What is to be acknowledged.
#[derive(Debug, Default)]
struct Settling {
    /// Acknowledge when so many are not; 0 is never.
    every: u64,
    unsettled: u64,
    last_tag: u64,
    /// Encoded acknowledgements, and polls, not yet written.
    outbox: Vec<u8>,
}

impl<'a> Consumer<'a> {
    /// Connects consumer number `index`. Deliveries may begin at once. The answer to what it asks
    /// for first is awaited: nobody has published anything when the broker refuses it.
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
        let mut connection = Connection::open(&options.uri, &format!("leveret perf consumer {index}"))?;
        let own = share(queues, index, options.consumers);
        let no_ack = options.ack == 0;
        let mut polls = Vec::new();
        if options.get {
            for queue in own {
                let get = basic::Get { queue: short(queue)?, no_ack };
                let mut poll = Vec::new();
                encode::method(&mut poll, CHANNEL, &AMQPClass::Basic(basic::AMQPMethod::Get(get)));
                polls.push(poll);
            }
        } else {
            if options.prefetch > 0 {
                let qos = basic::Qos { prefetch_count: options.prefetch, global: false };
                connection.call(&AMQPClass::Basic(basic::AMQPMethod::Qos(qos)))?;
            }
            for (number, queue) in own.into_iter().enumerate() {
                let (tag, is_first) = (format!("c{number}"), number == 0);
                if !is_first {
                    connection.say(&consume(queue, &tag, no_ack, true)?)?;
                    continue;
                }
                let answer = connection.call(&consume(queue, &tag, no_ack, false)?)?;
                if !matches!(answer, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_))) {
                    return Err(unexpected("basic.consume-ok"));
                }
            }
        }
        let settling = Settling { every: options.ack, ..Settling::default() };
        let latency = options.latency.then(Histogram::default);
        let mut this = Self { connection, polls, early: 0, settling, latency, run, tally };
        if !this.polls.is_empty() {
            this.poll_first()?;
        }
        Ok(this)
    }

    /// Polls once. What came counts when the run begins.
    fn poll_first(&mut self) -> Result<(), PerfError> {
        let deadline_us = clock::mono_us() + FIRST_POLL_MAX_US;
        self.settling.outbox.extend_from_slice(&self.polls[0]);
        loop {
            let taken = self.receive()?;
            if taken.empty || taken.messages > 0 {
                self.early = taken.messages;
                return Ok(());
            }
            self.connection.read()?;
            if clock::mono_us() > deadline_us {
                return Err(PerfError::TimedOut("an answer to basic.get"));
            }
        }
    }

    /// Consumes until the run is over; returns the latencies seen while it was measured.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub fn run(mut self) -> Result<Option<Histogram>, PerfError> {
        self.tally.add(self.early);
        if self.polls.is_empty() {
            while !self.run.reached(Phase::Over) {
                // Deliveries may have come behind an answer, so first those, then the socket.
                self.take()?;
                self.connection.read()?;
            }
        } else {
            self.poll()?;
        }
        self.settle_rest()?;
        self.connection.close()?;
        Ok(self.latency)
    }

    /// Acknowledges what is left. Deliveries that come meanwhile are not taken: the broker has them
    /// back at the end.
    fn settle_rest(&mut self) -> Result<(), PerfError> {
        self.settling.settle_rest();
        let deadline_us = clock::mono_us() + SETTLE_MAX_US;
        self.flush()?;
        while !self.settling.outbox.is_empty() && clock::mono_us() < deadline_us {
            self.connection.read_available()?;
            while self.connection.inbox.next()?.is_some() {}
            self.flush()?;
        }
        Ok(())
    }

    /// Takes what one read brought, counts it, and acknowledges it in one write; whether a poll
    /// found nothing.
    fn take(&mut self) -> Result<Taken, PerfError> {
        let taken = self.receive()?;
        self.tally.add(taken.messages);
        Ok(taken)
    }

    /// As [`Self::take`], without counting.
    fn receive(&mut self) -> Result<Taken, PerfError> {
        let now_us = clock::mono_us();
        let measuring = self.run.measuring();
        let mut taken = Taken::default();
        while let Some(incoming) = self.connection.inbox.next()? {
            match incoming {
                Incoming::Delivery { tag, stamp } => {
                    taken.messages += 1;
                    self.settling.take(tag);
                    if let (Some(latency), Some(stamp), true) = (&mut self.latency, stamp, measuring) {
                        record(latency, self.run, stamp, now_us);
                    }
                }
                Incoming::Empty => taken.empty = true,
                Incoming::Method(payload) => {
                    let method = decode(payload)?;
                    self.connection.unasked(&method)?;
                }
                Incoming::Confirm { .. } => return Err(unexpected("something to say to a consumer")),
            }
        }
        self.flush()?;
        Ok(taken)
    }

    /// Asks one queue after the other for a message until the run is over.
    fn poll(&mut self) -> Result<(), PerfError> {
        let mut empty_in_turn = 0;
        let mut queue = 0;
        while !self.run.reached(Phase::Over) {
            self.settling.outbox.extend_from_slice(&self.polls[queue]);
            queue = (queue + 1) % self.polls.len();
            let taken = self.await_poll()?;
            empty_in_turn = if taken.empty { empty_in_turn + 1 } else { 0 };
            if empty_in_turn >= self.polls.len() {
                pace::pause(EMPTY_PAUSE_US);
            }
        }
        Ok(())
    }

    fn await_poll(&mut self) -> Result<Taken, PerfError> {
        loop {
            let taken = self.take()?;
            if taken.empty || taken.messages > 0 || self.run.reached(Phase::Over) {
                return Ok(taken);
            }
            self.connection.read()?;
        }
    }

    /// Writes what the socket takes; the rest stays for the next time, as the broker may have to
    /// get rid of deliveries first.
    fn flush(&mut self) -> Result<(), PerfError> {
        if !self.settling.outbox.is_empty() {
            let written = self.connection.write(&self.settling.outbox)?;
            self.settling.outbox.drain(..written);
        }
        Ok(())
    }
}

/// What came at once.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    messages: u64,
    empty: bool,
}

impl Settling {
    #[inline]
    fn take(&mut self, tag: u64) {
        self.last_tag = tag;
        self.unsettled += 1;
        if self.unsettled == self.every {
            encode::ack(&mut self.outbox, CHANNEL, tag, self.every > 1);
            self.unsettled = 0;
        }
    }

    /// Acknowledges what is left when the run is over.
    fn settle_rest(&mut self) {
        if self.every > 0 && self.unsettled > 0 {
            encode::ack(&mut self.outbox, CHANNEL, self.last_tag, true);
            self.unsettled = 0;
        }
    }
}

fn record(latency: &mut Histogram, run: &Run, stamp: [u8; STAMP_BYTES], now_us: u64) {
    if let Some(age_us) = run.age_us(stamp, now_us) {
        latency.record(age_us);
    }
}

/// If there is `no_answer`, the broker closes the channel when it refuses.
fn consume(queue: &str, tag: &str, no_ack: bool, no_answer: bool) -> Result<AMQPClass, PerfError> {
    Ok(AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: short(queue)?,
        consumer_tag: short(tag)?,
        no_local: false,
        no_ack,
        exclusive: false,
        nowait: no_answer,
        arguments: FieldTable::default(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(every: u64, tags: u64) -> Vec<(u64, bool)> {
        let mut settling = Settling { every, ..Settling::default() };
        (1..=tags).for_each(|tag| settling.take(tag));
        settling.settle_rest();
        let frames = settling.outbox.chunks(21);
        frames
            .map(|frame| {
                (frame[11..19].iter().fold(0, |tag, byte| tag << 8 | u64::from(*byte)), frame[19] == 1)
            })
            .collect()
    }

    #[test]
    fn acknowledgements_come_every_so_many_and_at_the_end() {
        assert_eq!(acks(0, 5), []);
        assert_eq!(acks(1, 3), [(1, false), (2, false), (3, false)]);
        assert_eq!(acks(100, 250), [(100, true), (200, true), (250, true)]);
        assert_eq!(acks(50, 100), [(50, true), (100, true)]);
    }
}
