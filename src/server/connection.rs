//! One client's loop: bytes from the socket to the session, and back.
//!
//! Written as one poll function rather than a `select!`, so that a turn registers nothing that is
//! registered already and allocates nothing. A turn reads once, hands everything to the session in
//! one piece, lets it look into its mailbox, and writes what it said. Invariants: the socket is not
//! read while the session does not want it (what waits to be written is the session's to judge: a
//! client that publishes while it is slow to take its deliveries must be heard); an idle connection
//! holds no buffer; `handle_disconnect` is called exactly once, even after a panic.

use super::timer::Alarm;
use super::{ConnectionGuard, ShutdownReason, socket};
use crate::client::identity::Peer;
use crate::clock::Now;
use crate::protocol::amqp::session::Session;
use crate::protocol::amqp::wire::output::Output;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::{debug, error, warn};

/// The most that is read at once. Reads larger than a processor's second cache (256 KiB and up)
/// gain nothing.
const READ_BYTES: usize = 256 * 1024;

/// What a session may leave unused: a read that it did not want any more, and a frame that is not
/// complete.
const PARTIAL_MAX: usize = 4 * READ_BYTES;

/// A buffer up to this size is kept between reads, so that small pieces of frames do not cost an
/// allocation each.
const PARTIAL_KEPT: usize = 4 * 1024;

/// Once less than this is left to write, a session that held back deliveries is asked again.
const OUTPUT_LOW: usize = 16 * 1024;

/// Slices of one vectored write; Linux takes up to 1024, and beyond 64 the call itself no longer
/// shows.
const SLICES: usize = 64;

/// Turns before other tasks have theirs.
const TURNS_MAX: usize = 8;

/// After one turn that took long so many are taken for such.
const LONG_TURNS: u32 = 64;

/// How long a connection is quiet before its buffers are given back.
const QUIET_MS: u64 = 1000;

/// How long a deadline that has come waits until tokio notices what the kernel knows of the socket:
/// after the process stood still many sockets want to be looked at, and a client can do nothing to
/// make this longer.
const NOTICE_MS: u64 = 5000;

/// How long it waits for what is being read: less than half of the shortest heartbeat, which may be
/// due.
const HEARING_MS: u64 = 250;

/// How long it waits until it is looked at again.
const PUT_OFF_MS: u64 = 10;

/// How often it is looked, while memory is short, whether a client is gone.
const LOOK_MS: u64 = 2000;

/// How long the last words of a connection may take to be written.
const FLUSH_WAIT: Duration = Duration::from_secs(3);

/// How long the client may take to notice them; the socket must be read until then, or the kernel
/// would answer unread bytes with a reset that destroys what was written.
const LINGER_WAIT: Duration = Duration::from_secs(1);

