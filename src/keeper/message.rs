//! What a service tells its manager: the text of one datagram of sd_notify(3).

/// Longest name of a descriptor, as in systemd (FDNAME_MAX).
const NAME_BYTES_MAX: usize = 255;
/// The name of descriptors that came without one, as in systemd.
const STORED: &str = "stored";

/// Assignments that are passed on as they are to the manager above.
const PASSED_ON: [&str; 10] = [
    "READY",
    "RELOADING",
    "MONOTONIC_USEC",
    "STOPPING",
    "STATUS",
    "ERRNO",
    "WATCHDOG",
    "WATCHDOG_USEC",
    "EXTEND_TIMEOUT_USEC",
    "NOTIFYACCESS",
];

/// A message, as far as it means something to a keeper.
///
/// ```
/// use ostler::keeper::Message;
/// let message = Message::parse(b"FDSTORE=1\nFDNAME=17.o\nFDPOLL=0\n").unwrap();
/// assert_eq!(message.keep, Some("17.o"));
/// assert!(!message.poll);
/// assert!(Message::parse(b"\xff").is_none());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Message<'a> {
    /// `FDSTORE=1`: the descriptors that come with it are kept under this name.
    pub keep: Option<&'a str>,
    /// `FDSTOREREMOVE=1`: what is kept under this name is closed.
    pub forget: Option<&'a str>,
    /// Whether descriptors are watched and closed at their end: not with `FDPOLL=0`.
    pub poll: bool,
    /// `READY=1`.
    pub ready: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `MAINPID=` is part of it.
    pub names_main: bool,
    /// Lines for the manager above, each with its end.
    pub passed_on: String,
}

impl<'a> Message<'a> {
    /// Reads a message; `None` where it is no text. Lines that mean nothing are passed over.
    pub fn parse(text: &'a [u8]) -> Option<Message<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        if text.contains('\0') {
            return None;
        }
        let mut message = Message { poll: true, ..Message::default() };
        let (mut keep, mut forget, mut name) = (false, false, None);
        for line in text.split(['\n', '\r']) {
            match line {
                "FDSTORE=1" => keep = true,
                "FDSTOREREMOVE=1" => forget = true,
                "FDPOLL=0" => message.poll = false,
                _ => {
                    let Some((variable, value)) = line.split_once('=') else { continue };
                    match variable {
                        "FDNAME" => name = Some(value),
                        "MAINPID" => message.names_main = true,
                        _ if PASSED_ON.contains(&variable) => {
                            message.ready |= line == "READY=1";
                            message.stopping |= line == "STOPPING=1";
                            message.passed_on.push_str(line);
                            message.passed_on.push('\n');
                        }
                        _ => {}
                    }
                }
            }
        }
        let name = name.filter(|name| is_descriptor_name(name));
        // A name that is no good is none, and nothing is removed without one: as in systemd.
        message.forget = name.filter(|_| forget);
        message.keep = (keep && !forget).then_some(name.unwrap_or(STORED));
        Some(message)
    }
}

/// Whether descriptors may have this name: ASCII that can be printed, no colon, since it stands in
/// a list that colons part (`fdname_is_valid` of systemd).
pub(super) fn is_descriptor_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| (b' '..127).contains(&byte) && byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_means_what_systemd_takes_it_for() {
        let parse = |text: &'static str| Message::parse(text.as_bytes()).unwrap();
        let keep = parse("FDSTORE=1\nFDNAME=a b\n");
        assert_eq!((keep.keep, keep.forget, keep.poll), (Some("a b"), None, true));
        assert_eq!(parse("FDSTORE=1").keep, Some("stored"));
        assert_eq!(parse("FDSTORE=1\nFDNAME=a:b").keep, Some("stored"));
        assert_eq!(parse("FDSTORE=1\nFDNAME=\u{e9}").keep, Some("stored"));
        assert_eq!(parse("FDSTORE=0\nFDNAME=a").keep, None);
        let forget = parse("FDSTOREREMOVE=1\nFDNAME=a");
        assert_eq!((forget.keep, forget.forget), (None, Some("a")));
        assert_eq!(parse("FDSTOREREMOVE=1").forget, None);
        assert_eq!(parse("FDSTORE=1\nFDSTOREREMOVE=1\nFDNAME=a").keep, None);
        assert!(!parse("FDSTORE=1\nFDPOLL=0").poll);
    }

    #[test]
    fn what_concerns_the_manager_above_goes_on_and_nothing_else() {
        let text = "READY=1\nMAINPID=7\nFDSTORE=1\nX_OWN=1\nSTATUS=a=b\nno assignment\nWATCHDOG=1";
        let message = Message::parse(text.as_bytes()).unwrap();
        assert!(message.ready && message.names_main && !message.stopping);
        assert_eq!(message.passed_on, "READY=1\nSTATUS=a=b\nWATCHDOG=1\n");
        let message = Message::parse(b"READY=1\rWATCHDOG=2\r").unwrap();
        assert_eq!(message.passed_on, "READY=1\nWATCHDOG=2\n");
        let message = Message::parse(b"STOPPING=1\nREADY=0").unwrap();
        assert!(message.stopping && !message.ready);
    }

    #[test]
    fn what_is_no_text_is_no_message() {
        assert_eq!(Message::parse(b"READY=1\0"), None);
        assert_eq!(Message::parse(&[0xff, b'=']), None);
        assert_eq!(Message::parse(b"").unwrap().passed_on, "");
    }
}
