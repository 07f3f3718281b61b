//! The history of one object: samples every 5 s over ten minutes, and every minute over eight
//! hours.

use super::ring::Ring;

/// Milliseconds between samples.
pub const TICK_MS: u64 = 5_000;

/// Ticks of a minute.
const MINUTE_TICKS: u32 = 12;

/// Samples of 5 s that are kept: ten minutes, and the one before.
pub const TICKS_KEPT: u32 = 121;

/// Samples of a minute that are kept: eight hours, and the one before.
pub const MINUTES_KEPT: u32 = 481;

/// Samples that are answered with at most: as many as are kept of ten minutes and eight hours
/// together.
const SAMPLES_MAX: u64 = 602;

/// When samples are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// In ticks of 5 s since 1970.
    pub tick: u32,
    /// By the monotonic clock, milliseconds.
    pub mono_ms: u64,
    /// Ticks since the samples before, at least 1.
    pub passed: u32,
    /// The minute since 1970, if there was no sample in it yet.
    pub minute: Option<u32>,
    /// How many samples of 5 s, and of a minute, are kept.
    pub kept: (u32, u32),
}

/// How far samples go back that are wanted, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleRange {
    /// Seconds.
    pub age_s: u32,
    /// Seconds.
    pub increment_s: u32,
}

/// Which samples are wanted, by what they are of (RabbitMQ: `lengths_age` and its kin).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SamplesWanted {
    /// How many messages there are.
    pub lengths: Option<SampleRange>,
    /// What happened to messages.
    pub events: Option<SampleRange>,
    /// Bytes of connections.
    pub data: Option<SampleRange>,
    /// What a node uses.
    pub node: Option<SampleRange>,
}

/// A value, how fast it changes, and what it was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trend {
    /// What it is now.
    pub value: u64,
    /// Its change between the last two samples, per second.
    pub rate: f64,
    /// Milliseconds since 1970 and the value, the newest first; none if none were asked for.
    pub samples: Option<Vec<(u64, u64)>>,
}

impl Trend {
    /// A value that has no history.
    #[must_use]
    pub fn still(value: u64) -> Self {
        Self { value, ..Self::default() }
    }

    /// The sum of several, which were sampled at the same time.
    #[must_use]
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = all.into_iter();
        let Some(mut sum) = all.next().cloned() else { return Self::default() };
        for other in all {
            sum.value = sum.value.saturating_add(other.value);
            sum.rate += other.rate;
            for (own, more) in sum.samples.iter_mut().flatten().zip(other.samples.iter().flatten()) {
                own.1 = own.1.saturating_add(more.1);
            }
        }
        sum
    }

    /// The change per second over all samples, and their mean; none without samples.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nobody reads 53 bits of a mean")]
    pub fn averages(&self) -> Option<(f64, f64)> {
        let samples = self.samples.as_deref()?;
        let (newest, oldest) = (samples.first()?, samples.last()?);
        let seconds = newest.0.saturating_sub(oldest.0) as f64 / 1000.0;
        let change = newest.1 as f64 - oldest.1 as f64;
        let mean = samples.iter().map(|sample| sample.1 as f64).sum::<f64>() / samples.len() as f64;
        Some((if seconds > 0.0 { change / seconds } else { 0.0 }, mean))
    }
}

/// What `N` series of one object were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<const N: usize> {
    ticks: Ring<N>,
    minutes: Ring<N>,
    /// What the values were one sample ago.
    before: [u64; N],
    /// Ticks between these and the newest.
    passed: u32,
}

impl<const N: usize> History<N> {
    /// An object that had these values before the first sample.
    #[must_use]
    pub fn starting(values: [u64; N]) -> Self {
        let ring = Ring::starting(values);
        Self { ticks: ring.clone(), minutes: ring, before: values, passed: 1 }
    }

    /// Takes a sample.
    pub fn record(&mut self, moment: &Moment, values: [u64; N]) {
        (self.before, self.passed) = (*self.ticks.newest(), moment.passed.max(1));
        self.ticks.record(moment.tick, values);
        if let Some(minute) = moment.minute {
            self.minutes.record(minute, values);
            self.ticks.forget(moment.tick.saturating_sub(moment.kept.0));
            self.minutes.forget(minute.saturating_sub(moment.kept.1));
        }
    }

    /// Changes per second between the last two samples.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nobody reads 53 bits of a rate")]
    pub fn rates(&self) -> [f64; N] {
        let seconds = f64::from(self.passed) * (TICK_MS / 1000) as f64;
        let newest = self.ticks.newest();
        std::array::from_fn(|at| (newest[at] as f64 - self.before[at] as f64) / seconds)
    }

    /// The values of the newest sample.
    pub(super) fn newest(&self) -> &[u64; N] {
        self.ticks.newest()
    }

    /// When a value changed last, milliseconds since 1970; none if none ever has.
    #[must_use]
    pub fn changed_at_ms(&self) -> Option<u64> {
        Some(u64::from(self.ticks.newest_tick()) * TICK_MS).filter(|&at_ms| at_ms > 0)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.ticks.bytes() + self.minutes.bytes()
    }

    /// The values `now` with their rates, and with samples up to the tick `newest` if a range is
    /// wanted.
    #[must_use]
    pub fn trends(&self, now: [u64; N], newest: u32, range: Option<SampleRange>) -> [Trend; N] {
        let rates = self.rates();
        let sampled = range.map(|range| self.samples(newest, range));
        std::array::from_fn(|at| Trend {
            value: now[at],
            rate: rates[at],
            samples: sampled
                .as_ref()
                .map(|samples| samples.iter().map(|(at_ms, values)| (*at_ms, values[at])).collect()),
        })
    }

