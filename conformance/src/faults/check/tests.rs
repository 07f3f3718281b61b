//! Histories made by hand: each kind of violation is found, and what only looks like one is not.

mod whole;

use super::*;
use crate::faults::history::{Removal, Settlement};
use crate::faults::topology::{CHURN, DEAD, INPUT, ONE, OUTPUTS, TWO, WORK};

const IN_ONE: &[&str] = &[ONE];
const IN_BOTH: &[&str] = &[ONE, TWO];
const IN_WORK: &[&str] = &[WORK];
const IN_INPUT: &[&str] = &[INPUT];
const IN_CHURN: &[&str] = &[CHURN[0]];

/// The publisher's channel, and those of two consumers.
const P: u32 = 1;
const A: u32 = 2;
const B: u32 = 3;

/// A message of the publisher.
fn m(number: u32) -> Id {
    Id { channel: P, number }
}

/// A history under construction.
#[derive(Default)]
struct Story {
    epoch: u32,
    records: Vec<Record>,
}

impl Story {
    fn add(&mut self, channel: u32, event: Event) -> &mut Self {
        self.records.push(Record { epoch: self.epoch, channel, event });
        self
    }

    fn tried(&mut self, number: u32, queues: &'static [&'static str]) -> &mut Self {
        self.add(P, Event::Published { id: m(number), queues })
    }

    fn confirmed(&mut self, number: u32) -> &mut Self {
        self.add(P, Event::Confirmed { id: m(number) })
    }

    /// Tried and confirmed.
    fn sent(&mut self, number: u32, queues: &'static [&'static str]) -> &mut Self {
        self.tried(number, queues).confirmed(number)
    }

    fn came(&mut self, channel: u32, queue: &'static str, number: u32) -> &mut Self {
        self.add(channel, Event::Delivered { id: m(number), queue, redelivered: false })
    }

    fn again(&mut self, channel: u32, queue: &'static str, number: u32) -> &mut Self {
        self.add(channel, Event::Delivered { id: m(number), queue, redelivered: true })
    }

    fn settled(
        &mut self,
        channel: u32,
        queue: &'static str,
        number: u32,
        settlement: Settlement,
    ) -> &mut Self {
        self.add(channel, Event::Settled { id: m(number), queue, settlement })
    }

    fn acked(&mut self, channel: u32, queue: &'static str, number: u32) -> &mut Self {
        self.settled(channel, queue, number, Settlement::Ack)
    }

    fn taken(&mut self, channel: u32) -> &mut Self {
        self.add(channel, Event::Answered)
    }

    fn closed(&mut self, channel: u32) -> &mut Self {
        self.add(channel, Event::Closed)
    }

    /// The process ends; channels of the next one are given as they come.
    fn ended(&mut self, crash: bool) -> &mut Self {
        self.add(0, Event::Ending { crash });
        self.epoch += 1;
        self
    }

    fn crash(&mut self) -> &mut Self {
        self.ended(true)
    }

    fn stop(&mut self) -> &mut Self {
        self.ended(false)
    }

    /// A transaction of the publisher that takes `input` and publishes message 9 to both outputs.
    fn attempt(&mut self, input: u32) -> &mut Self {
        self.add(P, Event::Transactional)
            .add(P, Event::Published { id: m(9), queues: &OUTPUTS })
            .settled(P, INPUT, input, Settlement::Ack)
            .add(P, Event::CommitTried)
    }

    fn one_output(&mut self) {
        self.came(A, OUTPUTS[0], 9).acked(A, OUTPUTS[0], 9);
    }

    fn outputs(&mut self) -> &mut Self {
        for queue in OUTPUTS {
            self.came(A, queue, 9).acked(A, queue, 9);
        }
        self
    }
}

/// Checks that exactly these kinds of violations are found, once each.
#[track_caller]
fn finds(kinds: &[Kind], build: impl FnOnce(&mut Story)) {
    let mut story = Story::default();
    story.add(0, Event::DeadLetters { queue: WORK, dead: DEAD });
    build(&mut story);
    let violations = check(&story.records);
    let found: Vec<_> = violations.iter().map(|violation| violation.kind).collect();
    assert_eq!(found, kinds, "{violations:#?}");
}

