//! The PROXY protocol: what a load balancer tells of the client before the client's own bytes.
//!
//! Source: haproxy.org/download/3.0/doc/proxy-protocol.txt. Both versions are read, from sources
//! that the operator lists and from nobody else. Exactly the header's bytes are taken from the
//! socket, a bounded number; time is limited by the caller.
//!
//! ```text
//! 1  PROXY TCP4|TCP6 SOURCE DESTINATION SOURCE_PORT DESTINATION_PORT CR LF, or PROXY UNKNOWN .. CR LF
//! 2  signature(12) version and command(1) family(1) length(2) addresses .. and further fields
//! ```

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header of version 1 (section 2.1).
const LINE_BYTES_MAX: usize = 107;

/// The longest rest of a header of version 2: addresses and fields such as a client's certificate,
/// of which no more than this is ever sent.
const REST_BYTES_MAX: usize = 4096;

const LINE_START: &[u8; 6] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header: whom the connection comes from, or none if it is the proxy's own or the proxy
/// does not know.
///
/// # Errors
/// What comes is no header (`InvalidData`, which says what is wrong), or the socket is lost.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // Whatever is not a header is noticed with its first byte that is wrong: who sends none may
    // wait for an answer.
    let mut start = [0; SIGNATURE.len()];
    let mut read = 0;
    while read < start.len() {
        read += some(stream, &mut start[read..]).await?;
        let common = read.min(LINE_START.len());
        let begins = start[..common] == LINE_START[..common] || start[..read] == SIGNATURE[..read];
        if !begins {
            return Err(bad("does not begin with a PROXY header"));
        }
    }
    if &start == SIGNATURE { read_binary(stream).await } else { read_line(stream, &start).await }
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> io::Result<Option<SocketAddr>> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(bad("the PROXY header is too long"));
        }
        let mut byte = [0];
        some(stream, &mut byte).await?;
        line.extend(byte);
    }
    let line =
        str::from_utf8(&line[..line.len() - 2]).map_err(|_not_text| bad("the PROXY header is no text"))?;
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let source = match words[..] {
        ["UNKNOWN", ..] => return Ok(None),
        ["TCP4", source, destination, port, to_port] => {
            addresses::<Ipv4Addr>([source, destination], [port, to_port])
        }
        ["TCP6", source, destination, port, to_port] => {
            addresses::<Ipv6Addr>([source, destination], [port, to_port])
        }
        _ => None,
    };
    source.map(Some).ok_or_else(|| bad("the PROXY header is malformed"))
}

/// The first of the addresses, if all of them are addresses and ports.
fn addresses<A: Into<IpAddr> + std::str::FromStr>(ips: [&str; 2], ports: [&str; 2]) -> Option<SocketAddr> {
    let ips = [ips[0].parse::<A>().ok()?, ips[1].parse().ok()?];
    let ports = [ports[0].parse::<u16>().ok()?, ports[1].parse().ok()?];
    let [ip, _] = ips;
    Some(SocketAddr::new(ip.into(), ports[0]))
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let [version_and_command, family, len @ ..] = fixed;
    let len = usize::from(u16::from_be_bytes(len));
    if len > REST_BYTES_MAX {
        return Err(bad("the PROXY header is too long"));
    }
    let mut rest = vec![0; len];
    stream.read_exact(&mut rest).await?;
    match (version_and_command, family) {
        // LOCAL: the proxy itself, which looks whether the broker is there.
        (0x20, _) => Ok(None),
        // TCP over IPv4 and IPv6: both addresses, then both ports.
        (0x21, 0x11) => source::<4>(&rest, 8).map(Some),
        (0x21, 0x21) => source::<16>(&rest, 32).map(Some),
        // Unspecified, or a Unix socket: nothing to tell.
        (0x21, 0x00 | 0x31) => Ok(None),
        _ => Err(bad("the PROXY header is of a kind that is not known")),
    }
}

