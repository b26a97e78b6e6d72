//! A file that is rotated: when it is full, the next one begins at a line end.

mod resting;

use super::cut::{Cut, Fill};
use super::look::Look;
use crate::sys::pipe::{self, Ids};
use crate::sys::sink::{self, Place, SinkError, file_size};
use crate::vocabulary::limits::{
    RELAY_BUFFER_BYTES, RELAY_BULK_BYTES, RELAY_SLOW_CALL, RELAY_TURN_BYTES, SINK_LOG_EVERY,
    SINK_RETRY_FIRST, SINK_RETRY_MAX, SLOW_WRITE,
};
use crate::vocabulary::{FileSink, Identity, Mono, Numbering, StreamKind};
use nix::errno::Errno;
use resting::Resting;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(feature = "cli")]
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The current file of a rotated sink. Written blocking, since Linux knows no other way.
#[derive(Debug)]
pub(super) struct RotatedFile {
    /// Knows its path and the task's directory.
    identity: Arc<Identity>,
    kind: StreamKind,
    numbering: Numbering,
    max_files: u32,
    max_size: u64,
    owner: Option<Ids>,
    /// `None`: nothing is written for now, and descriptors are scarce.
    file: Option<OwnedFd>,
    /// Whether it may be closed between two writes.
    resting: Resting,
    /// What is written goes to its end, wherever that is.
    appending: bool,
    /// Of the current file, where files are counted.
    number: u64,
    fill: Fill,
    /// How long the file's last line is was not looked at.
    line_unknown: bool,
    /// It once took long to take what it was given: little is given to it at a time.
    slow: bool,
    /// Most files never have any.
    trouble: Option<Box<Trouble>>,
}

/// What did not go as it should.
#[derive(Debug, Default)]
struct Trouble {
    /// A rotation failed: not before this, and how long to wait after the next failure.
    retry: Option<(Mono, Duration)>,
    /// What is to be told of it, once.
    complaint: Option<String>,
    /// When a slow write was last told of.
    slow_said: Option<Instant>,
}

impl RotatedFile {
    /// Opens the current file and goes on where it ends.
    pub(super) fn open(
        identity: &Arc<Identity>,
        kind: StreamKind,
        sink: &FileSink,
        max_size: u64,
        owner: Option<Ids>,
    ) -> Result<RotatedFile, SinkError> {
        let place = Place::find(&sink.path, identity.task_dir())?;
        let kept = u64::from(sink.max_files.max(1));
        let (name, number) = match sink.numbering {
            Numbering::Shift => {
                // Fewer may be kept than when the files were written.
                let mut surplus = kept;
                while place.has(&numbered(place.name, surplus))? {
                    place.remove(&numbered(place.name, surplus))?;
                    surplus += 1;
                }
                (place.name.to_owned(), 0)
            }
            Numbering::Count => {
                let numbers = place.numbers()?;
                let highest = numbers.iter().copied().max().unwrap_or(0);
                for &number in numbers.iter().filter(|&&number| highest - number >= kept) {
                    place.remove(&numbered(place.name, number))?;
                }
                (numbered(place.name, highest), highest)
            }
        };
        let file = place.open_file(&name, owner)?;
        let fill = Fill { size: file_size(&file)?, line: 0 };
        Ok(RotatedFile {
            identity: Arc::clone(identity),
            kind,
            numbering: sink.numbering,
            max_files: sink.max_files,
            max_size,
            owner,
            file: Some(file),
            resting: Resting::default(),
            appending: true,
            number,
            fill,
            line_unknown: fill.size > 0,
            slow: false,
            trouble: None,
        })
    }

    /// The current file, its number, and whether what is written goes to its end: for the program
    /// that comes after this one.
    #[cfg(feature = "cli")]
    pub(super) fn place(&self) -> (Option<RawFd>, u64, bool) {
        (self.file.as_ref().map(AsRawFd::as_raw_fd), self.number, self.appending)
    }

