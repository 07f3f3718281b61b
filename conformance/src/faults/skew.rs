//! A wall clock of the broker's own that can be put forward and back while it runs.
//!
//! A small library is compiled with the system's C compiler and loaded into the broker before any
//! other (`LD_PRELOAD`). It adds to the wall clock what a file says, which it maps into memory; the
//! monotonic clock stays as it is.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The library. The offset is a 64-bit number of seconds in the machine's own byte order.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("WALL_CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) offset = map;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"#;

/// A clock that differs from the machine's by a number of seconds.
#[derive(Debug)]
pub(crate) struct SkewedClock {
    library: PathBuf,
    offset: PathBuf,
}

impl SkewedClock {
    /// Compiles the library in `folder`; the clock is right until it is moved.
    ///
    /// # Errors
    /// There is no C compiler, or the folder cannot be written, with the reason in one line.
    pub(crate) fn build(folder: &Path) -> Result<Self, String> {
        let (source, library) = (folder.join("skew.c"), folder.join("skew.so"));
        fs::write(&source, SOURCE).map_err(|why| why.to_string())?;
        let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(&compiler);
        command.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).stdin(Stdio::null());
        let done = command.output().map_err(|why| format!("{}: {why}", compiler.display()))?;
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr);
            return Err(why.lines().next().unwrap_or("the compiler gives no reason").to_owned());
        }
        let clock = Self { library, offset: folder.join("skew.offset") };
        clock.set(0).map(|()| clock)
    }

    /// What a process is started with so that it has this clock.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![("LD_PRELOAD", self.library.clone().into()), ("WALL_CLOCK_OFFSET", self.offset.clone().into())]
    }

    /// Puts the clock `offset_s` seconds ahead of the machine's, at once and for every process that
    /// has it.
    ///
    /// # Errors
    /// The file cannot be written, with the reason in one line.
    pub(crate) fn set(&self, offset_s: i64) -> Result<(), String> {
        // Not replaced but overwritten: running processes have it mapped.
        let file = File::options().create(true).truncate(false).write(true).open(&self.offset);
        let written = file.and_then(|file| file.write_all_at(&in_machine_order(offset_s), 0));
        written.map_err(|why| format!("{}: {why}", self.offset.display()))
    }
}

#[expect(clippy::host_endian_bytes, reason = "a C program on the same machine reads it")]
fn in_machine_order(number: i64) -> [u8; 8] {
    number.to_ne_bytes()
}
