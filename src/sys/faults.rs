//! Failing the nth system call, for tests; nothing at all in a normal build.
//!
//! Every wrapper of this layer that the supervisor itself calls asks here first, by name.

use nix::errno::Errno;

/// Fails where a test asked for it.
#[cfg(not(any(test, all(debug_assertions, feature = "cli"))))]
#[inline(always)]
pub(crate) fn check(_call: &'static str) -> Result<(), Errno> {
    Ok(())
}

/// From here to [`heed_no_more`] a program with debug assertions, which is what tests run, fails
/// the call that the file says which `OSTLER_FAULT` names: `NTH ERRNO`. The name of the call is
/// written behind that. One without them, as it is installed, knows no such variable.
#[cfg(all(any(test, not(debug_assertions)), feature = "cli"))]
#[inline(always)]
pub(crate) fn heed() {}

/// See [`heed`].
#[cfg(all(any(test, not(debug_assertions)), feature = "cli"))]
#[inline(always)]
pub(crate) fn heed_no_more() {}

#[cfg(all(not(test), debug_assertions, feature = "cli"))]
pub(crate) use told::{check, heed, heed_no_more};

#[cfg(all(not(test), debug_assertions, feature = "cli"))]
mod told {
    use super::Errno;
    use std::io::Write;
    use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

    const VARIABLE: &str = "OSTLER_FAULT";

    /// Calls to go until the one that fails; 0: none does.
    static LEFT: AtomicU64 = AtomicU64::new(0);
    static ERRNO: AtomicI32 = AtomicI32::new(0);

    pub(crate) fn heed() {
        let text = std::env::var_os(VARIABLE).and_then(|path| std::fs::read_to_string(path).ok());
        let text = text.unwrap_or_default();
        let mut words = text.split_whitespace();
        let nth = words.next().and_then(|nth| nth.parse().ok());
        let errno = words.next().and_then(|errno| errno.parse().ok());
        if let (Some(nth), Some(errno)) = (nth, errno) {
            ERRNO.store(errno, Relaxed);
            LEFT.store(nth, Relaxed);
        }
    }

    pub(crate) fn heed_no_more() {
        LEFT.store(0, Relaxed);
    }

    pub(crate) fn check(call: &'static str) -> Result<(), Errno> {
        let left = LEFT.load(Relaxed);
        if left == 0 {
            return Ok(());
        }
        LEFT.store(left - 1, Relaxed);
        if left > 1 {
            return Ok(());
        }
        let path = std::env::var_os(VARIABLE).unwrap_or_default();
        // A test that finds nothing there fails.
        let file = std::fs::OpenOptions::new().append(true).open(path);
        let _ = file.and_then(|mut file| write!(file, " {call}"));
        Err(Errno::from_raw(ERRNO.load(Relaxed)))
    }
}

#[cfg(all(test, feature = "control"))]
pub(crate) use armed::fail_of;
#[cfg(test)]
pub(crate) use armed::{calls, check, fail_nth, fail_nth_but};

#[cfg(test)]
mod armed {
    use super::Errno;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    type Calls = BTreeMap<&'static str, u64>;

    thread_local! {
        static SEEN: Cell<u64> = const { Cell::new(0) };
        static FAIL: Cell<Option<(u64, u64, Errno)>> = const { Cell::new(None) };
        static HIT: Cell<Option<&'static str>> = const { Cell::new(None) };
        static SPARED: Cell<fn(&str) -> bool> = const { Cell::new(|_| false) };
        static LIST: Cell<&'static [&'static str]> = const { Cell::new(&[]) };
        static CALLS: RefCell<Calls> = const { RefCell::new(BTreeMap::new()) };
    }

    /// The call that was failed, if any; dropping it ends the injection.
    pub(crate) struct Injected;

    impl Injected {
        /// Which call was failed.
        pub(crate) fn hit(&self) -> Option<&'static str> {
            HIT.get()
        }
    }

    impl Drop for Injected {
        fn drop(&mut self) {
            FAIL.set(None);
        }
    }

    /// From now on, the `nth` call of this thread (from 1) fails with `errno`, once.
    pub(crate) fn fail_nth(nth: u64, errno: Errno) -> Injected {
        arm((nth, nth, errno), |_| false)
    }

    /// The same, where some calls neither fail nor count.
    pub(crate) fn fail_nth_but(
        nth: u64,
        errno: Errno,
        spared: &'static [&'static str],
    ) -> Injected {
        LIST.set(spared);
        arm((nth, nth, errno), |call| LIST.get().contains(&call))
    }

    /// So many calls in a row from the `nth` on, where none but these fail and count.
    #[cfg(feature = "control")]
    pub(crate) fn fail_of(
        nth: u64,
        count: u64,
        errno: Errno,
        calls: &'static [&'static str],
    ) -> Injected {
        LIST.set(calls);
        arm((nth, nth + count - 1, errno), |call| !LIST.get().contains(&call))
    }

    fn arm(fail: (u64, u64, Errno), spared: fn(&str) -> bool) -> Injected {
        SPARED.set(spared);
        SEEN.set(0);
        HIT.set(None);
        FAIL.set(Some(fail));
        Injected
    }

    /// How often this thread has made this call.
    pub(crate) fn calls(call: &str) -> u64 {
        CALLS.with_borrow(|calls| calls.get(call).copied().unwrap_or(0))
    }

    pub(crate) fn check(call: &'static str) -> Result<(), Errno> {
        CALLS.with_borrow_mut(|calls| *calls.entry(call).or_default() += 1);
        if SPARED.get()(call) {
            return Ok(());
        }
        SEEN.set(SEEN.get() + 1);
        match FAIL.get() {
            Some((first, last, errno)) if (first..=last).contains(&SEEN.get()) => {
                HIT.set(Some(call));
                Err(errno)
            }
            _ => Ok(()),
        }
    }
}
