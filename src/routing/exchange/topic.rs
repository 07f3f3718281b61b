//! A topic exchange: keys are words between dots; in a binding key `*` stands for one word, `#` for
//! any number.
//!
//! A trie, one step a word. Words are numbered, and one map holds the steps of all nodes, so that a
//! node costs some forty bytes and a word of a routing key is hashed once, however many nodes it is
//! compared in. A message walks all matching paths at the same time: after each word there is one
//! set of nodes it may be in. Each node is in that set at most once, and is visited once for each
//! word, so a match takes at most (nodes) x (words + 1) steps and memory for the nodes it is in,
//! whatever the patterns are. A `#` node that was reached once stays in the set, so it is marked
//! with one bit and never entered again.
//!
//! A match that takes long is not made here, where others wait for the lock of the topology, but
//! with a `Plan`.
//!
//! As in RabbitMQ an empty key has no words at all: `*` does not match it, `#` and the empty
//! pattern do.

mod plan;

use self::plan::{LongMatch, Plan, UNKNOWN};
use super::multi_set::MultiSet;
use super::shrink;
use crate::blocking;
use crate::ids::IdMap;
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Number of a node.
type Node = u32;
/// Where every walk begins.
const ROOT: Node = 0;
/// No such node.
const NONE: Node = Node::MAX;
/// Nodes that a thread keeps room for between messages.
const WALK_KEPT: usize = 4096;
/// Visits that take about a millisecond in a large topic, where each misses the processor's caches.
const LONG_WALK: usize = 8192;
/// To copy so many nodes takes as long as to visit one.
const COPIED: usize = 4;
/// As many bits are in one element of [`Walk::reached`].
const BITS: usize = u64::BITS as usize;

/// Binding keys and where they lead.
#[derive(Debug)]
pub struct Topic<T> {
    nodes: Vec<NodeState<T>>,
    free_nodes: Vec<Node>,
    /// From a node, with a word that is not a wildcard, to the next.
    steps: IdMap<(Node, u32), Node>,
    /// The words that occur in `steps`.
    words: HashMap<Box<[u8]>, Word>,
    free_words: Vec<u32>,
    /// For matches that take long; made when there is one.
    plan: OnceLock<Arc<Plan<T>>>,
    /// No other topic has it.
    number: u64,
}

/// How many topics there were.
static TOPICS: AtomicU64 = AtomicU64::new(0);

/// The matches of one message that take long. They are put off while the lock is held, then made
/// without it, and found made when the route is looked for again.
#[derive(Debug)]
pub struct LongMatches<T> {
    /// By topic.
    matches: Vec<LongMatch<T>>,
    /// Visits of nodes for this message since [`LongMatches::make`].
    steps: usize,
    /// None is put off any more.
    at_once: bool,
    effort: usize,
}

impl<T> Default for LongMatches<T> {
    fn default() -> Self {
        Self { matches: Vec::new(), steps: 0, at_once: false, effort: 0 }
    }
}

impl<T> LongMatches<T> {
    /// Whether some are still to be made, so that what was found is not all.
    #[must_use]
    pub fn are_due(&self) -> bool {
        self.matches.iter().any(LongMatch::is_due)
    }

    /// Makes those that are due, without the lock.
    pub fn make(&mut self) {
        self.effort += self.matches.iter_mut().map(LongMatch::make).sum::<usize>();
        self.steps = 0;
    }

    /// From now on all are made where they are found.
    pub fn make_at_once(&mut self) {
        self.at_once = true;
    }

    /// How many visits of nodes they took as long as.
    #[must_use]
    pub fn effort(&self) -> usize {
        self.effort
    }
}

#[derive(Debug)]
struct NodeState<T> {
    /// After any one word.
    star: Node,
    /// After any number of words.
    hash: Node,
    /// How many entries of `steps` begin here.
    steps: u32,
    /// What is bound with the key that ends here.
    targets: MultiSet<T>,
}

#[derive(Debug)]
struct Word {
    number: u32,
    /// How many entries of `steps` use it.
    uses: u32,
}

