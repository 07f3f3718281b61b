//! The TLS port: who gets in, what they are shown, and what happens to those who do not.

use super::dialogue::{Client, Tls, connect};
use crate::support::certificates::{Authority, Signed};
use crate::support::process::{Folder, Process, leveret, leveret_in, outcome};
use leveret::clock;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

/// A broker with a TLS port, on which `tls` holds beside the certificate of `localhost`.
pub(super) fn broker(folder: &Folder, authority: &Authority, tls: &str) -> Process {
    let files = authority.sign("localhost", &["localhost"]).write(folder, "server");
    let config = folder.write("leveret.toml", format!("[tls]\n{files}{tls}"));
    Process::spawn(leveret_in(folder).args(["--amqps", "127.0.0.1:0", "--config"]).arg(config))
}

/// Where its TLS port is.
pub(super) fn port(broker: &Process) -> SocketAddr {
    broker.amqps.expect("it has one")
}

#[test]
fn plain_and_tls_are_served_side_by_side() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority, "[limits]\nmessage_bytes_max = 33554432\n");
    let expected = format!(" ready amqp={} amqps={} http={} ", broker.amqp, port(&broker), broker.http);
    assert!(broker.ready.contains(&expected), "{}", broker.ready);
    let mut plain = Client::over(connect(broker.amqp));
    plain.log_in("PLAIN guest guest");
    plain.say(&["1 queue.declare q"]);
    assert_eq!(plain.hear(), "1 queue.declare-ok q 0 0");
    for old in [false, true] {
        let mut secure = Tls { old, ..Tls::trusting(&authority) }.client(port(&broker));
        secure.log_in("PLAIN guest guest");
        // More than TLS and the socket keep between them, in both directions.
        secure.say(&["1 basic.publish '' q *30000000"]);
        plain.say(&["1 basic.publish '' q small"]);
        secure.say(&["1 basic.consume q t no-ack"]);
        assert_eq!(secure.hear(), "1 basic.consume-ok t");
        let mut heard = [secure.hear(), secure.hear()];
        heard.sort_by_key(String::len);
        assert!(heard.iter().any(|said| said.ends_with(" small")), "{heard:?}");
        assert!(heard.iter().any(|said| said.ends_with(" *30000000")), "{heard:?}");
        secure.say(&["0 connection.close"]);
        assert_eq!(secure.hear(), "0 connection.close-ok");
    }
}

#[test]
fn who_does_not_speak_tls_is_let_go_cleanly() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority, "");
    for greeting in [&b"AMQP\0\0\x09\x01"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[0xFF; 100_000]] {
        let mut socket = connect(port(&broker));
        socket.write_all(greeting).unwrap();
        let mut said = Vec::new();
        socket.read_to_end(&mut said).expect("the stream ends, and is not reset");
        assert_eq!(said.first(), Some(&21), "a TLS alert: {said:?}");
    }
    Tls::trusting(&authority).client(port(&broker)).log_in("PLAIN guest guest");
    let (_status, log) = broker.stop();
    assert_eq!(log.matches("refused: does not speak TLS").count(), 3, "{log}");
    assert!(!log.contains("are cut"), "{log}");
}

#[test]
fn a_handshake_takes_no_longer_than_amqps() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority, "");
    let mut silent = connect(port(&broker));
    let mut half = connect(port(&broker));
    half.write_all(&[22, 3, 1, 0, 200, 1]).unwrap();
    let mut silent_inside = Tls::trusting(&authority).connect(connect(port(&broker))).unwrap();
    for way in [&mut silent as &mut dyn Read, &mut half, &mut silent_inside] {
        assert_eq!(way.read(&mut [0]).expect("the stream ends"), 0);
    }
    let (_status, log) = broker.stop();
    assert_eq!(log.matches("closed: the handshake took too long").count(), 3, "{log}");
}

