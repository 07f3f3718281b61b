//! A real broker process that clients try to take down, one attack after the other, and a checker
//! of how it stood them.
//!
//! ```text
//! run          start, and for each attack: look, attack, let it settle, look again
//!  handshakes  clients that never come in, that come in by the thousand, that come and go, that talk nonsense
//!  listeners   silent sockets at the HTTP port, and a crowd from one address
//!  growth      channels, queues, exchanges, bindings, consumers: to their limits, and without end
//!  contents    tables, bodies, patterns and tiny frames of the kinds that cost most
//!  deaf        clients that do not read, or do not acknowledge
//!  stalls      what would keep the broker's threads busy: topics, fanouts, deletes, purges, policies
//!  api         requests of the HTTP API that take long: definitions, fetches, patterns
//!  flood       many publishers against a slow consumer, every message counted
//! probe        a normal client beside all that: how long its round trips take, and that it loses nothing
//! gauge        what the system tells of the process: memory, descriptors
//! report       the table, and what is wrong
//! ```
//!
//! Clients are sockets and bytes (`wire`), for most of what is sent here no client would send.
//! Nothing of the broker's code is used. Invariant: an attack ends by itself, after the time it was
//! given or at the broker's refusals.

mod api;
mod contents;
mod deaf;
mod flood;
mod frames;
mod gauge;
mod growth;
mod handshakes;
mod listeners;
mod probe;
pub mod report;
pub mod run;
pub mod scale;
mod site;
mod stalls;
mod tally;
mod wire;

use self::site::Site;
use self::tally::Tally;
use std::str::FromStr;

/// One way of attacking.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// Carries it out and counts; an error says what the broker did that it should not.
    run: fn(&Site, &Tally) -> Result<(), String>,
}

impl Attack {
    /// Whether normal clients must be answered promptly while it goes on, not only afterwards.
    fn wants_others_to_wait(&self) -> bool {
        self.name.starts_with("stall-")
    }
}

/// Every attack, in the order in which a run has them.
#[must_use]
pub fn all() -> &'static [Attack] {
    &[
        Attack { name: "half-open", run: handshakes::half_open },
        Attack { name: "connections", run: handshakes::connections },
        Attack { name: "connection-churn", run: handshakes::connection_churn },
        Attack { name: "silent-http", run: listeners::silent_http },
        Attack { name: "crowd", run: listeners::crowd },
        Attack { name: "garbage", run: handshakes::garbage },
        Attack { name: "channels", run: growth::channels },
        Attack { name: "queues", run: growth::queues },
        Attack { name: "topology-churn", run: growth::topology_churn },
        Attack { name: "consumers", run: growth::consumers },
        Attack { name: "tables", run: contents::tables },
        Attack { name: "bodies", run: contents::bodies },
        Attack { name: "tiny-frames", run: contents::tiny_frames },
        Attack { name: "patterns", run: contents::patterns },
        Attack { name: "stall-topic", run: stalls::topic },
        Attack { name: "stall-words", run: stalls::words },
        Attack { name: "stall-letters", run: stalls::letters },
        Attack { name: "stall-fanout", run: stalls::fanout },
        Attack { name: "stall-transactions", run: stalls::transactions },
        Attack { name: "stall-copies", run: stalls::copies },
        Attack { name: "stall-headers", run: stalls::headers },
        Attack { name: "stall-deletes", run: stalls::deletes },
        Attack { name: "stall-backlog", run: stalls::backlog },
        Attack { name: "stall-purge", run: stalls::purge },
        Attack { name: "stall-policy", run: stalls::policy },
        Attack { name: "stall-import", run: api::import },
        Attack { name: "stall-fetch", run: api::fetch },
        Attack { name: "stall-filters", run: api::filters },
        Attack { name: "deaf", run: deaf::deaf },
        Attack { name: "unacked", run: deaf::unacked },
        Attack { name: "flood", run: flood::flood },
    ]
}

impl FromStr for Attack {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        all().iter().find(|attack| attack.name == name).copied().ok_or_else(|| {
            let names: Vec<&str> = all().iter().map(|attack| attack.name).collect();
            format!("no attack is called '{name}'; there are {}", names.join(", "))
        })
    }
}
