//! Which HTTP connections there are. A new one is always let in: when there are too many, another
//! gives way, of the address that has most of them the one that has been idle for longest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;

/// The connections of one listener.
#[derive(Debug, Default)]
pub(super) struct ConnectionSlots(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    taken: HashMap<u64, Taken>,
    /// Counts connections and requests, and so numbers both.
    next: u64,
}

#[derive(Debug)]
struct Taken {
    address: IpAddr,
    /// The number of its last request, or its own: the lower, the longer ago.
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

impl ConnectionSlots {
    /// A place for a connection from `address`, and what becomes ready when it has to give way.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> (ConnectionSlot, oneshot::Receiver<()>) {
        let mut table = self.table();
        if table.taken.len() >= CONNECTIONS_MAX
            && let Some(number) = table.idlest()
        {
            table.taken.remove(&number);
        }
        let (gives_way, has_to) = oneshot::channel();
        let number = table.number();
        table.taken.insert(number, Taken { address, last: number, _gives_way: gives_way });
        (ConnectionSlot { among: Arc::clone(self), number }, has_to)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        candidates.min_by_key(|(_, taken)| taken.last).map(|(&number, _)| number)
    }
}

impl ConnectionSlot {
    /// The connection has sent a request.
    pub(super) fn renew(&self) {
        let mut table = self.among.table();
        let last = table.number();
        // It may have been told to give way a moment ago.
        if let Some(taken) = table.taken.get_mut(&self.number) {
            taken.last = last;
        }
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

    #[test]
    fn the_idlest_of_the_address_with_most_gives_way() {
        let places = Arc::new(ConnectionSlots::default());
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let (other, mut others) = places.enter(address(2));
        let mut of_one: Vec<_> = (1..CONNECTIONS_MAX).map(|_| places.enter(address(1))).collect();
        of_one[0].0.renew();
        let told = |gives_way: &mut oneshot::Receiver<()>| gives_way.try_recv() == Err(TryRecvError::Closed);
        let _newcomer = places.enter(address(3));
        assert!(told(&mut of_one[1].1) && !told(&mut of_one[0].1), "it asked for something since");
        assert!(!told(&mut others), "it is the only one of its address");
        drop((of_one, other));
        assert_eq!(places.table().taken.len(), 1);
    }
}
