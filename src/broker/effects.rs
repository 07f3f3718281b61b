//! What a queue could not do under its lock: its effects, carried out after the unlock. Above all,
//! sending what has died in a queue, or was delayed there, to where it goes next.
//!
//! A call that finds dead letters sends up to [`INLINE_MAX`] of them itself, which as a rule is all
//! of them. What is more is left to one thread, which takes the queues in turn, a batch each, so
//! that a long line holds up nobody. Either way a batch is sent under an atomic batch of the log
//! and the turn of its queue (the batch first), and what it drives out of full queues is sent
//! before the next batch, so that a chain of queues holds no more than a batch on its way, however
//! long it is. It ends, because nothing enters a queue again in which it has died without a
//! consumer's doing.
//!
//! All commits are one line, so the thread waits before a batch while much is on its way to disk.
//!
//! While the disk is full, letters stay in their queues, whatever they died of: copies that nobody
//! waits for would take the room that acknowledgements need. But what is dead-lettered may be all
//! that there is on the disk, and those who would consume it wait for it elsewhere. So as long as
//! enough is left, the thread sends a few at a time, each once the ones before are on disk; those
//! of a queue that goes are sent in any case, since they would go with it.
//!
//! The commit thread waits for an atomic batch, and everybody for the commit thread. So matches of
//! routing keys that take long are made without one: see [`PutOff`].

use super::deduplicate::hand_in;
use super::paging::{self, PAGE_BYTES, PageRequest, Pager};
use super::registry::Registry;
use super::thread;
use super::transaction::Rooms;
use super::vhost::routing::{OwnRoute, PutOff};
use super::vhost::{BrokerContext, VHost};
use crate::arguments::Settings;
use crate::blocking;
use crate::clock::{self, Clock, Now};
use crate::ids::{QueueId, Ticket};
use crate::message::{Block, Message};
use crate::queue::dead_letter::{Circumstances, dead_letter};
use crate::queue::delayed::{due_ms, exchange_of, release};
use crate::queue::{
    Cause, DeathReason, Destination, Effects, LetterRun, LetterTally, Outcome, ParkedMax, Queue, Waiting,
    deadline_ms,
};
use crate::routing::route::Route;
use crate::store::change::{AtomicBatch, Health, Log, Page, PageSource};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Letters that a call sends itself and copies of them, those that these drive out of other queues
/// included. It bounds how long the session waits that made it, and the commit thread for an atomic
/// batch.
const INLINE_MAX: u64 = 512;

/// Copies of letters that are put into queues in one go, but for those of one letter. A letter that
/// goes nowhere counts as one.
const COPIES_MAX: u64 = 512;

/// Bytes of a copy that count as one more: [`COPIES_MAX`] of them is what is written in one go, for
/// which everybody waits.
const COPY_BYTES: usize = 16 * 1024;

/// Bytes of copies that are put into queues in one go while the disk is full.
const FULL_BYTES: usize = 512 * 1024;

/// How long the thread waits then before it looks again.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// Bindings and nodes of a trie that are looked at for a letter while a copy is put into a queue.
const LOOKED_AT: usize = 32;

