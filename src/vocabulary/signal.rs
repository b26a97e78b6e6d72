//! Signal numbers by name.

use std::fmt;
use std::str::FromStr;

/// A signal, 1 to 64, as Linux numbers them on x86 and ARM (signal(7)).
///
/// Parsed from `TERM`, `SIGTERM`, `15`, `RTMIN+3` or `RTMAX-1`, upper or lower case. `RTMIN` is 34,
/// as in glibc, which keeps 32 and 33 for itself.
///
/// ```
/// use ostler::Signal;
/// assert_eq!("sigterm".parse::<Signal>().unwrap(), Signal::TERM);
/// assert_eq!("RTMIN+3".parse::<Signal>().unwrap().number(), 37);
/// assert!("NOPE".parse::<Signal>().is_err());
/// assert_eq!(Signal::KILL.to_string(), "SIGKILL");
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// The text is not the name or number of a signal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownSignal(pub String);

const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

#[rustfmt::skip]
const NAMES: [(&str, u8); 34] = [
    ("HUP", 1), ("INT", 2), ("QUIT", 3), ("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("BUS", 7),
    ("FPE", 8), ("KILL", 9), ("USR1", 10), ("SEGV", 11), ("USR2", 12), ("PIPE", 13), ("ALRM", 14),
    ("TERM", 15), ("STKFLT", 16), ("CHLD", 17), ("CONT", 18), ("STOP", 19), ("TSTP", 20),
    ("TTIN", 21), ("TTOU", 22), ("URG", 23), ("XCPU", 24), ("XFSZ", 25), ("VTALRM", 26),
    ("PROF", 27), ("WINCH", 28), ("IO", 29), ("PWR", 30), ("SYS", 31),
    // Other names of the above, never printed.
    ("IOT", 6), ("CLD", 17), ("POLL", 29),
];

impl Signal {
    /// SIGHUP.
    pub const HUP: Signal = Signal(1);
    /// SIGINT.
    pub const INT: Signal = Signal(2);
    /// SIGQUIT.
    pub const QUIT: Signal = Signal(3);
    /// SIGABRT.
    pub const ABRT: Signal = Signal(6);
    /// SIGKILL.
    pub const KILL: Signal = Signal(9);
    /// SIGUSR1.
    pub const USR1: Signal = Signal(10);
    /// SIGUSR2.
    pub const USR2: Signal = Signal(12);
    /// SIGTERM.
    pub const TERM: Signal = Signal(15);
    /// SIGCHLD.
    pub const CHLD: Signal = Signal(17);
    /// SIGCONT.
    pub const CONT: Signal = Signal(18);
    /// SIGSTOP.
    pub const STOP: Signal = Signal(19);
    /// SIGTSTP.
    pub const TSTP: Signal = Signal(20);
    /// SIGWINCH.
    pub const WINCH: Signal = Signal(28);
    /// SIGRTMAX, the last one.
    pub const RTMAX: Signal = Signal(RTMAX);

    /// The signal of this number, if it is 1 to 64.
    pub fn new(number: i32) -> Option<Signal> {
        u8::try_from(number).ok().filter(|n| (1..=RTMAX).contains(n)).map(Signal)
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|&&(_, number)| number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Signal, UnknownSignal> {
        parse(text).ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Signal> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().and_then(Signal::new);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(&(_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(Signal(number));
    }
    let offset = |digits: &str| -> Option<u8> {
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let number = match name {
        "RTMIN" => RTMIN,
        "RTMAX" => RTMAX,
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(up), _) => RTMIN.checked_add(offset(up)?)?,
            (_, Some(down)) => RTMAX.checked_sub(offset(down)?)?,
            _ => return None,
        },
    };
    (RTMIN..=RTMAX).contains(&number).then_some(Signal(number))
}

impl fmt::Display for UnknownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a signal: use a name (TERM, SIGTERM, RTMIN+3) or a number 1 to 64",
            self.0
        )
    }
}

impl std::error::Error for UnknownSignal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_printed_is_read_back() {
        for number in 1..=64 {
            let signal = Signal::new(number).unwrap();
            assert_eq!(signal.to_string().parse::<Signal>(), Ok(signal), "{number}");
            assert_eq!(number.to_string().parse::<Signal>(), Ok(signal));
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in ["", "0", "65", "-1", "SIG", "RTMIN+31", "RTMIN-1", "RTMIN+", "TERM ", "+15"] {
            assert!(text.parse::<Signal>().is_err(), "{text:?}");
        }
    }
}
