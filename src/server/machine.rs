//! What the machine has, and what this process uses of it. Linux only; elsewhere nothing is known, and nothing alarms.

use rustix::fs::statvfs;
use rustix::param::page_size;
use std::fs;
use std::path::Path;

/// Where a control group says how much memory its processes may use: version 2, then version 1.
const GROUP_LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Memory that this process may use, in bytes: the machine's, or less when its control group has less.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = GROUP_LIMITS.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(groups).min()
}

/// Memory of this process that is in RAM, in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    resident_pages(&text)?.checked_mul(page_size() as u64)
}

/// Bytes that this process may still write to the file system of `folder`.
pub(super) fn disk_free_bytes(folder: &Path) -> Option<u64> {
    let system = statvfs(folder).ok()?;
    system.f_bavail.checked_mul(system.f_frsize)
}

/// The first line of `/proc/meminfo`: `MemTotal:       16384000 kB`.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The second number of `/proc/self/statm`.
fn resident_pages(text: &str) -> Option<u64> {
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_where_linux_writes_them() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16_777_216));
        assert_eq!(resident_pages("4000 1234 500 1 0 300 0\n"), Some(1234));
        assert_eq!((total(""), resident_pages("")), (None, None));
    }

    #[test]
    fn this_machine_has_some() {
        let (all, used) = (memory_bytes().unwrap(), resident_bytes().unwrap());
        assert!(used > 100_000 && used < all, "{used} of {all}");
        assert!(disk_free_bytes(Path::new(".")).is_some());
        assert_eq!(disk_free_bytes(Path::new("no/such/folder")), None);
    }
}