#[test]
fn a_stop_does_not_wait_for_handshakes() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority, "");
    let mut silent = connect(port(&broker));
    let mut inside = Tls::trusting(&authority).client(port(&broker));
    inside.greet();
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("are cut"), "{log}");
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_host_is_shown_its_own_certificate() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let names = [("a.example", "a.example"), ("*.field.example", "hare.field.example")];
    let mut sections = String::new();
    let mut expected = Vec::new();
    for (at, (name, host)) in names.into_iter().enumerate() {
        let signed = authority.sign(name, &[name]);
        sections += &format!("[tls.sni.'{name}']\n{}", signed.write(&folder, &format!("sni-{at}")));
        expected.push((host, signed.certificate().clone()));
    }
    let broker = broker(&folder, &authority, &sections);
    for (host, certificate) in expected {
        let seen = Tls { host, ..Tls::trusting(&authority) }.sees(port(&broker));
        assert_eq!(seen, certificate, "{host}");
    }
    // Anybody else, and who names no host, is shown the first one.
    Tls::trusting(&authority).sees(port(&broker));
    let other = Tls { host: "b.example", ..Tls::trusting(&authority) };
    assert!(other.refused(port(&broker)).contains("not valid for name"));
}

#[test]
fn versions_that_are_too_old_are_refused() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority, "min_version = '1.3'\n");
    let refusal = Tls { old: true, ..Tls::trusting(&authority) }.refused(port(&broker));
    assert!(refusal.contains("ProtocolVersion"), "{refusal}");
    Tls::trusting(&authority).client(port(&broker)).log_in("PLAIN guest guest");
    let (_status, log) = broker.stop();
    assert!(log.contains("refused: the TLS handshake failed"), "{log}");
}

#[test]
fn clients_show_certificates_where_they_have_to() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.write("ca.pem", authority.pem());
    let verify = |how: &str| format!("verify = '{how}'\nca = '{}'\n", ca.display());
    let (good, stranger) = (authority.sign("hare", &[]), Authority::new().sign("hare", &[]));
    let required = broker(&folder, &authority, &verify("required"));
    for old in [false, true] {
        let nobody = Tls { old, ..Tls::trusting(&authority) };
        assert!(nobody.refused(port(&required)).contains("alert"), "it shows nothing");
        let wrong = Tls { shows: Some(&stranger), old, ..Tls::trusting(&authority) };
        assert!(wrong.refused(port(&required)).contains("alert"), "nobody knows who signed it");
        let right = Tls { shows: Some(&good), old, ..Tls::trusting(&authority) };
        right.client(port(&required)).log_in("PLAIN guest guest");
    }
    let authority_itself = authority.as_signed();
    assert!(
        Tls { shows: Some(&authority_itself), ..Tls::trusting(&authority) }
            .refused(port(&required))
            .contains("alert")
    );
    let (_status, log) = required.stop();
    let refused =
        |why: &str| log.matches(&format!("refused: the TLS handshake failed: the client{why}")).count();
    assert_eq!(refused(" shows no certificate"), 2, "{log}");
    assert_eq!(refused("'s certificate is not signed by a trusted CA"), 2, "{log}");
    assert_eq!(refused("'s certificate is that of an authority (CA:TRUE), not of a client"), 1, "{log}");

    let optional = broker(&folder, &authority, &verify("optional"));
    Tls::trusting(&authority).client(port(&optional)).log_in("PLAIN guest guest");
    let wrong = Tls { shows: Some(&stranger), ..Tls::trusting(&authority) };
    assert!(wrong.refused(port(&optional)).contains("alert"));
}

