//! When a run is measured and when it ends, and a line a second for who watches.

use indicatif::ProgressBar;

use crate::clock;
use crate::machine::Usage;
use crate::perf::error::PerfError;
use crate::perf::options::Options;
use crate::perf::pace;
use crate::perf::report::{Flow, Report, tick_line};
use crate::perf::run::{Phase, Run, Sum, Tally};

/// How long everybody gets going before a timed run is measured.
const WARM_UP_US: u64 = 1_000_000;
/// How often to look how far the run is. What is measured does not depend on it: workers note when
/// they did their last.
const LOOK_US: u64 = 5_000;
/// Nothing came for so long: the queue is empty, as far as one can tell from here.
const EMPTY_US: u64 = 2_000_000;
/// Nothing moved for so long: messages are missing, or the broker is stuck.
const STALL_US: u64 = 30_000_000;
/// How long consumers may go on after a timed run, for what is still in the queue.
const DRAIN_MAX_US: u64 = 15_000_000;
const SECOND_US: u64 = 1_000_000;

/// Watches over the workers of a run.
pub struct Conductor<'a> {
    options: &'a Options,
    run: &'a Run,
    published: &'a [Tally],
    consumed: &'a [Tally],
    progress: Progress,
}

/// Everything that is measured, at one time.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    at_us: u64,
    published: Sum,
    consumed: Sum,
    own: Usage,
    broker: Option<Usage>,
}

/// What the process with this id has used, or this one, `self`.
///
/// # Errors
///
/// When it cannot be measured.
pub(super) fn usage(pid: &str) -> Result<Usage, PerfError> {
    Usage::of(pid).map_err(PerfError::io(format!("cannot measure process {pid}")))
}

impl<'a> Conductor<'a> {
    /// Of these workers, which have not begun.
    #[must_use]
    pub fn new(options: &'a Options, run: &'a Run, published: &'a [Tally], consumed: &'a [Tally]) -> Self {
        Self { options, run, published, consumed, progress: Progress::new(options) }
    }

    /// Begins to measure at once, before the workers begin, unless a timed run has to get going
    /// first.
    ///
    /// # Errors
    ///
    /// When the broker's process cannot be measured.
    pub fn prepare(&self) -> Result<Option<Snapshot>, PerfError> {
        let warms_up = self.options.messages.is_none() && self.options.producers > 0;
        if warms_up { Ok(None) } else { self.begin().map(Some) }
    }

    /// Waits for the end of the run, measures it, and has the workers stop. When a worker fails,
    /// the report is of no use, but there is one.
    ///
    /// # Errors
    ///
    /// When the broker's process cannot be measured.
    pub fn conduct(&mut self, prepared: Option<Snapshot>) -> Result<Report, PerfError> {
        let begin = match prepared {
            Some(begin) => begin,
            None => {
                let warm_us = clock::mono_us() + WARM_UP_US;
                self.watch(|_, now_us| now_us >= warm_us);
                self.begin()?
            }
        };
        let deadline_us = self.options.time_s().map(|seconds| begin.at_us + seconds * SECOND_US);
        let in_time = |now_us: u64| deadline_us.is_none_or(|deadline_us| now_us < deadline_us);
        self.watch(|this, now_us| !in_time(now_us) || this.is_complete(begin.at_us, now_us));
        let end = self.snapshot()?;
        self.run.enter(Phase::Draining);
        let drain_us = end.at_us + DRAIN_MAX_US;
        // Producers end in their own time; the consumers must go on until then.
        self.watch(|this, now_us| {
            !this.run.producing() && (now_us > drain_us || this.is_drained(end.at_us, now_us, EMPTY_US / 2))
        });
        self.run.enter(Phase::Over);
        self.progress.bar.finish_and_clear();
        Ok(report(&begin, &end, in_time(end.at_us)))
    }

    fn begin(&self) -> Result<Snapshot, PerfError> {
        self.run.enter(Phase::Measuring);
        self.snapshot()
    }

