//! What must happen as a whole or not at all: publishes to several queues, dead letters,
//! transactions.

use super::*;

#[test]
fn a_publish_to_two_queues_is_in_both_or_in_none() {
    let one = |s: &mut Story| {
        s.again(A, ONE, 1).acked(A, ONE, 1);
    };
    finds(&[Kind::HalfDone], |s| {
        s.sent(1, IN_BOTH);
        one(s);
    });
    finds(&[Kind::HalfDone], |s| {
        s.tried(1, IN_BOTH).crash();
        one(s);
    });
    finds(&[Kind::HalfDone], |s| {
        s.tried(1, IN_BOTH);
        one(s);
        s.stop();
    });
    // It was seen before it was on disk, and was in neither.
    allows(|s| {
        s.tried(1, IN_BOTH);
        one(s);
        s.crash();
    });
    allows(|s| {
        s.tried(1, IN_BOTH).crash();
        one(s);
        s.again(B, TWO, 1).acked(B, TWO, 1);
    });
}

#[test]
fn a_refused_message_goes_to_the_dead_letters_as_a_whole() {
    let refused = |s: &mut Story| {
        s.sent(1, IN_WORK).came(A, WORK, 1).settled(A, WORK, 1, Settlement::Reject);
    };
    let buried = |s: &mut Story| {
        s.came(B, DEAD, 1).acked(B, DEAD, 1);
    };
    let revived = |s: &mut Story| {
        s.again(A, WORK, 1).settled(A, WORK, 1, Settlement::Reject);
    };
    allows(|s| {
        refused(s);
        buried(s);
    });
    finds(&[Kind::Lost], refused);
    finds(&[Kind::Lost], |s| {
        refused(s);
        s.came(B, DEAD, 1);
    });
    // The crash undid all of it, and it dies anew: a new letter, not a second delivery of the old
    // one.
    allows(|s| {
        refused(s);
        buried(s);
        s.crash();
        revived(s);
        buried(s);
    });
    finds(&[Kind::Lost], |s| {
        refused(s);
        buried(s);
        s.crash();
        revived(s);
    });
    // On disk, the letter is there and its first self too.
    finds(&[Kind::HalfDone], |s| {
        refused(s);
        s.crash();
        buried(s);
        revived(s);
        s.came(B, DEAD, 1).acked(B, DEAD, 1);
    });
    finds(&[Kind::HalfDone], |s| {
        refused(s);
        s.crash().again(A, WORK, 1);
        buried(s);
        s.settled(A, WORK, 1, Settlement::Ack);
    });
    finds(&[Kind::HalfDone], |s| {
        refused(s);
        s.closed(A);
        buried(s);
        s.again(B, WORK, 1).acked(B, WORK, 1);
    });
    finds(&[Kind::WrongFlag], |s| {
        refused(s);
        s.came(B, DEAD, 1).crash();
        buried(s);
    });
}

#[test]
fn a_transaction_takes_effect_as_a_whole() {
    let begun = |s: &mut Story| {
        s.sent(1, IN_INPUT).came(P, INPUT, 1).attempt(1);
    };
    let back = |s: &mut Story| {
        s.again(A, INPUT, 1).acked(A, INPUT, 1);
    };
    allows(|s| {
        begun(s);
        s.add(P, Event::Committed).outputs();
    });
    // Unknown: its input, or its outputs.
    for crash in [true, false] {
        allows(|s| {
            begun(s);
            s.ended(crash).outputs();
        });
        allows(|s| {
            begun(s);
            s.ended(crash);
            back(s);
        });
        finds(&[Kind::HalfDone], |s| {
            begun(s);
            s.ended(crash).outputs();
            back(s);
        });
        finds(&[Kind::HalfDone], |s| {
            begun(s);
            s.ended(crash);
        });
    }
    // The outputs were seen before they were on disk.
    allows(|s| {
        begun(s);
        s.outputs().crash();
        back(s);
    });
    finds(&[Kind::HalfDone], |s| {
        begun(s);
        s.outputs().stop();
        back(s);
    });
    finds(&[Kind::HalfDone], |s| {
        begun(s);
        s.crash().one_output();
    });
}

#[test]
fn what_a_transaction_has_done_stays_done() {
    let done = |s: &mut Story| {
        s.sent(1, IN_INPUT).came(P, INPUT, 1).attempt(1).add(P, Event::Committed);
    };
    finds(&[Kind::Lost], done);
    finds(&[Kind::HalfDone], |s| {
        done(s);
        s.one_output();
    });
    finds(&[Kind::Resurrected], |s| {
        done(s);
        s.outputs().crash().again(A, INPUT, 1).acked(A, INPUT, 1);
    });
}

#[test]
fn a_rolled_back_acknowledgement_is_none() {
    allows(|s| {
        s.sent(1, IN_INPUT).came(P, INPUT, 1).add(P, Event::Transactional);
        s.acked(P, INPUT, 1).add(P, Event::RolledBack).taken(P).closed(P);
        s.again(A, INPUT, 1).acked(A, INPUT, 1);
    });
    finds(&[Kind::Lost], |s| {
        s.sent(1, IN_INPUT).came(P, INPUT, 1).add(P, Event::Transactional);
        s.acked(P, INPUT, 1).add(P, Event::RolledBack).taken(P).closed(P);
    });
}