/// Checks that nothing is found.
#[track_caller]
fn allows(build: impl FnOnce(&mut Story)) {
    finds(&[], build);
}

#[test]
fn what_is_confirmed_must_be_settled_in_the_end() {
    allows(|s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).acked(A, ONE, 1);
    });
    finds(&[Kind::Lost], |s| {
        s.sent(1, IN_ONE);
    });
    finds(&[Kind::Lost], |s| {
        s.sent(1, IN_ONE).came(A, ONE, 1);
    });
    finds(&[Kind::Lost], |s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).settled(A, ONE, 1, Settlement::Requeue);
    });
    // An acknowledgement that the broker may not have seen is not one that it forgot.
    allows(|s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).acked(A, ONE, 1).crash();
    });
}

#[test]
fn what_is_not_confirmed_may_be_lost_in_a_crash_only() {
    allows(|s| {
        s.tried(1, IN_ONE).crash();
    });
    allows(|s| {
        s.tried(1, IN_ONE).came(A, ONE, 1).crash();
    });
    allows(|s| {
        s.tried(1, IN_ONE).stop();
    });
    finds(&[Kind::Lost], |s| {
        s.tried(1, IN_ONE).came(A, ONE, 1).stop();
    });
    finds(&[Kind::Lost], |s| {
        s.tried(1, IN_ONE).crash().came(A, ONE, 1).crash();
    });
}

#[test]
fn what_is_settled_does_not_come_again_without_a_crash() {
    let settled = |s: &mut Story| {
        s.sent(1, IN_ONE).came(A, ONE, 1).acked(A, ONE, 1).taken(A);
    };
    let again = |s: &mut Story| {
        s.again(B, ONE, 1).acked(B, ONE, 1);
    };
    finds(&[Kind::Duplicated], |s| {
        settled(s);
        again(s);
    });
    finds(&[Kind::Duplicated], |s| {
        settled(s);
        s.closed(A);
        again(s);
    });
    finds(&[Kind::Duplicated], |s| {
        settled(s);
        s.stop();
        again(s);
    });
    // Nobody knows whether the broker took it before the connection broke.
    allows(|s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).acked(A, ONE, 1).closed(A);
        again(s);
    });
    // The acknowledgement was on its way, and the connection held.
    finds(&[Kind::Duplicated], |s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).acked(A, ONE, 1);
        again(s);
    });
}

#[test]
fn what_is_settled_comes_again_after_a_crash_unless_that_was_on_disk() {
    let settled = |s: &mut Story| {
        s.sent(1, IN_ONE).came(A, ONE, 1).acked(A, ONE, 1).taken(A);
    };
    let again = |s: &mut Story| {
        s.again(B, ONE, 1).acked(B, ONE, 1);
    };
    let other = |s: &mut Story| {
        s.came(B, ONE, 2).acked(B, ONE, 2);
    };
    allows(|s| {
        settled(s);
        s.crash();
        again(s);
    });
    // A later publish is confirmed: the acknowledgement is on disk as well.
    finds(&[Kind::Duplicated], |s| {
        settled(s);
        s.sent(2, IN_ONE);
        other(s);
        s.crash();
        again(s);
    });
    // The publish may have been ahead of the acknowledgement.
    allows(|s| {
        s.tried(2, IN_ONE);
        settled(s);
        s.confirmed(2);
        other(s);
        s.crash();
        again(s);
    });
    // The publish was not confirmed.
    allows(|s| {
        settled(s);
        s.tried(2, IN_ONE).crash();
        again(s);
    });
}

/// A dead letter may have to be read from disk, and a full disk keeps it where it died.
#[test]
fn what_was_rejected_comes_again_after_a_crash_unless_a_later_dead_letter_was_on_disk() {
    let rejected = |s: &mut Story, queue, number| {
        s.came(A, queue, number).settled(A, queue, number, Settlement::Reject).taken(A);
    };
    let crashed = |s: &mut Story, queue| {
        s.sent(3, IN_ONE).came(B, ONE, 3).acked(B, ONE, 3).crash().again(B, queue, 1).acked(B, queue, 1);
    };
    // Without a dead-letter queue it is dropped at once.
    finds(&[Kind::Duplicated], |s| {
        s.sent(1, IN_ONE);
        rejected(s, ONE, 1);
        crashed(s, ONE);
    });
    let two_rejected = |s: &mut Story| {
        s.sent(1, IN_WORK).sent(2, IN_WORK);
        rejected(s, WORK, 1);
        rejected(s, WORK, 2);
    };
    let both_letters = |s: &mut Story| {
        for number in [1, 2] {
            s.came(B, DEAD, number).acked(B, DEAD, number).taken(B);
        }
    };
    finds(&[Kind::Duplicated], |s| {
        two_rejected(s);
        both_letters(s);
        crashed(s, WORK);
    });
    allows(|s| {
        two_rejected(s);
        crashed(s, WORK);
        s.came(B, DEAD, 2).acked(B, DEAD, 2);
    });
}

