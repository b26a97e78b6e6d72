//! A terminal that hands on every key as it is pressed, for a command that has a terminal of its
//! own elsewhere.

use super::terminal::{Modes, Terminal};
use nix::errno::Errno;
use std::sync::{Arc, Mutex, PoisonError};

/// The terminal on standard input, in raw mode (termios(3), cfmakeraw) until this is dropped. A
/// panic sets it back, too, also where that ends the process at once.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    terminal: Terminal,
    before: Modes,
    /// What a panic has to set; nothing while it is as it was.
    on_panic: Arc<Mutex<Option<Modes>>>,
}

impl RawTerminal {
    /// `None`: standard input is no terminal. In the background this stops the process, as any
    /// program that sets the terminal up, until it is brought to the foreground.
    pub(crate) fn enter() -> Result<Option<RawTerminal>, Errno> {
        let terminal = Terminal::on_stdin();
        let Some(before) = terminal.modes() else { return Ok(None) };
        let on_panic = Arc::new(Mutex::new(None));
        let raw = RawTerminal { terminal, before, on_panic };
        raw.hook_panics();
        raw.resume()?;
        Ok(Some(raw))
    }

    /// Sets the terminal as it was.
    pub(crate) fn suspend(&self) {
        // A terminal that cannot be set is gone.
        let _ = self.terminal.set_modes(&self.before);
        *self.on_panic.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sets it raw, again.
    pub(crate) fn resume(&self) -> Result<(), Errno> {
        let before = Some(self.before.clone());
        *self.on_panic.lock().unwrap_or_else(PoisonError::into_inner) = before;
        self.terminal.set_modes_as_allowed(&self.before.raw())
    }

    /// Whether we are in the foreground.
    pub(crate) fn is_ours(&self) -> bool {
        self.terminal.is_ours()
    }

    fn hook_panics(&self) {
        let modes = Arc::clone(&self.on_panic);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let modes = modes.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(modes) = modes {
                let _ = Terminal::on_stdin().set_modes(&modes);
            }
            before(panic);
        }));
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.suspend();
    }
}
