//! Where an attack takes place: the broker's address, the time there is, and sockets that come from
//! anywhere on this machine.

use super::scale::Scale;
use super::wire::{PATIENCE, Refused, Wire};
use crate::clock;
use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, connect, socket, sockopt};
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The broker under attack: its address, the time limit, and sockets from any local address.
#[derive(Debug)]
pub(crate) struct Site {
    /// Where the broker takes AMQP clients.
    address: SocketAddrV4,
    /// Where it speaks HTTP.
    http: SocketAddrV4,
    /// How much of everything.
    pub(crate) scale: Scale,
    /// What random choices follow from.
    pub(crate) seed: u64,
    /// The broker's process.
    pub(crate) process: u32,
    /// The broker's operator: a program and what it is told first.
    pub(crate) operator: Vec<OsString>,
    /// Sockets that this process and the broker may have open.
    pub(crate) sockets_max: u32,
    /// How long an attack goes on that has no end of its own.
    duration: Duration,
    until: Instant,
    /// Whether the broker no longer answers.
    lost: Mutex<bool>,
    bell: Condvar,
}

impl Site {
    /// For one attack.
    pub(crate) fn new(
        (address, http): (SocketAddrV4, SocketAddrV4),
        process: u32,
        scale: Scale,
        seed: u64,
        duration: Duration,
    ) -> Self {
        Self {
            address,
            http,
            scale,
            seed,
            process,
            operator: Vec::new(),
            sockets_max: super::gauge::descriptors_max(),
            duration,
            until: clock::now() + duration,
            lost: Mutex::new(false),
            bell: Condvar::new(),
        }
    }

    /// The attack's time begins.
    pub(crate) fn begin(&mut self) {
        self.until = clock::now() + self.duration;
    }

    /// How long this attack goes on.
    pub(crate) fn duration(&self) -> Duration {
        self.duration
    }

    /// Whether the attack's time is over, or nobody is there to be attacked.
    pub(crate) fn is_over(&self) -> bool {
        clock::now() >= self.until || self.is_lost()
    }

    /// The broker no longer answers: there is no point in going on.
    pub(crate) fn give_up(&self) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }

    /// Whether it was given up.
    pub(crate) fn is_lost(&self) -> bool {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is given up, and no longer than `limit`.
    pub(crate) fn pause(&self, limit: Duration) {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let _either = self.bell.wait_timeout_while(lost, limit, |lost| !*lost);
    }

    /// A socket that comes from an address of its own for each number up to 65535; none of them is
    /// that of normal clients.
    pub(crate) fn socket(&self, from: u32) -> io::Result<TcpStream> {
        let [_, _, high, low] = from.to_be_bytes();
        let here = SocketAddrV4::new(Ipv4Addr::new(127, 1, high, low), 0);
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&fd, &here)?;
        connect(&fd, &self.address)?;
        let socket = TcpStream::from(fd);
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// Has the operator do something.
    ///
    /// # Errors
    /// It cannot be done; with what was said.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Result<(), String> {
        let (program, first) = self.operator.split_first().ok_or("nobody knows the operator")?;
        let done = Command::new(program).args(first).args(arguments).output();
        let done = done.map_err(|why| format!("the operator cannot be asked: {why}"))?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&done.stderr)))
    }

    /// A socket of a normal client.
    pub(crate) fn normal_socket(&self) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// A socket at the HTTP port.
    pub(crate) fn http_socket(&self) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(self.http)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// A client that is let in.
    pub(crate) fn open(&self, from: u32) -> Result<Wire, Refused> {
        Wire::open(self.socket(from).map_err(|_gone| Refused::Gone)?)
    }

    /// As [`Site::open`], where a refusal is a fault.
    pub(crate) fn enter(&self, from: u32) -> Result<Wire, String> {
        self.open(from).map_err(|refused| format!("a client was not let in: {refused}"))
    }
}

/// Has the socket end with a reset and leave nothing behind in the system.
pub(crate) fn reset_at_end(socket: &TcpStream) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Has the system take little for a client that does not read.
pub(crate) fn take_little(socket: &TcpStream) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(socket, 4096)?)
}