    /// Samples at equal distances, the newest first.
    fn samples(&self, newest: u32, range: SampleRange) -> Vec<(u64, [u64; N])> {
        let (mut ticks, mut minutes) = (Vec::new(), Vec::new());
        self.ticks.each(|tick, values| ticks.push((tick, *values)));
        self.minutes.each(|minute, values| minutes.push((minute.saturating_mul(MINUTE_TICKS), *values)));
        let (first, from) = (ticks[0].1, newest.saturating_sub(TICKS_KEPT).max(ticks[0].0));
        let at = |tick: u32| {
            let known = if tick >= from { &ticks } else { &minutes };
            let found = known.partition_point(|(at, _)| *at <= tick);
            // What lies before all that is known is what was at first.
            if found == 0 { known.first().map_or(first, |(_, values)| *values) } else { known[found - 1].1 }
        };
        sample_ticks(newest, range).map(|tick| (u64::from(tick) * TICK_MS, at(tick))).collect()
    }
}

/// The samples of an object without a history, which has always been as it is.
#[must_use]
pub fn still_trends<const N: usize>(now: [u64; N], newest: u32, range: Option<SampleRange>) -> [Trend; N] {
    now.map(|value| Trend {
        value,
        rate: 0.0,
        samples: range.map(|range| {
            sample_ticks(newest, range).map(|tick| (u64::from(tick) * TICK_MS, value)).collect()
        }),
    })
}

/// The ticks of samples, the newest first: multiples of their distance, as RabbitMQ has it.
fn sample_ticks(newest: u32, range: SampleRange) -> impl Iterator<Item = u32> {
    let tick_s = u32::try_from(TICK_MS / 1000).unwrap_or(1);
    let step = (range.increment_s / tick_s).max(1);
    let newest = newest - newest % step;
    let age = range.age_s.min(MINUTES_KEPT * 60) / tick_s;
    let count = (u64::from(age / step) + 1).min(SAMPLES_MAX);
    (0..u32::try_from(count).unwrap_or(1)).map(move |n| newest.saturating_sub(n.saturating_mul(step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u32 = 350_000_064;

    fn moment(tick: u32) -> Moment {
        let minute = tick.is_multiple_of(MINUTE_TICKS).then_some(tick / MINUTE_TICKS);
        Moment { tick, mono_ms: 0, passed: 1, minute, kept: (TICKS_KEPT, MINUTES_KEPT) }
    }

    /// Ten messages a tick for nine hours.
    fn nine_hours() -> (History<1>, u32) {
        let (mut history, last) = (History::starting([0]), START + 9 * 720);
        for tick in START..=last {
            history.record(&moment(tick), [u64::from(tick - START) * 10]);
        }
        (history, last)
    }

    #[track_caller]
    fn check(range: (u32, u32), count: usize, oldest: u64) {
        let (history, last) = nine_hours();
        let range = SampleRange { age_s: range.0, increment_s: range.1 };
        let [trend] = history.trends([64_800], last, Some(range));
        assert!((trend.rate - 2.0).abs() < f64::EPSILON);
        let samples = trend.samples.as_deref().unwrap();
        assert_eq!((samples.len(), samples[0].1, samples[count - 1].1), (count, 64_800, oldest));
        let step_ms = u64::from(range.increment_s.max(5)) * 1000;
        assert!(samples.windows(2).all(|pair| pair[0].0 - pair[1].0 == step_ms));
        let (avg_rate, _) = trend.averages().unwrap();
        assert!((avg_rate - 2.0).abs() < 0.01, "{avg_rate}");
    }

    #[test]
    fn samples_go_back_as_far_as_is_asked_for() {
        check((600, 5), 121, 64_800 - 1_200);
        check((60, 1), 13, 64_800 - 120);
        check((3600, 60), 61, 64_800 - 7_200);
        check((28_800, 240), 121, 64_800 - 57_600);
    }

    #[test]
    fn before_its_first_sample_an_object_was_as_it_began() {
        let mut history = History::starting([7]);
        history.record(&moment(START), [7]);
        history.record(&moment(START + 1), [9]);
        let range = Some(SampleRange { age_s: 20, increment_s: 5 });
        let [trend] = history.trends([9], START + 1, range);
        let values: Vec<u64> = trend.samples.unwrap().into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [9, 7, 7, 7, 7]);
        assert_eq!(history.changed_at_ms(), Some(u64::from(START + 1) * TICK_MS));
    }

    #[test]
    fn however_much_is_asked_for_the_answer_is_short() {
        let (history, last) = nine_hours();
        let range = Some(SampleRange { age_s: u32::MAX, increment_s: 0 });
        let [trend] = history.trends([0], last, range);
        assert_eq!(trend.samples.map(|samples| samples.len()), Some(602));
    }

    #[test]
    fn a_rate_counts_the_time_that_passed_and_may_fall() {
        let mut history = History::starting([100]);
        history.record(&Moment { passed: 2, ..moment(START) }, [50]);
        assert!((history.rates()[0] + 5.0).abs() < f64::EPSILON);
    }

    #[test]
    fn trends_add_up() {
        let trend = |value, rate| Trend { value, rate, samples: Some(vec![(5, value), (0, 1)]) };
        let sum = Trend::sum([&trend(3, 0.5), &trend(4, 1.0)]);
        assert_eq!(sum, Trend { value: 7, rate: 1.5, samples: Some(vec![(5, 7), (0, 2)]) });
    }
}
