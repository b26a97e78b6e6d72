//! Failing the nth system call, for tests; nothing at all in a normal build.
//!
//! Every wrapper of this layer that the supervisor itself calls asks here first, by name.

use nix::errno::Errno;

/// Fails where a test asked for it.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn check(_call: &'static str) -> Result<(), Errno> {
    Ok(())
}

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
        static FAIL: Cell<Option<(u64, Errno)>> = const { Cell::new(None) };
        static HIT: Cell<Option<&'static str>> = const { Cell::new(None) };
        static SPARED: Cell<&'static [&'static str]> = const { Cell::new(&[]) };
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
        fail_nth_but(nth, errno, &[])
    }

    /// The same, where some calls neither fail nor count.
    pub(crate) fn fail_nth_but(
        nth: u64,
        errno: Errno,
        spared: &'static [&'static str],
    ) -> Injected {
        SPARED.set(spared);
        SEEN.set(0);
        HIT.set(None);
        FAIL.set(Some((nth, errno)));
        Injected
    }

    /// How often this thread has made this call.
    pub(crate) fn calls(call: &str) -> u64 {
        CALLS.with_borrow(|calls| calls.get(call).copied().unwrap_or(0))
    }

    pub(crate) fn check(call: &'static str) -> Result<(), Errno> {
        CALLS.with_borrow_mut(|calls| *calls.entry(call).or_default() += 1);
        if SPARED.get().contains(&call) {
            return Ok(());
        }
        SEEN.set(SEEN.get() + 1);
        match FAIL.get() {
            Some((nth, errno)) if nth == SEEN.get() => {
                HIT.set(Some(call));
                Err(errno)
            }
            _ => Ok(()),
        }
    }
}
