//! The verb `top`: a full screen of tasks, kept up to date.
//!
//! One thread waits for keys, signals and what the daemon says. The model is what is shown, the
//! view draws it, the screen is the terminal, the feed is the daemon.

mod connection;
mod feed;
mod keys;
mod model;
mod screen;
mod view;
mod wire;

use super::arguments::{SortChoice, TopArguments};
use super::client::Session;
use super::failure::Failure;
use super::table::wants_colour;
use crate::sys::blocked_signals::BlockedSignals;
use crate::sys::channel::Channel;
use crate::sys::poll::{Interest, wait};
use crate::sys::terminal;
use crate::vocabulary::{Signal, cause};
use feed::Feed;
use keys::Keys;
use model::{Column, Effect, Model, Selection};
use nix::errno::Errno;
use screen::Screen;
use std::io::{self, IsTerminal, stdin, stdout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use view::Look;

/// So long after the one before, another frame is drawn, unless a key was pressed.
const FRAME: Duration = Duration::from_millis(50);
/// So long after the last frame, ages have changed.
const SECOND: Duration = Duration::from_secs(1);
/// Escape is a key of its own if nothing follows it for so long.
const ESCAPE_PATIENCE: Duration = Duration::from_millis(50);

/// Shows the tasks until the user leaves.
pub(crate) fn top(session: &Session, arguments: &TopArguments) -> Result<u8, Failure> {
    check_terminal()?;
    let socket = session.socket_path()?;
    let model = Model::new(socket.display().to_string(), selection(arguments));
    let feed = Feed::open(socket, arguments.interval)?;
    let end = Top::open(model, feed).map_err(|error| terminal_failure(&error))?.run()?;
    match end {
        End::Quit => Ok(0),
        End::Hangup => Ok(1),
        End::Signal(signal) => {
            // As it would have been without a screen to give back.
            let _ = terminal::raise(signal);
            Err(Failure::Other(format!("was told to end by {signal}")))
        }
    }
}

fn check_terminal() -> Result<(), Failure> {
    let missing = match (stdin().is_terminal(), stdout().is_terminal()) {
        (true, true) => None,
        (false, _) => Some("standard input"),
        (_, false) => Some("standard output"),
    };
    let why = match missing {
        Some(stream) => format!("{stream} is not a terminal"),
        None if std::env::var_os("TERM").is_some_and(|term| term == "dumb") => {
            "the terminal cannot show a full screen (TERM is dumb)".to_owned()
        }
        None => return Ok(()),
    };
    Err(Failure::Other(format!("{why} (for lines of text: ostler ps, ostler stats)")))
}

fn selection(arguments: &TopArguments) -> Selection {
    let sort = match arguments.sort {
        SortChoice::Name => Column::Name,
        SortChoice::State => Column::State,
        SortChoice::Cpu => Column::Cpu,
        SortChoice::Rss => Column::Memory,
        SortChoice::Io => Column::Io,
        SortChoice::Restarts => Column::Restarts,
        SortChoice::Uptime => Column::Uptime,
    };
    Selection {
        filter: arguments.filter.clone().unwrap_or_default(),
        exited: arguments.all,
        sort,
        descending: sort.is_descending(),
    }
}

fn terminal_failure(error: &io::Error) -> Failure {
    Failure::Other(format!("use the terminal: {}", cause(error)))
}

/// Why it is over.
enum End {
    Quit,
    /// The terminal is gone.
    Hangup,
    Signal(Signal),
}

struct Top {
    // Given back before signals do again what they do by default.
    screen: Screen,
    signals: BlockedSignals,
    keyboard: Channel,
    keys: Keys,
    /// Since when there is a part of a key.
    held: Option<Instant>,
    model: Model,
    feed: Feed,
    coloured: bool,
    /// Something has changed that is not on the screen.
    changed: bool,
    /// It is to be seen at once.
    pressed: bool,
    drawn: Instant,
}

impl Top {
    fn open(model: Model, feed: Feed) -> io::Result<Top> {
        let signals = BlockedSignals::block(&[
            Signal::INT,
            Signal::TERM,
            Signal::HUP,
            Signal::QUIT,
            Signal::TSTP,
            Signal::CONT,
            Signal::WINCH,
        ])?;
        let keyboard = Channel::new(stdin().as_fd().try_clone_to_owned()?)?;
        Ok(Top {
            screen: Screen::open()?,
            signals,
            keyboard,
            keys: Keys::default(),
            held: None,
            model,
            feed,
            coloured: wants_colour(),
            changed: true,
            pressed: true,
            drawn: Instant::now(),
        })
    }

    fn run(mut self) -> Result<End, Failure> {
        let terminal = |error: io::Error| terminal_failure(&error);
        loop {
            self.draw().map_err(terminal)?;
            let ready = self.wait().map_err(terminal)?;
            let [signals, keyboard, links @ ..] = ready.as_slice() else { continue };
            if *signals && let Some(end) = self.take_signals().map_err(terminal)? {
                return Ok(end);
            }
            self.screen.write().map_err(terminal)?;
            let effects = self.feed.receive(links, &mut self.model)?;
            self.changed |= links.contains(&true);
            if let Some(end) = self.perform(effects).map_err(terminal)? {
                return Ok(end);
            }
            if let Some(end) = self.take_keys(*keyboard).map_err(terminal)? {
                return Ok(end);
            }
            self.feed.complete(&mut self.model);
        }
    }

    /// Draws a frame if it is time for one, and the terminal has taken the one before.
    fn draw(&mut self) -> io::Result<()> {
        let age = self.drawn.elapsed();
        let due = self.pressed || (self.changed && age >= FRAME) || age >= SECOND;
        if !due || !self.screen.is_ready() {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let (model, look) = (&mut self.model, Look { coloured: self.coloured, now_us });
        self.screen.draw(|frame| view::draw(frame, model, look))?;
        (self.changed, self.pressed, self.drawn) = (false, false, Instant::now());
        Ok(())
    }

    /// Of the signals, the keyboard and each connection, whether it is ready.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let mut wanted =
            vec![(self.signals.as_fd(), Interest::Read), (self.keyboard.as_fd(), Interest::Read)];
        wanted.extend(self.feed.descriptors().map(|fd| (fd, Interest::Read)));
        let frame = if self.changed || self.pressed { FRAME } else { SECOND };
        let mut timeout = Some(frame.saturating_sub(self.drawn.elapsed()));
        if !self.screen.is_ready() {
            wanted.push((self.screen.as_fd(), Interest::Write));
            timeout = None;
        }
        let escape = self.held.map(|since| ESCAPE_PATIENCE.saturating_sub(since.elapsed()));
        Ok(wait(&wanted, timeout.into_iter().chain(escape).min())?)
    }

    fn take_signals(&mut self) -> io::Result<Option<End>> {
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::TSTP => self.suspend()?,
                // Whoever stopped us may have used the terminal.
                Signal::CONT => self.screen.set_up()?,
                Signal::WINCH => {}
                signal => return Ok(Some(End::Signal(signal))),
            }
            self.pressed = true;
        }
        Ok(None)
    }

    fn take_keys(&mut self, ready: bool) -> io::Result<Option<End>> {
        let mut pressed = Vec::new();
        if ready {
            let mut buffer = [0; 1024];
            match self.keyboard.read(&mut buffer) {
                Ok(0) | Err(Errno::EIO) => return Ok(Some(End::Hangup)),
                Ok(got) => pressed = self.keys.feed(buffer.get(..got).unwrap_or_default()),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        } else if self.held.is_some_and(|since| since.elapsed() >= ESCAPE_PATIENCE) {
            pressed.extend(self.keys.give_up());
        }
        self.held = match self.keys.is_waiting() {
            true => self.held.filter(|_| !ready).or_else(|| Some(Instant::now())),
            false => None,
        };
        for key in pressed {
            self.pressed = true;
            let effect = self.model.press(key);
            if let Some(end) = self.perform(effect)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn perform(&mut self, effects: impl IntoIterator<Item = Effect>) -> io::Result<Option<End>> {
        for effect in effects {
            match effect {
                Effect::Quit => return Ok(Some(End::Quit)),
                Effect::Suspend => self.suspend()?,
                Effect::Redraw => self.screen.clear()?,
                Effect::Follow(name) => self.feed.follow(&name, &mut self.model),
                Effect::Unfollow => self.feed.unfollow(),
                Effect::Act(action) => self.feed.act(action, &mut self.model),
            }
        }
        Ok(None)
    }

    /// Gives the terminal to the shell until it continues us.
    fn suspend(&mut self) -> io::Result<()> {
        self.screen.give_back();
        self.signals.deliver_to_group(Signal::TSTP)?;
        self.screen.set_up()
    }
}
