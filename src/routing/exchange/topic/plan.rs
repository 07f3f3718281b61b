//! A copy of a topic's trie for matches that take long: it is walked without any lock, and arranged
//! so that a word of a key costs as much as what it leads to.
//!
//! The trie itself asks each node that a message may be in for the next step, one lookup each,
//! which misses the caches. Here the steps lie together by their words: those that begin where the
//! message may be are found by running along them with one bit to look at for each. Nodes from
//! which no word leads on need not be remembered, except at the last word of a key.
//!
//! Invariant: a plan is what the trie was when it was copied, and the trie has it until somebody
//! changes it. So a message is matched with what is bound after it has come; what is bound while it
//! is matched may come too late for it.

use super::{NONE, Node, ROOT, Topic};
use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// As many bits are in one element of [`Bits`].
const BITS: usize = u64::BITS as usize;
/// To look a node up among the steps of a word takes as long as to run along so many of them.
const LOOK_UP: usize = 32;
/// So many nodes are entered here while one is visited in the trie.
const ENTERED: usize = 4;
/// To run along so many steps takes as long.
const RUN_ALONG: usize = 16;
/// A word that no step has.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// A copy of a trie, for matches that take long.
#[derive(Debug)]
pub(super) struct Plan<T> {
    /// As copied, until somebody needs it.
    copy: Mutex<Layout>,
    layout: OnceLock<Layout>,
    /// What is bound with the keys that end in each node, in their order.
    targets: Vec<(Node, T)>,
}

#[derive(Debug, Default)]
struct Layout {
    /// By node: where any one word leads, and where none leads.
    star: Vec<Node>,
    hash: Vec<Node>,
    /// By word, and then by the node where they begin, once it is arranged.
    steps: Vec<Step>,
    /// The nodes from which a word leads on.
    goes_on: Bits,
    /// The nodes where a binding key ends.
    ends: Bits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    word: u32,
    from: Node,
    to: Node,
}

/// A set of nodes.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn of(nodes: usize) -> Self {
        Self(vec![0; nodes.div_ceil(BITS)])
    }

    fn has(&self, node: Node) -> bool {
        self.0[node as usize / BITS] >> (node as usize % BITS) & 1 == 1
    }

    /// Puts it in; whether it was not in.
    fn put(&mut self, node: Node) -> bool {
        let (bits, bit) = (&mut self.0[node as usize / BITS], 1 << (node as usize % BITS));
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }

    fn drop(&mut self, node: Node) {
        self.0[node as usize / BITS] &= !(1 << (node as usize % BITS));
    }
}

/// A key and the numbers of its words.
type DueKey = (Box<[u8]>, Box<[u32]>);

/// The keys of one message that take long to match with one trie.
#[derive(Debug)]
pub(super) struct LongMatch<T> {
    /// The number of the topic.
    topic: u64,
    plan: Arc<Plan<T>>,
    /// What is still to be matched.
    due: Vec<DueKey>,
    matched: BTreeSet<Box<[u8]>>,
    /// Where those that were matched lead, if something is bound there; each node once.
    nodes: Vec<Node>,
    found: Bits,
    /// All of `nodes` were shown since the last match.
    shown: bool,
}

impl<T> LongMatch<T> {
    /// Nothing to match yet.
    pub(super) fn new(topic: u64, plan: Arc<Plan<T>>) -> Self {
        Self {
            topic,
            plan,
            due: Vec::new(),
            matched: BTreeSet::new(),
            nodes: Vec::new(),
            found: Bits::default(),
            shown: false,
        }
    }

    /// Whether it is one of this topic.
    pub(super) fn is_of(&self, topic: u64) -> bool {
        self.topic == topic
    }

    /// Whether it is one by this plan.
    pub(super) fn is_by(&self, plan: &Arc<Plan<T>>) -> bool {
        Arc::ptr_eq(plan, &self.plan)
    }

    /// Whether a key was matched.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.matched.contains(key)
    }

    /// A key is to be matched.
    pub(super) fn add(&mut self, key: &[u8], words: Box<[u32]>) {
        self.due.push((key.into(), words));
    }

    /// Whether there is something to match.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Shows where the keys that were matched lead, all together, once after each match.
    pub(super) fn show(&mut self, mut visit: impl FnMut(&T)) {
        if !mem::replace(&mut self.shown, true) {
            self.nodes.iter().flat_map(|&node| self.plan.targets(node)).for_each(|(_, target)| visit(target));
        }
    }

    /// Matches all keys that are due, which may take milliseconds; how many visits of a node it
    /// took as long as.
    pub(super) fn make(&mut self) -> usize {
        self.shown = false;
        let mut walk = Walk::new(self.plan.layout());
        self.found.0.resize(walk.here.0.len(), 0);
        for (key, words) in self.due.drain(..) {
            walk.take(&words);
            for node in walk.active.drain(..).chain(walk.loops.drain(..)) {
                walk.here.drop(node);
                walk.reached.drop(node);
                if walk.layout.ends.has(node) && self.found.put(node) {
                    self.nodes.push(node);
                }
            }
            walk.stars.clear();
            self.matched.insert(key);
        }
        walk.steps
    }
}

