//! What one read brings, gathered until it is handed to the queues, and what that costs.

use super::ack_batch::AckBatch;
use super::budget::{STEPS, StepBudget};
use super::publish_batch::PublishBatch;
use super::route_cache::RouteCache;
use crate::broker::Broker;
use crate::clock::Now;
use crate::metrics::{Metrics, SizeTally};
use crate::statistics::ExchangeFlow;
use std::mem;
use std::sync::Arc;

/// What the current read gathers.
#[derive(Default)]
pub(crate) struct ReadBatch {
    /// Publishes that are not handed to their queues yet.
    pub(crate) publishes: PublishBatch,
    pub(crate) routes: RouteCache,
    /// Acknowledgements that are not handed to their queues yet.
    pub(crate) acks: AckBatch,
    /// What is spent on input.
    pub(crate) budget: StepBudget,
}

impl ReadBatch {
    /// Whether others are to have their turn before more input is taken. What was gathered is paid
    /// for when it is handed over.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        let gathered = self.publishes.cost().saturating_add(self.acks.cost());
        gathered.saturating_add(self.budget.taken() + self.routes.cost()) >= STEPS
    }

    /// Counts what was gathered, and is about to be handed over.
    pub(crate) fn pay(&mut self) {
        self.budget.take(self.routes.take_cost());
        self.budget.take(self.publishes.cost());
        self.budget.take(self.acks.cost());
    }

    /// Hands all acknowledgements to their queues.
    pub(crate) fn flush_acks(&mut self, broker: &Broker, now: Now) {
        self.pay();
        self.acks.flush(broker, now);
    }
}

/// What goes through an exchange during one turn, until somebody publishes to another one.
#[derive(Debug, Default)]
pub(crate) struct FlowTally {
    exchange: Option<Arc<ExchangeFlow>>,
    came: u64,
    went: u64,
}

impl FlowTally {
    /// A message comes to the exchange `to`, and goes to so many queues.
    #[inline(always)]
    pub(crate) fn add(&mut self, to: &Arc<ExchangeFlow>, queues: usize) {
        if !self.exchange.as_ref().is_some_and(|exchange| Arc::ptr_eq(exchange, to)) {
            self.change(to);
        }
        self.came += 1;
        self.went += queues as u64;
    }

    #[cold]
    fn change(&mut self, to: &Arc<ExchangeFlow>) {
        self.report();
        self.exchange = Some(Arc::clone(to));
    }

    /// Adds what was counted to the exchange.
    fn report(&mut self) {
        let (came, went) = (mem::take(&mut self.came), mem::take(&mut self.went));
        if let (Some(exchange), 1..) = (&self.exchange, came) {
            exchange.add(came, went);
        }
    }
}

/// What is counted during one turn, so that the shared counters are touched once.
#[derive(Debug, Default)]
pub(crate) struct ReadTally {
    pub(crate) received: u64,
    /// What went through the exchange that was published to last.
    pub(crate) flow: FlowTally,
    pub(crate) received_confirm: u64,
    pub(crate) sizes: SizeTally,
    pub(crate) dropped: u64,
    pub(crate) returned: u64,
    pub(crate) confirmed: u64,
    pub(crate) delivered_auto_ack: u64,
    pub(crate) delivered_manual_ack: u64,
    pub(crate) redelivered: u64,
    /// A part of a content came: a client that never sends the last one has published nothing, and
    /// takes memory.
    pub(crate) partial: bool,
    /// That content is large.
    pub(crate) large: bool,
    /// A transaction grew.
    pub(crate) transacted: bool,
    /// Something was asked of exchanges, queues or bindings.
    pub(crate) declared: bool,
}

impl ReadTally {
    /// Adds what was counted to the broker's counters.
    pub(crate) fn report(&mut self, metrics: &Metrics) {
        if self.received > 0 {
            self.flow.report();
            metrics.received.add(self.received);
            metrics.received_confirm.add(self.received_confirm);
            metrics.sizes.add(&self.sizes);
        }
        metrics.unroutable_dropped.add(self.dropped);
        metrics.unroutable_returned.add(self.returned);
        metrics.confirmed.add(self.confirmed);
        metrics.delivered_auto_ack.add(self.delivered_auto_ack);
        metrics.delivered_manual_ack.add(self.delivered_manual_ack);
        metrics.redelivered.add(self.redelivered);
        // The exchange stays: it is likely to be the next one, too.
        *self = Self { flow: mem::take(&mut self.flow), ..Self::default() };
    }
}
