//! What may be defined while the disk is full or memory is short: a little, so that whoever would
//! consume what takes the room can declare what it needs for that; and no more, since definitions
//! take room as well, which nobody would ever give back.
//!
//! What counts is how much more is defined than was when the shortage was first seen: whoever
//! deletes something may define as much again. What is in no vhost (users, policies, parameters)
//! counts each time that it is set, and is not given back.

use super::alarms::Alarms;
use crate::error::Scarce;
use crate::routing::topology::Defined;
use crate::store::change::{Health, Log};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much more may be defined during a shortage than there was, in bytes: far more than consumers
/// declare, and a small part of what a full disk has in reserve.
const SCARCE_BYTES: usize = 1 << 20;

/// Bytes of memory that a byte of definitions may take, until memory is measured again.
const IN_MEMORY: u64 = 4;

/// Definitions of fewer bytes at a time are too few to be felt until then.
const SMALL_BYTES: usize = 1024;

/// No shortage has been seen.
const NONE: usize = usize::MAX;

/// What was defined when a shortage was first seen.
pub(super) struct Scarcity {
    log: Arc<dyn Log>,
    alarms: Arc<Alarms>,
    disk: AtomicUsize,
    memory: AtomicUsize,
    /// What was set that is in no vhost, ever.
    elsewhere: AtomicUsize,
}

impl Scarcity {
    pub(super) fn new(log: Arc<dyn Log>, alarms: Arc<Alarms>) -> Self {
        let (disk, memory) = (AtomicUsize::new(NONE), AtomicUsize::new(NONE));
        Self { log, alarms, disk, memory, elsewhere: AtomicUsize::new(0) }
    }

    /// What there is too little of now.
    pub(super) fn now(&self) -> Option<Scarce> {
        let disk = (self.log.health() == Health::Full).then_some(Scarce::Disk);
        disk.or_else(|| self.alarms.memory_is_short().then_some(Scarce::Memory))
    }

    /// Whether so much more may be defined, where so much `there` is in all vhosts.
    ///
    /// # Errors
    /// What there is too little of.
    pub(super) fn admit(&self, there: Defined, more: impl Fn() -> Defined) -> Result<(), Scarce> {
        let is_full = self.log.health() == Health::Full;
        let is_short = self.alarms.memory_is_short();
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        let check = |is: bool, base: &AtomicUsize, there: usize, more: &dyn Fn() -> usize| {
            if !is {
                if base.load(Ordering::Relaxed) != NONE {
                    base.store(NONE, Ordering::Relaxed);
                }
                return true;
            }
            let there = there + elsewhere;
            let first = base.compare_exchange(NONE, there, Ordering::Relaxed, Ordering::Relaxed);
            let base = first.map_or_else(|before| before, |_none| there);
            let more = more();
            more == 0 || there.saturating_add(more) <= base.saturating_add(SCARCE_BYTES)
        };
        if !check(is_full, &self.disk, there.durable, &|| more().durable) {
            return Err(Scarce::Disk);
        }
        if !check(is_short, &self.memory, there.all, &|| more().all) {
            return Err(Scarce::Memory);
        }
        Ok(())
    }

    /// So much was set that is in no vhost.
    pub(super) fn add_elsewhere(&self, bytes: usize) {
        self.elsewhere.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much more is defined, which takes memory before anybody has measured it.
    pub(super) fn grown(&self, bytes: usize) {
        if bytes < SMALL_BYTES {
            return;
        }
        self.alarms.expect_defined((bytes as u64).saturating_mul(IN_MEMORY));
    }
}