impl<T: Ord + Clone> Plan<T> {
    /// Copies a trie, and no more: who changes it waits meanwhile.
    pub(super) fn copy(topic: &Topic<T>) -> Self {
        let (star, hash) = topic.nodes.iter().map(|node| (node.star, node.hash)).unzip();
        let steps = topic.steps.iter().map(|(&(from, word), &to)| Step { word, from, to }).collect();
        let (mut ends, mut targets) = (Bits::of(topic.nodes.len()), Vec::new());
        for (node, state) in (0..).zip(&topic.nodes).filter(|(_, state)| !state.targets.is_empty()) {
            ends.put(node);
            state.targets.each(|target| targets.push((node, target.clone())));
        }
        let copy = Layout { star, hash, steps, goes_on: Bits::default(), ends };
        Self { copy: Mutex::new(copy), layout: OnceLock::new(), targets }
    }
}

impl<T> Plan<T> {
    /// What is bound with the keys that end in a node.
    fn targets(&self, node: Node) -> &[(Node, T)] {
        let first = self.targets.partition_point(|(of, _)| *of < node);
        let len = self.targets[first..].partition_point(|(of, _)| *of == node);
        &self.targets[first..first + len]
    }

    /// What is walked, arranged by whoever asks first.
    fn layout(&self) -> &Layout {
        self.layout.get_or_init(|| {
            let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
            let mut layout = mem::take(&mut *copy);
            layout.arrange();
            layout
        })
    }
}

impl Layout {
    fn arrange(&mut self) {
        self.steps.sort_unstable();
        self.goes_on = Bits::of(self.star.len());
        for step in &self.steps {
            self.goes_on.put(step.from);
        }
        for (node, _) in (0..).zip(&self.star).filter(|(_, star)| **star != NONE) {
            self.goes_on.put(node);
        }
    }

    /// The steps with this word.
    fn steps(&self, word: u32) -> &[Step] {
        let first = self.steps.partition_point(|step| step.word < word);
        let len = self.steps[first..].partition_point(|step| step.word == word);
        &self.steps[first..first + len]
    }
}

/// Where a message may be after some of its words.
struct Walk<'a> {
    layout: &'a Layout,
    /// Nodes that the words so far lead to and from which a word leads on, or all at the end; `#`
    /// nodes apart.
    active: Vec<Node>,
    /// The same as a set.
    here: Bits,
    /// `#` nodes reached: whatever follows, the walk stays there too.
    loops: Vec<Node>,
    reached: Bits,
    /// The nodes that any word leads to from those in `loops`.
    stars: Vec<Node>,
    /// The nodes that the next word leads to.
    entered: Vec<Node>,
    steps: usize,
}

impl<'a> Walk<'a> {
    fn new(layout: &'a Layout) -> Self {
        let nodes = layout.star.len();
        Self {
            layout,
            active: Vec::new(),
            here: Bits::of(nodes),
            loops: Vec::new(),
            reached: Bits::of(nodes),
            stars: Vec::new(),
            entered: Vec::new(),
            steps: 0,
        }
    }

    /// Leaves the nodes where all these words lead in `active` and `loops`.
    fn take(&mut self, words: &[u32]) {
        self.entered.push(ROOT);
        self.arrive(words.is_empty());
        for (at, &word) in words.iter().enumerate() {
            self.leave(word);
            self.arrive(at + 1 == words.len());
        }
    }

    /// Finds out where a word leads from here.
    fn leave(&mut self, word: u32) {
        let Self { layout, active, here, loops, reached, stars, entered, .. } = self;
        let steps = layout.steps(word);
        entered.extend_from_slice(stars);
        entered.extend(active.iter().map(|&node| layout.star[node as usize]).filter(|star| *star != NONE));
        let few = active.len() + loops.len();
        if few.saturating_mul(LOOK_UP) < steps.len() {
            let of = |node: &Node| steps.binary_search_by_key(node, |step| step.from).ok();
            entered.extend(active.iter().chain(&*loops).filter_map(of).map(|at| steps[at].to));
            self.steps += few;
        } else {
            let begins_here = |step: &&Step| here.has(step.from) || reached.has(step.from);
            entered.extend(steps.iter().filter(begins_here).map(|step| step.to));
            self.steps += steps.len() / RUN_ALONG;
        }
        self.steps += entered.len() / ENTERED;
    }

    /// The walk is now where it was found to lead; a node that goes nowhere counts only if this is
    /// the end.
    fn arrive(&mut self, is_end: bool) {
        let Self { layout, active, here, loops, reached, stars, entered, .. } = self;
        active.drain(..).for_each(|node| here.drop(node));
        for node in entered.drain(..) {
            let mut hash = layout.hash[node as usize];
            // Behind a `#` node that was reached before, all others have been too.
            while hash != NONE && reached.put(hash) {
                loops.push(hash);
                let star = layout.star[hash as usize];
                if star != NONE {
                    stars.push(star);
                }
                hash = layout.hash[hash as usize];
            }
            // Only one other node leads to it, so it is not in yet.
            if is_end || layout.goes_on.has(node) {
                here.put(node);
                active.push(node);
            }
        }
    }
}
