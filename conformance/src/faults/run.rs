//! A run: episodes one after the other, each of which ends with an empty broker and a verdict.
//!
//! An episode keeps its history in memory, so it must not be long; its data stays for the next one,
//! so the broker's folder grows old. Every second episode is on a small disk, if there may be one.

use super::check::check;
use super::dice::{Dice, mix};
use super::disk::SmallDisk;
use super::drain::drain;
use super::history::Event;
use super::inject::{End, Fault, Stage};
use super::process::Start;
use super::report::Report;
use super::skew::SkewedClock;
use super::topology;
use super::workers;
use super::world::{PATIENCE, World};
use crate::clock;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Confirms between two faults, at most.
const CONFIRMS_MAX: u64 = 400;

/// Faults of one episode, in a run that is limited by time.
const STEPS: u32 = 16;

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    /// Until this much time has passed, and the episode is over.
    Time(Duration),
    /// A fixed number of episodes, each with every kind of fault that there may be so many times.
    Rounds {
        /// Episodes.
        episodes: u32,
        /// How often each kind of fault happens in each of them.
        each: u32,
    },
}

/// What a run needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The broker's program.
    pub leveret: PathBuf,
    /// A folder for its data and its log.
    pub folder: PathBuf,
    /// What faults and clients choose follows from it.
    pub seed: u64,
    /// The faults that there may be; at least one.
    pub faults: Vec<Fault>,
    /// How long to go on.
    pub extent: Extent,
}

/// A seed that nobody has tried.
#[must_use]
pub fn fresh_seed() -> u64 {
    // The lower half of the clock is what differs.
    let stamp = u64::try_from(clock::stamp() & u128::from(u64::MAX)).unwrap_or_default();
    mix(stamp, u64::from(std::process::id()))
}

/// Runs until the extent is reached or something is wrong; `say` gets a line for each fault.
///
/// # Errors
/// The run itself cannot go on: no folder, no program.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report, String> {
    let failed = |why| format!("{}: {why}", options.folder.display());
    fs::create_dir_all(&options.folder).map_err(failed)?;
    let folder = options.folder.canonicalize().map_err(failed)?;
    let start = Start {
        leveret: options.leveret.clone(),
        log: folder.join("broker.log"),
        // A disk is to be full here, not nearly.
        arguments: vec!["--disk-free-limit".into(), "0".into()],
        clock: wanted(options, Fault::Clock, say, || SkewedClock::build(&folder)),
    };
    let small = wanted(options, Fault::Full, say, || SmallDisk::mount(&folder.join("small")));
    let mut report = Report { seed: options.seed, ..Report::default() };
    let begun = clock::now();
    let world = World::default();
    while goes_on(options.extent, report.episodes, begun) && report.violations.is_empty() {
        let others = options.faults.iter().any(|&fault| fault != Fault::Full);
        let disk = small.as_ref().filter(|_| report.episodes % 2 == 1 || !others);
        let data = disk.map_or_else(|| folder.join("data"), |disk| disk.at("data"));
        let mut episode = Episode {
            stage: Stage::new(&world, &start, data, disk),
            dice: Dice::new(options.seed, u64::from(report.episodes)),
            report: &mut report,
            say,
        };
        let plan = episode.plan(options);
        if plan.is_empty() {
            return Err("there is no fault that can be made here".into());
        }
        episode.run(&plan);
        report.episodes += 1;
    }
    Ok(report)
}

/// What `fault` takes, if it is wanted and can be had.
fn wanted<T>(
    options: &Options,
    fault: Fault,
    say: &mut dyn FnMut(&str),
    make: impl FnOnce() -> Result<T, String>,
) -> Option<T> {
    if !options.faults.contains(&fault) {
        return None;
    }
    make().inspect_err(|why| say(&format!("the fault `{fault}` cannot be made here: {why}"))).ok()
}

fn goes_on(extent: Extent, episodes: u32, begun: Instant) -> bool {
    match extent {
        Extent::Time(duration) => clock::now().duration_since(begun) < duration,
        Extent::Rounds { episodes: most, .. } => episodes < most,
    }
}

