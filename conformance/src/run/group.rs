//! Groups of expectations: all of them in any order, or one of them.
//!
//! A message goes to the first branch, from the top, whose next expectation it meets. When a later
//! message then meets none, all that came is dealt anew in every other way, so that a group fails
//! only if no way of dealing meets it.

use crate::clock;
use crate::protocol::value::Value;
use crate::run::eval::{Variables, integer};
use crate::run::expect::{acknowledge, tags};
use crate::run::matching;
use crate::run::message::Message;
use crate::run::{Case, Done, LIMIT, Trouble};
use crate::script::{Action, Address, Call, Expected, Step};
use std::collections::{BTreeSet, VecDeque};

/// How many branches are looked at, at most, to deal anew: some tenths of a second.
const LOOKS_MAX: usize = 50_000;

/// An expectation of a group, with the counters that it was written under.
#[derive(Clone)]
struct Wish<'a> {
    step: &'a Step,
    at: &'a Address,
    what: Want<'a>,
    counters: Vec<(String, Value)>,
}

#[derive(Clone)]
enum Want<'a> {
    Call(&'a Call),
    Acks(BTreeSet<u64>),
}

type Branch<'a> = VecDeque<Wish<'a>>;

/// How far a group has come.
#[derive(Clone)]
struct State<'a> {
    /// What is still expected; none of them is empty.
    branches: Vec<Branch<'a>>,
    /// Whether the first message chooses one branch and ends all others.
    one_only: bool,
    /// Words for people have to be as the script has them.
    compares_words: bool,
    variables: Variables,
}

/// A group that is being met.
struct Group<'a> {
    /// As it was before anything came.
    start: State<'a>,
    now: State<'a>,
    /// All that came, oldest first.
    came: Vec<(Address, Message)>,
}

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
        self.group(steps, false)
    }

    /// One of `steps`.
    pub(super) fn one_of(&mut self, steps: &[Step]) -> Done {
        self.group(steps, true)
    }

    fn group(&mut self, steps: &[Step], one_only: bool) -> Done {
        let mut group = Group::new(steps, one_only, self.compares_words, &self.variables)?;
        while !group.now.branches.is_empty() {
            let (at, message) = self.next_of(&group.now.branches)?;
            let (shown, bytes) = (message.show(), message.bytes());
            group.take(at, message).map_err(|reasons| {
                let reason = format!("this meets none of what is still expected:\n{}", reasons.join("\n"));
                Trouble { reason, came: shown, bytes, ..Trouble::default() }
            })?;
        }
        self.variables = group.now.variables;
        Ok(())
    }

    /// The next message where one of `branches` expects something.
    fn next_of(&mut self, branches: &[Branch<'_>]) -> Done<(Address, Message)> {
        let deadline = clock::now() + LIMIT;
        let places: BTreeSet<&Address> =
            branches.iter().filter_map(|branch| branch.front()).map(|wish| wish.at).collect();
        let places: Vec<Address> = places.into_iter().cloned().collect();
        let mut is_over = false;
        loop {
            for at in &places {
                if let Some(message) = self.connections.message_now(at)? {
                    return Ok((at.clone(), message));
                }
            }
            if is_over {
                let mut trouble = self.connections.too_late(&places[0]);
                trouble.reason = format!("the connection is closed; still expected:\n{}", still(branches));
                return Err(trouble);
            }
            if !self.connections.pump(deadline) {
                let mut trouble = self.connections.too_late(&places[0]);
                trouble.reason = format!("{}; still expected:\n{}", trouble.reason, still(branches));
                return Err(trouble);
            }
            is_over = places.iter().all(|at| self.connections.is_over(at));
        }
    }
}

impl<'a> Group<'a> {
    fn new(
        steps: &'a [Step],
        one_only: bool,
        compares_words: bool,
        variables: &Variables,
    ) -> Result<Self, String> {
        let start = State::new(steps, one_only, compares_words, variables)?;
        Ok(Self { now: start.clone(), start, came: Vec::new() })
    }

    /// Takes what came next; why it meets nothing that is still expected.
    fn take(&mut self, at: Address, message: Message) -> Result<(), Vec<String>> {
        self.came.push((at, message));
        let Err(reasons) = self.now.deal(&self.came[self.came.len() - 1]) else { return Ok(()) };
        let mut looks = LOOKS_MAX;
        self.now = deal_anew(&self.start, &self.came, &mut looks).ok_or(reasons)?;
        Ok(())
    }
}