    /// Goes on in the file of the program before this one; without one it is open only while it is
    /// written.
    #[cfg(feature = "cli")]
    pub(super) fn go_on(
        identity: &Arc<Identity>,
        kind: StreamKind,
        (sink, max_size): (&FileSink, u64),
        owner: Option<Ids>,
        (file, number, appending): (Option<OwnedFd>, u64, bool),
    ) -> RotatedFile {
        let size = file.as_ref().and_then(|file| file_size(file).ok()).unwrap_or_default();
        RotatedFile {
            identity: Arc::clone(identity),
            kind,
            numbering: sink.numbering,
            max_files: sink.max_files,
            max_size,
            owner,
            resting: Resting::default(),
            file,
            appending,
            number,
            fill: Fill { size, line: 0 },
            line_unknown: size > 0,
            slow: false,
            trouble: None,
        }
    }

    pub(super) fn path(&self) -> &str {
        self.identity.sink(self.kind).path().unwrap_or_default()
    }

    fn retry(&self) -> Option<(Mono, Duration)> {
        self.trouble.as_ref().and_then(|trouble| trouble.retry)
    }

    fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    fn fd(&self) -> Result<&OwnedFd, Errno> {
        self.file.as_ref().ok_or(Errno::EBADF)
    }

    /// What went wrong with a rotation, told once.
    pub(super) fn take_complaint(&mut self) -> Option<String> {
        self.trouble.as_mut().and_then(|trouble| trouble.complaint.take())
    }

    /// Moves some of what stands in a pipe, at most `budget` bytes, without taking it into our
    /// memory: what has left the pipe is in the file, whatever becomes of us. 0: nothing is in it
    /// and nobody writes; EAGAIN: nothing is in it; EINVAL: that cannot be done with this file.
    pub(super) fn take(
        &mut self,
        source: BorrowedFd<'_>,
        budget: usize,
        look: &mut Look,
        now: Mono,
    ) -> Result<usize, Errno> {
        loop {
            self.write_anywhere()?;
            if let Some(most) = self.room_for_bulk(budget) {
                return self.move_timed(source, most);
            }
            let most = budget.min(RELAY_BUFFER_BYTES);
            self.know_line(most, &mut look.buffer)?;
            let seen = look.look(source, most)?;
            if seen.is_empty() {
                return Ok(0);
            }
            let Some(bytes) = self.next_cut(seen, now) else { continue };
            let part = seen.get(..bytes).unwrap_or(seen);
            let moved = self.move_timed(source, part.len())?;
            if moved > 0 {
                // What was noted before is put right: these bytes were seen.
                self.fill.size -= moved as u64;
                self.line_unknown = false;
                self.fill.add(part.get(..moved).unwrap_or(part));
            }
            return Ok(moved);
        }
    }

    /// How much may be moved into the current file without a look at its lines, at most `budget`
    /// bytes; `None`: its end is near, where lines matter. After `write_anywhere`.
    fn room_for_bulk(&self, budget: usize) -> Option<usize> {
        let room = self.max_size.saturating_sub(self.fill.size);
        let at_once = if self.slow { RELAY_BUFFER_BYTES } else { RELAY_BULK_BYTES };
        let fits = |most: &usize| room >= (most + RELAY_BUFFER_BYTES) as u64;
        [at_once, RELAY_BUFFER_BYTES].map(|most| most.min(budget)).into_iter().find(fits)
    }

    /// How much bulk it takes now, at most `budget` bytes. `None`: this has to go through `write`,
    /// which sees lines.
    pub(super) fn takes_bulk(&mut self, budget: usize) -> Result<Option<usize>, Errno> {
        self.write_anywhere()?;
        Ok(self.room_for_bulk(budget))
    }

