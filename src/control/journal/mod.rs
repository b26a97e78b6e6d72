//! The journal: what a supervisor does, taken down in its state directory line by line, so that
//! the next one goes on with its tasks whatever becomes of this one. docs/state.md describes it.

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod line;
mod reading;
mod renewal;
mod state;
#[cfg(feature = "cli")]
mod transcript;

#[cfg(feature = "cli")]
pub(super) use transcript::{Transcript, go_on};

use crate::engine::Change;
use crate::reactor::{Counters, Note, Options, Store, Supervisor};
use crate::sys::journal_file::{self, JournalFile};
use crate::sys::state_directory::StateDirectory;
use crate::vocabulary::cause;
use crate::vocabulary::limits::{JOURNAL_BYTES_MIN, JOURNAL_GROWTH};
use line::{Header, ProcessLine, Written, WrittenTask};
use reading::Place;
use renewal::Renewal;
use serde::Serialize;
use state::StateLine;
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::RawFd;
use std::path::Path;

/// Raised where an older reader would go wrong.
const FORMAT: u32 = 1;
const NAME: &str = "journal";
const NEW_NAME: &str = "journal.new";

impl Supervisor {
    /// A supervisor that keeps its state in [`Options::state_dir`], and goes on with the tasks that
    /// an earlier one has left there: killed, or dropped with tasks that live.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ostler::{EventKind, Options, StateName, Supervisor, TaskSpec};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options { state_dir: Some(dir.path().join("state")), ..Options::default() };
    /// let mut first = Supervisor::reopen(options.clone())?;
    /// let args = vec!["60".into()];
    /// let spec = TaskSpec { name: Some("t".into()), args, ..TaskSpec::new("sleep") };
    /// let task = first.launch(spec)?;
    /// let pid = first.status(task).and_then(|status| status.pid);
    /// drop(first);
    /// let mut second = Supervisor::reopen(options)?;
    /// let task = second.find("t").ok_or("lost")?;
    /// let status = second.status(task).ok_or("lost")?;
    /// assert!(status.pid == pid && status.adopted);
    /// # second.remove(task, true)?;
    /// # let mut events: Vec<ostler::Event> = Vec::new();
    /// # let pid = nix::unistd::Pid::from_raw(pid.ok_or("no process")?.number());
    /// # while second.status(task).is_some() {
    /// #     second.turn(Some(std::time::Duration::from_millis(10)), &mut events)?;
    /// #     let _ = nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A state directory that is in use, not for us alone, not local or cannot be written; a
    /// journal of a later version; what the system refuses, which boot this is included.
    pub fn reopen(options: Options) -> io::Result<Supervisor> {
        let Some(path) = options.state_dir.as_deref() else {
            let text = "a supervisor without a state directory has nothing to go on with";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let directory = StateDirectory::take(path)?;
        if let Some(who) = directory.exposed() {
            log::warn!(
                "the state directory {:?} can be replaced by {who}: what stands in its journal is \
                 what runs here",
                directory.path()
            );
        }
        let options = Options { state_dir: Some(directory.path().to_owned()), ..options };
        let place = Place::ours()?;
        let kept = reading::read(&directory.join(NAME), &place)?;
        let journal = Journal::new(directory, kept.instance.clone(), place);
        let path = journal.directory.join(NAME);
        Supervisor::with_store(options, Box::new(journal), kept).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("take over what {path:?} tells: {}", cause(&error)),
            )
        })
    }
}

/// The journal as it is written.
#[derive(Debug)]
struct Journal {
    directory: StateDirectory,
    /// Absent before the first snapshot.
    file: Option<JournalFile>,
    header: Header,
    /// Lines that are not in the file yet.
    lines: Vec<u8>,
    /// They are all there is.
    anew: bool,
    /// Bytes in the file.
    size: u64,
    /// From so many on it is to be written anew.
    size_max: u64,
    /// While that is done bit by bit.
    renewal: Option<Renewal>,
    /// Tasks are being stopped.
    stopping: bool,
}

impl Journal {
    fn new(directory: StateDirectory, instance: String, place: Place) -> Journal {
        Journal {
            directory,
            file: None,
            header: header(instance, place),
            lines: Vec::new(),
            anew: false,
            size: 0,
            size_max: u64::MAX,
            renewal: None,
            stopping: false,
        }
    }

    fn set_size(&mut self, size: u64) {
        self.size = size;
        self.size_max = JOURNAL_BYTES_MIN.max(size.saturating_mul(JOURNAL_GROWTH));
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let (new, path) = (self.directory.join(NEW_NAME), self.directory.join(NAME));
        let written = self.write_new(&new).and_then(|file| {
            journal_file::replace(&new, &path)?;
            Ok(file)
        });
        if written.is_err() {
            // The disk may be full of it.
            let _ = std::fs::remove_file(&new);
        }
        // From here on nothing fails: the old one has no name any more.
        self.file = Some(written?);
        self.set_size(self.lines.len() as u64);
        Ok(())
    }

    fn write_new(&self, path: &Path) -> io::Result<JournalFile> {
        let mut file = JournalFile::open(path)?;
        file.cut(0)?;
        file.add(&self.lines)?;
        Ok(file)
    }

