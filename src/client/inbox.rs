//! What queues and the log send to a client: runs for its consumers, and news.

use super::budget::{LOOKED_AT, StepBudget};
use crate::arguments::Requeue;
use crate::broker::Broker;
use crate::clock::Now;
use crate::ids::{ConsumerId, QueueId, SeqRange, Ticket};
use crate::queue::mailbox::{Mail, Mailbox};
use crate::queue::{Queue, Settled};
use crate::store::change::Waiter;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

/// A queue is told what was encoded when it is this much: a small part of the window that a queue
/// deals ahead, so that a stream of small messages does not lock the queue for each read.
const CREDIT_BYTES: usize = 64 * 1024;

/// One consumer, as its client knows it.
pub(crate) struct Subscription {
    pub(crate) channel: u16,
    /// The consumer tag.
    pub(crate) tag: Box<[u8]>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) no_ack: bool,
    /// Bytes that were encoded and not credited yet.
    pub(crate) uncredited: usize,
    /// How long it may leave a delivery unacknowledged, milliseconds; `u64::MAX` for ever.
    pub(crate) timeout_ms: u64,
}

/// A client's mailbox, what was taken out of it, and the consumers that it is for.
pub(crate) struct Inbox {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) subscriptions: BTreeMap<ConsumerId, Subscription>,
    /// Mail that was taken and not acted upon: the client takes its deliveries slowly. Limited by
    /// the windows of the consumers.
    pub(crate) backlog: VecDeque<Mail>,
    taken: Vec<Mail>,
    /// What is spent on deliveries.
    pub(crate) budget: StepBudget,
    /// Mail was left for the next turn.
    pub(crate) more: bool,
    /// The newest ticket the mailbox is to be told of.
    notified: Ticket,
}

impl Inbox {
    /// An empty one.
    pub(crate) fn new(broker: &Broker) -> Self {
        Self {
            mailbox: Mailbox::among(broker.unread()),
            subscriptions: BTreeMap::new(),
            backlog: VecDeque::new(),
            taken: Vec::new(),
            budget: StepBudget::default(),
            more: false,
            notified: Ticket(0),
        }
    }

    /// Moves all mail to the end of the backlog.
    pub(crate) fn take(&mut self) {
        self.mailbox.take(&mut self.taken);
        self.backlog.extend(self.taken.drain(..));
    }

    /// Takes what came too late: consumers and waiting replies are gone.
    pub(crate) fn discard(&mut self) {
        self.take();
        self.backlog.clear();
    }

    /// Has the mailbox woken once `ticket` is durable.
    pub(crate) fn wake_at(&mut self, broker: &Broker, ticket: Ticket) {
        if ticket > self.notified {
            self.notified = ticket;
            let waiter: Arc<dyn Waiter> = Arc::clone(&self.mailbox) as Arc<dyn Waiter>;
            broker.log().notify(ticket, &waiter);
        }
    }

    /// Tells the queue of a consumer how much was encoded, when it is worth it.
    pub(crate) fn credit(&mut self, broker: &Broker, id: ConsumerId, now: Now) {
        if let Some(subscription) = self.subscriptions.get_mut(&id)
            && subscription.uncredited >= CREDIT_BYTES
        {
            let bytes = mem::take(&mut subscription.uncredited);
            self.budget.take(1);
            broker.credit(&subscription.queue, id, bytes, now);
        }
    }

    /// Takes the runs of these consumers out of the backlog and gives them back to their queues.
    /// Nothing more comes for them.
    pub(crate) fn give_back(
        &mut self,
        (broker, budget): (&Broker, &mut StepBudget),
        consumers: &BTreeSet<ConsumerId>,
        now: Now,
    ) {
        self.take();
        budget.take(self.backlog.len() / LOOKED_AT);
        let mut unsent: BTreeMap<QueueId, (Arc<Queue>, Vec<Settled>)> = BTreeMap::new();
        for mail in mem::take(&mut self.backlog) {
            match mail {
                Mail::Deliver(run) if consumers.contains(&run.consumer) => {
                    let Some(subscription) = self.subscriptions.get(&run.consumer) else { continue };
                    let range = SeqRange::of(run.first, u64::from(run.range.end - run.range.start));
                    let settled = Settled { consumer: Some(run.consumer), range };
                    let queue = &subscription.queue;
                    let (_, parts) =
                        unsent.entry(queue.id).or_insert_with(|| (Arc::clone(queue), Vec::new()));
                    parts.push(settled);
                }
                Mail::Cancelled(id) if consumers.contains(&id) => {}
                Mail::Deliver(_) | Mail::Cancelled(_) | Mail::Retry => self.backlog.push_back(mail),
            }
        }
        for id in consumers {
            self.subscriptions.remove(id);
        }
        for (queue, settled) in unsent.into_values() {
            broker.put_back(&queue, &settled, Requeue::Unsent, now);
        }
    }
}
