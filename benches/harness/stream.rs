//! Output of a known content: who writes it, who reads it, and who compares it.

use super::Outcome;
use super::apart::tell;
use super::process::splice;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

/// What a writer writes at once.
pub(crate) const BLOCK: usize = 64 << 10;
/// Each line begins with its number, so that nothing can be lost, doubled or swapped unseen.
const LINE: usize = 64;
const DIGITS: usize = 16;

/// Writes numbered lines of 64 bytes; `fresh` false repeats the first block, which costs the
/// writer nothing.
pub(crate) struct Lines {
    block: Vec<u8>,
    next: u64,
}

impl Lines {
    pub(crate) fn new() -> Lines {
        let mut block = vec![b'.'; BLOCK];
        for line in block.chunks_exact_mut(LINE) {
            if let Some(last) = line.last_mut() {
                *last = b'\n';
            }
        }
        let mut lines = Lines { block, next: 0 };
        lines.number();
        lines
    }

    fn number(&mut self) {
        for line in self.block.chunks_exact_mut(LINE) {
            let mut rest = self.next;
            for digit in line.iter_mut().take(DIGITS).rev() {
                *digit = b"0123456789abcdef".get(rest as usize & 15).copied().unwrap_or(b'?');
                rest >>= 4;
            }
            self.next += 1;
        }
    }

    /// The block that is due, and whether the next one is to be another.
    fn advance(&mut self, fresh: bool) {
        if fresh {
            self.number();
        }
    }
}

/// A role: writes `bytes` (whole blocks) to standard output.
pub(crate) fn write(bytes: u64, fresh: bool) -> Outcome<()> {
    let mut lines = Lines::new();
    let mut out = std::io::stdout().lock();
    for _ in 0..bytes / BLOCK as u64 {
        // Whole blocks pass the buffer of standard output by.
        out.write_all(&lines.block)?;
        lines.advance(fresh);
    }
    Ok(out.flush()?)
}

/// Compares what arrives with what was written, in pieces of any size.
pub(crate) struct Comparison {
    lines: Lines,
    at: usize,
    fresh: bool,
    seen: u64,
}

impl Comparison {
    pub(crate) fn new(fresh: bool) -> Comparison {
        Comparison { lines: Lines::new(), at: 0, fresh, seen: 0 }
    }

    pub(crate) fn take(&mut self, mut piece: &[u8]) -> Outcome<()> {
        while !piece.is_empty() {
            let due = self.lines.block.get(self.at..).unwrap_or_default();
            let (now, later) = piece.split_at(due.len().min(piece.len()));
            if due.get(..now.len()) != Some(now) {
                return Err(format!("other bytes than written near byte {}", self.seen).into());
            }
            self.at += now.len();
            self.seen += now.len() as u64;
            if self.at == BLOCK {
                self.at = 0;
                self.lines.advance(self.fresh);
            }
            piece = later;
        }
        Ok(())
    }

    /// The end has come.
    pub(crate) fn finish(&self, bytes: u64) -> Outcome<()> {
        match self.seen == bytes {
            true => Ok(()),
            false => Err(format!("{bytes} bytes were written and {} arrived", self.seen).into()),
        }
    }
}

/// A role: takes `bytes` out of a FIFO and tells how long that took, from the first byte on.
/// `pipe`: what the FIFO is to hold, 0: as it is. `compare`: look at every byte; else they go to
/// /dev/null unseen, which is the cheapest reader there is.
pub(crate) fn read(path: &str, bytes: u64, pipe: usize, compare: bool) -> Outcome<()> {
    let fifo = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if pipe > 0 {
        fcntl(&fifo, FcntlArg::F_SETPIPE_SZ(pipe as i32))?;
    }
    // It is open, so that whoever waits for a reader may go on.
    println!("open 1");
    fcntl(&fifo, FcntlArg::F_SETFL(OFlag::empty()))?;
    let mut fifo = fifo;
    let mut comparison = Comparison::new(true);
    let mut buffer = vec![0; 1 << 20];
    let null = File::options().write(true).open("/dev/null")?;
    let mut seen = 0;
    let mut begun = None;
    while seen < bytes {
        if begun.is_none() {
            wait_readable(&fifo)?;
            begun = Some(Instant::now());
        }
        let got = if compare {
            let got = fifo.read(&mut buffer)?;
            comparison.take(buffer.get(..got).unwrap_or_default())?;
            got
        } else {
            splice(&fifo, &null, 1 << 20)?
        };
        if got == 0 {
            return Err(format!("end of file after {seen} of {bytes} bytes").into());
        }
        seen += got as u64;
    }
    if compare {
        comparison.finish(bytes)?;
    }
    tell("seconds", begun.map_or(f64::NAN, |begun| begun.elapsed().as_secs_f64()));
    Ok(())
}

fn wait_readable(fifo: &File) -> Outcome<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut fds = [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(30_000_u16))? {
        0 => Err("nothing came for 30 s".into()),
        _ => Ok(()),
    }
}
