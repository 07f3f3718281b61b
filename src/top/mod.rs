//! `leveret top`: what a running broker does, in a terminal, as it happens; elsewhere a table,
//! once.
//!
//! A client of the management API, as [`crate::ctl`] is, whose options and connection it takes.
//! What is on the screen is a value that keys and answers change; drawing it is a function of that
//! value and a buffer, so that no test needs a terminal.
//!
//! | file | holds |
//! |---|---|
//! | `view`, `format` | the views, the columns of lists, numbers in few characters |
//! | `question` | what is asked of the broker |
//! | `state` | what is on the screen, and what keys do |
//! | `sheet` | one thing with all its parts: the node, a queue, a connection |
//! | `draw` | the state as cells of a screen |
//! | `live` | the terminal, keys, signals, the thread that asks |
//! | `once` | a table for a pipe |

mod draw;
mod format;
mod live;
mod once;
mod question;
mod sheet;
mod state;
#[cfg(test)]
mod tests;
mod view;

pub use self::view::View;

use self::state::Top;
use crate::api_client::{Endpoint, Method, WAIT, encoded};
use crate::ctl::broker::Broker;
use crate::ctl::target::Location;
use crate::ctl::{Asks, CtlError, Show};
use clap::Args;
use std::env;
use std::io::{self, IsTerminal};

/// Rows that are printed, where nothing is said.
const ROWS: u16 = 50;

/// Watch the queues, the connections and the node of a running broker; on a pipe, print them once
#[derive(Args, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    place: Location,
    #[command(flatten)]
    show: Show,
    /// View to start with
    #[arg(long, value_name = "VIEW", value_enum, default_value_t = View::Queues)]
    view: View,
    /// Column to sort by, such as in, out, depth, age, name [default: in]
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Reverse the order: smallest numbers first, names from Z to A
    #[arg(long)]
    reverse: bool,
    /// Show only names that contain this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Show only this virtual host [default: all]
    #[arg(short = 'p', long, value_name = "VHOST")]
    vhost: Option<String>,
    /// Seconds between updates
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,
    /// Print a table once and exit, as on a pipe
    #[arg(long)]
    once: bool,
    /// Rows of the table that --once prints, 500 at most
    #[arg(long, value_name = "ROWS", default_value_t = ROWS, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
}

/// Shows a broker until the user has seen enough; on a pipe once.
///
/// # Errors
/// As those of `ctl`: there is no broker, it refuses, or nothing can be shown.
pub fn run(options: Options) -> Result<(), CtlError> {
    let Options { place, show, view, sort, reverse, filter, vhost, interval, once, limit } = options;
    let mut top = Top::new(view, colours());
    match sort {
        Some(sort) => top.sort(&sort, reverse)?,
        None if reverse => top.reverse(),
        None => {}
    }
    top.filter(filter.unwrap_or_default());
    top.vhost = vhost.unwrap_or_default();
    top.interval_s = interval;
    let target = place.target()?;
    top.place = match &target {
        Endpoint::Folder(folder) => folder.display().to_string(),
        Endpoint::Url { url, .. } => url.to_string(),
    };
    if !once && io::stdout().is_terminal() {
        return live::watch(top, target);
    }
    top.room(usize::from(limit));
    let mut broker = Broker::connect(target, WAIT)?;
    let answer = match top.question().ask(&mut broker) {
        Err(CtlError::Check(_)) if is_missing(&top.vhost, &mut broker) => {
            return Err(CtlError::no_vhost(&top.vhost));
        }
        asked => asked?,
    };
    once::print(&top, &answer, show)
}

/// Whether a vhost is named that does not exist.
fn is_missing(vhost: &str, broker: &mut Broker) -> bool {
    let path = format!("/api/vhosts/{}", encoded(vhost));
    !vhost.is_empty() && matches!(broker.ask(&Asks::Path(Method::GET, path, None)), Err(CtlError::Check(_)))
}

/// Whether the terminal may show colours (<https://no-color.org>).
fn colours() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