/// The sets of nodes of one walk, kept by each thread for their memory.
#[derive(Default)]
struct Walk {
    /// The nodes that the words so far lead to, except for those in `loops`.
    active: Vec<Node>,
    /// The same after the next word.
    next: Vec<Node>,
    /// `#` nodes reached: whatever follows, the walk stays there too.
    loops: Vec<Node>,
    /// A bit for each node, set for those in `loops`; all clear between walks.
    reached: Vec<u64>,
    /// How many times a node was visited.
    steps: usize,
}

impl Walk {
    /// Nothing can match any more.
    fn is_nowhere(&self) -> bool {
        self.active.is_empty() && self.loops.is_empty()
    }

    /// It took many steps, or the next word will.
    fn is_long(&self) -> bool {
        self.steps > LONG_WALK || self.active.len() + self.loops.len() > LONG_WALK / 4
    }

    /// Adds a `#` node, unless it is in `loops` already; whether it was added.
    fn add_loop(&mut self, node: Node) -> bool {
        let (index, bit) = (node as usize / BITS, 1 << (node as usize % BITS));
        if self.reached.len() <= index {
            self.reached.resize(index + 1, 0);
        }
        let is_new = self.reached[index] & bit == 0;
        if is_new {
            self.reached[index] |= bit;
            self.loops.push(node);
        }
        is_new
    }

    /// Forgets where it is, and returns memory beyond what is worth keeping.
    fn clear(&mut self) {
        for node in self.loops.drain(..) {
            self.reached[node as usize / BITS] = 0;
        }
        self.active.clear();
        self.next.clear();
        self.steps = 0;
        if self.active.capacity().max(self.next.capacity()).max(self.loops.capacity()) > WALK_KEPT
            || self.reached.len() > WALK_KEPT
        {
            *self = Self::default();
        }
    }
}

thread_local! {
    static WALK: RefCell<Walk> = RefCell::default();
}

