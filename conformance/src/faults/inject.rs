//! The faults: what is done to the process, to its disk, and by clients that behave badly.

mod clients;

use super::dice::Dice;
use super::disk::SmallDisk;
use super::history::Event;
use super::process::{Process, Start};
use super::world::World;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// By how many seconds the wall clock may differ from the machine's.
const CLOCK_JUMPS_S: [i64; 6] = [-86_400, -20, -1, 0, 20, 86_400];

/// What can be done to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL, and a start on the same data.
    Kill,
    /// SIGTERM, and a start on the same data.
    Term,
    /// SIGSTOP for a while, then SIGCONT.
    Stop,
    /// A client is gone in the middle of a frame.
    Vanish,
    /// A client neither reads nor writes any more, and is reset in the end.
    HalfOpen,
    /// A client does not read for a while what it is sent.
    Slow,
    /// Nobody says anything for a while, and the broker has time to put its data in order.
    Idle,
    /// There is no room on the disk for a while.
    Full,
    /// The wall clock is put forward or back.
    Clock,
    /// The data folder is moved away under the running process, which has to end by itself.
    Folder,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Term,
        Self::Stop,
        Self::Vanish,
        Self::HalfOpen,
        Self::Slow,
        Self::Idle,
        Self::Full,
        Self::Clock,
        Self::Folder,
    ];

    /// As the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Term => "term",
            Self::Stop => "stop",
            Self::Vanish => "vanish",
            Self::HalfOpen => "half-open",
            Self::Slow => "slow",
            Self::Idle => "idle",
            Self::Full => "full",
            Self::Clock => "clock",
            Self::Folder => "folder",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| format!("`{text}` is none of {}", known()))
    }
}

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL.
    Kill,
    /// SIGTERM: what was taken is on disk, and the status says so.
    Term,
    /// SIGTERM while the disk is full: what was not on disk may stay undone, as after a crash.
    TermWithoutRoom,
}