#[test]
fn a_certificate_is_a_login() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.write("ca.pem", authority.pem());
    let verify = |from| format!("verify = 'optional'\nca = '{}'\nlogin_from = '{from}'\n", ca.display());
    let guest = authority.sign("guest", &["guest"]);
    for from in ["common_name", "subject_alternative_name"] {
        let broker = broker(&folder, &authority, &verify(from));
        let shows = |shows| Tls { shows, ..Tls::trusting(&authority) }.client(port(&broker));
        shows(Some(&guest)).log_in("EXTERNAL");
        assert_eq!(shows(None).greet(), "0 connection.start PLAIN AMQPLAIN en_US");
        let mut other = shows(Some(&authority.sign("hare", &["hare"])));
        assert_eq!(other.greet(), "0 connection.start PLAIN AMQPLAIN EXTERNAL en_US");
        other.say(&["0 connection.start-ok EXTERNAL guest guest authentication_failure_close"]);
        assert!(other.hear().starts_with("0 connection.close 403 ACCESS_REFUSED"));
    }
    let broker = broker(&folder, &authority, &verify("distinguished_name"));
    let mut other = Tls { shows: Some(&guest), ..Tls::trusting(&authority) }.client(port(&broker));
    other.greet();
    other.say(&["0 connection.start-ok EXTERNAL guest guest authentication_failure_close"]);
    assert!(other.hear().starts_with("0 connection.close 403 ACCESS_REFUSED"));
    let (_status, log) = broker.stop();
    assert!(log.contains("there is no such user") && log.contains("user=\"O=Field,CN=guest\""), "{log}");
}

/// Files are looked at once a second, so this asks until they have been.
#[test]
fn certificates_are_read_again_when_they_change() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let broker = broker(&folder, &authority, "");
    let client = Tls::trusting(&authority);
    let mut inside = client.client(port(&broker));
    let first = client.sees(port(&broker));

    let second = authority.sign("localhost", &["localhost"]);
    second.write(&folder, "server");
    let mut seen = first.clone();
    while seen != *second.certificate() {
        assert_eq!(seen, first, "there is always a certificate");
        seen = client.sees(port(&broker));
    }
    inside.log_in("PLAIN guest guest");

    // What is of no use changes nothing, and what comes after it is used.
    folder.write("server.pem", "nothing");
    let third = authority.sign("localhost", &["localhost"]);
    let looked = clock::mono_ms() + 1500;
    while clock::mono_ms() < looked {
        assert_eq!(client.sees(port(&broker)), *second.certificate());
    }
    third.write(&folder, "server");
    while client.sees(port(&broker)) != *third.certificate() {}
    let (_status, log) = broker.stop();
    assert!(log.contains("certificates not reloaded error=tls.cert: cannot use "), "{log}");
    assert!(log.contains("certificates reloaded"), "{log}");
}

/// What `leveret ctl` says of certificates that it does not accept.
#[test]
fn ctl_says_in_words_what_is_wrong_with_a_certificate() {
    let (folder, authority, other) = (Folder::new(), Authority::new(), Authority::new());
    let ca = folder.write("ca.pem", authority.pem());
    let other_ca = folder.write("other.pem", other.pem());
    let start = |signed: &Signed| {
        let config = folder.write("leveret.toml", format!("[tls]\n{}", signed.write(&folder, "server")));
        Process::spawn(leveret_in(&folder).args(["--https", "127.0.0.1:0", "--config"]).arg(config))
    };
    let refused = |broker: &Process, ca: &Path, why: &str| {
        let address = broker.ready.split_once(" https=").and_then(|(_, rest)| rest.split(' ').next());
        let url = format!("https://{}", address.expect("it is told"));
        let args = ["ctl", "ping", "--username", "guest", "--password", "guest", "--url", &url, "--tls-ca"];
        let ended = outcome(leveret().args(args).arg(ca));
        let words = String::from_utf8_lossy(&ended.stderr).into_owned();
        let expected =
            format!("leveret: cannot reach the broker at {url}/: the server's certificate {why}\n");
        assert_eq!((ended.status.code(), words), (Some(69), expected));
    };
    let broker = start(&authority.sign("localhost", &["localhost"]));
    refused(&broker, &other_ca, "is not signed by a trusted CA");
    refused(&broker, &ca, "is for localhost, not for 127.0.0.1");
    broker.stop();
    let broker = start(&authority.as_signed());
    refused(&broker, &ca, "is that of an authority (CA:TRUE), not of a server");
}

