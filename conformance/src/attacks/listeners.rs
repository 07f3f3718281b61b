//! Attacks on who else may come in: silent sockets at the HTTP port, and a crowd from one address.

use super::site::{Site, reset_at_end};
use super::tally::Tally;
use super::wire::Wire;
use crate::clock;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Sockets at the HTTP port that say nothing, or the beginning of a request.
const SILENT: usize = 300;
/// What half of them say.
const HALF_A_REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: ";
/// Between two questions about the broker's health.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Clients of the crowd, at most.
const CROWD_MAX: u32 = 1500;
/// Threads that the crowd's handshakes are made by.
const THREADS: usize = 4;

/// Hundreds of sockets hold the HTTP port, and come again when they are closed; health is answered
/// nevertheless.
pub(crate) fn silent_http(site: &Site, tally: &Tally) -> Result<(), String> {
    let limit = Duration::from_micros(site.scale.health_us);
    let mut silent = Vec::new();
    let mut slowest = Duration::ZERO;
    let mut number = 0_usize;
    while !site.is_over() {
        while silent.len() < SILENT {
            number += 1;
            tally.tried("silent sockets", 1);
            silent
                .push(hold(site, number.is_multiple_of(2)).map_err(|why| format!("cannot connect: {why}"))?);
        }
        let began = clock::now();
        health(site).map_err(|why| format!("/healthz beside {} silent sockets: {why}", silent.len()))?;
        tally.tried("questions", 1);
        slowest = slowest.max(began.elapsed());
        if slowest > limit {
            return Err(format!("/healthz took {slowest:?} beside {} silent sockets", silent.len()));
        }
        silent.retain_mut(is_open);
        site.pause(ASK_EVERY);
    }
    tally.note(format!("health in {} us at most", slowest.as_micros()));
    Ok(())
}

fn hold(site: &Site, begins: bool) -> std::io::Result<TcpStream> {
    let mut socket = site.http_socket()?;
    reset_at_end(&socket)?;
    if begins {
        socket.write_all(HALF_A_REQUEST)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn is_open(socket: &mut TcpStream) -> bool {
    !matches!(socket.read(&mut [0; 512]), Ok(0)) && !matches!(socket.take_error(), Ok(Some(_)))
}

fn health(site: &Site) -> Result<(), String> {
    let mut socket = site.http_socket().map_err(|why| why.to_string())?;
    let asked = socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    asked.and_then(|()| socket.read_to_end(&mut answer)).map_err(|why| why.to_string())?;
    if answer.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    let head = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
    Err(format!("it says {head:?}"))
}

/// As many clients as may come, at the same moment and from one address: all of them are let in.
pub(crate) fn crowd(site: &Site, tally: &Tally) -> Result<(), String> {
    // The probe is a client too.
    let clients = CROWD_MAX.min(site.scale.connections - 1);
    let mut sockets = Vec::new();
    for _client in 0..clients {
        tally.tried("clients", 1);
        sockets.push(site.socket(1).map_err(|why| format!("cannot connect: {why}"))?);
    }
    let parts: Vec<Vec<TcpStream>> = (0..THREADS).map(|_thread| Vec::new()).collect();
    let parts = sockets.into_iter().enumerate().fold(parts, |mut parts, (number, socket)| {
        parts[number % THREADS].push(socket);
        parts
    });
    thread::scope(|scope| {
        let entering: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| enter(part))).collect();
        entering
            .into_iter()
            .try_for_each(|part| part.join().map_err(|_panic| "a thread failed".to_owned())?)
    })
}

fn enter(sockets: Vec<TcpStream>) -> Result<(), String> {
    let open =
        |socket| Wire::open(socket).map_err(|refused| format!("one of the crowd was not let in: {refused}"));
    let inside: Vec<Wire> = sockets.into_iter().map(open).collect::<Result<_, _>>()?;
    Ok(inside.into_iter().try_for_each(Wire::close)?)
}