/// The source among the addresses of a header, whose ports begin at `ports`.
fn source<const N: usize>(rest: &[u8], ports: usize) -> io::Result<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let ip = rest.first_chunk::<N>().copied().map(IpAddr::from);
    // The destination's port has to be there as well.
    let port = rest.get(ports..ports + 4).map(|ports| u16::from_be_bytes([ports[0], ports[1]]));
    let address = ip.zip(port).ok_or_else(|| bad("the PROXY header is cut short"))?;
    Ok(SocketAddr::new(address.0, address.1))
}

async fn some(stream: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> io::Result<usize> {
    match stream.read(into).await? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// What is read of `bytes`, and what is left of them.
    fn outcome(mut bytes: &[u8]) -> (Result<Option<String>, String>, usize) {
        let read = match pin!(read(&mut bytes)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => read,
            Poll::Pending => panic!("bytes are always ready"),
        };
        let read = read.map(|address| address.map(|address| address.to_string()));
        (read.map_err(|error| error.to_string()), bytes.len())
    }

    fn check(header: &[u8], source: Option<&str>) {
        let with_more = [header, b"AMQP"].concat();
        assert_eq!(outcome(&with_more), (Ok(source.map(str::to_owned)), 4), "{header:?}");
        for cut in 0..header.len() {
            assert!(outcome(&header[..cut]).0.is_err(), "{header:?} cut at {cut}");
        }
    }

    fn refused(header: &[u8], why: &str) {
        assert_eq!(outcome(header).0, Err(why.to_owned()), "{header:?}");
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    #[test]
    fn lines_are_read() {
        check(b"PROXY TCP4 10.1.2.3 192.0.2.1 56324 5672\r\n", Some("10.1.2.3:56324"));
        check(b"PROXY TCP6 2001:db8::1 ::1 65535 5672\r\n", Some("[2001:db8::1]:65535"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None);
    }

    #[test]
    fn binary_headers_are_read() {
        let v4 = [10, 1, 2, 3, 192, 0, 2, 1, 0xDC, 0x04, 0x16, 0x28];
        check(&binary(0x21, 0x11, &v4), Some("10.1.2.3:56324"));
        check(&binary(0x21, 0x11, &[&v4[..], &[4, 0, 2, 9, 9]].concat()), Some("10.1.2.3:56324"));
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[33]) = (0xFD, 1, 80);
        check(&binary(0x21, 0x21, &v6), Some("[fd00::1]:80"));
        check(&binary(0x20, 0x00, &[]), None);
        check(&binary(0x21, 0x00, &[1, 2, 3]), None);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for start in [&b"AMQP\0\0\x09\x01"[..], b"P\r\n", b"PROXZ", b"\r\n\r\n\0\r\nQUIX", b"\x16\x03\x01"] {
            refused(start, "does not begin with a PROXY header");
        }
        for line in [
            &b"PROXY TCP4 10.1.2.3 192.0.2.1 56324\r\n"[..],
            b"PROXY TCP4 10.1.2.3 192.0.2.1 56324 5672 1\r\n",
            b"PROXY TCP4 ::1 ::1 56324 5672\r\n",
            b"PROXY TCP4 10.1.2.3 192.0.2.1 65536 5672\r\n",
            b"PROXY  TCP4 10.1.2.3 192.0.2.1 1 5672\r\n",
            b"PROXY UDP4 10.1.2.3 192.0.2.1 1 5672\r\n",
            b"PROXY       \r\n",
        ] {
            refused(line, "the PROXY header is malformed");
        }
        refused(&[&b"PROXY UNKNOWN"[..], &[b' '; 200]].concat(), "the PROXY header is too long");
        refused(b"PROXY UNKNOW\xFF\r\n", "the PROXY header is no text");
        refused(&binary(0x21, 0x11, &[0; 11]), "the PROXY header is cut short");
        refused(&binary(0x21, 0x21, &[0; 35]), "the PROXY header is cut short");
        refused(&binary(0x11, 0x11, &[0; 12]), "the PROXY header is of a kind that is not known");
        refused(&binary(0x21, 0x12, &[0; 12]), "the PROXY header is of a kind that is not known");
        refused(&[&SIGNATURE[..], &[0x21, 0x11, 0xFF, 0xFF]].concat(), "the PROXY header is too long");
    }
}