#[test]
fn a_message_is_with_one_consumer() {
    let rest = |s: &mut Story| {
        s.again(B, ONE, 1).acked(B, ONE, 1);
    };
    finds(&[Kind::Duplicated], |s| {
        s.sent(1, IN_ONE).came(A, ONE, 1);
        rest(s);
    });
    allows(|s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).closed(A);
        rest(s);
    });
    allows(|s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).settled(A, ONE, 1, Settlement::Requeue);
        rest(s);
    });
    // While it stops, the broker takes back what connections held that it has ended.
    allows(|s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).add(0, Event::Ending { crash: false });
        rest(s);
    });
}

#[test]
fn what_was_read_late_belongs_to_the_process_that_sent_it() {
    allows(|s| {
        s.sent(1, IN_ONE).crash().again(B, ONE, 1).acked(B, ONE, 1);
        s.records.push(Record {
            epoch: 0,
            channel: A,
            event: Event::Delivered { id: m(1), queue: ONE, redelivered: false },
        });
    });
}

/// The process was about to end and gave what one consumer had to another.
#[test]
fn what_was_read_late_may_have_been_sent_first() {
    let read_late = |s: &mut Story| {
        s.sent(1, IN_ONE).add(0, Event::Ending { crash: false });
        s.again(B, ONE, 1).acked(B, ONE, 1).came(A, ONE, 1).acked(A, ONE, 1);
    };
    allows(read_late);
    finds(&[Kind::WrongFlag], |s| {
        read_late(s);
        s.came(B, ONE, 1).acked(B, ONE, 1);
    });
    finds(&[Kind::WrongFlag], |s| {
        s.sent(1, IN_ONE).again(B, ONE, 1).settled(B, ONE, 1, Settlement::Requeue);
        s.came(A, ONE, 1).acked(A, ONE, 1);
    });
}

/// Another consumer had the first one, and said so late.
#[test]
fn what_comes_again_as_a_process_ends_may_come_after_later_ones() {
    let story = |ends: bool| {
        move |s: &mut Story| {
            s.sent(1, IN_ONE).sent(2, IN_ONE);
            if ends {
                s.add(0, Event::Ending { crash: false });
            }
            s.came(B, ONE, 2).acked(B, ONE, 2).again(B, ONE, 1).acked(B, ONE, 1);
            if ends {
                s.came(A, ONE, 1).acked(A, ONE, 1);
            }
        }
    };
    allows(story(true));
    finds(&[Kind::Reordered], story(false));
}

#[test]
fn a_redelivery_says_so() {
    let twice = |s: &mut Story| {
        s.sent(1, IN_ONE).came(A, ONE, 1).settled(A, ONE, 1, Settlement::Requeue);
    };
    allows(|s| {
        twice(s);
        s.again(A, ONE, 1).acked(A, ONE, 1);
    });
    finds(&[Kind::WrongFlag], |s| {
        twice(s);
        s.came(A, ONE, 1).acked(A, ONE, 1);
    });
    finds(&[Kind::WrongFlag], |s| {
        s.sent(1, IN_ONE).came(A, ONE, 1).crash().came(B, ONE, 1).acked(B, ONE, 1);
    });
}

