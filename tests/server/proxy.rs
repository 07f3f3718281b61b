//! The PROXY protocol on real sockets. How headers are read is tested where they are read.

use super::dialogue::{Client, Tls, connect};
use super::tls::port;
use crate::support::certificates::Authority;
use crate::support::process::{Folder, Process, leveret_in};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const TOLD_V1: &[u8] = b"PROXY TCP4 127.9.9.9 127.0.0.1 1111 5672\r\n";
const TOLD_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x7F\x09\x09\x08\x7F\0\0\x01\x08\xAE\x16\x28";
const LOCAL_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A broker to which 127.0.0.1 is a proxy, and nobody else.
fn broker(folder: &Folder, authority: &Authority) -> Process {
    let files = authority.sign("localhost", &["localhost"]).write(folder, "server");
    let config = format!("proxy_protocol_from = ['10.0.0.0/8', '127.0.0.1']\n[tls]\n{files}");
    let config = folder.write("leveret.toml", &config);
    let flags = ["--amqp", "[::1]:0", "--amqps", "127.0.0.1:0", "--config"];
    Process::spawn(leveret_in(folder).args(flags).arg(config))
}

fn told(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut socket = connect(address);
    socket.write_all(header).expect("the broker reads");
    socket
}

#[test]
fn the_client_is_who_the_proxy_says() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority);
    for header in [TOLD_V1, TOLD_V2, LOCAL_V2] {
        Client::over(told(broker.amqp, header)).log_in("PLAIN guest guest");
        let secure = Tls::trusting(&authority).connect(told(port(&broker), header)).unwrap();
        Client::over(secure).log_in("PLAIN guest guest");
    }
    // Guest logs in from the machine itself only, and that is where the proxy is, not the client.
    let mut far = Client::over(told(broker.amqp, b"PROXY TCP4 192.0.2.7 127.0.0.1 1111 5672\r\n"));
    far.greet();
    far.say(&["0 connection.start-ok PLAIN guest guest authentication_failure_close"]);
    assert!(far.hear().starts_with("0 connection.close 403 "));
    let (_status, log) = broker.stop();
    for peer in ["127.9.9.9:1111", "127.9.9.8:2222", "192.0.2.7:1111"] {
        assert!(log.contains(&format!("peer={peer}")), "{peer}: {log}");
    }
}

#[test]
fn who_is_no_proxy_is_not_asked_for_a_header() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority);
    let listed = broker.ready.split(" amqp=").nth(1).unwrap().split([' ', ',']).nth(1).unwrap();
    let other: SocketAddr = listed.parse().unwrap();
    assert!(other.is_ipv6(), "{}", broker.ready);
    Client::over(connect(other)).log_in("PLAIN guest guest");
    let mut stranger = told(other, TOLD_V1);
    let mut answer = Vec::new();
    stranger.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"AMQP\0\0\x09\x01", "it is taken for another protocol");
}

#[test]
fn a_proxy_without_a_header_is_let_go_cleanly() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority);
    let long = [b'x'; 100_000];
    for (start, why) in [
        (&b"AMQP\0\0\x09\x01"[..], "does not begin with a PROXY header"),
        (&long, "does not begin with a PROXY header"),
        (b"PROXY TCP4 127.0.0.1\r\n", "the PROXY header is malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF", "the PROXY header is too long"),
    ] {
        for address in [broker.amqp, port(&broker)] {
            let mut answer = Vec::new();
            told(address, start).read_to_end(&mut answer).expect("the stream ends, and is not reset");
            assert_eq!(answer, b"", "{why}");
        }
    }
    let (_status, log) = broker.stop();
    assert_eq!(log.matches("refused: does not begin with a PROXY header").count(), 4, "{log}");
    assert_eq!(log.matches("refused: the PROXY header is malformed").count(), 2, "{log}");
    assert_eq!(log.matches("refused: the PROXY header is too long").count(), 2, "{log}");
}

#[test]
fn a_header_does_not_take_for_ever() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority);
    let mut half = told(broker.amqp, &TOLD_V1[..20]);
    let mut only = told(broker.amqp, TOLD_V2);
    for way in [&mut half, &mut only] {
        assert_eq!(way.read(&mut [0]).expect("the stream ends"), 0);
    }
    let (_status, log) = broker.stop();
    assert_eq!(log.matches("closed: the handshake took too long").count(), 2, "{log}");
}
