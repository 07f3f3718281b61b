//! What a process on this machine has used: CPU time and memory, from `/proc` (Linux: proc_pid_stat(5)).

use std::fs;

use crate::perf::error::PerfError;

/// Microseconds of a clock tick of `/proc`: `USER_HZ` is 100 on every Linux.
const TICK_US: u64 = 10_000;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads, user and system.
    pub cpu_us: u64,
    /// Resident memory now.
    pub rss_bytes: u64,
    /// The most memory that was ever resident.
    pub rss_peak_bytes: u64,
}

impl Usage {
    /// Of this process.
    ///
    /// # Errors
    ///
    /// As [`Self::of`].
    pub fn own() -> Result<Self, PerfError> {
        Self::of("self")
    }

    /// Of the process with this id.
    ///
    /// # Errors
    ///
    /// [`PerfError::Io`] when there is none, or this is not Linux.
    pub fn of(pid: &str) -> Result<Self, PerfError> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).map_err(PerfError::io(format!("cannot measure process {pid}: {path}")))
        };
        let status = read("status")?;
        Ok(Self {
            cpu_us: cpu_us(&read("stat")?),
            rss_bytes: memory_bytes(&status, "VmRSS:"),
            rss_peak_bytes: memory_bytes(&status, "VmHWM:"),
        })
    }
}

/// Fields 14 and 15, user and system time in ticks; the second field, the name, may hold spaces and parentheses.
fn cpu_us(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or(stat, |(_, rest)| rest);
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * TICK_US
}

/// A line such as `VmRSS:     1234 kB`.
fn memory_bytes(status: &str, key: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = value.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 250 30 0 0 20 0 33 0 7 1 2";
        assert_eq!(cpu_us(stat), 280 * TICK_US);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!((memory_bytes(status, "VmRSS:"), memory_bytes(status, "VmHWM:")), (1 << 20, 2 << 20));
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::own().unwrap();
        assert!(usage.rss_bytes > 0 && usage.rss_peak_bytes > 0);
        assert!(Usage::of("0").is_err());
    }
}