    /// Goes on with the old journal, where it could not be written anew. One of ours says all that
    /// the new one does. To one of an earlier supervisor what is known by now is to be added.
    fn go_on(&mut self) {
        if self.file.is_some() {
            return self.lines.clear();
        }
        // Where there is none, a line that is no beginning would not be understood.
        let path = self.directory.join(NAME);
        let opened = path.metadata().and_then(|_| JournalFile::open(&path));
        let opened = opened.and_then(|file| Ok((file.size()?, file)));
        let Ok((size, file)) = opened else {
            // What comes is said behind all of it.
            self.anew = true;
            return;
        };
        self.size = size;
        self.size_max = 0;
        self.file = Some(file);
        let header = self.lines.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        // Its last line may be torn, and its numbers have risen.
        self.lines.splice(..header, *b"\n");
        let sequence = self.header.sequence;
        add_line(&mut self.lines, &Written::Sequence(sequence));
    }

    fn add(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the journal could not be begun"));
        };
        if let Err(error) = file.add(&self.lines) {
            // Half a line must not stand before the next one.
            if let Err(error) = file.cut(self.size) {
                log::warn!("the journal has a torn line: {}", cause(&error));
                self.lines.insert(0, b'\n');
                // It is never cut off within what has been added behind it.
                self.size = file.size().unwrap_or(u64::MAX);
            }
            return Err(error);
        }
        self.size = self.size.saturating_add(self.lines.len() as u64);
        Ok(())
    }
}

/// The first line, its counters apart.
fn header(instance: String, place: Place) -> Header {
    Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance,
        boot_id: place.boot_id,
        pid_namespace: place.pid_namespace,
        ..Header::default()
    }
}

/// The first line, with these counters.
fn add_header(lines: &mut Vec<u8>, header: &mut Header, counters: Counters) {
    header.next_launch = counters.next_launch;
    header.next_run = counters.next_run;
    header.sequence = counters.sequence;
    add_line(lines, &Written::Journal(header));
}

fn add_note(lines: &mut Vec<u8>, note: Note<'_>) {
    match note {
        Note::Change(Change::Removed(number)) => add_line(lines, &Written::Removed(*number)),
        Note::Change(Change::Task(saved)) => {
            let state = StateLine::of(saved);
            let spec = saved.identity.spec();
            add_line(lines, &Written::Task(&WrittenTask::of(saved, &spec, &state)));
        }
        Note::Change(Change::State(saved)) => {
            add_line(lines, &Written::State(&StateLine::of(saved)));
        }
        Note::Process(process) => add_line(lines, &Written::Process(ProcessLine::of(process))),
        Note::Tree(path) => match path.to_str() {
            Some(path) => add_line(lines, &Written::Tree(path)),
            None => log::warn!("the path of the tasks' groups is not UTF-8: {path:?}"),
        },
        Note::Sequence(number) => add_line(lines, &Written::Sequence(number)),
        Note::Stopping => add_line(lines, &Written::Stopping(true)),
    }
}

fn add_line(lines: &mut Vec<u8>, line: &Written<'_>) {
    let before = lines.len();
    match line.serialize(&mut serde_json::Serializer::new(&mut *lines)) {
        Ok(()) => lines.push(b'\n'),
        // Strings, numbers and maps with string keys only: nothing of it can fail.
        Err(error) => {
            lines.truncate(before);
            log::error!("cannot take down what happens: {error}");
        }
    }
}

impl Store for Journal {
    fn note(&mut self, note: Note<'_>) {
        add_note(&mut self.lines, note);
        if let Some(renewal) = &mut self.renewal {
            renewal.note(note);
        }
        self.stopping |= matches!(note, Note::Stopping);
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        if !std::mem::take(&mut self.anew) {
            self.add()?;
        } else if let Err(error) = self.write_anew() {
            self.go_on();
            return Err(error);
        }
        self.lines.clear();
        self.lines.shrink_to(64 << 10);
        Ok(())
    }

    fn wants_snapshot(&self) -> bool {
        self.size > self.size_max
    }

    #[cfg(feature = "cli")]
    fn lock(&self) -> Option<RawFd> {
        Some(self.directory.lock_number())
    }

    fn begin_snapshot(&mut self, counters: Counters) {
        self.renewal = None;
        self.lines.clear();
        self.anew = true;
        add_header(&mut self.lines, &mut self.header, counters);
    }

    fn begin_renewal(&mut self, counters: Counters) -> io::Result<()> {
        let mut head = Vec::new();
        add_header(&mut head, &mut self.header, counters);
        if self.stopping {
            add_note(&mut head, Note::Stopping);
        }
        self.renewal = Some(Renewal::begin(self.directory.join(NEW_NAME), head)?);
        Ok(())
    }

    fn renew(&mut self, note: Note<'_>) {
        if let Some(renewal) = &mut self.renewal {
            renewal.note(note);
        }
    }

    fn go_on_renewing(&mut self) -> io::Result<()> {
        let written = self.renewal.as_mut().map_or(Ok(()), Renewal::flush);
        if written.is_err()
            && let Some(renewal) = self.renewal.take()
        {
            renewal.give_up();
        }
        written
    }

    fn end_renewal(&mut self) -> io::Result<()> {
        let Some(renewal) = self.renewal.take() else { return Ok(()) };
        let (file, size) = renewal.finish(&self.directory.join(NAME))?;
        self.file = Some(file);
        self.set_size(size);
        // They are in it.
        self.lines.clear();
        self.anew = false;
        Ok(())
    }
}