/// The broker of an episode, and what can be done to it.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) world: &'a World,
    pub(crate) start: &'a Start,
    /// The broker's folder.
    pub(crate) data: PathBuf,
    /// What the folder is on, if it can be filled.
    pub(crate) disk: Option<&'a SmallDisk>,
    /// None before the first start and after something went wrong.
    process: Option<Process>,
    /// Of the next process.
    epoch: u32,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        world: &'a World,
        start: &'a Start,
        data: PathBuf,
        disk: Option<&'a SmallDisk>,
    ) -> Self {
        Self { world, start, data, disk, process: None, epoch: 0 }
    }

    /// Starts a process.
    ///
    /// # Errors
    /// It does not become ready.
    pub(crate) fn up(&mut self) -> Result<(), String> {
        let process = self.start.start(&self.data)?;
        self.world.is_up(self.epoch, process.address.clone());
        self.process = Some(process);
        Ok(())
    }

    /// Ends the process, if there is one.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub(crate) fn down(&mut self, end: End) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        self.record(Event::Ending { crash: end != End::Term });
        self.world.is_down();
        self.epoch += 1;
        match end {
            End::Kill => process.kill(),
            End::Term => match process.terminate()? {
                status if status.success() => Ok(()),
                status => Err(format!("the broker stopped with {status}\n{}", process.log_tail())),
            },
            End::TermWithoutRoom => process.terminate().map(|_any_status| ()),
        }
    }

    /// Does something; what it was, in words.
    ///
    /// # Errors
    /// The broker does not start, stop or live as it should.
    pub(crate) fn inject(&mut self, fault: Fault, dice: &mut Dice) -> Result<String, String> {
        match fault {
            Fault::Kill => self.kill(dice),
            Fault::Term => {
                self.down(End::Term)?;
                self.up()?;
                Ok("SIGTERM".into())
            }
            Fault::Stop => {
                let duration = Duration::from_millis(dice.between(20, 400));
                self.signal("STOP")?;
                self.world.hold(duration);
                self.signal("CONT")?;
                Ok(format!("SIGSTOP for {duration:?}"))
            }
            Fault::Vanish => Ok(clients::vanish(self.world, dice)),
            Fault::HalfOpen => Ok(clients::half_open(self.world, dice)),
            Fault::Slow => Ok(clients::slow(self.world, dice)),
            Fault::Idle => {
                let duration = Duration::from_millis(dice.between(500, 1_800));
                self.world.be_quiet(duration);
                Ok(format!("nobody says anything for {duration:?}"))
            }
            Fault::Full => self.fill(dice),
            Fault::Clock => self.set_clock(dice),
            Fault::Folder => self.move_folder(dice),
        }
    }

    /// What is known of a process that has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        self.process.as_mut().and_then(Process::has_ended)
    }

    /// Records what is no client's.
    pub(crate) fn record(&self, event: Event) {
        self.world.history.record(self.epoch, 0, event);
    }

    fn kill(&mut self, dice: &mut Dice) -> Result<String, String> {
        self.down(End::Kill)?;
        let interrupted = if dice.one_in(3) { dice.between(1, 2) } else { 0 };
        for _ in 0..interrupted {
            self.start.interrupt(&self.data, Duration::from_millis(dice.between(0, 60)))?;
        }
        self.up()?;
        Ok(match interrupted {
            0 => "SIGKILL".into(),
            times => format!("SIGKILL, and {times} more while it starts"),
        })
    }

    fn fill(&mut self, dice: &mut Dice) -> Result<String, String> {
        let Some(disk) = self.disk else { return Ok("no disk that can be filled".into()) };
        let failed = |why| format!("the ballast cannot be written: {why}");
        let free_mib = dice.pick(&[0, 0, 1, 5, 30]);
        let duration = Duration::from_millis(dice.between(50, 1_500));
        disk.fill(free_mib).map_err(failed)?;
        self.world.hold(duration);
        let end = dice.pick(&[None, None, Some(End::Kill), Some(End::TermWithoutRoom)]);
        let Some(end) = end else {
            disk.relieve().map_err(failed)?;
            return Ok(format!("{free_mib} MiB are left for {duration:?}"));
        };
        self.down(end)?;
        let starts_full = dice.one_in(2);
        if starts_full {
            self.up()?;
            self.world.hold(duration);
        }
        disk.relieve().map_err(failed)?;
        if !starts_full {
            self.up()?;
        }
        let start = if starts_full { "before" } else { "after" };
        Ok(format!(
            "{free_mib} MiB are left for {duration:?}, then {end:?}, and a start {start} there is room"
        ))
    }

    fn set_clock(&mut self, dice: &mut Dice) -> Result<String, String> {
        let Some(clock) = &self.start.clock else { return Ok("no clock that can be set".into()) };
        let by_s = dice.pick(&CLOCK_JUMPS_S);
        clock.set(by_s)?;
        let restarts = dice.one_in(3);
        if restarts {
            self.down(End::Kill)?;
            self.up()?;
        }
        Ok(format!("the wall clock differs by {by_s} s{}", if restarts { ", and SIGKILL" } else { "" }))
    }

    /// The process notices by itself, and ends with a status that says so; what was confirmed is in
    /// the folder that was moved.
    fn move_folder(&mut self, dice: &mut Dice) -> Result<String, String> {
        let Some(mut process) = self.process.take() else { return Ok("no process".into()) };
        let failed = |why| format!("the folder cannot be moved: {why}");
        let away = self.data.with_extension("away");
        self.record(Event::Ending { crash: true });
        self.world.is_down();
        fs::rename(&self.data, &away).map_err(failed)?;
        let replaced = dice.one_in(2);
        if replaced {
            fs::create_dir(&self.data).map_err(failed)?;
        }
        let status = process.wait()?;
        self.epoch += 1;
        if status.success() {
            return Err(format!("the broker ended with {status} when its folder was gone"));
        }
        if replaced {
            fs::remove_dir_all(&self.data).map_err(failed)?;
        }
        fs::rename(&away, &self.data).map_err(failed)?;
        self.up()?;
        Ok(format!("the data folder is {}, and back", if replaced { "replaced" } else { "gone" }))
    }

    fn signal(&self, name: &str) -> Result<(), String> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(name))
    }
}
