//! Errors of the kernel as errors of a start.

use crate::vocabulary::{Stage, StartError, Wall};
use nix::errno::Errno;

/// Why a start failed: `message` says what was tried and on what, the reason is added to it. The
/// engine adds the time.
pub(crate) fn start_error(stage: Stage, errno: Errno, message: impl AsRef<str>) -> StartError {
    StartError {
        stage,
        errno: errno as i32,
        errno_name: format!("{errno:?}"),
        message: format!("{}: {}", message.as_ref(), errno.desc()),
        retry: may_succeed_later(errno),
        time: Wall::default(),
    }
}

/// The same start may succeed when something else has ended, or the file is no longer written.
fn may_succeed_later(errno: Errno) -> bool {
    use Errno::{EAGAIN, EBUSY, EDQUOT, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC, ETXTBSY};
    matches!(errno, EAGAIN | EBUSY | EDQUOT | EINTR | EMFILE | ENFILE | ENOMEM | ENOSPC | ETXTBSY)
}
