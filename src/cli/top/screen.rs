//! The terminal: set up for a full screen, given back in every case.

use crate::sys::channel::Channel;
use crate::sys::pipe::{Again, open_again};
use crate::sys::poll::{Interest, wait};
use crate::sys::raw_terminal::RawTerminal;
use nix::errno::Errno;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::crossterm::{Command, QueueableCommand};
use ratatui::{Frame, Terminal};
use std::cell::RefCell;
use std::io::{self, Write, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A terminal that takes nothing any more is left as it is after this time.
const UNCOVER_PATIENCE: Duration = Duration::from_secs(1);

/// Whether the terminal is covered by us: whoever uncovers it first clears this.
static COVERED: AtomicBool = AtomicBool::new(false);

/// The terminal. Drawing never waits for it: a frame is queued, and the next one is drawn when all
/// of it was written.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Queue>>,
    queue: Queue,
    out: Channel,
    keyboard: RawTerminal,
}

/// What is to be written.
#[derive(Clone, Default)]
struct Queue(Rc<RefCell<Vec<u8>>>);

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    /// Sets the terminal on standard input and output up. To be called once in a process.
    pub(super) fn open() -> io::Result<Screen> {
        let out = output()?;
        let keyboard = RawTerminal::enter()?
            .ok_or_else(|| io::Error::other("standard input is not a terminal"))?;
        uncover_when_it_panics(output()?);
        let queue = Queue::default();
        let terminal = Terminal::new(CrosstermBackend::new(queue.clone()))?;
        let mut screen = Screen { terminal, queue, out, keyboard };
        screen.cover()?;
        Ok(screen)
    }

    /// Sets it up again, where somebody else has used it since.
    pub(super) fn set_up(&mut self) -> io::Result<()> {
        self.keyboard.resume()?;
        self.cover()
    }

    fn cover(&mut self) -> io::Result<()> {
        COVERED.store(true, Ordering::Relaxed);
        self.queue.0.borrow_mut().clear();
        self.queue.queue(EnterAlternateScreen)?.queue(Hide)?;
        self.clear()
    }

    /// Forgets what is on it: all is drawn anew.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // Terminal::clear would ask the terminal where its cursor is, and wait for the answer.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Gives it back.
    pub(super) fn give_back(&mut self) {
        uncover(&self.out);
        self.keyboard.suspend();
    }

    /// Whether the frame before was written.
    pub(super) fn is_ready(&self) -> bool {
        self.queue.0.borrow().is_empty()
    }

    /// Draws a frame, and writes of it what goes.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        self.write()
    }

    /// Writes what goes.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let mut queue = self.queue.0.borrow_mut();
        let mut written = 0;
        let result = loop {
            match queue.get(written..).filter(|rest| !rest.is_empty()) {
                None => break Ok(()),
                Some(rest) => match self.out.write(rest) {
                    Ok(more) => written += more,
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break Ok(()),
                    Err(errno) => break Err(errno.into()),
                },
            }
        };
        queue.drain(..written);
        result
    }
}

impl AsFd for Screen {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Shows what was on the terminal before, once. Where that fails it is gone, and nobody is left to
/// be told.
fn uncover(out: &Channel) {
    if !COVERED.swap(false, Ordering::Relaxed) {
        return;
    }
    let mut text = String::new();
    let _ = Show.write_ansi(&mut text);
    let _ = LeaveAlternateScreen.write_ansi(&mut text);
    let deadline = Instant::now() + UNCOVER_PATIENCE;
    let mut rest = text.as_bytes();
    while !rest.is_empty() && Instant::now() < deadline {
        match out.write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EAGAIN) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let _ = wait(&[(out.as_fd(), Interest::Write)], Some(left));
            }
            Err(Errno::EINTR) => {}
            Err(_) => break,
        }
    }
}

/// Standard output, opened another time, so that not to wait for it is no concern of those who
/// share it. Where that may not be, a copy.
fn output() -> io::Result<Channel> {
    let out: OwnedFd = match open_again(stdout().as_fd(), Again::WriteOnly) {
        Ok(out) => out,
        Err(_) => stdout().as_fd().try_clone_to_owned()?,
    };
    Ok(Channel::new(out)?)
}

/// What a panic says is to be read on the terminal as it was.
fn uncover_when_it_panics(out: Channel) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        uncover(&out);
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::{Winsize, openpty};
    use nix::sys::termios::tcgetattr;
    use ratatui::widgets::Paragraph;
    use std::fs::File;
    use std::io::Read;
    use std::process::Command;

    const PANICS: &str = "OSTLER_TEST_PANICS";

    #[test]
    fn what_a_panic_says_is_read_on_the_terminal_as_it_was() {
        if std::env::var_os(PANICS).is_some() {
            let mut screen = Screen::open().expect("a screen");
            let text = Paragraph::new("covered");
            screen.draw(|frame| frame.render_widget(text, frame.area())).expect("drawn");
            panic!("on purpose");
        }
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a terminal");
        let before = tcgetattr(&pair.slave).expect("modes");
        let slave = || pair.slave.try_clone().expect("another descriptor");
        let test = "cli::top::screen::tests::what_a_panic_says_is_read_on_the_terminal_as_it_was";
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env(PANICS, "yes")
            .env("RUST_BACKTRACE", "0")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .expect("started");
        // What it writes fits the terminal's buffer only in part.
        let mut master = File::from(pair.master.try_clone().expect("another descriptor"));
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            // EIO is the end: nobody has the other side open.
            let _ = master.read_to_end(&mut text);
            text
        });
        child.wait().expect("waited");
        assert_eq!(tcgetattr(&pair.slave).expect("modes"), before);
        drop(pair);
        let mut parser = vt100::Parser::new(24, 100, 0);
        parser.process(&reader.join().expect("read"));
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        let text = screen.contents();
        assert!(text.contains("on purpose") && !text.contains("covered"), "{text}");
    }
}