    fn snapshot(&self) -> Result<Snapshot, PerfError> {
        Ok(Snapshot {
            at_us: clock::mono_us(),
            published: Sum::of(self.published),
            consumed: Sum::of(self.consumed),
            own: usage("self")?,
            broker: self.options.broker_pid.map(|pid| usage(&pid.to_string())).transpose()?,
        })
    }

    /// Waits until `ended`, or until a worker failed.
    fn watch(&mut self, ended: impl Fn(&Self, u64) -> bool) {
        loop {
            let now_us = clock::mono_us();
            if self.run.reached(Phase::Over) || ended(self, now_us) {
                return;
            }
            self.progress.show(now_us, Sum::of(self.published).done, Sum::of(self.consumed).done);
            pace::pause(LOOK_US);
        }
    }

    /// Whether the work is done, apart from the time that a run may take.
    fn is_complete(&self, since_us: u64, now_us: u64) -> bool {
        match self.options.messages {
            // To drain what is there, and no more than that.
            limit if self.options.producers == 0 => {
                limit.is_some_and(|limit| Sum::of(self.consumed).done >= limit)
                    || self.idle_us(since_us, now_us) > EMPTY_US
            }
            None => false,
            Some(_) if self.run.producing() => self.idle_us(since_us, now_us) > 2 * STALL_US,
            Some(_) => self.is_drained(since_us, now_us, STALL_US),
        }
    }

    /// Whether consumers have everything that was published, or have waited for `patience_us` in
    /// vain.
    fn is_drained(&self, since_us: u64, now_us: u64, patience_us: u64) -> bool {
        if self.options.consumers == 0 || self.options.producers == 0 {
            return true;
        }
        // Through an exchange a message may reach any number of queues, so only silence tells.
        let known = self.options.exchange.is_empty();
        if known && Sum::of(self.consumed).done >= Sum::of(self.published).done {
            return true;
        }
        self.idle_us(since_us, now_us) > if known { patience_us } else { patience_us.min(EMPTY_US) }
    }

    /// For how long nothing has moved.
    fn idle_us(&self, since_us: u64, now_us: u64) -> u64 {
        let last_us = Sum::of(self.published).last_us.max(Sum::of(self.consumed).last_us).max(since_us);
        now_us.saturating_sub(last_us)
    }
}

/// What happened between the two. When the work ended and not the time, each direction has its own
/// end.
fn report(begin: &Snapshot, end: &Snapshot, complete: bool) -> Report {
    let flow = |before: Sum, after: Sum| {
        let end_us = if complete { after.last_us } else { end.at_us };
        Flow { count: after.done - before.done, time_us: end_us.saturating_sub(begin.at_us) }
    };
    let broker = begin.broker.zip(end.broker);
    Report {
        published: flow(begin.published, end.published),
        consumed: flow(begin.consumed, end.consumed),
        nacked: end.published.refused - begin.published.refused,
        latency: None,
        client_cpu_us: end.own.cpu_us.saturating_sub(begin.own.cpu_us),
        broker: broker
            .map(|(before, after)| Usage { cpu_us: after.cpu_us.saturating_sub(before.cpu_us), ..after }),
    }
}

/// The bar and the lines, on a terminal only.
struct Progress {
    bar: ProgressBar,
    /// When the last line was due, and what was published and consumed then.
    last: (u64, u64, u64),
    second: u64,
    messages: bool,
}

impl Progress {
    fn new(options: &Options) -> Self {
        let length =
            options.messages.or_else(|| options.time_s().map(|time_s| time_s + WARM_UP_US / SECOND_US));
        let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
        Self { bar, last: (clock::mono_us(), 0, 0), second: 0, messages: options.messages.is_some() }
    }