    /// Moves all that stands in a pipe, which is `bytes`, at most what `takes_bulk` has said: how
    /// much was moved, and why not all.
    pub(super) fn take_all(
        &mut self,
        source: BorrowedFd<'_>,
        bytes: usize,
    ) -> (usize, Result<(), Errno>) {
        let mut moved = 0;
        while moved < bytes {
            match self.move_timed(source, bytes - moved) {
                Ok(0) => return (moved, Err(Errno::EIO)),
                Ok(more) => moved += more,
                Err(errno) => return (moved, Err(errno)),
            }
        }
        (moved, Ok(()))
    }

    /// Has the file open for moving bytes to a place in it, and knows its size.
    fn write_anywhere(&mut self) -> Result<(), Errno> {
        self.wake()?;
        if self.appending {
            sink::set_appending(self.fd()?, false).map_err(|_| Errno::EINVAL)?;
            self.appending = false;
        }
        let size = file_size(self.fd()?).map_err(|error| error.errno.unwrap_or(Errno::EIO))?;
        self.line_unknown |= size != self.fill.size;
        self.fill.size = size;
        Ok(())
    }

    /// Looks how long the file's last line is, where that is not known and will matter for so many
    /// bytes more.
    fn know_line(&mut self, bytes: usize, buffer: &mut [u8]) -> Result<(), Errno> {
        let room = self.max_size.saturating_sub(self.fill.size);
        if self.line_unknown && room < (bytes + RELAY_BUFFER_BYTES) as u64 {
            // What has no line end in a mebibyte is no text: it may be cut anywhere.
            let line = sink::last_line(self.fd()?, self.fill.size, RELAY_TURN_BYTES, buffer);
            self.fill.line = line.unwrap_or(self.fill.size);
            self.line_unknown = false;
        }
        Ok(())
    }

    /// How much of `data` goes into the current file; `None`: there is another one now.
    fn next_cut(&mut self, data: &[u8], now: Mono) -> Option<usize> {
        match self.fill.cut(data, self.max_size) {
            Cut::Write(bytes) => Some(bytes),
            Cut::Rotate if self.retry().is_none_or(|(at, _)| at <= now) => {
                match self.rotate() {
                    Ok(()) => self.trouble = None,
                    Err(error) => self.rotation_failed(&error, now),
                }
                None
            }
            // A file that is too large is better than output that is held up.
            Cut::Rotate => Some(data.len()),
        }
    }

