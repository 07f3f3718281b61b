//! What the kernel knows of a socket and tokio does not say: whether there is something to read or
//! room to write at this moment, and whether a client is gone whose socket is not read.
//!
//! tokio learns of a socket when it next asks the kernel for events, its clock may ring before
//! that, and a socket that is not read has no events. All of this is asked rarely: when a deadline
//! has come, and while memory is short.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Result;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_user_timeout};
use std::time::Duration;
use tokio::net::TcpStream;
use tracing::debug;

/// How long a client that must be there may leave bytes unacknowledged, in milliseconds: one that
/// is gone is noticed within ten seconds. It has to take what there is for it in as long a time, as
/// the session wants it too while memory is short.
const GONE_MS: u32 = 9_000;

/// When a client that is sent nothing is asked whether it is there, and how often again; the last
/// time is at [`GONE_MS`].
const ASKED: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(2));

/// How a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketState {
    /// There are bytes to be read, or the end of them.
    pub(super) is_readable: bool,
    /// Bytes can be written.
    pub(super) is_writable: bool,
    /// The client has ended its side, or the connection is lost.
    pub(super) is_over: bool,
}

/// Asks the kernel.
pub(super) fn look(socket: &TcpStream) -> SocketState {
    let asked = PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP;
    let mut sockets = [PollFd::new(socket, asked)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // What fails here will fail where the socket is used.
    let _count = poll(&mut sockets, Some(&at_once));
    let events = sockets[0].revents();
    SocketState {
        is_readable: events.contains(PollFlags::IN),
        is_writable: events.contains(PollFlags::OUT),
        is_over: events.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
    }
}

/// Has the kernel find out whether the client is still there, or not any more.
pub(super) fn ask_for_life(socket: &TcpStream, on: bool) {
    let set = || -> Result<()> {
        set_tcp_user_timeout(socket, if on { GONE_MS } else { 0 })?;
        set_tcp_keepidle(socket, ASKED.0)?;
        set_tcp_keepintvl(socket, ASKED.1)?;
        set_socket_keepalive(socket, on)
    };
    if let Err(error) = set() {
        debug!(%error, "cannot enable keepalive");
    }
}
