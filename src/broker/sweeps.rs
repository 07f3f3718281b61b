//! What is left of things that are deleted goes here, on a thread of its own, a part at a time:
//! what was in a vhost, and bindings of what nobody waits for.
//!
//! All commits are one line, and a vhost with 100,000 queues would hold it up for a second. So each
//! part waits until there is room in the log, and the changes of everybody else come in between.
//! Who wants the name of such a thing for another does not wait for the thread but helps: see
//! `vhosts` and `Objects::write_without`.

use super::Broker;
use super::thread;
use super::vhost::VHost;
use crate::routing::topology::Removal;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What is left.
pub(super) enum Order {
    /// What is in a vhost that is deleted.
    VHost(Arc<VHost>),
    /// A removal from a vhost.
    Removal(Arc<VHost>, Removal),
}

/// Things of which there is something left.
pub(super) struct Sweeps {
    orders: Mutex<Sender<Order>>,
    /// Until the thread is started.
    ordered: Mutex<Option<Receiver<Order>>>,
    turn: Arc<Turn>,
}

/// Whether the thread may work, and whether it does.
#[derive(Default)]
struct Turn {
    /// What is left stays for the next start.
    stopped: AtomicBool,
    /// Held by the thread while it has an order.
    working: Mutex<()>,
}

impl Default for Sweeps {
    fn default() -> Self {
        let (orders, ordered) = mpsc::channel();
        Self { orders: Mutex::new(orders), ordered: Mutex::new(Some(ordered)), turn: Arc::default() }
    }
}

impl Sweeps {
    /// Leaves something to the thread.
    pub(super) fn order(&self, order: Order) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // It has ended if the broker has: the next start goes on.
        let _unsent = orders.send(order);
    }

    /// Starts the thread of a broker.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(&self, broker: &Arc<Broker>) -> io::Result<()> {
        let ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ordered) = ordered else { return Ok(()) };
        let (turn, weak) = (Arc::clone(&self.turn), Arc::downgrade(broker));
        thread::start("leveret-sweeper", broker.log(), move || serve(&ordered, &turn, &weak))
    }

    /// The thread begins nothing more, and has no vhost when this returns.
    pub(super) fn stop(&self) {
        self.turn.stopped.store(true, Ordering::Release);
        drop(self.turn.working.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn serve(ordered: &Receiver<Order>, turn: &Turn, broker: &Weak<Broker>) {
    while let Ok(order) = ordered.recv() {
        let _working = turn.working.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stopped = || turn.stopped.load(Ordering::Acquire);
        while !is_stopped() && broker.upgrade().is_some_and(|broker| order.do_part(&broker)) {}
        drop(order);
    }
}

impl Order {
    /// Does a part of it; whether there is more.
    fn do_part(&self, broker: &Broker) -> bool {
        match self {
            Self::VHost(vhost) => broker.vhosts().sweep(vhost),
            Self::Removal(vhost, removal) => {
                broker.log().wait_for_room();
                vhost.go_on_removing(*removal)
            }
        }
    }
}