impl<'a> State<'a> {
    fn new(
        steps: &'a [Step],
        one_only: bool,
        compares_words: bool,
        variables: &Variables,
    ) -> Result<Self, String> {
        let mut branches = Vec::new();
        unfold(steps, variables, &[], &mut |branch: Branch<'a>| {
            if !branch.is_empty() {
                branches.push(branch);
            }
        })?;
        Ok(Self { branches, one_only, compares_words, variables: variables.clone() })
    }

    /// Gives a message to the first branch that it meets; why it meets none.
    fn deal(&mut self, (at, message): &(Address, Message)) -> Result<(), Vec<String>> {
        let mut reasons = Vec::new();
        for index in 0..self.branches.len() {
            match self.give(index, at, message) {
                Ok(()) => return Ok(()),
                Err(why) => reasons.extend(why),
            }
        }
        Err(reasons)
    }

    /// Gives `message` to one branch; why it does not meet it, unless it is plainly for another
    /// place.
    fn give(&mut self, index: usize, at: &Address, message: &Message) -> Result<(), Option<String>> {
        let branch = &mut self.branches[index];
        let Some(wish) = branch.front_mut().filter(|wish| wish.at == at) else { return Err(None) };
        match hold(wish, message, self.compares_words, &mut self.variables) {
            Outcome::Met => {
                branch.pop_front();
            }
            Outcome::Partly => {}
            Outcome::Not(why) => {
                let (line, text) = (wish.step.line, &wish.step.text);
                return Err(Some(format!("line {line}: {text}: {}", why.join("; "))));
            }
        }
        if self.one_only {
            self.branches.swap(0, index);
            self.branches.truncate(1);
            self.branches.retain(|branch| !branch.is_empty());
        } else if self.branches[index].is_empty() {
            self.branches.remove(index);
        }
        Ok(())
    }
}

/// Deals all that `came` in some way that meets `state`; `looks` is how many branches may still be
/// looked at.
fn deal_anew<'a>(state: &State<'a>, came: &[(Address, Message)], looks: &mut usize) -> Option<State<'a>> {
    let Some(((at, message), rest)) = came.split_first() else { return Some(state.clone()) };
    for index in 0..state.branches.len() {
        if state.branches[index].front().is_none_or(|wish| wish.at != at) {
            continue;
        }
        *looks = looks.checked_sub(state.branches.len())?;
        let mut next = state.clone();
        if next.give(index, at, message).is_ok()
            && let Some(found) = deal_anew(&next, rest, looks)
        {
            return Some(found);
        }
    }
    None
}

/// Holds `message` against `wish`; `variables` gain what it captures if it is met.
fn hold(wish: &mut Wish<'_>, message: &Message, compares_words: bool, variables: &mut Variables) -> Outcome {
    match &mut wish.what {
        Want::Acks(left) => match acknowledge(left, message) {
            Ok(()) if left.is_empty() => Outcome::Met,
            Ok(()) => Outcome::Partly,
            Err(why) => Outcome::Not(vec![why]),
        },
        Want::Call(call) => {
            if call.spec != message.method.spec {
                // The most frequent answer by far, and it needs no copy of the variables.
                return Outcome::Not(vec![format!("this is {}", message.method.spec.name)]);
            }
            let mut tried = variables.clone();
            tried.extend(wish.counters.iter().cloned());
            let wrong = matching::call(call, message, compares_words, &mut tried);
            if !wrong.is_empty() {
                return Outcome::Not(wrong);
            }
            *variables = tried;
            Outcome::Met
        }
    }
}