thread_local! {
    /// What connections read into, one at a time: memory per thread instead of per connection.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a connection is: a socket, or TLS on one. The loop is compiled for each, so that either
/// costs only itself.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket under it.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for Box<TlsStream<TcpStream>> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Serves one client, who came at the time `began`, until it or the broker ends the connection.
pub(super) async fn serve<S: Stream>(stream: S, peer: Peer, guard: ConnectionGuard, began: Now) {
    let address = peer.address;
    let mut connection = Connection::new(stream, peer, guard, began);
    match poll_fn(|context| connection.poll_guarded(context)).await {
        End::Closed => {
            // What the session held is the broker's again before the client is waited for.
            let mut last_words = mem::take(connection.session.output());
            let is_closed_by_client = connection.session.is_closed_by_client();
            connection.disconnect();
            if is_closed_by_client {
                let end = poll_fn(|context| poll_end(&mut connection.stream, &mut last_words, context));
                let _either = timeout(LINGER_WAIT, end).await;
            }
            finish(connection.stream, last_words).await;
            debug!(peer = %address, "socket closed");
        }
        End::Lost(error) if !connection.heard => {
            connection.disconnect();
            debug!(peer = %address, %error, "connection lost before it began");
        }
        End::Lost(error) => {
            let user = connection.session.user().to_owned();
            let is_news = !connection.session.is_ending();
            connection.disconnect();
            if !is_news {
                debug!(peer = %address, user, %error, "client left before the connection was closed");
            } else if error.kind() == ErrorKind::UnexpectedEof {
                warn!(peer = %address, user, "the client closed the socket without closing the connection");
            } else {
                warn!(peer = %address, user, %error, "connection lost");
            }
        }
        End::GaveWay => {
            connection.guard.note_refusal(address);
            connection.disconnect();
        }
        End::Panicked => {
            error!(peer = %address, "connection closed after a panic in its session");
            connection.disconnect();
        }
    }
}

/// How a connection ends.
enum End {
    /// The session has said everything; its output is to be written.
    Closed,
    /// The socket is of no use any more.
    Lost(io::Error),
    /// It has not shaken hands, and others wait to do so.
    GaveWay,
    /// The broker's fault; it is in the log.
    Panicked,
}

/// What a turn came to.
enum Turn {
    /// Nothing is left to do until something wakes the task.
    Idle,
    /// There may be more to do.
    Worked,
    /// There is more to do, and other tasks have waited long enough.
    Yield,
    /// The session has said everything.
    Closed,
    /// Others need the place.
    GaveWay,
}

struct Connection<S> {
    stream: S,
    session: Session,
    /// Input that the session did not use: a piece of a frame, or more when it stopped wanting
    /// input.
    partial: Vec<u8>,
    /// `partial` has more than a piece of a frame: offered again, without reading, once input is
    /// wanted.
    held_back: bool,
    alarm: Alarm,
    /// When to give buffers back; `u64::MAX` when that is done.
    quiet_at_ms: u64,
    /// When a deadline is judged at the latest that has come while there was more to read or to
    /// write; else `u64::MAX`.
    judged_at_ms: u64,
    /// While memory is short, when to look next whether the client is gone; else `u64::MAX`.
    look_at_ms: u64,
    /// The client has sent something. Until then it may be a probe of the port, which is not worth
    /// a line in the log.
    heard: bool,
    /// The session knows that every connection is to end.
    told: bool,
    address: SocketAddr,
    long_turn: LongTurn,
    /// Turns that may take long, as one did before.
    long_turns: u32,
    guard: ConnectionGuard,
}

/// A turn that may take long, if the last ones of its connection did. Those of all connections
/// together are not to take all processors, so that there is one for everybody else; who waits for
/// such a turn is not read, and holds no thread.
enum LongTurn {
    No,
    /// Others have theirs first.
    Waiting(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    Now {
        _permit: Option<OwnedSemaphorePermit>,
    },
}

impl<S: Stream> Connection<S> {
    fn new(stream: S, peer: Peer, guard: ConnectionGuard, began: Now) -> Self {
        let address = peer.address;
        let session = Session::new(Arc::clone(guard.broker()), peer, began);
        guard.take(session.mailbox());
        Self {
            stream,
            session,
            partial: Vec::new(),
            held_back: false,
            alarm: Alarm::default(),
            quiet_at_ms: u64::MAX,
            judged_at_ms: u64::MAX,
            look_at_ms: u64::MAX,
            heard: false,
            told: false,
            address,
            long_turn: LongTurn::No,
            long_turns: 0,
            guard,
        }
    }

    /// As [`Self::poll`], with a panic turned into an end of this connection alone.
    fn poll_guarded(&mut self, context: &mut Context<'_>) -> Poll<End> {
        catch_unwind(AssertUnwindSafe(|| self.poll(context))).unwrap_or(Poll::Ready(End::Panicked))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.session.renew_budget();
        if self.long_turns > 0 {
            self.wait_for_long_turn(context);
        }
        let end = self.take_turns(context);
        if matches!(self.long_turn, LongTurn::Now { .. }) {
            self.long_turn = LongTurn::No;
            self.long_turns -= 1;
        } else if end.is_ready() {
            // It does not stand in the queue while its last words are written.
            self.long_turn = LongTurn::No;
        }
        if self.session.took_long() {
            self.long_turns = LONG_TURNS;
        }
        end
    }

    /// Has it wait for its turn, or have it.
    #[cold]
    fn wait_for_long_turn(&mut self, context: &mut Context<'_>) {
        if matches!(self.long_turn, LongTurn::No) {
            self.long_turn = LongTurn::Waiting(Box::pin(self.guard.long_turn()));
        }
        if let LongTurn::Waiting(turn) = &mut self.long_turn
            && let Poll::Ready(permit) = turn.as_mut().poll(context)
        {
            self.long_turn = LongTurn::Now { _permit: permit };
        }
    }

    fn take_turns(&mut self, context: &mut Context<'_>) -> Poll<End> {
        for _turn in 0..TURNS_MAX {
            match self.turn(context) {
                Ok(Turn::Idle) => return Poll::Pending,
                Ok(Turn::Worked) => {}
                Ok(Turn::Yield) => break,
                Ok(Turn::Closed) => return Poll::Ready(End::Closed),
                Ok(Turn::GaveWay) => return Poll::Ready(End::GaveWay),
                Err(error) => return Poll::Ready(End::Lost(error)),
            }
        }
        // Not at once: what is ready goes first, and what sockets and timers have for others is
        // looked at.
        let _never_ready_at_first = pin!(yield_now()).poll(context);
        Poll::Pending
    }

    /// The hot path. Input comes before mail, so that what the client caused itself goes out with
    /// the same write.
    fn turn(&mut self, context: &mut Context<'_>) -> io::Result<Turn> {
        let now = self.guard.broker().clock().now();
        self.hear_shutdown(now);
        let could_read = self.may_read();
        let read = if could_read { self.read(context, now)? } else { 0 };
        if self.guard.gives_way(&mut self.session, now, context)
            && !socket::look(self.stream.socket()).is_readable
        {
            return Ok(Turn::GaveWay);
        }
        let due = self.is_due(read, now);
        if due {
            self.session.handle_timeout(now);
        }
        let mail = self.session.mailbox().poll(context).is_ready();
        if mail || self.session.has_more_mail() {
            self.session.handle_mail(now);
        }
        let drained = self.write(context)?;
        if drained {
            self.session.handle_mail(now);
        }
        if self.session.is_closed() {
            return Ok(Turn::Closed);
        }
        if (self.session.has_more_input() && self.may_read()) || self.session.has_more_mail() {
            self.quiet_at_ms = now.mono_ms + QUIET_MS;
            return Ok(Turn::Yield);
        }
        let resumed = !could_read && self.may_read();
        if read > 0 || due || mail || drained || resumed {
            self.quiet_at_ms = now.mono_ms + QUIET_MS;
            return Ok(if read >= READ_BYTES { Turn::Yield } else { Turn::Worked });
        }
        self.rest(context, now)
    }

    /// Whether the session's deadline has come, and is to be judged: after everything is read and
    /// written that can be, for tokio's clock may ring before tokio knows of the socket, as it does
    /// when the process stood still. A client that goes on and on does not put it off for long.
    #[inline]
    fn is_due(&mut self, read: usize, now: Now) -> bool {
        let due = self.session.poll_deadline() <= now.mono_ms;
        if due {
            let wait_ms = if read == 0 { NOTICE_MS } else { HEARING_MS };
            self.judged_at_ms = self.judged_at_ms.min(now.mono_ms.saturating_add(wait_ms));
            if now.mono_ms < self.judged_at_ms && self.has_more() {
                return false;
            }
        }
        self.judged_at_ms = u64::MAX;
        due
    }

    #[cold]
    fn has_more(&mut self) -> bool {
        let state = socket::look(self.stream.socket());
        let reads = self.session.wants_input() && (state.is_readable || self.held_back);
        reads || (state.is_writable && !self.session.output().is_empty())
    }

    /// While memory is short, others wait for what a client holds that is gone. Of one whose socket
    /// is not read nothing would be heard.
    fn look_for_client(&mut self, now: Now) -> io::Result<()> {
        let is_short = self.guard.broker().alarms().memory_is_short();
        if is_short != (self.look_at_ms < u64::MAX) {
            socket::ask_for_life(self.stream.socket(), is_short);
            self.look_at_ms = if is_short { now.mono_ms + LOOK_MS } else { u64::MAX };
        } else if self.look_at_ms <= now.mono_ms {
            self.look_at_ms = now.mono_ms + LOOK_MS;
            let socket = self.stream.socket();
            if !self.may_read() && socket::look(socket).is_over {
                return Err(socket.take_error()?.unwrap_or_else(|| ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }

    /// Nothing to do: sees to it that the task is woken in time, and after a while gives memory
    /// back.
    fn rest(&mut self, context: &mut Context<'_>, now: Now) -> io::Result<Turn> {
        self.look_for_client(now)?;
        if self.quiet_at_ms <= now.mono_ms {
            self.quiet_at_ms = u64::MAX;
            self.partial.shrink_to_fit();
            self.session.output().shrink();
        }
        let is_put_off = self.judged_at_ms < u64::MAX;
        let deadline_ms = if is_put_off { now.mono_ms + PUT_OFF_MS } else { self.session.poll_deadline() };
        let deadline_ms = deadline_ms.min(self.quiet_at_ms).min(self.look_at_ms);
        Ok(match self.alarm.poll(deadline_ms, now, context) {
            Poll::Ready(()) => Turn::Worked,
            Poll::Pending => Turn::Idle,
        })
    }

    fn may_read(&self) -> bool {
        self.session.wants_input() && !matches!(self.long_turn, LongTurn::Waiting(_))
    }

    /// Hands the session what it left last time and what has come since; returns how many bytes
    /// have come.
    fn read(&mut self, context: &mut Context<'_>, now: Now) -> io::Result<usize> {
        if self.held_back {
            let used = self.session.handle_input(&self.partial, now);
            self.partial.drain(..used);
            self.held_back = self.is_held_back();
            if self.held_back {
                return Ok(0);
            }
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let old = self.partial.len();
            scratch.resize(scratch.len().max(old + READ_BYTES), 0);
            let new = match poll_read(&mut self.stream, context, &mut scratch[old..old + READ_BYTES]) {
                Poll::Ready(new) => new?,
                Poll::Pending => return Ok(0),
            };
            if new == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if !mem::replace(&mut self.heard, true) {
                debug!(peer = %self.address, "connection accepted");
            }
            scratch[..old].copy_from_slice(&self.partial);
            let input = &scratch[..old + new];
            let used = self.session.handle_input(input, now);
            self.held_back = self.is_held_back();
            self.keep(&input[used..])?;
            Ok(new)
        })
    }

    /// Whether what the session left is more than a piece of a frame.
    fn is_held_back(&self) -> bool {
        !self.session.wants_input() || self.session.has_more_input()
    }

    fn keep(&mut self, rest: &[u8]) -> io::Result<()> {
        if rest.len() > PARTIAL_MAX && !self.session.is_closed() {
            return Err(io::Error::other("more input is unused than any frame has"));
        }
        self.partial.clear();
        if rest.is_empty() && self.partial.capacity() > PARTIAL_KEPT {
            self.partial = Vec::new();
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what there is; whether a session that held back deliveries may go on.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let output = self.session.output();
        let before = output.len();
        write_some(&mut self.stream, output, context)?;
        Ok(before >= OUTPUT_LOW && output.len() < OUTPUT_LOW)
    }

    fn hear_shutdown(&mut self, now: Now) {
        let Some(shutdown_reason) = self.guard.shutdown_reason() else { return };
        if !mem::replace(&mut self.told, true) {
            match shutdown_reason {
                ShutdownReason::Stop => self.session.handle_shutdown(now),
                ShutdownReason::StoreFailed => self.session.handle_store_failure(now),
            }
        }
    }

    /// Gives back to the broker what the session holds. After a panic the session may be in any
    /// state, and may panic again; the process goes on nevertheless.
    fn disconnect(&mut self) {
        let now = self.guard.broker().clock().now();
        let gone = catch_unwind(AssertUnwindSafe(|| self.session.handle_disconnect(now)));
        if gone.is_err() {
            error!(peer = %self.address, "panic while requeueing the messages of a closed connection");
        }
    }
}

/// Sees that the client gets the last words: writes them, ends the stream, and waits for the
/// client's end of it.
pub(super) async fn finish<S: Stream>(mut stream: S, mut output: Output) {
    let flush = poll_fn(|context| {
        write_some(&mut stream, &mut output, context)?;
        if !output.is_empty() {
            return Poll::Pending;
        }
        Pin::new(&mut stream).poll_shutdown(context)
    });
    if !matches!(timeout(FLUSH_WAIT, flush).await, Ok(Ok(()))) {
        return;
    }
    // Whether the client is heard of again or not, the connection is over.
    let _either = timeout(LINGER_WAIT, poll_fn(|context| poll_discard(&mut stream, context))).await;
}

/// Answers a client that has closed the connection, which then ends the stream. A client may take
/// an end that comes first for a failure, even behind the answer that it waits for.
fn poll_end<S: Stream>(
    stream: &mut S,
    output: &mut Output,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    write_some(stream, output, context)?;
    poll_discard(stream, context)
}

/// Writes as much as the socket takes; when that is not everything, the task is woken once it takes
/// more.
fn write_some<S: Stream>(stream: &mut S, output: &mut Output, context: &mut Context<'_>) -> io::Result<()> {
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = output.slices(&mut slices);
        match Pin::new(&mut *stream).poll_write_vectored(context, &slices[..count]) {
            Poll::Ready(Ok(0)) => return Err(ErrorKind::WriteZero.into()),
            Poll::Ready(written) => output.advance(written?),
            Poll::Pending => break,
        }
    }
    // TLS keeps what the socket did not take; a socket keeps nothing, and this nothing is compiled
    // away.
    match Pin::new(stream).poll_flush(context) {
        Poll::Ready(flushed) => flushed,
        Poll::Pending => Ok(()),
    }
}

/// Reads and forgets until the client ends its side.
fn poll_discard<S: Stream>(stream: &mut S, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(scratch.len().max(READ_BYTES), 0);
        while ready!(poll_read(stream, context, scratch))? > 0 {}
        Poll::Ready(Ok(()))
    })
}

fn poll_read<S: Stream>(
    stream: &mut S,
    context: &mut Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(into);
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}
