//! A client over a real socket, with or without TLS, that speaks the sentences of the session's
//! scripts.

use crate::session::wire::{Answers, encode};
use crate::support::process::PATIENCE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::certificates::{Authority, Signed};

/// What bytes go over.
pub(super) trait Way: Read + Write {}

impl<W: Read + Write> Way for W {}

/// One client.
pub(super) struct Client {
    way: Box<dyn Way>,
    answers: Answers,
}

/// How a client speaks TLS.
pub(super) struct Tls<'a> {
    /// Whom it trusts.
    pub(super) trusts: &'a Authority,
    /// What it shows.
    pub(super) shows: Option<&'a Signed>,
    /// The host it believes to speak to.
    pub(super) host: &'a str,
    /// It knows nothing newer than TLS 1.2.
    pub(super) old: bool,
}

impl<'a> Tls<'a> {
    /// Shows nothing, and speaks the newest TLS to `localhost`.
    pub(super) fn trusting(trusts: &'a Authority) -> Self {
        Self { trusts, shows: None, host: "localhost", old: false }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.certificate().clone()).expect("it is a certificate");
        let versions = if self.old { [&TLS12] } else { [&TLS13] };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&versions)
            .expect("it is known")
            .with_root_certificates(roots);
        match self.shows.map(Signed::shown) {
            Some((certificates, key)) => {
                builder.with_client_auth_cert(certificates, key).expect("they belong together")
            }
            None => builder.with_no_client_auth(),
        }
    }

    /// Shakes hands over `socket`, as far as the client can tell.
    pub(super) fn connect(
        &self,
        mut socket: TcpStream,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let host = ServerName::try_from(self.host.to_owned()).expect("it is a host");
        let mut session = ClientConnection::new(Arc::new(self.config()), host).expect("it may be tried");
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(session, socket))
    }

    /// The certificate that the server shows.
    pub(super) fn sees(&self, address: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(connect(address)).expect("it is trusted");
        stream.conn.peer_certificates().expect("every server shows one")[0].clone()
    }

    /// A client that has shaken hands.
    pub(super) fn client(&self, address: SocketAddr) -> Client {
        Client::over(self.connect(connect(address)).expect("it is let in"))
    }

    /// Why a client is not let in; with TLS 1.3 it learns that with the first bytes that it reads.
    pub(super) fn refused(&self, address: SocketAddr) -> String {
        let read = self.connect(connect(address)).and_then(|mut stream| {
            stream.write_all(&encode("header"))?;
            stream.read(&mut [0])
        });
        read.expect_err("it is not let in").to_string()
    }
}

/// A socket that does not wait for ever.
pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the broker is ready");
    socket.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
    socket
}

impl Client {
    /// A client that has said nothing yet.
    pub(super) fn over(way: impl Way + 'static) -> Self {
        Self { way: Box::new(way), answers: Answers::default() }
    }

    /// Says these sentences at once.
    pub(super) fn say(&mut self, sentences: &[&str]) {
        let bytes: Vec<u8> = sentences.iter().flat_map(|sentence| encode(sentence)).collect();
        self.way.write_all(&bytes).expect("the broker reads");
        self.way.flush().expect("the broker reads");
    }

    /// The next sentence of the broker.
    pub(super) fn hear(&mut self) -> String {
        let mut body = false;
        loop {
            let mut frame = vec![0; 7];
            self.way.read_exact(&mut frame).expect("the broker answers");
            let len = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]);
            frame.resize(8 + usize::try_from(len).expect("it is a small number"), 0);
            self.way.read_exact(&mut frame[7..]).expect("the broker answers");
            self.answers.add(&frame);
            // Returns, deliveries and what basic.get brings go on in further frames.
            body |= matches!(frame.get(7..11), Some([0, 60, 0, 50 | 60 | 71]));
            if body && !self.answers.is_whole() {
                continue;
            }
            return self.answers.take().remove(0);
        }
    }

    /// Logs in as `login` says, a mechanism and its words, and opens channel 1.
    pub(super) fn log_in(&mut self, login: &str) {
        self.greet();
        self.say(&[&format!("0 connection.start-ok {login} authentication_failure_close")]);
        assert_eq!(self.hear(), "0 connection.tune 2047 131072 60");
        self.say(&["0 connection.tune-ok 2047 131072 0", "0 connection.open /", "1 channel.open"]);
        assert_eq!(self.hear(), "0 connection.open-ok");
        assert_eq!(self.hear(), "1 channel.open-ok");
    }

    /// The greeting; the mechanisms that are offered, and the languages.
    pub(super) fn greet(&mut self) -> String {
        self.say(&["header"]);
        self.hear()
    }
}