thread_local! {
    /// Letters that this thread may still send before others have their turn; none: as many in each
    /// call.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Others have had their turn: this thread may send letters itself again. In one turn a session may
/// use hundreds of queues in which something dies, and each of them is a call.
pub(super) fn begin_turn() {
    LEFT.set(Some(INLINE_MAX));
}

/// A queue with letters to be sent.
#[derive(Debug)]
struct Order {
    queue: Arc<Queue>,
    /// When it was found.
    now: Now,
    found_ms: u64,
}

/// The thread that sends what calls leave to it, and ends when this is dropped.
#[derive(Debug)]
struct Sender {
    orders: Mutex<mpsc::Sender<Order>>,
}

impl Sender {
    /// Leaves the letters of a queue to the thread.
    fn order(&self, queue: Arc<Queue>, now: Now) {
        if !queue.claim_letters() {
            return;
        }
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let order = Order { queue, now, found_ms: clock::mono_ms() };
        if let Err(unsent) = orders.send(order) {
            tracing::error!(queue = %unsent.0.queue.name, "dead letter not sent: the thread that sends them has ended");
        }
    }
}

/// Queues whose letters are sent one after the other: the last one first, into which the one before
/// it has sent.
struct Chain {
    queues: Vec<Arc<Queue>>,
    put_off: PutOff,
    now: Now,
    found_ms: u64,
}

fn serve(orders: &Receiver<Order>, handler: &Weak<EffectHandler>) {
    let mut chains: VecDeque<Chain> = VecDeque::new();
    let (mut pause, mut newest) = (Duration::ZERO, Ticket(0));
    loop {
        let order = if chains.is_empty() {
            orders.recv().map_err(|_gone| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(pause)
        };
        match order {
            Ok(Order { queue, now, found_ms }) => {
                chains.push_back(Chain { queues: vec![queue], put_off: PutOff::default(), now, found_ms });
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let (Some(mut chain), Some(handler)) = (chains.pop_front(), handler.upgrade()) else { return };
        let passed_ms = clock::mono_ms().saturating_sub(chain.found_ms);
        let now = Now {
            mono_ms: chain.now.mono_ms.saturating_add(passed_ms),
            unix_ms: chain.now.unix_ms.saturating_add(passed_ms),
        };
        handler.log().wait_for_room();
        let is_full = handler.is_full();
        pause = if is_full { FULL_PAUSE } else { Duration::ZERO };
        if !is_full || handler.log().durable() >= newest && handler.log().has_spare() {
            let _batch = handler.log().atomic_batch();
            let to = if is_full { Targets::taking(FULL_BYTES) } else { Targets::default() };
            let (_sent, ticket) = handler.send_next(&mut chain.queues, &mut chain.put_off, to, now);
            newest = newest.max(ticket);
        }
        chain.put_off.make();
        if !chain.queues.is_empty() {
            chains.push_back(chain);
        }
    }
}

/// What letters did to the queues they came to.
#[derive(Default)]
pub(super) struct Targets {
    /// How many copies of letters they got, large ones counted as several.
    copies: u64,
    /// How much was looked at to find them.
    looked_at: usize,
    /// Bytes of copies that may come yet; none: any.
    bytes_left: Option<usize>,
    effects: BTreeMap<QueueId, (Arc<Queue>, Vec<Effects>)>,
}

impl Targets {
    /// Of copies of no more bytes than that.
    fn taking(bytes: usize) -> Self {
        Self { bytes_left: Some(bytes), ..Self::default() }
    }

    /// Whether so many copies of `block` may come.
    fn take(&self, block: &Block, copies: usize) -> bool {
        self.bytes_left.is_none_or(|left| block.bytes().len().saturating_mul(copies) <= left)
    }

    /// A queue got a copy of `block`.
    pub(super) fn add(&mut self, queue: &Arc<Queue>, block: &Block, effects: Effects) {
        self.bytes_left = self.bytes_left.map(|left| left.saturating_sub(block.bytes().len()));
        self.copies += 1 + (block.bytes().len() / COPY_BYTES) as u64;
        if !effects.is_empty() {
            let (_, all) = self.effects.entry(queue.id).or_insert_with(|| (Arc::clone(queue), Vec::new()));
            all.push(effects);
        }
    }

    /// What it took, in copies.
    fn cost(&self) -> u64 {
        self.copies.saturating_add((self.looked_at / LOOKED_AT) as u64)
    }

    /// Each with its effects.
    pub(super) fn all(self) -> impl Iterator<Item = (Arc<Queue>, Effects)> {
        let each = |(queue, all): (Arc<Queue>, Vec<Effects>)| {
            all.into_iter().map(move |effects| (Arc::clone(&queue), effects))
        };
        self.effects.into_values().flat_map(each)
    }
}

/// The route of a letter from an exchange with these keys and properties, which has some queue; or
/// what becomes of the letter at once: none if it is to be routed again. One that has an `order`
/// waits behind those that found no route to there before.
fn find_in_order(
    vhost: &VHost,
    (exchange, keys, properties): (&str, &[&[u8]], &[u8]),
    order: Option<&mut Waiting>,
    targets: &mut Targets,
    put_off: &mut PutOff,
) -> Result<Arc<Route>, Option<Outcome>> {
    let (found, revision) = vhost.route_under_batch(exchange, keys, properties, put_off);
    let order = order.map(|waiting| (waiting, Destination::of(exchange, keys)));
    let cause = match found {
        OwnRoute::Found(route) => {
            targets.looked_at += route.effort;
            if !route.queues.is_empty() {
                // A route that appears is for those first that have waited for it.
                let is_later = order.is_some_and(|(waiting, to)| waiting.is_stranded(to, revision));
                return if is_later { Err(Some(Outcome::Stuck(Cause::NoRoute))) } else { Ok(route) };
            }
            Cause::NoRoute
        }
        OwnRoute::NoExchange => Cause::ExchangeMissing,
        OwnRoute::Due => return Err(None),
    };
    if let Some((waiting, to)) = order {
        waiting.strand(to, revision);
    }
    Err(Some(Outcome::Stuck(cause)))
}

/// Whether a message can have these as its exchange and its routing key. Arguments of a queue may
/// be longer, and what a publisher has put into a header, and lead nowhere.
pub(super) fn are_names(names: [&[u8]; 2]) -> bool {
    names.iter().all(|name| u8::try_from(name.len()).is_ok())
}

/// Who carries out the effects of queues, with two threads for what may take long.
pub(super) struct EffectHandler {
    registry: Arc<Registry>,
    /// Where messages are that are only on disk.
    pub(super) pages: Arc<dyn PageSource>,
    pub(super) clock: Clock,
    /// When the broker was started.
    pub(super) started_at: Now,
    /// The last process did not stop cleanly.
    after_crash: bool,
    pager: Pager,
    sender: Sender,
}

impl EffectHandler {
    /// Starts the threads, which end when this is dropped.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn start(
        registry: Arc<Registry>,
        pages: Arc<dyn PageSource>,
        clock: Clock,
        started_at: Now,
        after_crash: bool,
    ) -> io::Result<Arc<Self>> {
        let (pager, requests) = Pager::new();
        let (sender, orders) = mpsc::channel();
        let sender = Sender { orders: Mutex::new(sender) };
        let handler = Arc::new(Self { registry, pages, clock, started_at, after_crash, pager, sender });
        let weak = Arc::downgrade(&handler);
        let deliver = move |request: &PageRequest, pages| deliver_pages(&weak, request, pages);
        paging::start(handler.log(), Arc::clone(&handler.pages), requests, deliver)?;
        let weak = Arc::downgrade(&handler);
        thread::start("leveret-letters", handler.log(), move || serve(&orders, &weak))?;
        Ok(handler)
    }

    /// What all vhosts share.
    pub(super) fn context(&self) -> &BrokerContext {
        self.registry.context()
    }

    pub(super) fn log(&self) -> &Arc<dyn Log> {
        &self.context().log
    }

    /// Whether the disk is full, so that nothing may be appended for which nobody waits.
    pub(super) fn is_full(&self) -> bool {
        self.log().health() == Health::Full
    }

    /// The vhost that a queue is in, if it still exists.
    pub(super) fn vhost_of(&self, queue: &Queue) -> Option<Arc<VHost>> {
        self.context().vhost(queue.home().id)
    }

    /// Does what a queue could not do under its lock, and what follows from that. `batch` is the
    /// caller's, if there is one. When the ticket is durable, what was sent is.
    pub(super) fn carry_out(
        &self,
        queue: &Arc<Queue>,
        effects: &Effects,
        now: Now,
        batch: Option<&AtomicBatch<'_>>,
    ) -> Ticket {
        let mut newest = Ticket(0);
        if effects.is_empty() {
            return newest;
        }
        if (effects.delete || effects.expired) && batch.is_none() {
            self.send_letters(queue, now);
        }
        if !self.carry_out_others(queue, effects, now) {
            return newest;
        }
        if self.is_full() {
            self.sender.order(Arc::clone(queue), now);
            return newest;
        }
        let (mut own, mut put_off) = (None, PutOff::default());
        let (mut queues, mut left) = (vec![Arc::clone(queue)], LEFT.get().unwrap_or(INLINE_MAX));
        while !queues.is_empty() && left > 0 {
            if batch.is_none() {
                own.get_or_insert_with(|| self.log().atomic_batch());
            }
            let (sent, ticket) = self.send_next(&mut queues, &mut put_off, Targets::default(), now);
            left = left.saturating_sub(sent);
            newest = newest.max(ticket);
            if put_off.are_due() {
                if batch.is_some() {
                    // The commit thread would wait for the match.
                    break;
                }
                own = None;
                put_off.make();
            }
        }
        drop(own);
        LEFT.set(LEFT.get().map(|_before| left));
        queues.into_iter().rev().for_each(|queue| self.sender.order(queue, now));
        newest
    }

    /// Before a queue goes: sends all letters that stand in its line. Reads the disk.
    pub(super) fn send_letters(&self, queue: &Arc<Queue>, now: Now) {
        if queue.has_letters() {
            let mut put_off = PutOff::default();
            blocking::run(|| while queue.has_letters() && self.send_some(queue, &mut put_off, now) {});
        }
    }

    /// Sends the next letters of a queue; whether more can be.
    fn send_some(&self, queue: &Arc<Queue>, put_off: &mut PutOff, now: Now) -> bool {
        if let Some(unread) = queue.unread_letters() {
            match self.pages.load(queue.id, unread, PAGE_BYTES) {
                Ok(pages) => queue.read_letters(unread, &pages),
                Err(error) => {
                    tracing::error!(queue = %queue.name, %error, "cannot read dead letters: they are deleted with their queue");
                    return false;
                }
            }
        }
        let mut queues = vec![Arc::clone(queue)];
        self.log().wait_for_room();
        {
            let _batch = self.log().atomic_batch();
            self.send_next(&mut queues, put_off, Targets::default(), now);
        }
        put_off.make();
        let others = queues.into_iter().filter(|target| target.id != queue.id);
        others.for_each(|target| self.sender.order(target, now));
        true
    }

    /// Does what a queue could not do under its lock, but for sending its letters: whether somebody
    /// is to.
    fn carry_out_others(&self, queue: &Arc<Queue>, effects: &Effects, now: Now) -> bool {
        if let Some(wanted) = effects.page {
            self.pager.request(PageRequest { queue: Arc::clone(queue), wanted, now });
        }
        let waiting = effects.room_for.iter().filter_map(Weak::upgrade);
        waiting.for_each(|source| source.retry_soon(Some(queue.id)));
        let (dropped, metrics) = (effects.dropped, &self.context().metrics);
        metrics.dropped_rejected.add(dropped.rejected);
        metrics.dropped_expired.add(dropped.expired);
        metrics.dropped_maxlen.add(dropped.max_len);
        if dropped.delivery_limit > 0 {
            metrics.dropped_delivery_limit.add(dropped.delivery_limit);
            tracing::warn!(queue = %queue.name, dropped = dropped.delivery_limit,
                "messages dropped at the delivery limit: the queue has no dead-letter exchange and its strategy is at-most-once");
        }
        if (effects.delete || effects.expired)
            && let Some(vhost) = self.vhost_of(queue)
        {
            if effects.delete {
                vhost.remove_queue(queue);
            } else {
                vhost.remove_expired(queue, now);
            }
        }
        effects.letters
    }

    /// Sends the next batch of the last of `queues`, takes off that queue when it has no more, and
    /// adds those in which something has died by that. Returns how many letters and copies that
    /// were, one at least, and what it took to find their queues counted as such. An atomic batch
    /// of the log is open. Before a letter whose matches take long it ends: the caller makes what
    /// is due in `put_off` without the batch, and calls again. `targets` are none yet.
    fn send_next(
        &self,
        queues: &mut Vec<Arc<Queue>>,
        put_off: &mut PutOff,
        mut targets: Targets,
        now: Now,
    ) -> (u64, Ticket) {
        let Some(queue) = queues.last().cloned() else { return (1, Ticket(0)) };
        let (effects, sent) = {
            let _turn = queue.turn();
            let Some(mut batch) = queue.next_letters() else {
                queues.pop();
                return (1, Ticket(0));
            };
            let mut sent = 0;
            let mut waiting = std::mem::take(&mut batch.waiting);
            'letters: for part in &mut batch.parts {
                for index in part.records.clone() {
                    // The queue takes back what nothing has come of.
                    if sent + targets.cost() >= COPIES_MAX {
                        break 'letters;
                    }
                    let letter = (&*part, index);
                    let to = (&mut waiting, &mut targets);
                    let Some(outcome) = self.send((&queue, &batch.settings), letter, to, put_off, now) else {
                        break 'letters;
                    };
                    sent += 1;
                    self.count_death(part);
                    part.note(outcome);
                }
            }
            batch.waiting = waiting;
            let (effects, tally) = queue.letters_sent(batch, self.parked_max(), now);
            self.count_parked(tally);
            (effects, sent + targets.cost())
        };
        if !put_off.are_due() {
            *put_off = PutOff::default();
        }
        // What is left of it comes after what it has driven out elsewhere.
        let _it_stays_until_nothing_is_left = self.carry_out_others(&queue, &effects, now);
        for (target, all) in targets.effects.into_values() {
            let mut letters = false;
            for effects in &all {
                letters |= self.carry_out_others(&target, effects, now);
            }
            if letters && target.id != queue.id {
                queues.push(target);
            }
        }
        (sent.max(1), effects.ticket)
    }

    /// How much may be parked in a queue.
    pub(super) fn parked_max(&self) -> ParkedMax {
        let limits = self.context().limits.get();
        ParkedMax { messages: limits.parked_max, bytes: limits.parked_bytes_max }
    }

    fn count_death(&self, part: &LetterRun) {
        let metrics = &self.context().metrics;
        let count = match part.reason() {
            DeathReason::Rejected => &metrics.dead_lettered_rejected,
            DeathReason::DeliveryLimit => &metrics.dead_lettered_delivery_limit,
            DeathReason::Expired => &metrics.dead_lettered_expired,
            DeathReason::MaxLen => &metrics.dead_lettered_maxlen,
            DeathReason::Delayed => return,
        };
        if part.is_new() {
            count.add(1);
        }
    }

    fn count_parked(&self, tally: LetterTally) {
        let metrics = &self.context().metrics;
        metrics.parked.add(tally.parked);
        metrics.dead_letters_dropped.add(tally.dropped);
        metrics.dead_letters_dropped_at_limit.add(tally.dropped_at_limit);
    }

    /// Sends one letter to all queues of its route; none if matches of it were put off, or its
    /// copies are more than there may be now.
    fn send(
        &self,
        (queue, settings): (&Queue, &Settings),
        (part, index): (&LetterRun, u32),
        (waiting, targets): (&mut Waiting, &mut Targets),
        put_off: &mut PutOff,
        now: Now,
    ) -> Option<Outcome> {
        // With a vhost goes where its dead letters would go.
        let Some(vhost) = self.vhost_of(queue) else { return Some(Outcome::Gone) };
        let message = part.block.message(index);
        // What is driven out has no place to wait in.
        let waits = settings.retries() && part.reason() != DeathReason::MaxLen;
        let (block, open, is_cycle);
        if part.reason() == DeathReason::Delayed {
            let Some(exchange) = exchange_of(&queue.name) else { return Some(Outcome::Gone) };
            let released = release(&message, now.unix_ms);
            let keys: Vec<_> = released.routing_keys.iter().map(Vec::as_slice).collect();
            let properties = released.block.message(0).properties;
            let order = waits.then_some(&mut *waiting);
            let route = match find_in_order(&vhost, (exchange, &keys, properties), order, targets, put_off) {
                Ok(route) => route,
                Err(outcome) => return outcome,
            };
            (block, open, is_cycle) = (released.block, route.queues.to_vec(), false);
        } else {
            let Some(exchange) = settings.dead_letter_exchange.as_deref() else {
                return Some(Outcome::Stuck(Cause::NoExchange));
            };
            let key = settings.dead_letter_routing_key.as_deref().unwrap_or_default();
            if !are_names([exchange, key].map(str::as_bytes)) {
                return Some(Outcome::Stuck(Cause::NoRoute));
            }
            let at = Circumstances {
                queue: &queue.name,
                reason: part.reason(),
                now_unix_ms: now.unix_ms,
                died_wall_ms: self.clock.wall_ms(part.died_ms()),
                exchange,
                routing_key: settings.dead_letter_routing_key.as_deref(),
            };
            let letter = dead_letter(&message, &at);
            let keys: Vec<_> = letter.routing_keys.iter().map(Vec::as_slice).collect();
            let order = waits.then_some(&mut *waiting);
            let route = match find_in_order(
                &vhost,
                (exchange, &keys, letter.properties()),
                order,
                targets,
                put_off,
            ) {
                Ok(route) => route,
                Err(outcome) => return outcome,
            };
            let may_enter = |queue: &&Arc<Queue>| !letter.is_cycle(&queue.name);
            open = route.queues.iter().filter(may_enter).cloned().collect::<Vec<_>>();
            is_cycle = open.is_empty() && !route.queues.is_empty();
            block = letter.block;
        }
        if is_cycle {
            return Some(Outcome::Gone);
        }
        let block = self.mark_repeated(block, part, (&message, settings));
        if !targets.take(&block, open.len()) {
            return None;
        }
        Some(if waits {
            self.hand_over_whole(queue, block, &open, (waiting, targets), now)
        } else {
            self.hand_over(block, &open, targets, now)
        })
    }

    /// What a queue sends on may be delivered before the disk knows that it was sent, and is sent
    /// again after a crash: what may have been sent before the crash may have been delivered, and
    /// stays marked on its way through further queues. `block` is what becomes of `message`.
    fn mark_repeated(
        &self,
        block: Block,
        part: &LetterRun,
        (message, settings): (&Message<'_>, &Settings),
    ) -> Block {
        if part.block.is_redelivered() {
            return block.redelivered();
        }
        if !self.after_crash {
            return block;
        }
        let since_ms = match part.reason() {
            DeathReason::Delayed => due_ms(message),
            DeathReason::Expired => deadline_ms(message, settings.ttl_ms).unwrap_or(message.arrived_at_ms),
            DeathReason::Rejected | DeathReason::DeliveryLimit | DeathReason::MaxLen => message.arrived_at_ms,
        };
        if since_ms < self.started_at.unix_ms { block.redelivered() } else { block }
    }

    /// Puts a block of one message into all queues that take it.
    pub(super) fn hand_over(
        &self,
        block: Block,
        queues: &[Arc<Queue>],
        targets: &mut Targets,
        now: Now,
    ) -> Outcome {
        let (block, mut outcome) = (Arc::new(block), Outcome::Gone);
        for target in queues {
            let (_, effects) = hand_in(self.context(), target, &block, &mut Rooms::default(), now);
            if !effects.refused.is_empty() {
                outcome = Outcome::Stuck(Cause::Refused);
            }
            targets.add(target, &block, effects);
        }
        outcome
    }

    /// Puts a block of one message into all queues, or into none if one of them is full or has
    /// refused what comes before: it is tried again later, and in order.
    pub(super) fn hand_over_whole(
        &self,
        queue: &Queue,
        block: Block,
        queues: &[Arc<Queue>],
        (waiting, targets): (&mut Waiting, &mut Targets),
        now: Now,
    ) -> Outcome {
        let block = Arc::new(block);
        let waits = queues.iter().any(|target| waiting.is_refused(target.id));
        let rooms = if waits { None } else { Rooms::reserve_for(queue, &block, queues, now) };
        let Some(mut rooms) = rooms else {
            queues.iter().for_each(|target| waiting.refuse(target.id));
            return Outcome::Stuck(Cause::Refused);
        };
        for target in queues {
            let (_, effects) = hand_in(self.context(), target, &block, &mut rooms, now);
            targets.add(target, &block, effects);
        }
        Outcome::Gone
    }
}

/// Hands pages to the queue that waits for them; on the pager's thread.
fn deliver_pages(handler: &Weak<EffectHandler>, request: &PageRequest, pages: Vec<Page>) {
    let Some(handler) = handler.upgrade() else { return };
    let (lost, effects) = request.queue.pages_loaded(request.wanted, pages, request.now);
    if lost > 0 {
        handler.context().metrics.damaged.add(lost);
        tracing::error!(queue = %request.queue.name, lost, "messages are missing from the store or damaged: they are not delivered");
    }
    handler.carry_out(&request.queue, &effects, request.now, None);
}