struct Episode<'a> {
    stage: Stage<'a>,
    dice: Dice,
    report: &'a mut Report,
    say: &'a mut dyn FnMut(&str),
}

impl Episode<'_> {
    /// The faults of this episode, in order.
    fn plan(&mut self, options: &Options) -> Vec<Fault> {
        let has_disk = self.stage.disk.is_some();
        let kinds: Vec<_> =
            options.faults.iter().copied().filter(|&fault| has_disk || fault != Fault::Full).collect();
        match options.extent {
            _ if kinds.is_empty() => Vec::new(),
            Extent::Time(_) => (0..STEPS).map(|_| self.dice.pick(&kinds)).collect(),
            Extent::Rounds { each, .. } => {
                let mut plan: Vec<_> = (0..each).flat_map(|_| kinds.iter().copied()).collect();
                plan.sort_by_cached_key(|_| self.dice.any());
                plan
            }
        }
    }

    /// Everything from the first start to the verdict.
    fn run(&mut self, plan: &[Fault]) {
        let world = self.stage.world;
        world.set_ended(false);
        let seed = self.dice.any();
        let outcome = self.begin().and_then(|()| {
            thread::scope(|scope| {
                workers::start(scope, world, seed);
                let outcome = self.hurt(plan);
                world.set_ended(true);
                outcome
            })
        });
        if let Err(why) = outcome.and_then(|()| self.end()) {
            self.stage.record(Event::Died { why });
        }
        world.is_down();
        let records = world.history.take();
        let violations = check(&records);
        self.report.count(&records);
        self.report.keep(violations, &records);
        let Report { episodes, published, .. } = self.report;
        (self.say)(&format!("episode {episodes}: {} events, {published} publishes so far", records.len()));
    }

    fn begin(&mut self) -> Result<(), String> {
        self.stage.up()?;
        for (queue, dead) in [(topology::WORK, topology::DEAD), (topology::PARKING, topology::PARKED)] {
            self.stage.record(Event::DeadLetters { queue, dead });
        }
        for queue in [topology::CHAIN[0], topology::EXPIRING[0]] {
            self.stage.record(Event::Wanders { queue });
        }
        let mut session = self.stage.world.connect().ok_or("the broker takes no clients")?;
        topology::declare(&mut session.client).map_err(|why| format!("queues cannot be declared: {why}"))
    }

    /// One fault after the other, with something going on between them.
    fn hurt(&mut self, plan: &[Fault]) -> Result<(), String> {
        for &fault in plan {
            if !self.wait_for_progress()? {
                return Ok(());
            }
            self.stage.record(Event::Fault { what: fault.to_string() });
            let what = self.stage.inject(fault, &mut self.dice)?;
            (self.say)(&format!("{fault}: {what}"));
            *self.report.faults.entry(fault).or_default() += 1;
        }
        self.wait_for_progress().map(|_moved| ())
    }

    /// Whether something goes on.
    fn wait_for_progress(&mut self) -> Result<bool, String> {
        let count = self.dice.between(1, CONFIRMS_MAX);
        let moved = self.stage.world.history.wait_for_progress(count, PATIENCE);
        if let Some(why) = self.stage.has_ended() {
            return Err(why);
        }
        if !moved {
            let what = format!("{count} more confirms did not come within {PATIENCE:?}");
            let columns = ["list_queues", "name", "messages", "messages_parked", "message_bytes"];
            (self.say)(&self.stage.start.ctl(&self.stage.data, &columns).unwrap_or_else(|why| why));
            self.stage.record(Event::Stuck { what });
        }
        Ok(moved)
    }

    /// Ends all connections with the process, empties the queues, and looks whether they stay
    /// empty.
    fn end(&mut self) -> Result<(), String> {
        let end = self.dice.pick(&[End::Kill, End::Term]);
        self.stage.down(end)?;
        self.stage.up()?;
        drain(&self.stage)?;
        self.stage.down(End::Term)?;
        self.stage.up()?;
        drain(&self.stage)?;
        self.stage.down(End::Term)
    }
}
