//! What is counted of objects (queues, exchanges, channels, connections, vhosts, the node), and
//! what the counts were: plain values, without a clock and without names of objects.
//!
//! Whoever has an object counts in it, under a lock or on a cache line that it has at hand anyway.
//! Every 5 s one place looks at all of them (`broker/sampling`) and keeps a sample of each that has
//! changed, in a [`History`].

mod events;
mod history;
mod recorder;
mod ring;

pub use self::events::{
    DELIVER_GET, EVENT_NAMES, EVENTS, Event, EventCounters, ExchangeFlow, QUEUE_EVENTS, QueueTally, Waits,
};
pub use self::history::{
    History, MINUTES_KEPT, Moment, SampleRange, SamplesWanted, TICK_MS, TICKS_KEPT, Trend, still_trends,
};
pub use self::recorder::Recorder;