/// What is still expected, a line each.
fn still(branches: &[Branch<'_>]) -> String {
    let line = |wish: &Wish<'_>| format!("line {}: {}", wish.step.line, wish.step.text);
    branches.iter().filter_map(|branch| branch.front()).map(line).collect::<Vec<_>>().join("\n")
}

/// Makes branches of
/// `steps`: one of each expectation, of each turn of a repetition, and of each `in-order`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::samples::{message, step, variables};

    /// Whether the messages `came` meet the group: how many branches are left, or why the last one
    /// meets nothing.
    fn take(group: &str, came: &[&str]) -> Result<usize, String> {
        let step = step(group);
        let (steps, one_only) = match &step.action {
            Action::AnyOrder(steps) => (steps, false),
            Action::OneOf(steps) => (steps, true),
            other => panic!("no group: {other:?}"),
        };
        let mut group = Group::new(steps, one_only, true, &variables(&[])).unwrap();
        for said in came {
            let (place, written) = said.split_once(' ').unwrap();
            let (connection, channel) = place.split_once('.').unwrap();
            let at = Address { connection: connection.into(), channel: channel.parse().ok() };
            group.take(at, message(written)).map_err(|reasons| reasons.join("\n"))?;
        }
        Ok(group.now.branches.len())
    }

    #[test]
    fn all_come_in_any_order_over_channels_and_connections() {
        let group = "any-order {\n a.1 < basic.cancel-ok\n a.2 < tx.select-ok\n b.1 < basic.cancel-ok\n}";
        assert_eq!(take(group, &["b.1 basic.cancel-ok", "a.2 tx.select-ok", "a.1 basic.cancel-ok"]), Ok(0));
        assert_eq!(take(group, &["b.1 basic.cancel-ok", "a.2 tx.select-ok"]), Ok(1));
        let twice = take(group, &["b.1 basic.cancel-ok", "b.1 basic.cancel-ok"]).unwrap_err();
        assert_eq!(twice, "", "nothing is expected there any more");
        let other = take(group, &["a.1 tx.select-ok"]).unwrap_err();
        assert!(other.contains("line 2") && other.contains("this is tx.select-ok"), "{other}");
    }

    #[test]
    fn what_is_in_order_keeps_its_order_among_the_others() {
        let group = "any-order {\n a.1 < acks 1..3\n in-order {\n a.1 < basic.deliver body=\"1\"\n a.1 < basic.deliver body=\"2\"\n }\n}";
        let (one, two) = ("a.1 basic.deliver body=\"1\"", "a.1 basic.deliver body=\"2\"");
        let (ack, rest) = ("a.1 basic.ack delivery-tag=1", "a.1 basic.ack delivery-tag=3 multiple");
        assert_eq!(take(group, &[ack, one, rest, two]), Ok(0));
        assert_eq!(take(group, &[one, two, ack]), Ok(1));
        assert!(take(group, &[two]).unwrap_err().contains("body: \"1\" expected, \"2\" came"));
        assert!(take(group, &[rest, ack]).unwrap_err().contains("this is basic.ack"));
    }

    #[test]
    fn a_message_may_go_to_another_than_the_first_it_meets() {
        // The first message meets both; only the second of them can have the second message.
        let group = "any-order {\n a.1 < basic.deliver\n a.1 < basic.deliver body=\"x\"\n}";
        let (x, y) = ("a.1 basic.deliver body=\"x\"", "a.1 basic.deliver body=\"y\"");
        assert_eq!(take(group, &[x, y]), Ok(0));
        assert_eq!(take(group, &[y, x]), Ok(0));
        assert!(take(group, &[y, y]).is_err());
        // With a capture, which is undone with the choice it was made by.
        let group = "any-order {\n a.1 < basic.deliver consumer-tag=$c body=$b\n a.1 < basic.deliver consumer-tag=\"c1\" body=$b\n}";
        let (c1, c2) = (
            "a.1 basic.deliver consumer-tag=\"c1\" body=\"x\"",
            "a.1 basic.deliver consumer-tag=\"c2\" body=\"x\"",
        );
        assert_eq!(take(group, &[c1, c2]), Ok(0));
    }

    #[test]
    fn repetitions_count_and_a_hopeless_group_ends_soon() {
        let group = "any-order {\n repeat 3 {\n a.1 < basic.deliver body=\"m$i\"\n }\n}";
        let said = |n| format!("a.1 basic.deliver body=\"m{n}\"");
        assert_eq!(take(group, &[&said(3), &said(1), &said(2)]), Ok(0));
        assert!(take(group, &[&said(3), &said(3)]).is_err());
        let group = "any-order {\n repeat 30 {\n a.1 < basic.deliver\n }\n}";
        let many: Vec<String> = (0..29).map(said).chain(["a.1 basic.cancel-ok".to_owned()]).collect();
        assert!(take(group, &many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    }

    #[test]
    fn exactly_one_branch_is_met_and_to_its_end() {
        let group = "one-of {\n a.1 < basic.get-empty\n in-order {\n a.1 < basic.cancel-ok\n a.1 < basic.get-empty\n }\n}";
        assert_eq!(take(group, &["a.1 basic.get-empty"]), Ok(0));
        assert_eq!(take(group, &["a.1 basic.cancel-ok"]), Ok(1));
        assert_eq!(take(group, &["a.1 basic.cancel-ok", "a.1 basic.get-empty"]), Ok(0));
        assert!(take(group, &["a.1 basic.cancel-ok", "a.1 basic.cancel-ok"]).is_err());
    }
}