#[test]
fn certificates_that_have_expired_are_told() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let files = authority.sign_expired("localhost").write(&folder, "server");
    let config = folder.write("leveret.toml", format!("[tls]\n{files}"));
    let check = || {
        let mut command = leveret();
        let args = ["ctl", "check_certificate_expiration", "--within", "1", "--unit", "days", "--data-dir"];
        let output = outcome(command.args(args).arg(folder.at("data")));
        (output.status.code(), String::from_utf8(output.stderr).expect("it is text"))
    };
    let broker = Process::spawn(leveret_in(&folder).arg("--config").arg(&config));
    assert_eq!(check().0, Some(0), "nobody is shown it");
    drop(broker);
    let broker =
        Process::spawn(leveret_in(&folder).args(["--amqps", "127.0.0.1:0", "--config"]).arg(&config));
    let file = folder.at("server.pem").display().to_string();
    let told = format!(
        "leveret: Certificates expiring: {file} (O=Field,CN=localhost) on 2001-12-31T00:00:00.000Z\n"
    );
    assert_eq!(check(), (Some(69), told));
    authority.sign("localhost", &["localhost"]).write(&folder, "server");
    let looked = clock::mono_ms() + 60_000;
    while check().0 != Some(0) {
        assert!(clock::mono_ms() < looked, "the new one is used");
    }
    let (_status, log) = broker.stop();
    assert!(log.contains("a certificate has expired file="), "{log}");
}

/// What `leveret ctl` says when something else is spoken at a port than its URL says.
#[test]
fn ctl_says_in_words_what_is_wrong_with_a_port() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let signed = authority.sign("localhost", &["localhost"]);
    let config = folder.write("leveret.toml", format!("[tls]\n{}", signed.write(&folder, "server")));
    let flags = ["--https", "127.0.0.1:0", "--amqps", "127.0.0.1:0", "--config"];
    let broker = Process::spawn(leveret_in(&folder).args(flags).arg(config));
    let place = |key: &str| {
        let word = broker.ready.split_once(&format!(" {key}=")).and_then(|(_, rest)| rest.split(' ').next());
        word.expect("it is told").trim().to_owned()
    };
    let refused = |scheme: &str, place: &str, why: &str| {
        let url = format!("{scheme}://{place}");
        let args = ["ctl", "ping", "--username", "guest", "--password", "guest", "--url", &url];
        let ended = outcome(leveret().args(args));
        let words = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), words), (Some(69), format!("leveret: {why}\n")), "{url}");
    };
    let hint = "name the port of the management API, by default 15672";
    let [amqp, amqps, http, https] = ["amqp", "amqps", "http", "https"].map(place);
    refused("http", &amqp, &format!("{amqp} speaks AMQP, not HTTP: {hint}"));
    refused("https", &amqp, &format!("{amqp} speaks AMQP, not HTTP: {hint}"));
    let ca = folder.write("ca.pem", authority.pem());
    let secure = amqps.replace("127.0.0.1", "localhost");
    let args = ["ctl", "ping", "--username", "guest", "--password", "guest", "--url"];
    let ended = outcome(leveret().args(args).arg(format!("https://{secure}")).arg("--tls-ca").arg(ca));
    let why = format!("leveret: {secure} speaks AMQP, not HTTP: {hint}\n");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()), (Some(69), why));
    for tls in [amqps, https] {
        let why = format!("{tls} speaks TLS: try https://{tls}, if that is the port of the management API");
        refused("http", &tls, &why);
    }
    refused("https", &http, &format!("{http} speaks HTTP without TLS: try http://{http}"));
    let other = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let at = other.local_addr().expect("it has an address").to_string();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _connection in 0..2 {
                let (mut socket, _) = other.accept().expect("it comes");
                let _read = socket.read(&mut [0; 4096]);
                socket.write_all(b"220 mail.example.com\r\n").expect("it is read");
            }
        });
        refused("http", &at, &format!("{at} does not speak HTTP: {hint}"));
    });
    drop(other);
    let url = format!("http://{at}/");
    let why = format!(
        "cannot reach the broker at {url}: Connection refused (os error 111) (nothing listens there: {hint})"
    );
    refused("http", &at, &why);
}
