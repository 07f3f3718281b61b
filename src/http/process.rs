//! What this process uses, as the operating system counts it. Linux only; elsewhere nothing is known.

use std::fs;

/// Figures that could be had.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// Memory that is in RAM.
    pub(super) resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// How many there may be.
    pub(super) max_fds: Option<u64>,
}

/// The name of the machine; `localhost` where it is not known.
pub(super) fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Reads the figures.
pub(super) fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    // The listing itself holds one descriptor open.
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
    Usage {
        resident_bytes: field(&status, "VmRSS:").map(|kib| kib * 1024),
        open_fds: open.and_then(|count| u64::try_from(count).ok()),
        max_fds: field(&limits, "Max open files"),
    }
}

/// The number after `name` at the head of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_where_linux_writes_them() {
        let status = "Name:\tleveret\nVmHWM:\t   99 kB\nVmRSS:\t   12345 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(12_345));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 20000                files\n";
        assert_eq!(field(limits, "Max open files"), Some(1024));
        assert_eq!(field("Max open files            unlimited\n", "Max open files"), None);
        assert_eq!(field("", "VmRSS:"), None);
    }
}
