//! The log, on standard error.

use super::table::printable;
use crate::sys::channel::Channel;
use log::{Level, LevelFilter};
use nix::errno::Errno;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// How lines of the log look.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// Of the daemon: time and level before each, as far as the reader does not add them.
    Daemon,
    /// Of a verb in the foreground: `ostler: ` before each.
    Foreground,
}

/// Starts the log: `OSTLER_LOG`, else info for the daemon and warn in the foreground.
pub(crate) fn start(style: Style) {
    let level = match style {
        Style::Daemon => LevelFilter::Info,
        Style::Foreground => LevelFilter::Warn,
    };
    let filters = std::env::var("OSTLER_LOG").unwrap_or_default();
    let journal = is_journal();
    let format = move |out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>| {
        let level = record.level();
        // Names and paths of others are in it, and each line is to be one of ours.
        let text = printable(&record.args().to_string());
        match style {
            Style::Foreground => writeln!(out, "ostler: {text}"),
            // The journal has its own times, and reads the level so.
            Style::Daemon if journal => writeln!(out, "<{}>{text}", priority(level)),
            Style::Daemon => {
                let now = humantime::format_rfc3339_millis(std::time::SystemTime::now());
                writeln!(out, "{now} {level:<5} {text}")
            }
        }
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    if !filters.is_empty() {
        builder.parse_filters(&filters);
    }
    let target = env_logger::Target::Pipe(Box::new(LogWriter::new()));
    // It can only have been started already.
    let _ = builder.format(format).target(target).try_init();
}

/// Of syslog(3), as the journal wants it.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whether standard error is a stream of the journal, and not what somebody redirected since.
fn is_journal() -> bool {
    let (Ok(stream), Ok(stderr)) =
        (std::env::var("JOURNAL_STREAM"), std::fs::metadata("/proc/self/fd/2"))
    else {
        return false;
    };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// Standard error. Where it is a pipe whose reader has stopped, lines are dropped and counted: the
/// log never holds up the loop.
struct LogWriter {
    /// None where there is no standard error.
    stderr: Option<Channel>,
    dropped: u64,
}

impl LogWriter {
    fn new() -> LogWriter {
        let copy = io::stderr().as_fd().try_clone_to_owned().ok();
        LogWriter { stderr: copy.and_then(|fd| Channel::new(fd).ok()), dropped: 0 }
    }

    /// Whether the line was written, or nobody is left to read it.
    fn write_line(&self, line: &[u8]) -> bool {
        let Some(stderr) = &self.stderr else { return true };
        let mut rest = line;
        while !rest.is_empty() {
            match stderr.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(errno) => return errno != Errno::EAGAIN,
            }
        }
        true
    }
}

impl Write for LogWriter {
    /// A whole line each time. What cannot be written is no error of whoever logs it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.dropped > 0 {
            let text =
                format!("{} lines of the log were dropped, nobody read them\n", self.dropped);
            if self.write_line(text.as_bytes()) {
                self.dropped = 0;
            }
        }
        if self.dropped > 0 || !self.write_line(line) {
            self.dropped += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
