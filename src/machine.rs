//! What the machine has, and what this and other processes use of it. Linux only (proc_pid_stat(5),
//! proc_pid_status(5)); elsewhere nothing is known, and nothing alarms.

use rustix::fs::statvfs;
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Component, Path, PathBuf};
use std::thread::available_parallelism;

/// Where control groups are: version 2, version 2 beside version 1, and version 1.
const GROUPS: &str = "/sys/fs/cgroup";
const GROUPS_BESIDE_V1: &str = "/sys/fs/cgroup/unified";
const GROUPS_V1: &str = "/sys/fs/cgroup/memory";

/// Microseconds of a clock tick of `/proc`: `USER_HZ` is 100 on every Linux.
const TICK_US: u64 = 10_000;

/// Processors that this process may use.
#[must_use]
pub fn processors() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// Memory that this process may use, in bytes: the machine's, or less when its control group, or
/// one that this is in, has less.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // A group without a limit has the word `max`, or in version 1 a number beyond all memory.
    let limits = limit_files(&groups);
    let limits = limits.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(limits).min()
}

/// The files in which the control groups of `/proc/self/cgroup` would say how much memory their
/// processes may use together. Each line of it has three parts, `0::/system.slice/leveret.service`
/// of version 2 and `4:memory:/docker/0123` of version 1. In a container the path may be that of
/// the host, of which only the root is to be seen: files that are not there are no limits.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (roots, file): (&[&str], _) = if controllers.is_empty() {
            (&[GROUPS, GROUPS_BESIDE_V1], "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (&[GROUPS_V1], "memory.limit_in_bytes")
        } else {
            continue;
        };
        for root in roots {
            // A group above the root of a container, which begins with `..`, is not to be seen
            // either.
            let names = Path::new(path).components().filter_map(|part| match part {
                Component::Normal(name) => Some(name),
                _ => None,
            });
            let mut folder = PathBuf::from(root);
            files.push(folder.join(file));
            for name in names {
                folder.push(name);
                files.push(folder.join(file));
            }
        }
    }
    files
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads, user and system.
    pub cpu_us: u64,
    /// Memory that is in RAM now.
    pub resident_bytes: u64,
    /// The most memory that was ever in RAM.
    pub resident_peak_bytes: u64,
}

impl Usage {
    /// Of the process with this id, or of this one, `self`.
    ///
    /// # Errors
    ///
    /// When there is none, or this is not Linux.
    pub fn of(pid: &str) -> io::Result<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        let status = read("status")?;
        Ok(Self {
            cpu_us: cpu_us(&read("stat")?),
            resident_bytes: memory(&status, "VmRSS:").unwrap_or_default(),
            resident_peak_bytes: memory(&status, "VmHWM:").unwrap_or_default(),
        })
    }
}

/// Bytes that nobody can foresee.
///
/// # Errors
/// The operating system has none.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no random bytes: {error}")))?;
    Ok(bytes)
}

/// The name of the machine; `localhost` where it is not known.
#[must_use]
pub fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Memory of this process that is in RAM, in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    resident_pages(&text)?.checked_mul(page_size() as u64)
}

/// How many files this process has open, sockets among them.
#[must_use]
pub fn descriptors_open() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // The listing itself holds one open.
    u64::try_from(entries.count().saturating_sub(1)).ok()
}

/// How many files this process may have open at a time, sockets among them; nothing if any number.
#[must_use]
pub fn descriptors_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Bytes that this process may still write to the file system of `folder`.
#[must_use]
pub fn disk_free_bytes(folder: &Path) -> Option<u64> {
    let system = statvfs(folder).ok()?;
    system.f_bavail.checked_mul(system.f_frsize)
}

/// Fields 14 and 15, user and system time in ticks; the second field, the name, may hold spaces and
/// parentheses.
fn cpu_us(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or(stat, |(_, rest)| rest);
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * TICK_US
}

/// What a line such as `MemTotal:       16384000 kB` says, in bytes.
fn memory(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
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
        assert_eq!(memory("MemFree: 1 kB\nMemTotal:       16384 kB\n", "MemTotal:"), Some(16_777_216));
        assert_eq!(resident_pages("4000 1234 500 1 0 300 0\n"), Some(1234));
        assert_eq!((memory("", "MemTotal:"), resident_pages("")), (None, None));
    }

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 250 30 0 0 20 0 33 0 7 1 2";
        assert_eq!(cpu_us(stat), 280 * TICK_US);
    }

    #[test]
    fn the_limit_is_that_of_the_groups_of_the_process() {
        let check = |groups: &str, files: &[&str]| {
            let found: Vec<_> = limit_files(groups).iter().map(|path| path.display().to_string()).collect();
            assert_eq!(found, files, "{groups}");
        };
        check(
            "0::/system.slice/leveret.service\n",
            &[
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/system.slice/leveret.service/memory.max",
                "/sys/fs/cgroup/unified/memory.max",
                "/sys/fs/cgroup/unified/system.slice/memory.max",
                "/sys/fs/cgroup/unified/system.slice/leveret.service/memory.max",
            ],
        );
        check(
            "5:cpu,memory:/docker/a:b\n3:cpuset:/x\n1:name=systemd:/memory\n",
            &[
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/a:b/memory.limit_in_bytes",
            ],
        );
        check(
            "4:memory:/../../a\n",
            &["/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"],
        );
        check("", &[]);
        check("4:memory", &[]);
    }

    #[test]
    fn this_process_uses_some() {
        let usage = Usage::of("self").unwrap();
        assert!(usage.resident_bytes > 0 && usage.resident_peak_bytes > 0);
        assert!(Usage::of("0").is_err());
        assert!(descriptors_open().unwrap() > 0);
    }

    #[test]
    fn this_machine_has_some() {
        let (all, used) = (memory_bytes().unwrap(), resident_bytes().unwrap());
        assert!(used > 100_000 && used < all, "{used} of {all}");
        assert!(disk_free_bytes(Path::new(".")).is_some());
        assert_eq!(disk_free_bytes(Path::new("no/such/folder")), None);
    }
}
