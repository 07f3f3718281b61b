//! What the system tells of a process: memory, descriptors. Linux only.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// Memory in KiB, and open descriptors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gauge {
    /// Resident now.
    pub(crate) resident_kib: u64,
    /// The most that was resident since [`forget_peak`].
    pub(crate) peak_kib: u64,
    /// Open files and sockets.
    pub(crate) descriptors: u64,
}

/// What process `id` uses, if it is there.
pub(crate) fn look(id: u32) -> Option<Gauge> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    Some(Gauge {
        resident_kib: kib(&status, "VmRSS:")?,
        peak_kib: kib(&status, "VmHWM:")?,
        descriptors: fs::read_dir(format!("/proc/{id}/fd")).ok()?.count() as u64,
    })
}

/// Has the peak begin anew; where that is not permitted, it is that of the whole life.
pub(crate) fn forget_peak(id: u32) -> bool {
    fs::write(format!("/proc/{id}/clear_refs"), "5").is_ok()
}

/// As many descriptors as this process may have: raised as far as the operator allows, which a
/// broker started from here inherits.
pub(crate) fn descriptors_max() -> u32 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_ok();
    let max = if raised { limit.maximum } else { limit.current };
    max.map_or(u32::MAX, |max| u32::try_from(max).unwrap_or(u32::MAX))
}

fn kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let gauge = look(std::process::id()).unwrap();
        assert!(gauge.resident_kib > 100 && gauge.peak_kib >= gauge.resident_kib && gauge.descriptors > 2);
        assert_eq!(look(u32::MAX), None);
        assert!(descriptors_max() > 10);
    }
}