    /// Writes `data`, into as many files as it takes; how much was written, and why not all.
    pub(super) fn write(&mut self, data: &[u8], now: Mono) -> (usize, Result<(), Errno>) {
        let ready = self.wake().and_then(|()| self.append());
        if let Err(errno) = ready.and_then(|()| self.know_line_for(data.len())) {
            return (0, Err(errno));
        }
        let mut written = 0;
        while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
            let Some(bytes) = self.next_cut(rest, now) else { continue };
            let part = rest.get(..bytes.min(RELAY_BUFFER_BYTES)).unwrap_or(rest);
            match self.write_timed(part) {
                Ok(bytes) => {
                    self.fill.add(part.get(..bytes).unwrap_or(part));
                    written += bytes;
                }
                Err(errno) => return (written, Err(errno)),
            }
        }
        (written, Ok(()))
    }

    /// Once for each file at most, so that a buffer is made for it.
    fn know_line_for(&mut self, bytes: usize) -> Result<(), Errno> {
        let room = self.max_size.saturating_sub(self.fill.size);
        match self.line_unknown && room < (bytes + RELAY_BUFFER_BYTES) as u64 {
            true => self.know_line(bytes, &mut vec![0; RELAY_BUFFER_BYTES]),
            false => Ok(()),
        }
    }

    fn append(&mut self) -> Result<(), Errno> {
        if !self.appending {
            sink::set_appending(self.fd()?, true)?;
            self.appending = true;
        }
        Ok(())
    }

    fn write_timed(&mut self, part: &[u8]) -> Result<usize, Errno> {
        let begun = Instant::now();
        let result = self.fd().and_then(|file| pipe::write(file.as_fd(), part));
        self.note_time(begun, part.len());
        match result {
            // A file that takes nothing and says nothing would be tried for ever.
            Ok(0) => Err(Errno::EIO),
            result => result,
        }
    }

    fn move_timed(&mut self, source: BorrowedFd<'_>, bytes: usize) -> Result<usize, Errno> {
        let begun = Instant::now();
        let result = self
            .fd()
            .and_then(|file| pipe::move_bytes_to_file(source, file.as_fd(), self.fill.size, bytes));
        self.note_time(begun, bytes);
        if let Ok(moved) = result {
            self.fill.size += moved as u64;
            self.line_unknown |= moved > 0;
        }
        result
    }

    fn note_time(&mut self, begun: Instant, bytes: usize) {
        let took = begun.elapsed();
        self.slow |= took > RELAY_SLOW_CALL;
        if took > SLOW_WRITE && self.may_tell_slow() {
            self.trouble().slow_said = Some(begun);
            log::warn!(
                "slow write: path={:?} bytes={} took_ms={}: every task waited meanwhile",
                self.path(),
                bytes,
                took.as_millis()
            );
        }
    }

    fn may_tell_slow(&self) -> bool {
        let said = self.trouble.as_ref().and_then(|trouble| trouble.slow_said);
        said.is_none_or(|said| said.elapsed() > SINK_LOG_EVERY)
    }

    fn rotate(&mut self) -> Result<(), SinkError> {
        let identity = Arc::clone(&self.identity);
        let path = identity.sink(self.kind).path().unwrap_or_default();
        let place = Place::find(path, identity.task_dir())?;
        let kept = u64::from(self.max_files.max(1));
        let (file, number) = match self.numbering {
            Numbering::Shift => (shift(&place, kept.max(2), self.owner)?, 0),
            Numbering::Count => {
                let number = self.number.saturating_add(1);
                (place.open_file(&numbered(place.name, number), self.owner)?, number)
            }
        };
        let size = file_size(&file)?;
        self.file = Some(file);
        self.appending = true;
        self.line_unknown = false;
        self.number = number;
        self.resting.is_another();
        self.fill = Fill { size, line: 0 };
        match self.numbering {
            Numbering::Count if number >= kept => {
                place.remove(&numbered(place.name, number - kept))
            }
            Numbering::Shift if kept == 1 => place.remove(&numbered(place.name, 1)),
            Numbering::Count | Numbering::Shift => Ok(()),
        }
    }

    fn rotation_failed(&mut self, error: &SinkError, now: Mono) {
        let wait = self.retry().map_or(SINK_RETRY_FIRST, |(_, wait)| wait);
        if self.retry().is_none() {
            let complaint = format!("cannot rotate {:?}: {error}", self.path());
            self.trouble().complaint = Some(complaint);
        }
        self.trouble().retry = Some((now + wait, (wait * 2).min(SINK_RETRY_MAX)));
    }
}

fn numbered(name: &str, number: u64) -> String {
    format!("{name}.{number}")
}

/// Every file gets the next number, the last one is dropped, and a new one is made. On failure the
/// current file keeps its name.
fn shift(place: &Place<'_>, kept: u64, owner: Option<Ids>) -> Result<OwnedFd, SinkError> {
    let mut free = 1;
    while free < kept - 1 && place.has(&numbered(place.name, free))? {
        free += 1;
    }
    for number in (1..free).rev() {
        place.rename(&numbered(place.name, number), &numbered(place.name, number + 1))?;
    }
    let first = numbered(place.name, 1);
    let moved = match place.rename(place.name, &first) {
        // Somebody removed it.
        Err(SinkError { errno: Some(Errno::ENOENT), .. }) => false,
        moved => moved.map(|()| true)?,
    };
    let opened = place.open_file(place.name, owner);
    if opened.is_err() && moved {
        // We go on in the old file, so it keeps its name; the failure above is what is told.
        let _ = place.rename(&first, place.name);
    }
    opened
}
