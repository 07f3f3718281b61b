//! Attacks by number: channels, queues, exchanges, bindings and consumers, to their limits and
//! without end.

use super::frames;
use super::site::Site;
use super::tally::Tally;
use super::wire::{Refused, Wire};

/// Channels of a connection that may be.
const CHANNEL_MAX: u16 = 2047;
/// Requests that are sent before their answers are read.
const BATCH: u32 = 250;
/// One in so many of what there may be is perhaps somebody else's.
const SHARE_OF_OTHERS: u32 = 10;
/// How often something is tried beyond its limit.
const BEYOND: u32 = 20;

/// All channels there may be and some more, then channels that come and go.
pub(crate) fn channels(site: &Site, tally: &Tally) -> Result<(), String> {
    let all = site.scale.channels;
    let connections = all.div_ceil(u32::from(CHANNEL_MAX));
    let mut wires = Vec::new();
    for number in 0..=connections {
        let mut wire = site.enter(number)?;
        tally.tried("channels", u64::from(CHANNEL_MAX) - 1);
        let mut opened = Ok(());
        for first in (2..=CHANNEL_MAX).step_by(BATCH as usize) {
            let last = first.saturating_add(249).min(CHANNEL_MAX);
            let opens: Vec<u8> = (first..=last).flat_map(frames::open_channel).collect();
            opened = wire.calls(&opens, (20, 11), usize::from(last - first + 1));
            if opened.is_err() {
                break;
            }
        }
        match opened {
            Ok(()) => wires.push(wire),
            Err(refused) => tally.refused(&refused),
        }
    }
    if wires.len() > connections as usize {
        return Err(format!("more than {all} channels were let in"));
    }
    let mut wire = wires.pop().ok_or("no connection has its channels")?;
    tally.tried("channels", 1);
    match wire.call(&frames::open_channel(CHANNEL_MAX + 1), (20, 11)) {
        Ok(()) => return Err("a channel beyond channel_max was let in".to_owned()),
        Err(refused) => tally.refused(&refused),
    }
    drop(wires);
    let mut wire = site.enter(0)?;
    while !site.is_over() {
        let pairs: Vec<u8> = (2..2 + 250)
            .flat_map(|channel| [frames::open_channel(channel), frames::close_channel(channel)].concat())
            .collect();
        tally.tried("channels that come and go", 250);
        wire.calls(&pairs, (20, 41), 250)?;
    }
    Ok(wire.close()?)
}

/// Makes something again and again, a batch at a time.
struct Filling {
    what: &'static str,
    /// The answer to each request.
    made: (u16, u16),
    /// There may be so many; somebody else may have some of them.
    max: u32,
}

impl Filling {
    /// Makes `count` of them.
    fn fill(
        &self,
        wire: &mut Wire,
        tally: &Tally,
        count: u32,
        make: impl Fn(u32) -> Vec<u8>,
    ) -> Result<(), String> {
        tally.tried(self.what, count.into());
        for first in (0..count).step_by(BATCH as usize) {
            let batch = first..(first + BATCH).min(count);
            let (bytes, len): (Vec<u8>, _) = (batch.clone().flat_map(&make).collect(), batch.len());
            wire.calls(&bytes, self.made, len)
                .map_err(|refused| format!("{} from {first} of {count}: {refused}", self.what))?;
        }
        Ok(())
    }

    /// Makes them until one is refused, and then some more, all of which have to be refused as
    /// well.
    fn overfill(&self, wire: &mut Wire, tally: &Tally, make: impl Fn(u32) -> Vec<u8>) -> Result<(), String> {
        // The end is near: from here on one at a time.
        let most = self.max - self.max / SHARE_OF_OTHERS;
        self.fill(wire, tally, most, &make)?;
        let mut refusals = 0;
        for number in most.. {
            tally.tried(self.what, 1);
            match wire.call(&make(number), self.made) {
                Ok(()) if number >= self.max || refusals > 0 => {
                    return Err(format!("{} {number} was allowed", self.what));
                }
                Ok(()) => {}
                Err(refused @ Refused::Channel(channel, _)) => {
                    tally.refused(&refused);
                    wire.reopen(channel)?;
                    refusals += 1;
                }
                Err(refused) => return Err(refused.into()),
            }
            if refusals >= BEYOND {
                break;
            }
        }
        Ok(())
    }
}

/// Queues, exchanges and bindings up to what there may be, and some more of each.
pub(crate) fn queues(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    let name = |n: u32| format!("attack-{n}");
    let fill = |what, made, max| Filling { what, made, max };
    let (queues, exchanges) = (site.scale.queues, site.scale.exchanges);
    // Every fourth is durable.
    let declare = |n: u32| frames::declare(&name(n), n.is_multiple_of(4));
    fill("queues", (50, 11), queues).overfill(&mut wire, tally, declare)?;
    let declare = |n: u32| frames::declare_exchange(&name(n), "topic");
    fill("exchanges", (40, 11), exchanges).overfill(&mut wire, tally, declare)?;
    let bind = |n: u32| frames::bind(&name(n % (queues / 2)), "amq.topic", &format!("{n}.#.attack"));
    fill("bindings", (50, 21), site.scale.bindings).overfill(&mut wire, tally, bind)?;
    let delete = |n: u32| frames::delete(&name(n));
    fill("queue deletes", (50, 41), 0).fill(&mut wire, tally, queues, delete)?;
    let delete = |n: u32| frames::delete_exchange(&name(n));
    fill("exchange deletes", (40, 21), 0).fill(&mut wire, tally, exchanges, delete)?;
    Ok(wire.close()?)
}

/// Queues, exchanges and bindings that come and go.
pub(crate) fn topology_churn(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    let mut number = 0_u32;
    while !site.is_over() {
        let mut bytes = Vec::new();
        for _turn in 0..BATCH {
            number += 1;
            let name = format!("churn-{number}");
            bytes.extend(frames::declare(&name, number.is_multiple_of(8)));
            bytes.extend(frames::declare_exchange(&name, "fanout"));
            bytes.extend(frames::bind(&name, &name, ""));
            bytes.extend(frames::bind(&name, "amq.topic", &format!("#.{name}.*")));
            bytes.extend(frames::publish(&name, b"lost with its queue", number.is_multiple_of(16)));
            bytes.extend(frames::delete_exchange(&name));
            bytes.extend(frames::delete(&name));
        }
        tally.tried("queues with an exchange, two bindings and a message", BATCH.into());
        wire.calls(&bytes, (50, 41), BATCH as usize)?;
    }
    Ok(wire.close()?)
}

/// As many consumers as a channel may have and one more, then consumers that come and go.
pub(crate) fn consumers(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    wire.call(&frames::declare_exclusive("consumed"), (50, 11))?;
    let count = site.scale.consumers;
    let consume = |n: u32| frames::consume("consumed", &format!("c{n}"));
    let filling = Filling { what: "consumers", made: (60, 21), max: count };
    filling.fill(&mut wire, tally, count, consume)?;
    tally.tried("consumers", 1);
    match wire.call(&consume(count), (60, 21)) {
        Ok(()) => return Err(format!("consumer {count} of a channel was allowed")),
        Err(refused) => tally.refused(&refused),
    }
    let mut wire = site.enter(1)?;
    wire.call(&frames::declare_exclusive("consumed-again"), (50, 11))?;
    while !site.is_over() {
        let pair = [frames::consume("consumed-again", "c"), frames::cancel("c")].concat();
        tally.tried("consumers that come and go", BATCH.into());
        wire.calls(&pair.repeat(BATCH as usize), (60, 31), BATCH as usize)?;
    }
    Ok(wire.close()?)
}
