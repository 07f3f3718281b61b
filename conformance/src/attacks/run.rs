//! A run: one broker, and one attack after the other. Before each a normal client is timed and
//! memory is looked at, during it another one goes on, and afterwards both have to be as before.

use super::Attack;
use super::gauge::{Gauge, forget_peak, look};
use super::probe::Probe;
use super::report::{Report, Row};
use super::scale::Scale;
use super::site::Site;
use super::tally::Tally;
use crate::clock;
use crate::faults::process::{Process, Start};
use rustix::net::SocketAddrV4;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long memory, descriptors and speed may take to be as before.
const SETTLING: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a run needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The broker's program.
    pub leveret: PathBuf,
    /// A folder for its data and its log.
    pub folder: PathBuf,
    /// What random attacks send follows from it.
    pub seed: u64,
    /// The attacks, in this order.
    pub attacks: Vec<Attack>,
    /// How long an attack goes on that has no end of its own.
    pub duration: Duration,
    /// The same for the flood.
    pub flood_duration: Duration,
    /// How much of everything.
    pub scale: Scale,
}

/// Attacks a broker of its own; `say` gets a line for each attack.
///
/// # Errors
/// The run itself cannot be made: no folder, no program.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report, String> {
    let failed = |why| format!("{}: {why}", options.folder.display());
    fs::create_dir_all(&options.folder).map_err(failed)?;
    let folder = options.folder.canonicalize().map_err(failed)?;
    let config = folder.join("attacks.toml");
    fs::write(&config, options.scale.config()).map_err(failed)?;
    // The broker inherits what is raised here.
    super::gauge::descriptors_max();
    let start = Start {
        leveret: options.leveret.clone(),
        log: folder.join("broker.log"),
        arguments: vec!["--config".into(), config.into()],
        clock: None,
    };
    let data = folder.join("data");
    let mut process = start.start(&data)?;
    let address =
        |text: &str| text.parse::<SocketAddrV4>().map_err(|why| format!("the broker is at {text}: {why}"));
    let addresses = (address(&process.address)?, address(&process.http)?);
    super::flood::warm_up(&Site::new(addresses, process.id(), options.scale, options.seed, Duration::ZERO))?;
    let mut report = Report { start_kib: gauge(&process)?.resident_kib, ..Report::default() };
    for attack in &options.attacks {
        let duration = if attack.name == "flood" { options.flood_duration } else { options.duration };
        let mut site = Site::new(addresses, process.id(), options.scale, options.seed, duration);
        site.operator =
            vec![options.leveret.clone().into(), "ctl".into(), "--data-dir".into(), data.clone().into()];
        let mut row = Row {
            name: attack.name,
            slower_us: options.scale.slower_us,
            memory_kib: options.scale.memory_kib,
            late_us: attack.wants_others_to_wait().then_some(options.scale.late_us),
            ..Row::default()
        };
        let began = clock::now();
        if let Err(why) = one(attack, &mut site, &process, &mut row, &mut report.round_trips) {
            row.findings.push(why);
        }
        if let Some(died) = process.has_ended() {
            row.findings.push(died);
        }
        let took = began.elapsed().as_millis();
        say(&format!("{row} took {took} ms, back after {} s{}", row.settled_s, list(&row.findings)));
        let over = site.is_lost() || process.has_ended().is_some();
        report.rows.push(row);
        if over {
            return Ok(report);
        }
    }
    let status = process.terminate()?;
    if !status.success()
        && let Some(row) = report.rows.last_mut()
    {
        row.findings.push(format!("the broker stopped with {status}"));
    }
    Ok(report)
}

fn list(findings: &[String]) -> String {
    findings.iter().map(|finding| format!("\n  FOUND {finding}")).collect()
}

fn gauge(process: &Process) -> Result<Gauge, String> {
    look(process.id()).ok_or_else(|| "the broker's process is gone".to_owned())
}

/// One attack, from the look before to the look afterwards.
fn one(
    attack: &Attack,
    site: &mut Site,
    process: &Process,
    row: &mut Row,
    round_trips: &mut u64,
) -> Result<(), String> {
    let mut probe = Probe::new(site)?;
    row.times_before = probe.round_trips(site.scale.round_trips)?;
    row.before = gauge(process)?;
    forget_peak(process.id());
    site.begin();
    let site = &*site;
    let tally = Tally::default();
    let (stop, stopped) = mpsc::channel();
    let with_changes = attack.wants_others_to_wait();
    let (attacked, during) = thread::scope(|scope| {
        let probe = &mut probe;
        let during = scope.spawn(move || {
            probe.round_trips_until(&stopped, with_changes).inspect_err(|_no_longer| site.give_up())
        });
        let attacked = (attack.run)(site, &tally);
        drop(stop);
        (attacked, during.join())
    });
    row.counts = tally.counts();
    if let Err(why) = attacked {
        row.findings.push(why);
    }
    (row.times_during, row.changes_during) = during.map_err(|_panic| "the probe failed".to_owned())??;
    *round_trips += probe.end()?;
    settle(site, process, row, round_trips)
}

/// Waits until everything is as before, and says so of what is not in the end.
fn settle(site: &Site, process: &Process, row: &mut Row, round_trips: &mut u64) -> Result<(), String> {
    let began = clock::now();
    let mut probe = Probe::new(site)?;
    loop {
        row.times_after = probe.round_trips(site.scale.round_trips)?;
        row.after = gauge(process)?;
        let over = began.elapsed() > SETTLING;
        let quiet = row.after.descriptors <= row.before.descriptors;
        if over || (quiet && row.is_back(row.after) && row.is_fast(&row.times_after)) {
            row.settled_s = began.elapsed().as_secs();
            row.judge();
            *round_trips += probe.end()?;
            return Ok(());
        }
        site.pause(LOOK_EVERY);
    }
}