    /// Shows how far the run is, once a second.
    fn show(&mut self, now_us: u64, published: u64, consumed: u64) {
        let (last_us, published_then, consumed_then) = self.last;
        let elapsed_us = now_us - last_us;
        if elapsed_us < SECOND_US {
            return;
        }
        self.second += 1;
        let per_s = |count: u64| count * SECOND_US / elapsed_us;
        self.bar.println(tick_line(
            self.second,
            per_s(published - published_then),
            per_s(consumed - consumed_then),
        ));
        self.bar.set_position(if self.messages { published.max(consumed) } else { self.second });
        self.last = (now_us, published, consumed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::options::tests::check;

    /// Is it complete, is it drained: a run of these flags after so many messages, all of them now,
    /// and after a pause.
    fn state(flags: &str, producing: bool, published: u64, consumed: u64, pause_us: u64) -> (bool, bool) {
        let options = check(flags).unwrap();
        let run = Run::new(usize::from(producing), 1);
        let (producers, consumers) = ([Tally::default()], [Tally::default()]);
        producers[0].add(published);
        consumers[0].add(consumed);
        let conductor = Conductor::new(&options, &run, &producers, &consumers);
        let now_us = clock::mono_us();
        let later_us = now_us + pause_us;
        (conductor.is_complete(now_us, later_us), conductor.is_drained(now_us, later_us, STALL_US))
    }

    #[test]
    fn a_run_is_complete_when_all_is_published_and_consumed() {
        assert_eq!(state("--messages 9", true, 5, 5, 0), (false, true));
        assert_eq!(state("--messages 9", false, 9, 8, 0), (false, false));
        assert_eq!(state("--messages 9", false, 9, 9, 0), (true, true));
        assert_eq!(state("--messages 9", false, 9, 8, STALL_US + 1), (true, true), "one is missing");
        assert!(!state("--messages 9 --consumers 0", true, 9, 0, 0).0, "not confirmed, perhaps");
        assert!(state("--messages 9 --consumers 0", false, 9, 0, 0).0);
    }

    #[test]
    fn a_timed_run_is_complete_when_its_time_is_over_only() {
        assert_eq!(state("", true, 5, 5, 2 * EMPTY_US), (false, true));
    }

    #[test]
    fn through_an_exchange_only_silence_tells() {
        assert_eq!(state("--messages 9 --exchange x", false, 9, 9, 0), (false, false));
        assert_eq!(state("--messages 9 --exchange x", false, 9, 9, EMPTY_US + 1), (true, true));
    }

    #[test]
    fn draining_ends_at_the_count_or_when_nothing_comes() {
        assert_eq!(state("--producers 0", false, 0, 5, 0), (false, true), "what is left is not drained");
        assert!(state("--producers 0", false, 0, 5, EMPTY_US + 1).0);
        assert_eq!(state("--producers 0 --messages 5", false, 0, 5, 0), (true, true));
    }

    fn snapshot(at_us: u64, published: (u64, u64), consumed: (u64, u64), cpu_us: u64) -> Snapshot {
        let sum = |(done, last_us)| Sum { done, refused: 0, last_us };
        let usage = Usage { cpu_us, resident_bytes: cpu_us, resident_peak_bytes: cpu_us };
        Snapshot {
            at_us,
            published: sum(published),
            consumed: sum(consumed),
            own: usage,
            broker: Some(usage),
        }
    }

    #[test]
    fn a_timed_run_is_what_happened_in_the_time() {
        let begin = snapshot(1_000, (100, 990), (90, 995), 7);
        let end = snapshot(11_000, (300, 10_000), (280, 10_500), 27);
        let report = report(&begin, &end, false);
        assert_eq!((report.published.count, report.published.time_us), (200, 10_000));
        assert_eq!((report.consumed.count, report.consumed.time_us), (190, 10_000));
        assert_eq!(report.client_cpu_us, 20);
        assert_eq!(report.broker, Some(Usage { cpu_us: 20, resident_bytes: 27, resident_peak_bytes: 27 }));
    }

    #[test]
    fn a_counted_run_ends_with_its_last_message() {
        let begin = snapshot(1_000, (0, 0), (0, 0), 0);
        let end = snapshot(50_000, (500, 21_000), (500, 31_000), 1);
        let report = report(&begin, &end, true);
        assert_eq!((report.published.time_us, report.consumed.time_us), (20_000, 30_000));
        let nothing = super::report(&begin, &snapshot(9_000, (0, 0), (0, 0), 1), true);
        assert_eq!((nothing.published.count, nothing.published.time_us), (0, 0));
    }
}
