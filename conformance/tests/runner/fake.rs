//! A broker that does what a test says: it shakes hands and opens channels, and leaves all else to
//! the test.
//!
//! It speaks through `amq-protocol`, so that the runner's own codec is held against another.

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::{AMQPValue, FieldTable};
use conformance::run::target::Target;
use conformance::run::{Failure, run};
use conformance::script::{Script, read};
use conformance::suite::broker::ask;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What the broker does next.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// Sends a method.
    Method(u16, AMQPClass),
    /// Sends bytes.
    Bytes(Vec<u8>),
    /// Closes the socket.
    End,
}

/// What the broker answers: the channel, the method.
pub(crate) type Answer = dyn Fn(u16, &AMQPClass) -> Vec<Say> + Send + Sync;

/// One connection of the broker.
pub(crate) struct Peer {
    /// The client.
    pub(crate) socket: TcpStream,
    input: Vec<u8>,
    heard: Arc<Mutex<Vec<AMQPClass>>>,
}

/// A fake broker that answers as a test tells it to.
pub(crate) struct Fake {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<AMQPClass>>>,
    is_over: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Fake {
    /// A broker that answers all that is not a handshake by `answer`.
    pub(crate) fn answering(answer: impl Fn(u16, &AMQPClass) -> Vec<Say> + Send + Sync + 'static) -> Self {
        Self::playing(move |peer| peer.play(&answer))
    }

    /// A broker whose every connection is `play`ed.
    pub(crate) fn playing(play: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (heard, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (log, over, play) = (Arc::clone(&heard), Arc::clone(&is_over), Arc::new(play));
        let accepting = thread::spawn(move || {
            let mut playing = Vec::new();
            for socket in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let socket = socket.expect("a connection comes in");
                socket.set_nodelay(true).expect("it is a socket");
                let mut peer = Peer { socket, input: Vec::new(), heard: Arc::clone(&log) };
                let play = Arc::clone(&play);
                // A client that goes away ends the play.
                playing.push(thread::spawn(move || play(&mut peer).is_ok()));
            }
            for play in playing {
                play.join().expect("the play goes as written");
            }
        });
        Self { address, heard, is_over, accepting }
    }

    /// Where it is.
    pub(crate) fn uri(&self) -> String {
        format!("amqp://{}", self.address)
    }

    /// Runs the script that has this body; its first line is line 4.
    pub(crate) fn run(&self, body: &str) -> Result<(), Box<Failure>> {
        self.run_script(&script(body), false)
    }

    /// Runs `script`; `compares_words` in a case of the specification, too.
    pub(crate) fn run_script(&self, script: &Script, compares_words: bool) -> Result<(), Box<Failure>> {
        let target = ask(&self.uri()).expect("the broker lets its clients in");
        run(script, &Target { compares_words, ..target }, "mark")
    }

    /// All that was heard, when nobody speaks any more.
    pub(crate) fn end(self) -> Vec<AMQPClass> {
        self.is_over.store(true, Ordering::SeqCst);
        let _knock = TcpStream::connect(self.address).expect("it still listens");
        self.accepting.join().expect("the play goes as written");
        let heard = self.heard.lock().expect("no play failed");
        heard.clone()
    }
}

/// A script with this body, about RabbitMQ.
pub(crate) fn script(body: &str) -> Script {
    script_of("rabbitmq", body)
}

/// A script with this level and body.
pub(crate) fn script_of(level: &str, body: &str) -> Script {
    let text = format!("title: t\nsource: s\nlevel: {level}\n{body}\n");
    read(Path::new("scripts/x/y.amqp"), "x/y", &text).expect("a test writes scripts that are sound")
}

/// The bytes of a frame.
pub(crate) fn bytes(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new())).expect("a test sends what can be sent").into_inner().0
}

impl Peer {
    /// Hears and answers until the client goes or `answer` ends it.
    pub(crate) fn play(&mut self, answer: &Answer) -> io::Result<()> {
        while let Some((channel, method)) = self.hear()? {
            let says = match Self::politeness(&method) {
                Some(polite) => vec![Say::Method(channel, polite)],
                None => answer(channel, &method),
            };
            let ends = says.iter().any(|say| matches!(say, Say::End));
            let said = says.into_iter().flat_map(|say| match say {
                Say::Method(channel, method) => bytes(&AMQPFrame::Method(channel, method)),
                Say::Bytes(bytes) => bytes,
                Say::End => Vec::new(),
            });
            // All at once, so that no test depends on what comes between.
            self.socket.write_all(&said.collect::<Vec<u8>>())?;
            if ends {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends a method.
    pub(crate) fn say(&mut self, channel: u16, method: AMQPClass) -> io::Result<()> {
        self.socket.write_all(&bytes(&AMQPFrame::Method(channel, method)))
    }

    /// The next method that the client sends; none when it goes.
    pub(crate) fn hear(&mut self) -> io::Result<Option<(u16, AMQPClass)>> {
        loop {
            if self.input.starts_with(b"AMQP\0\0\x09\x01") {
                self.input.drain(..8);
                self.say(0, start())?;
            } else if let Ok((rest, frame)) = parse_frame(self.input.as_slice()) {
                self.input = rest.to_vec();
                if let AMQPFrame::Method(channel, method) = frame {
                    let mut heard = self.heard.lock().expect("no play failed");
                    heard.push(method.clone());
                    return Ok(Some((channel, method)));
                }
            } else {
                let mut part = [0; 4096];
                let len = self.socket.read(&mut part)?;
                if len == 0 {
                    return Ok(None);
                }
                self.input.extend_from_slice(&part[..len]);
            }
        }
    }

    /// The answer to what every client says and every broker answers alike.
    pub(crate) fn politeness(method: &AMQPClass) -> Option<AMQPClass> {
        Some(match method {
            AMQPClass::Connection(connection::AMQPMethod::StartOk(_)) => {
                AMQPClass::Connection(connection::AMQPMethod::Tune(connection::Tune {
                    channel_max: 100,
                    frame_max: 131_072,
                    heartbeat: 60,
                }))
            }
            AMQPClass::Connection(connection::AMQPMethod::Open(_)) => {
                AMQPClass::Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}))
            }
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
            }
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}))
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(flow)) => {
                AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk { active: flow.active }))
            }
            _ => return None,
        })
    }
}

fn start() -> AMQPClass {
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("Fake".into()));
    properties.insert("version".into(), AMQPValue::LongString("1.2.3".into()));
    AMQPClass::Connection(connection::AMQPMethod::Start(connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: properties,
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
    }))
}
