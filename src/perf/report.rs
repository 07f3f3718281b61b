//! What a run measured, for people and for programs.

use std::fmt;
use std::io::{self, Write};

use crate::machine::Usage;
use crate::perf::error::PerfError;
use crate::perf::histogram::Histogram;

/// The quantiles shown: name in JSON, name in text, thousandths.
const QUANTILES: [(&str, &str, u64); 4] =
    [("p50", "median", 500), ("p95", "95th", 950), ("p99", "99th", 990), ("p999", "99.9th", 999)];

/// Messages of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    /// How many.
    pub count: u64,
    /// In how many microseconds.
    pub time_us: u64,
}

/// What a run measured.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Publishes that the broker took; with confirms, that it confirmed.
    pub published: Flow,
    /// Messages consumed.
    pub consumed: Flow,
    /// Publishes that the broker refused.
    pub nacked: u64,
    /// From publish to delivery, in microseconds, with `--latency`.
    pub latency: Option<Histogram>,
    /// CPU time of the load generator.
    pub client_cpu_us: u64,
    /// CPU time and memory of the broker, with `--broker-pid`; the CPU time that of the run.
    pub broker: Option<Usage>,
}

impl Flow {
    fn per_s(self) -> f64 {
        if self.time_us == 0 { 0.0 } else { self.count as f64 * 1e6 / self.time_us as f64 }
    }
}

impl Report {
    /// CPU time is shared out over what came out at the end, or went in when nothing came out. None
    /// is too little to be measured.
    fn per_message(&self, cpu_us: u64) -> Option<f64> {
        let messages = if self.consumed.count > 0 { self.consumed.count } else { self.published.count };
        (messages > 0 && cpu_us > 0).then(|| cpu_us as f64 / messages as f64)
    }

    fn seconds(&self) -> f64 {
        self.published.time_us.max(self.consumed.time_us) as f64 / 1e6
    }

    /// Writes the report to standard output: lines for people, or one JSON object.
    ///
    /// # Errors
    ///
    /// When standard output is closed.
    pub fn print(&self, json: bool) -> Result<(), PerfError> {
        let text = if json { self.json() } else { self.to_string() };
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.trim_end()).map_err(PerfError::io("cannot write the result"))
    }

    /// One JSON object on one line; what was not measured is null.
    #[must_use]
    pub fn json(&self) -> String {
        let latency = self.latency.as_ref().filter(|latency| latency.total() > 0).map(|latency| {
            let quantiles =
                QUANTILES.map(|(name, _, rank)| format!("\"{name}\":{:.3}", ms(latency.quantile(rank))));
            let (min, max) = (ms(latency.min()), ms(latency.max()));
            format!("{{\"min\":{min:.3},{},\"max\":{max:.3}}}", quantiles.join(","))
        });
        let broker_cpu = self.broker.and_then(|broker| self.per_message(broker.cpu_us));
        let fields = [
            ("published_per_s", format!("{:.1}", self.published.per_s())),
            ("consumed_per_s", format!("{:.1}", self.consumed.per_s())),
            ("latency_ms", latency.unwrap_or_else(null)),
            ("broker_cpu_us_per_message", broker_cpu.map_or_else(null, |cpu| format!("{cpu:.4}"))),
            ("broker_rss_bytes", self.broker.map_or_else(null, |broker| broker.resident_bytes.to_string())),
            (
                "broker_rss_peak_bytes",
                self.broker.map_or_else(null, |broker| broker.resident_peak_bytes.to_string()),
            ),
            (
                "client_cpu_us_per_message",
                self.per_message(self.client_cpu_us).map_or_else(null, |cpu| format!("{cpu:.4}")),
            ),
            ("published", self.published.count.to_string()),
            ("consumed", self.consumed.count.to_string()),
            ("nacked", self.nacked.to_string()),
            ("seconds", format!("{:.3}", self.seconds())),
        ];
        format!("{{{}}}", fields.map(|(name, value)| format!("\"{name}\":{value}")).join(","))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, flow) in [("published", self.published), ("consumed", self.consumed)] {
            if flow.count > 0 {
                let (count, rate) = (grouped(flow.count), rounded(flow.per_s()));
                writeln!(f, "{name:<10} {count} in {:.2} s: {rate}/s", flow.time_us as f64 / 1e6)?;
            }
        }
        if self.published.count + self.consumed.count == 0 {
            writeln!(f, "no messages in {:.2} s", self.seconds())?;
        }
        if self.nacked > 0 {
            writeln!(f, "refused    {}", grouped(self.nacked))?;
        }
        if let Some(latency) = &self.latency {
            write!(f, "latency    min {:.3} ms", ms(latency.min()))?;
            for (_, name, rank) in QUANTILES {
                write!(f, ", {name} {:.3}", ms(latency.quantile(rank)))?;
            }
            writeln!(f, ", max {:.3}", ms(latency.max()))?;
        }
        if let Some(cpu) = self.per_message(self.client_cpu_us) {
            writeln!(f, "generator  {cpu:.3} us of CPU per message")?;
        }
        if let Some(broker) = self.broker {
            write!(f, "broker     ")?;
            if let Some(cpu) = self.per_message(broker.cpu_us) {
                write!(f, "{cpu:.3} us of CPU per message, ")?;
            }
            let (now, peak) = (mib(broker.resident_bytes), mib(broker.resident_peak_bytes));
            writeln!(f, "{now:.1} MiB resident, {peak:.1} MiB at the most")?;
        }
        Ok(())
    }
}

