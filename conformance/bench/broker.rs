//! A broker under measurement, as the command line names it, and what its process tells of itself.

use std::fs;
use std::str::FromStr;

/// `NAME=HOST:PORT[,PID]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) pid: Option<u32>,
}

impl FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = text.split_once('=').ok_or("expected NAME=HOST:PORT[,PID]")?;
        let (address, pid) = match place.split_once(',') {
            Some((address, pid)) => {
                (address, Some(pid.parse().map_err(|_not_a_number| format!("'{pid}' is not a process id"))?))
            }
            None => (place, None),
        };
        if name.is_empty() || !address.contains(':') {
            return Err("expected NAME=HOST:PORT[,PID]".into());
        }
        Ok(Self { name: name.into(), address: address.into(), pid })
    }
}

impl Broker {
    /// Where `leveret perf` finds it.
    pub(crate) fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address)
    }

    /// Resident memory in KiB, when the process is known.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_named_placed_and_perhaps_watched() {
        let broker: Broker = "Rabbit=127.0.0.1:5680,77".parse().unwrap();
        assert_eq!((broker.name.as_str(), broker.pid), ("Rabbit", Some(77)));
        assert_eq!(broker.uri(), "amqp://guest:guest@127.0.0.1:5680/%2f");
        assert_eq!("x=h:1".parse::<Broker>().unwrap().pid, None);
        for wrong in ["", "h:1", "=h:1", "x=h", "x=h:1,z"] {
            assert!(wrong.parse::<Broker>().is_err(), "{wrong}");
        }
    }
}