impl<T> Default for Topic<T> {
    fn default() -> Self {
        Self {
            nodes: vec![NodeState::default()],
            free_nodes: Vec::new(),
            steps: HashMap::default(),
            words: HashMap::new(),
            free_words: Vec::new(),
            plan: OnceLock::new(),
            number: TOPICS.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl<T> Default for NodeState<T> {
    fn default() -> Self {
        Self { star: NONE, hash: NONE, steps: 0, targets: MultiSet::Empty }
    }
}

/// The words of a key.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.split(|&byte| byte == b'.').filter(move |_| !key.is_empty())
}

/// How many words `#` a binding key has.
#[must_use]
pub fn hashes(pattern: &[u8]) -> usize {
    words(pattern).filter(|word| *word == b"#").count()
}

impl<T: Ord + Clone> Topic<T> {
    /// Binds `target` with `pattern`.
    pub fn insert(&mut self, pattern: &[u8], target: T) {
        self.plan.take();
        let mut node = ROOT;
        for word in words(pattern) {
            node = match self.child(node, word) {
                NONE => self.grow(node, word),
                child => child,
            };
        }
        self.at_mut(node).targets.insert(target);
    }

    /// Takes one binding of `target` with `pattern` back.
    pub fn remove(&mut self, pattern: &[u8], target: &T) {
        self.plan.take();
        let mut path = Vec::new();
        let mut node = ROOT;
        for word in words(pattern) {
            path.push((node, word));
            node = self.child(node, word);
            if node == NONE {
                return;
            }
        }
        self.at_mut(node).targets.remove(target);
        while self.at(node).is_unused()
            && let Some((parent, word)) = path.pop()
        {
            self.cut(parent, word, node);
            node = parent;
        }
        if shrink::is_due(self.nodes.len() - self.free_nodes.len(), self.nodes.len()) {
            blocking::run_many(self.nodes.len(), || self.renumber());
        }
    }

    /// Shows where a message with this routing key goes; a target once for each pattern of its that
    /// matches. How many nodes were visited for it. Nothing is shown if the match is added to those
    /// that are due.
    pub fn route(&self, routing_key: &[u8], long: &mut LongMatches<T>, mut visit: impl FnMut(&T)) -> usize {
        let mut of_this = long.matches.iter_mut().filter(|made| made.is_of(self.number));
        if let Some(made) = of_this.find(|made| made.has(routing_key)) {
            made.show(visit);
            return 0;
        }
        WALK.with_borrow_mut(|walk| {
            walk.steps = long.steps;
            let is_done = self.walk(routing_key, walk);
            if is_done {
                for &node in walk.active.iter().chain(&walk.loops) {
                    self.at(node).targets.each(&mut visit);
                }
            }
            let steps = walk.steps - long.steps;
            long.steps = walk.steps;
            walk.clear();
            if !is_done {
                self.put_off(routing_key, long, visit);
            }
            steps
        })
    }

    /// A match takes long.
    fn put_off(&self, routing_key: &[u8], long: &mut LongMatches<T>, visit: impl FnMut(&T)) {
        let copy = || Arc::new(blocking::run_many(self.nodes.len(), || Plan::copy(self)));
        let (plan, words) = (self.plan.get_or_init(copy), self.numbers(routing_key));
        let known = long.matches.iter_mut().find(|known| known.is_by(plan));
        if let Some(known) = known.filter(|_| !long.at_once) {
            return known.add(routing_key, words);
        }
        let mut due = LongMatch::new(self.number, Arc::clone(plan));
        due.add(routing_key, words);
        if long.at_once {
            long.effort += blocking::run(|| due.make());
            due.show(visit);
        } else {
            long.matches.push(due);
        }
    }

    /// Leaves the nodes where the whole key leads in `active` and `loops`; or gives up, because it
    /// takes long.
    fn walk(&self, routing_key: &[u8], walk: &mut Walk) -> bool {
        self.enter(ROOT, walk);
        mem::swap(&mut walk.active, &mut walk.next);
        let mut words = words(routing_key);
        while let Some(word) = words.next() {
            self.take_word(word, walk);
            if walk.is_nowhere() {
                break;
            }
            if walk.is_long() {
                return self.plan.get().is_none() && blocking::run(|| self.walk_on(words, walk));
            }
        }
        true
    }

    /// Goes on while it costs less than a plan that nobody has made yet.
    fn walk_on<'a>(&self, mut words: impl Iterator<Item = &'a [u8]>, walk: &mut Walk) -> bool {
        let most = LONG_WALK.max(self.nodes.len() / COPIED);
        while walk.steps <= most && !walk.is_nowhere() {
            let Some(word) = words.next() else { return true };
            self.take_word(word, walk);
        }
        walk.is_nowhere() || words.next().is_none()
    }

    /// The numbers of a key's words.
    fn numbers(&self, routing_key: &[u8]) -> Box<[u32]> {
        words(routing_key).map(|word| self.words.get(word).map_or(UNKNOWN, |word| word.number)).collect()
    }

    /// Goes on by one word of the key.
    fn take_word(&self, word: &[u8], walk: &mut Walk) {
        let number = self.words.get(word).map(|word| word.number);
        // What is added from here on has been reached with this word, not before it.
        for index in 0..walk.loops.len() {
            self.follow(walk.loops[index], number, walk);
        }
        for index in 0..walk.active.len() {
            self.follow(walk.active[index], number, walk);
        }
        mem::swap(&mut walk.active, &mut walk.next);
        walk.next.clear();
    }

    /// Goes from `node` wherever one word leads.
    fn follow(&self, node: Node, word: Option<u32>, walk: &mut Walk) {
        walk.steps += 1;
        let state = self.at(node);
        if state.star != NONE {
            self.enter(state.star, walk);
        }
        if state.steps > 0
            && let Some(&child) = word.and_then(|word| self.steps.get(&(node, word)))
        {
            self.enter(child, walk);
        }
    }

    /// After this word the walk is in `node`, which only one other leads to, and in what `#` makes
    /// of it with no word at all.
    fn enter(&self, node: Node, walk: &mut Walk) {
        walk.next.push(node);
        let mut hash = self.at(node).hash;
        // Behind a `#` node that was reached before, all others have been too.
        while hash != NONE && walk.add_loop(hash) {
            hash = self.at(hash).hash;
        }
    }

    fn child(&self, node: Node, word: &[u8]) -> Node {
        match word {
            b"*" => self.at(node).star,
            b"#" => self.at(node).hash,
            _ => {
                let number = self.words.get(word).map(|word| word.number);
                number.and_then(|number| self.steps.get(&(node, number))).copied().unwrap_or(NONE)
            }
        }
    }

    /// Makes the child of `parent` after `word`, which it does not have.
    fn grow(&mut self, parent: Node, word: &[u8]) -> Node {
        let child = self.free_nodes.pop().unwrap_or_else(|| {
            self.nodes.push(NodeState::default());
            number_of(self.nodes.len() - 1)
        });
        match word {
            b"*" => self.at_mut(parent).star = child,
            b"#" => self.at_mut(parent).hash = child,
            _ => {
                let word = self.use_word(word);
                if self.steps.len() == self.steps.capacity() {
                    blocking::run_many(self.steps.len(), || self.steps.reserve(1));
                }
                self.steps.insert((parent, word), child);
                self.at_mut(parent).steps += 1;
            }
        }
        child
    }

    /// Removes the unused `child` of `parent` after `word`.
    fn cut(&mut self, parent: Node, word: &[u8], child: Node) {
        match word {
            b"*" => self.at_mut(parent).star = NONE,
            b"#" => self.at_mut(parent).hash = NONE,
            _ => {
                if let Some(number) = self.release_word(word) {
                    self.steps.remove(&(parent, number));
                }
                self.at_mut(parent).steps -= 1;
            }
        }
        self.free_nodes.push(child);
    }

    /// Gives nodes and words the lowest numbers, so that those that are free take no memory.
    fn renumber(&mut self) {
        let mut numbers = vec![ROOT; self.nodes.len()];
        for &free in &self.free_nodes {
            numbers[free as usize] = NONE;
        }
        // The root is never free, so it stays the first.
        for (number, used) in numbers.iter_mut().filter(|number| **number != NONE).enumerate() {
            *used = number_of(number);
        }
        let moved = |node: Node| if node == NONE { NONE } else { numbers[node as usize] };
        let nodes = mem::take(&mut self.nodes).into_iter().zip(&numbers);
        let used = nodes.filter(|(_, number)| **number != NONE);
        self.nodes = used
            .map(|(node, _)| NodeState { star: moved(node.star), hash: moved(node.hash), ..node })
            .collect();
        self.nodes.shrink_to_fit();
        self.free_nodes = Vec::new();
        let mut words = vec![0; self.words.len() + self.free_words.len()];
        for (number, word) in self.words.values_mut().enumerate() {
            let number = number_of(number);
            words[word.number as usize] = number;
            word.number = number;
        }
        self.words.shrink_to_fit();
        self.free_words = Vec::new();
        let steps = mem::take(&mut self.steps).into_iter();
        self.steps =
            steps.map(|((node, word), child)| ((moved(node), words[word as usize]), moved(child))).collect();
    }

    /// The number of a word that is used once more now.
    fn use_word(&mut self, word: &[u8]) -> u32 {
        if let Some(known) = self.words.get_mut(word) {
            known.uses += 1;
            return known.number;
        }
        let number = self.free_words.pop().unwrap_or_else(|| number_of(self.words.len()));
        self.words.insert(word.into(), Word { number, uses: 1 });
        number
    }

    /// The number of a word that is used once less now.
    fn release_word(&mut self, word: &[u8]) -> Option<u32> {
        let known = self.words.get_mut(word)?;
        known.uses -= 1;
        let number = known.number;
        if known.uses == 0 {
            self.words.remove(word);
            self.free_words.push(number);
        }
        Some(number)
    }

    fn at(&self, node: Node) -> &NodeState<T> {
        &self.nodes[node as usize]
    }

    fn at_mut(&mut self, node: Node) -> &mut NodeState<T> {
        &mut self.nodes[node as usize]
    }
}

impl<T: Ord> NodeState<T> {
    fn is_unused(&self) -> bool {
        self.steps == 0 && self.star == NONE && self.hash == NONE && self.targets.is_empty()
    }
}

fn number_of(index: usize) -> u32 {
    u32::try_from(index).expect("memory ends long before four billion nodes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draw, for_seeds};

    /// Which of `patterns` a key matches, by position.
    #[track_caller]
    fn check(patterns: &[&str], key: &str, expected: &[usize]) {
        let mut topic = Topic::default();
        for (target, pattern) in patterns.iter().enumerate() {
            topic.insert(pattern.as_bytes(), target);
        }
        assert_eq!(routed(&topic, key.as_bytes()), expected, "{patterns:?} for {key:?}");
    }

    fn routed(topic: &Topic<usize>, key: &[u8]) -> Vec<usize> {
        routed_after(topic, key, 0)
    }

    /// As if so many nodes had been visited for the message before.
    fn routed_after(topic: &Topic<usize>, key: &[u8], steps: usize) -> Vec<usize> {
        let mut long = LongMatches { steps, ..LongMatches::default() };
        loop {
            let mut found = Vec::new();
            topic.route(key, &mut long, |&target| found.push(target));
            if !long.are_due() {
                found.sort_unstable();
                return found;
            }
            assert!(found.is_empty(), "all at once or nothing");
            long.make();
        }
    }

    #[test]
    fn wildcards_stand_for_words() {
        check(&["a.b", "a.*", "*.b", "*.*", "*", "a", "a.b.c"], "a.b", &[0, 1, 2, 3]);
        check(&["#", "a.#", "#.a", "a.#.b", "#.b.#", "b.#"], "a.x.y.b", &[0, 1, 3, 4]);
        check(&["a.#", "#.a", "a.#.a", "*.#", "#.*", "#.#"], "a", &[0, 1, 3, 4, 5]);
        check(&["#.a.#.a.#"], "a", &[]);
        check(&["#.a.#.a.#"], "x.a.y.a.z", &[0]);
    }

    #[test]
    fn corner_cases_are_rabbitmqs() {
        check(&["", "*", "#", "*.#", "#.#"], "", &[0, 2, 4]);
        check(&["*.*", ".", "", "#"], ".", &[0, 1, 3]);
        check(&["a.", "a.*", "a.#", "*."], "a.", &[0, 1, 2, 3]);
        check(&["a..b", "a.*.b"], "a..b", &[0, 1]);
        check(&["a*", "##", "*"], "a*", &[0, 2]);
        check(&["a*", "##"], "ab", &[]);
        check(&["*", "#"], "#", &[0, 1]);
    }

    #[test]
    fn long_keys_have_many_words() {
        let key = "w.".repeat(127) + "w";
        check(&[&key, &("*.".repeat(127) + "*"), &("*.".repeat(126) + "*"), "#.w"], &key, &[0, 1, 3]);
        let delay = "0.".repeat(28) + "queue";
        check(&[&("*.".repeat(27) + "0.#"), &("*.".repeat(27) + "1.#")], &delay, &[0]);
    }

    #[test]
    fn patterns_made_to_explode_do_not() {
        let pattern = "#.a.".repeat(60) + "#";
        let (too_short, enough) = ("a.".repeat(58) + "a", "a.".repeat(126) + "a");
        check(&[&pattern, &(pattern.clone() + ".b")], &too_short, &[]);
        check(&[&pattern, &(pattern.clone() + ".b")], &enough, &[0]);
        check(&[&("#.".repeat(120) + "b")], &enough, &[]);
    }

    /// How many visits a match takes, which may not be more than nodes times words, and not be in
    /// more nodes than there are.
    fn visits(topic: &Topic<usize>, key: &[u8]) -> usize {
        let mut walk = Walk::default();
        topic.enter(ROOT, &mut walk);
        mem::swap(&mut walk.active, &mut walk.next);
        words(key).for_each(|word| topic.take_word(word, &mut walk));
        let nodes = topic.nodes.len() - topic.free_nodes.len();
        let most = nodes * words(key).count().max(1);
        assert!(walk.steps <= most, "{} visits of {nodes} nodes, {}", walk.steps, key.len());
        assert!(walk.active.len() + walk.loops.len() <= nodes);
        assert!(walk.loops.capacity() <= 2 * nodes, "a `#` node is kept once");
        let steps = walk.steps;
        walk.clear();
        assert!(walk.reached.iter().all(|&bits| bits == 0) && walk.loops.is_empty());
        steps
    }

    #[test]
    fn a_match_visits_each_node_once_for_each_word() {
        let mut topic = Topic::default();
        for binding in 0..300_usize {
            let word = |at: usize| if binding >> (at % 9) & 1 == 0 { "a" } else { "*" };
            let pattern: Vec<&str> = (0..24).map(|at| if at % 2 == 0 { "#" } else { word(at / 2) }).collect();
            topic.insert(pattern.join(".").as_bytes(), binding);
            topic.insert(format!("{}{binding}", "#.".repeat(40)).as_bytes(), binding);
        }
        let key = "a.".repeat(99) + "a";
        let (all, few) = (visits(&topic, key.as_bytes()), visits(&topic, b"b"));
        assert!(all > 100_000 && few < 100, "{all} and {few}");
        let before = blocking::runs();
        routed(&topic, b"b");
        assert_eq!(blocking::runs(), before, "a short one is done where it is");
        routed(&topic, key.as_bytes());
        assert!(blocking::runs() > before, "a long one is not done on a worker");
        topic.insert(b"usual.*.key", 1);
        assert_eq!(routed(&topic, key.as_bytes()).len(), 300, "and everything is found");
    }

    /// Patterns of which a key of `a` and `b` reaches every one.
    fn wide() -> Topic<usize> {
        let mut topic = Topic::default();
        for binding in 0..3000_usize {
            let word = |at: usize| ["*", "a", "b"][binding / 3_usize.pow(u32::try_from(at).unwrap()) % 3];
            let words: Vec<&str> = (0..8).map(word).collect();
            topic.insert(format!("#.{}.#.{binding}", words.join(".")).as_bytes(), binding);
        }
        topic
    }

    #[test]
    fn what_takes_long_is_not_done_under_the_lock() {
        let topic = wide();
        let key = |last: usize| format!("{}{last}", "a.b.b.a.".repeat(31));
        let by_walk = visits(&topic, key(7).as_bytes());
        let mut long = LongMatches::default();
        let few = LONG_WALK + topic.nodes.len();
        for last in 0..40 {
            let steps = topic.route(key(last).as_bytes(), &mut long, |_| panic!("found too soon"));
            assert!(steps <= few, "{steps} visits under the lock for key {last}");
        }
        long.make();
        assert!(long.effort() < 40 * by_walk / 2, "{} and {by_walk}", long.effort());
        let mut found = Vec::new();
        for last in 0..40 {
            assert_eq!(topic.route(key(last).as_bytes(), &mut long, |&target| found.push(target)), 0);
        }
        let mut expected: Vec<usize> =
            (0..40).flat_map(|last| routed(&topic, key(last).as_bytes())).collect();
        expected.sort_unstable();
        expected.dedup();
        found.sort_unstable();
        assert_eq!(found, expected, "each once");
        assert!(!expected.is_empty());
    }

    /// Whoever binds and unbinds all the time would have it made over and over.
    #[test]
    fn a_match_stands_although_something_was_bound_meanwhile() {
        let mut topic = wide();
        topic.insert(b"a.#.new", 70);
        let key = "a.b.b.a.".repeat(31) + "new";
        let mut long = LongMatches::default();
        topic.route(key.as_bytes(), &mut long, |_| panic!("found too soon"));
        topic.remove(b"a.#.new", &70);
        topic.insert(b"a.#.*", 71);
        long.make();
        let mut found = Vec::new();
        topic.route(key.as_bytes(), &mut long, |&target| found.push(target));
        assert!(!long.are_due());
        assert_eq!(found, [70], "as it was when the message came");
        let mut long = LongMatches::default();
        long.make_at_once();
        topic.route(key.as_bytes(), &mut long, |&target| found.push(target));
        assert_eq!(found, [70, 71]);
    }

    #[test]
    fn what_is_unbound_leaves_nothing_behind() {
        let mut topic = Topic::default();
        let patterns = ["a.b.c", "a.b", "a.*.c", "#", "a.#.c", "", "x.x.x"];
        for (target, pattern) in patterns.iter().enumerate() {
            topic.insert(pattern.as_bytes(), target);
        }
        topic.remove(b"a.b", &99);
        topic.remove(b"a.b.c.d", &0);
        assert_eq!(routed(&topic, b"a.b"), [1, 3]);
        for (target, pattern) in patterns.iter().enumerate() {
            topic.remove(pattern.as_bytes(), &target);
        }
        assert!(topic.at(ROOT).is_unused() && topic.steps.is_empty() && topic.words.is_empty());
        assert_eq!(topic.free_nodes.len(), topic.nodes.len() - 1);
        assert_eq!(routed(&topic, b"a.b"), Vec::<usize>::new());
    }

    #[test]
    fn a_large_topic_that_becomes_small_gives_its_memory_back() {
        let mut topic = Topic::default();
        let pattern = |n: usize| format!("a{}.*.b{n}.#.c", n % 300);
        for n in 0..20_000 {
            topic.insert(pattern(n).as_bytes(), n);
        }
        for n in (0..20_000).filter(|n| n % 1000 != 7) {
            topic.remove(pattern(n).as_bytes(), &n);
        }
        let room = (topic.nodes.capacity(), topic.steps.capacity(), topic.words.capacity());
        assert!(room.0 < 1000 && room.1 < 1000 && room.2 < 1000, "{room:?}");
        assert!(topic.free_nodes.capacity() + topic.free_words.capacity() < 2000);
        for n in (0..20_000).filter(|n| n % 1000 == 7) {
            assert_eq!(routed(&topic, format!("a{}.x.b{n}.y.z.c", n % 300).as_bytes()), [n]);
            assert!(routed(&topic, format!("a{}.x.b{n}.y.z", n % 300).as_bytes()).is_empty());
        }
        topic.insert(b"new.*", 1);
        assert_eq!(routed(&topic, b"new.a7"), [1]);
    }

    /// The definition, word by word.
    fn matches(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&b"#", rest)) => (0..=key.len()).any(|skipped| matches(rest, &key[skipped..])),
            Some((&word, rest)) => key
                .split_first()
                .is_some_and(|(&first, left)| (word == b"*" || word == first) && matches(rest, left)),
        }
    }

    fn random_operations(draw: &mut Draw) {
        let mut topic = Topic::default();
        let mut model: Vec<(Vec<u8>, usize)> = Vec::new();
        for round in 0..4000 {
            let mut text = |alphabet: &[&str]| {
                let words: Vec<&str> = (0..draw.below(7)).map(|_| *draw.pick(alphabet)).collect();
                words.join(".").into_bytes()
            };
            let (pattern, key) = (text(&["a", "b", "", "*", "#", "#"]), text(&["a", "b", "", "c"]));
            let target = draw.index(5);
            if !draw.one_in(3) && model.len() < 60 {
                topic.insert(&pattern, target);
                model.push((pattern, target));
            } else if !model.is_empty() {
                let index = draw.index(model.len());
                let (pattern, target) = model.swap_remove(index);
                topic.remove(&pattern, &target);
            }
            if round % 100 == 99 {
                topic.renumber();
            }
            let mut expected: Vec<usize> = model
                .iter()
                .filter(|(pattern, _)| {
                    let (pattern, key): (Vec<_>, Vec<_>) = (words(pattern).collect(), words(&key).collect());
                    matches(&pattern, &key)
                })
                .map(|&(_, target)| target)
                .collect();
            expected.sort_unstable();
            expected.dedup();
            visits(&topic, &key);
            let mut found = routed(&topic, &key);
            assert_eq!(routed_after(&topic, &key, LONG_WALK + 1), found, "round {round}");
            found.dedup();
            assert_eq!(found, expected, "round {round}, key {:?}", String::from_utf8_lossy(&key));
        }
    }

    #[test]
    fn random_bindings_match_as_the_definition_says() {
        for_seeds(random_operations);
    }
}
