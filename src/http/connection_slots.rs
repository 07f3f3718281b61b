//! Which HTTP connections there are. A new one is always let in: when there are too many, another
//! gives way, of the address that has most of them. That is the one that has been idle for longest;
//! only if all of them are being answered, which a stream of events always is, the one whose
//! request came first.

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The connections of some listeners.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    taken: HashMap<u64, Taken>,
    /// Counts connections, requests and answers, and so numbers all of them.
    next: u64,
}

#[derive(Debug)]
struct Taken {
    address: IpAddr,
    /// Whether a request of it is being answered.
    busy: bool,
    /// The number of that request, or of its last answer, or its own: the lower, the longer ago.
    last: u64,
    /// Dropped when the connection is to end.
    _gives_way: oneshot::Sender<()>,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    among: Arc<ConnectionSlots>,
    number: u64,
}

/// A request of a connection is being answered, until this is dropped.
#[derive(Debug)]
pub(super) struct Busy {
    among: Arc<ConnectionSlots>,
    number: u64,
}

/// An answer, of which not all has been sent.
pub(super) struct Answering {
    body: Body,
    _busy: Busy,
}

impl ConnectionSlots {
    /// So many at a time.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, table: Mutex::default() })
    }

    /// A place for a connection from `address`, and what becomes ready when it has to give way.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> (ConnectionSlot, oneshot::Receiver<()>) {
        let mut table = self.table();
        if table.taken.len() >= self.max
            && let Some(number) = table.idlest()
        {
            table.taken.remove(&number);
        }
        let (gives_way, has_to) = oneshot::channel();
        let number = table.number();
        table.taken.insert(number, Taken { address, busy: false, last: number, _gives_way: gives_way });
        (ConnectionSlot { among: Arc::clone(self), number }, has_to)
    }

    fn set(&self, connection: u64, busy: bool) {
        let mut table = self.table();
        let last = table.number();
        // It may have been told to give way a moment ago.
        if let Some(taken) = table.taken.get_mut(&connection) {
            (taken.busy, taken.last) = (busy, last);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Who gives way.
    fn idlest(&self) -> Option<u64> {
        let mut by_address: HashMap<IpAddr, usize> = HashMap::new();
        for taken in self.taken.values() {
            *by_address.entry(taken.address).or_default() += 1;
        }
        let most = by_address.values().max()?;
        let candidates = self.taken.iter().filter(|(_, taken)| by_address[&taken.address] == *most);
        candidates.min_by_key(|(_, taken)| (taken.busy, taken.last)).map(|(&number, _)| number)
    }
}

impl ConnectionSlot {
    /// The connection has sent a request.
    pub(super) fn begin(&self) -> Busy {
        self.among.set(self.number, true);
        Busy { among: Arc::clone(&self.among), number: self.number }
    }
}

impl Busy {
    /// Lasts until the body of the answer has been sent.
    pub(super) fn until_read(self, body: Body) -> Answering {
        Answering { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.among.set(self.number, false);
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.among.table().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::error::TryRecvError;

    const MAX: usize = 64;

    #[test]
    fn the_idlest_of_the_address_with_most_gives_way() {
        let places = ConnectionSlots::new(MAX);
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let (other, mut others) = places.enter(address(2));
        let mut of_one: Vec<_> = (1..MAX).map(|_| places.enter(address(1))).collect();
        drop(of_one[0].0.begin());
        let told = |gives_way: &mut oneshot::Receiver<()>| gives_way.try_recv() == Err(TryRecvError::Closed);
        let _newcomer = places.enter(address(3));
        assert!(told(&mut of_one[1].1) && !told(&mut of_one[0].1), "it asked for something since");
        assert!(!told(&mut others), "it is the only one of its address");
        drop((of_one, other));
        assert_eq!(places.table().taken.len(), 1);
    }

    /// A stream of events asks once, and may last for minutes.
    #[test]
    fn what_is_being_answered_gives_way_last() {
        let places = ConnectionSlots::new(MAX);
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut stream = places.enter(address);
        let events = stream.0.begin().until_read(Body::empty());
        let mut idle: Vec<_> = (1..MAX).map(|_| places.enter(address)).collect();
        let told = |gives_way: &mut oneshot::Receiver<()>| gives_way.try_recv() == Err(TryRecvError::Closed);
        let _newcomer = places.enter(address);
        assert!(told(&mut idle[0].1) && !told(&mut stream.1));
        drop(events);
        let requests: Vec<_> = idle[1..].iter().map(|(place, _)| place.begin()).collect();
        let (newcomer, _) = places.enter(address);
        let request = newcomer.begin();
        let other = places.enter(address);
        assert!(told(&mut stream.1), "it is idle now");
        let _request = other.0.begin();
        let _newest = places.enter(address);
        assert!(told(&mut idle[1].1), "all are being answered, this one for longest");
        drop((requests, request));
    }
}