#[test]
fn the_messages_of_a_channel_come_in_order() {
    let sent = |s: &mut Story| {
        s.add(A, Event::Consumes { queue: ONE }).add(B, Event::Consumes { queue: ONE });
        s.sent(1, IN_ONE).sent(2, IN_ONE);
    };
    let came = |s: &mut Story, numbers: [u32; 2]| {
        for number in numbers {
            s.came(A, ONE, number).acked(A, ONE, number);
        }
    };
    allows(|s| {
        sent(s);
        came(s, [1, 2]);
    });
    finds(&[Kind::Reordered], |s| {
        sent(s);
        came(s, [2, 1]);
    });
    // Another consumer may have been dealt the first one, and left without reading it.
    allows(|s| {
        sent(s);
        s.closed(B);
        came(s, [2, 1]);
    });
    // Each consumer sees an order of its own.
    allows(|s| {
        sent(s);
        s.came(A, ONE, 2).acked(A, ONE, 2).came(B, ONE, 1).acked(B, ONE, 1);
    });
}

#[test]
fn nothing_comes_that_was_not_sent_there() {
    finds(&[Kind::Invented], |s| {
        s.came(A, ONE, 1);
    });
    finds(&[Kind::Invented], |s| {
        s.tried(1, IN_ONE).came(A, TWO, 1).crash();
    });
    finds(&[Kind::Invented], |s| {
        s.tried(1, IN_WORK).came(A, DEAD, 1).crash();
    });
    finds(&[Kind::Invented], |s| {
        s.add(A, Event::Damaged { queue: ONE });
    });
    // Rolled back, or never committed.
    finds(&[Kind::Invented], |s| {
        s.add(P, Event::Transactional).tried(9, &OUTPUTS).add(P, Event::RolledBack).one_output();
    });
}

#[test]
fn what_is_purged_or_deleted_stays_gone() {
    let (queue, how) = (CHURN[0], Removal::Purge);
    let tried = |s: &mut Story| {
        s.sent(1, IN_CHURN).add(P, Event::RemoveTried { queue, how });
    };
    let came = |s: &mut Story| {
        s.again(P, queue, 1).acked(P, queue, 1);
    };
    allows(|s| {
        tried(s);
        s.add(P, Event::Removed { queue, how });
    });
    finds(&[Kind::Resurrected], |s| {
        tried(s);
        s.add(P, Event::Removed { queue, how }).crash();
        came(s);
    });
    // Nobody knows whether it took place.
    allows(|s| {
        tried(s);
        s.crash();
    });
    allows(|s| {
        tried(s);
        s.crash();
        came(s);
    });
    finds(&[Kind::Lost], |s| {
        tried(s);
        s.add(P, Event::Removed { queue, how }).sent(2, IN_CHURN);
    });
}

#[test]
fn queues_are_there_as_their_owner_left_them() {
    let (queue, how) = (CHURN[0], Removal::Delete);
    let declared = |s: &mut Story| {
        s.add(P, Event::DeclareTried { queue }).add(P, Event::Declared { queue });
    };
    let deleted = |s: &mut Story| {
        s.add(P, Event::RemoveTried { queue, how }).add(P, Event::Removed { queue, how });
    };
    let looked = |s: &mut Story, there| {
        s.add(P, Event::Looked { queue, there });
    };
    for there in [true, false] {
        let lost = if there { &[][..] } else { &[Kind::Lost] };
        finds(lost, |s| {
            declared(s);
            s.crash();
            looked(s, there);
        });
        let resurrected = if there { &[Kind::Resurrected][..] } else { &[] };
        finds(resurrected, |s| {
            declared(s);
            deleted(s);
            s.crash();
            looked(s, there);
        });
        allows(|s| {
            declared(s);
            s.add(P, Event::RemoveTried { queue, how }).crash();
            looked(s, there);
            looked(s, there);
        });
    }
    finds(&[Kind::Lost], |s| {
        s.add(P, Event::DeclareTried { queue }).crash();
        looked(s, true);
        s.crash();
        looked(s, false);
    });
}

#[test]
fn the_broker_goes_on() {
    let why = || "what was seen".to_owned();
    finds(&[Kind::Cut], |s| {
        s.add(A, Event::Cut { why: why() });
    });
    allows(|s| {
        s.add(0, Event::Ending { crash: false }).add(A, Event::Cut { why: why() });
    });
    finds(&[Kind::Died], |s| {
        s.sent(1, IN_ONE).add(0, Event::Died { why: why() });
    });
    finds(&[Kind::Stuck], |s| {
        s.add(0, Event::Stuck { what: why() });
    });
}
