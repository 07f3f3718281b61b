//! What a run came to: a row for each attack, and what is wrong.

use super::gauge::Gauge;
use super::probe::Times;
use super::tally::Counts;
use std::fmt;

/// A normal client's median may be so many times as long afterwards, beside
/// [`Scale::slower_us`](super::scale::Scale).
pub(crate) const SLOWER_FACTOR: u64 = 2;

/// One attack.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) counts: Counts,
    /// What the process used before and afterwards; the latter has the peak.
    pub(crate) before: Gauge,
    pub(crate) after: Gauge,
    /// A normal client's round trips.
    pub(crate) times_before: Times,
    pub(crate) times_during: Times,
    /// Its answers to what changes queues and bindings, beside an attack that would have others
    /// wait.
    pub(crate) changes_during: Times,
    pub(crate) times_after: Times,
    /// How much more may be resident afterwards, in KiB.
    pub(crate) memory_kib: u64,
    /// How much longer a round trip may be afterwards, in microseconds, beside its share.
    pub(crate) slower_us: u64,
    /// The longest round trip that may be during the attack, in microseconds; none for any.
    pub(crate) late_us: Option<u64>,
    /// How long it took until memory was back, in seconds.
    pub(crate) settled_s: u64,
    /// What is wrong.
    pub(crate) findings: Vec<String>,
}

/// The result of a run: a row for each attack, and what is wrong.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub(crate) rows: Vec<Row>,
    /// Resident at the start, in KiB.
    pub(crate) start_kib: u64,
    /// Round trips of normal clients, each confirmed and delivered once.
    pub(crate) round_trips: u64,
}

impl Row {
    /// Whether memory is within its tolerance.
    pub(crate) fn is_back(&self, now: Gauge) -> bool {
        now.resident_kib <= self.before.resident_kib + self.memory_kib
    }

    /// Whether a normal client is served as fast as before.
    pub(crate) fn is_fast(&self, times: &Times) -> bool {
        times.median_us() <= self.times_before.median_us() * SLOWER_FACTOR + self.slower_us
    }

    /// Finds what is wrong with the figures.
    pub(crate) fn judge(&mut self) {
        if !self.is_back(self.after) {
            let (before, after) = (self.before.resident_kib, self.after.resident_kib);
            self.findings.push(format!("{after} KiB are resident afterwards, before {before}"));
        }
        if !self.is_fast(&self.times_after) {
            let (before, after) = (self.times_before.median_us(), self.times_after.median_us());
            self.findings.push(format!("a round trip takes {after} us afterwards, before {before}"));
        }
        for (what, times) in [("round trips", &self.times_during), ("changes", &self.changes_during)] {
            if let Some(late_us) = self.late_us
                && times.worst_us() > late_us
            {
                let (late, count, worst) = (times.later_than(late_us), times.count(), times.worst_us());
                self.findings.push(format!(
                    "{late} of {count} {what} took more than {late_us} us, the longest {worst}"
                ));
            }
        }
        if self.after.descriptors > self.before.descriptors {
            let (before, after) = (self.before.descriptors, self.after.descriptors);
            self.findings.push(format!("{after} descriptors are open afterwards, before {before}"));
        }
    }
}

impl Report {
    /// Everything that is wrong, with the attack's name before it.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let of = |row: &Row| -> Vec<String> {
            row.findings.iter().map(|finding| format!("{}: {finding}", row.name)).collect()
        };
        self.rows.iter().flat_map(of).collect()
    }

    /// How many things were tried.
    #[must_use]
    pub fn tried(&self) -> u64 {
        self.rows.iter().map(|row| row.counts.all_tried()).sum()
    }

    /// How many of them were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.rows.iter().map(|row| row.counts.all_refused()).sum()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.before, self.after);
        write!(
            f,
            "| `{}` | {} | {} | {} / {} / {} | {} / {} | {} | {} | {} |",
            self.name,
            self.counts.tried_line(),
            self.counts.refused_line(),
            mib(before.resident_kib),
            mib(after.peak_kib),
            mib(after.resident_kib),
            before.descriptors,
            after.descriptors,
            trip(&self.times_before),
            during(self),
            trip(&self.times_after),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| attack | tried | refused | resident before / peak / after, MiB | descriptors before / after | round trip before, median / worst ms | during | after |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        let end = self.rows.last().map_or(0, |row| row.after.resident_kib);
        write!(
            f,
            "\n{} tried, {} refused; resident {} MiB at the start, {} at the end; {} round trips of normal clients, none lost\n",
            self.tried(),
            self.refused(),
            mib(self.start_kib),
            mib(end),
            self.round_trips
        )?;
        for finding in self.findings() {
            writeln!(f, "{finding}")?;
        }
        write!(f, "{} findings", self.findings().len())
    }
}

fn mib(kib: u64) -> String {
    format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024)
}

/// Round trips, and changes if there were any.
fn during(row: &Row) -> String {
    let changes = &row.changes_during;
    let changes = if changes.count() > 0 { format!("; changes {}", trip(changes)) } else { String::new() };
    trip(&row.times_during) + &changes
}

fn trip(times: &Times) -> String {
    let ms = |us: u64| format!("{}.{:02}", us / 1000, us % 1000 / 10);
    format!("{} / {}", ms(times.median_us()), ms(times.worst_us()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_behind_is_found() {
        let gauge = |resident_kib, descriptors| Gauge { resident_kib, peak_kib: resident_kib, descriptors };
        let row = |after, times: &[u64]| {
            let (before, times_before) = (gauge(10_000, 9), Times::of(vec![300, 200, 400]));
            let times_after = Times::of(times.to_vec());
            let (slower_us, memory_kib) = (1000, 16_384);
            let mut row = Row {
                name: "x",
                slower_us,
                memory_kib,
                before,
                after,
                times_before,
                times_after,
                ..Row::default()
            };
            row.judge();
            row.findings
        };
        assert_eq!(row(gauge(26_384, 9), &[1600]), Vec::<String>::new());
        assert_eq!(row(gauge(26_385, 9), &[1]), ["26385 KiB are resident afterwards, before 10000"]);
        assert_eq!(row(gauge(1, 9), &[1601]), ["a round trip takes 1601 us afterwards, before 300"]);
        assert_eq!(row(gauge(1, 10), &[1]), ["10 descriptors are open afterwards, before 9"]);
    }

    #[test]
    fn a_client_that_waited_during_an_attack_is_found() {
        let findings = |late_us| {
            let times_during = Times::of(vec![100, 50_001, 50_000]);
            let mut row = Row { late_us, times_during, ..Row::default() };
            row.judge();
            row.findings
        };
        assert_eq!(findings(None), Vec::<String>::new());
        assert_eq!(findings(Some(50_001)), Vec::<String>::new());
        assert_eq!(findings(Some(50_000)), ["1 of 3 round trips took more than 50000 us, the longest 50001"]);
    }
}
