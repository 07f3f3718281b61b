//! Groups of expectations: all of them in any order, or one of them.
//!
//! A message goes to the first branch, from the top, whose next expectation it meets; nothing is taken back later.

use crate::clock;
use crate::protocol::value::Value;
use crate::run::eval::{Variables, integer};
use crate::run::expect::{acknowledge, tags};
use crate::run::matching;
use crate::run::message::Message;
use crate::run::{Case, Done, LIMIT, Trouble};
use crate::script::{Action, Address, Call, Expected, Step};
use std::collections::{BTreeSet, VecDeque};

/// An expectation of a group, with the counters that it was written under.
struct Wish<'a> {
    step: &'a Step,
    at: &'a Address,
    what: Want<'a>,
    counters: Vec<(String, Value)>,
}

enum Want<'a> {
    Call(&'a Call),
    Acks(BTreeSet<u64>),
}

type Branch<'a> = VecDeque<Wish<'a>>;

/// What a message was to a wish.
enum Outcome {
    Met,
    /// Some of the acks.
    Partly,
    Not(Vec<String>),
}

impl Case<'_> {
    /// All of `steps`, in any order.
    pub(super) fn any_order(&mut self, steps: &[Step]) -> Done {
        let mut branches = Vec::new();
        unfold(steps, &self.variables, &[], &mut |branch| branches.push(branch))?;
        while !branches.is_empty() {
            self.one_message(&mut branches)?;
            branches.retain(|branch| !branch.is_empty());
        }
        Ok(())
    }

    /// One of `steps`.
    pub(super) fn one_of(&mut self, steps: &[Step]) -> Done {
        let mut branches = Vec::new();
        unfold(steps, &self.variables, &[], &mut |branch| branches.push(branch))?;
        let mut at = self.one_message(&mut branches)?;
        while !branches[at].is_empty() {
            let chosen = branches.swap_remove(at);
            branches = vec![chosen];
            at = self.one_message(&mut branches)?;
        }
        Ok(())
    }

    /// Gives the next message to a branch; which.
    fn one_message(&mut self, branches: &mut [Branch<'_>]) -> Done<usize> {
        let deadline = clock::now() + LIMIT;
        let places: BTreeSet<&Address> =
            branches.iter().filter_map(|branch| branch.front()).map(|wish| wish.at).collect();
        let places: Vec<Address> = places.into_iter().cloned().collect();
        loop {
            for at in &places {
                if let Some(message) = self.message_now(at)? {
                    return self.give(at, &message, branches);
                }
            }
            if !self.pump(deadline) {
                let mut trouble = self.too_late(&places[0]);
                trouble.reason = format!("{}; still expected:\n{}", trouble.reason, still(branches));
                return Err(trouble);
            }
            let dead = |case: &Self, at: &Address| {
                case.links
                    .get(&at.connection)
                    .is_none_or(|link| link.ended.is_some() || link.close().is_some())
            };
            if places.iter().all(|at| dead(self, at)) {
                for at in &places {
                    if let Some(message) = self.message_now(at)? {
                        return self.give(at, &message, branches);
                    }
                }
                let mut trouble = self.too_late(&places[0]);
                trouble.reason = format!("the connection is closed; still expected:\n{}", still(branches));
                return Err(trouble);
            }
        }
    }

    fn give(&mut self, at: &Address, message: &Message, branches: &mut [Branch<'_>]) -> Done<usize> {
        let mut reasons = Vec::new();
        for (index, branch) in branches.iter_mut().enumerate() {
            let Some(wish) = branch.front_mut().filter(|wish| wish.at == at) else { continue };
            let (outcome, variables) = hold(wish, message, &self.variables);
            match outcome {
                Outcome::Met => {
                    self.variables = variables;
                    branch.pop_front();
                    return Ok(index);
                }
                Outcome::Partly => return Ok(index),
                Outcome::Not(why) => {
                    reasons.push(format!("line {}: {}: {}", wish.step.line, wish.step.text, why.join("; ")));
                }
            }
        }
        let reason = format!("this meets none of what is still expected:\n{}", reasons.join("\n"));
        Err(Trouble { reason, came: message.show(), bytes: message.bytes() })
    }
}

/// Holds `message` against `wish`; the variables as they are if it is met.
fn hold(wish: &mut Wish<'_>, message: &Message, variables: &Variables) -> (Outcome, Variables) {
    let mut tried = variables.clone();
    let outcome = match &mut wish.what {
        Want::Acks(left) => match acknowledge(left, message) {
            Ok(()) if left.is_empty() => Outcome::Met,
            Ok(()) => Outcome::Partly,
            Err(why) => Outcome::Not(vec![why]),
        },
        Want::Call(call) => {
            tried.extend(wish.counters.iter().cloned());
            let wrong = matching::call(call, message, &mut tried);
            if wrong.is_empty() { Outcome::Met } else { Outcome::Not(wrong) }
        }
    };
    (outcome, tried)
}

/// What is still expected, a line each.
fn still(branches: &[Branch<'_>]) -> String {
    let line = |wish: &Wish<'_>| format!("line {}: {}", wish.step.line, wish.step.text);
    branches.iter().filter_map(|branch| branch.front()).map(line).collect::<Vec<_>>().join("\n")
}

/// Makes branches of `steps`: one of each expectation, of each turn of a repetition, and of each `in-order`.
fn unfold<'a>(
    steps: &'a [Step],
    variables: &Variables,
    counters: &[(String, Value)],
    give: &mut dyn FnMut(Branch<'a>),
) -> Result<(), String> {
    for step in steps {
        match &step.action {
            Action::Expect(expectation) => {
                let mut known = variables.clone();
                known.extend(counters.iter().cloned());
                let what = match &expectation.what {
                    Expected::Method(call) => Want::Call(call),
                    Expected::Acks(from, to) => {
                        Want::Acks(tags(integer(from, &known)?, integer(to, &known)?))
                    }
                    _ => return Err("a group holds methods and acks".into()),
                };
                give([Wish { step, at: &expectation.at, what, counters: counters.to_vec() }].into());
            }
            Action::InOrder(inner) => {
                let mut all = VecDeque::new();
                unfold(inner, variables, counters, &mut |branch| all.extend(branch))?;
                give(all);
            }
            Action::Repeat { times, counter, steps } => {
                for turn in 1..=integer(times, variables)? {
                    let counters = with(counters, counter, turn);
                    unfold(steps, variables, &counters, give)?;
                }
            }
            _ => return Err("a group holds expectations only".into()),
        }
    }
    Ok(())
}

fn with(counters: &[(String, Value)], counter: &str, turn: i128) -> Vec<(String, Value)> {
    let mut counters = counters.to_vec();
    counters.push((counter.to_owned(), Value::Int('_', turn)));
    counters
}