/// The line of one second.
#[must_use]
pub fn tick_line(second: u64, published: u64, consumed: u64) -> String {
    format!("{second:>4} s  in {:>11}/s  out {:>11}/s", grouped(published), grouped(consumed))
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: whole numbers, unless it is small.
fn rounded(rate: f64) -> String {
    if rate < 100.0 {
        return format!("{rate:.1}");
    }
    let text = format!("{rate:.0}");
    text.parse().map_or(text, grouped)
}

fn null() -> String {
    "null".to_owned()
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut latency = Histogram::default();
        [80, 90, 100, 2_000].into_iter().for_each(|value| latency.record(value));
        Report {
            published: Flow { count: 3_000_000, time_us: 2_000_000 },
            consumed: Flow { count: 2_000_000, time_us: 2_000_000 },
            nacked: 3,
            latency: Some(latency),
            client_cpu_us: 200_000,
            broker: Some(Usage { cpu_us: 1_000_000, resident_bytes: 1 << 20, resident_peak_bytes: 2 << 20 }),
        }
    }

    #[test]
    fn json_is_one_object() {
        assert_eq!(
            report().json(),
            "{\"published_per_s\":1500000.0,\"consumed_per_s\":1000000.0,\
             \"latency_ms\":{\"min\":0.080,\"p50\":0.090,\"p95\":2.000,\"p99\":2.000,\"p999\":2.000,\"max\":2.000},\
             \"broker_cpu_us_per_message\":0.5000,\"broker_rss_bytes\":1048576,\"broker_rss_peak_bytes\":2097152,\
             \"client_cpu_us_per_message\":0.1000,\"published\":3000000,\"consumed\":2000000,\"nacked\":3,\
             \"seconds\":2.000}"
        );
    }

    #[test]
    fn json_of_nothing_is_null_where_nothing_was_measured() {
        assert_eq!(
            Report::default().json(),
            "{\"published_per_s\":0.0,\"consumed_per_s\":0.0,\"latency_ms\":null,\"broker_cpu_us_per_message\":null,\
             \"broker_rss_bytes\":null,\"broker_rss_peak_bytes\":null,\"client_cpu_us_per_message\":null,\
             \"published\":0,\"consumed\":0,\"nacked\":0,\"seconds\":0.000}"
        );
    }

    #[test]
    fn text_is_for_people() {
        assert_eq!(
            report().to_string(),
            "published  3,000,000 in 2.00 s: 1,500,000/s\n\
             consumed   2,000,000 in 2.00 s: 1,000,000/s\n\
             refused    3\n\
             latency    min 0.080 ms, median 0.090, 95th 2.000, 99th 2.000, 99.9th 2.000, max 2.000\n\
             generator  0.100 us of CPU per message\n\
             broker     0.500 us of CPU per message, 1.0 MiB resident, 2.0 MiB at the most\n"
        );
        assert_eq!(Report::default().to_string(), "no messages in 0.00 s\n");
    }

    #[test]
    fn numbers_are_grouped() {
        let all = [0, 12, 123, 1_234, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "12", "123", "1,234", "1,234,567"]);
        assert_eq!([0.5, 99.94, 100.4, 12_345.6].map(rounded), ["0.5", "99.9", "100", "12,346"]);
    }
}
