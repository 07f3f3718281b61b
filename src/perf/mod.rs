//! `leveret perf`: a load generator for any AMQP 0-9-1 broker, fast enough not to be what is
//! measured.
//!
//! Each producer and each consumer is a thread with a blocking socket of its own. A producer
//! encodes its messages once and writes the same 256 KiB over and over; a consumer reads as much at
//! a time and finds the messages in place. What they share is a phase and a counter each. Numbers
//! come from the threads' own notes and from `/proc`.
//!
//! | file | holds |
//! |---|---|
//! | [`options`], [`uri`] | what the user asked for |
//! | [`connection`], [`topology`] | a blocking client; the queues of a run |
//! | [`producer`], [`ring`], [`window`], [`pace`] | publishing: prepared frames, confirms, a rate |
//! | [`consumer`], [`inbox`] | consuming: frames read in place |
//! | [`mod@run`], [`conductor`] | what the threads share, and who decides when it is over |
//! | [`histogram`], [`report`] | latencies, the result |
//!
//! Not here: any of the broker's code but the encoding of frames; TLS; a runtime.

pub mod conductor;
pub mod connection;
pub mod consumer;
pub mod error;
pub mod histogram;
pub mod inbox;
pub mod options;
pub mod pace;
pub mod producer;
pub mod report;
pub mod ring;
pub mod run;
pub mod topology;
pub mod uri;
pub mod window;

use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process as this_process;
use std::sync::OnceLock;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::clock;
use crate::perf::conductor::Conductor;
use crate::perf::connection::Connection;
use crate::perf::consumer::Consumer;
use crate::perf::histogram::Histogram;
use crate::perf::producer::Producer;
use crate::perf::report::Report;
use crate::perf::run::{Phase, Run, Tally};
use crate::perf::topology::Topology;

pub use crate::perf::error::PerfError;
pub use crate::perf::options::Options;

/// Stack of a worker: it keeps its buffers on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// Loads the broker, prints what was measured, and cleans up.
///
/// # Errors
///
/// When the flags do not go together, the broker refuses something, or it breaks the protocol.
#[expect(clippy::needless_pass_by_value, reason = "the flags are this run's alone")]
pub fn run(options: Options) -> Result<(), PerfError> {
    options.check()?;
    if let Some(pid) = options.broker_pid {
        conductor::usage(&pid.to_string())?;
    }
    let queues = options.queue_names();
    let mut control = Connection::open(&options.uri, "leveret perf")?;
    let topology = Topology::declare(&mut control, &options, &queues)?;
    let loaded = load(&options, &queues);
    let cleaned = topology.delete(&mut control).and_then(|()| control.close());
    let report = loaded?;
    report.print(options.json)?;
    cleaned
}

/// Runs the workers from the first message to the last.
fn load(options: &Options, queues: &[String]) -> Result<Report, PerfError> {
    let nonce = this_process::id() & u32::from(u16::MAX);
    let run = Run::new(options.producers, u16::try_from(nonce).unwrap_or_default());
    let tallies = |count| iter::repeat_with(Tally::default).take(count).collect::<Vec<_>>();
    let (published, consumed) = (tallies(options.producers), tallies(options.consumers));
    let mut consumers = Vec::new();
    for (index, tally) in consumed.iter().enumerate() {
        consumers.push(Consumer::open(options, queues, index, &run, tally)?);
    }
    let mut producers = Vec::new();
    for (index, tally) in published.iter().enumerate() {
        producers.push(Producer::open(options, queues, index, &run, tally)?);
    }
    let mut conductor = Conductor::new(options, &run, &published, &consumed);
    let prepared = conductor.prepare()?;
    let fault = OnceLock::new();
    let (report, latency) = std::thread::scope(|scope| {
        let ending = Ending { run: &run, fault: &fault };
        let mut workers = Vec::new();
        let start_us = clock::mono_us();
        for consumer in consumers {
            workers.push(ending.start(scope, move || consumer.run()));
        }
        for producer in producers {
            let run = &run;
            workers.push(ending.start(scope, move || {
                let published = producer.run(start_us);
                run.leave();
                published.map(|()| None)
            }));
        }
        let report = conductor.conduct(prepared);
        // Whatever went wrong, nobody may wait for the end for ever.
        run.enter(Phase::Over);
        (report, join(workers))
    });
    if let Some(fault) = fault.into_inner() {
        return Err(fault);
    }
    let latency = options.latency.then_some(latency);
    report.map(|report| Report { latency, ..report })
}

/// What each worker does when it fails: the run is over for everybody, and the first fault is the
/// one to tell, as the others follow from it.
#[derive(Clone, Copy)]
struct Ending<'a> {
    run: &'a Run,
    fault: &'a OnceLock<PerfError>,
}

type Worker<'scope> = Option<ScopedJoinHandle<'scope, Option<Histogram>>>;

impl<'env> Ending<'env> {
    /// Starts a worker.
    fn start<'scope>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        work: impl FnOnce() -> Result<Option<Histogram>, PerfError> + Send + 'scope,
    ) -> Worker<'scope>
    where
        'env: 'scope,
    {
        let guarded = move || {
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(PerfError::Panicked));
            result.unwrap_or_else(|error| self.fail(error))
        };
        let started = Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, guarded);
        started.map_or_else(|error| self.fail(PerfError::io("cannot start a thread")(error)), Some)
    }

    fn fail<T>(self, error: PerfError) -> Option<T> {
        // Only the first one is kept.
        let _ = self.fault.set(error);
        self.run.enter(Phase::Over);
        None
    }
}

/// Waits for all workers and puts together what consumers saw.
fn join(workers: Vec<Worker<'_>>) -> Histogram {
    let mut latencies = Histogram::default();
    for worker in workers.into_iter().flatten() {
        if let Ok(Some(latency)) = worker.join() {
            latencies.merge(&latency);
        }
    }
    latencies
}
