//! The tests of adopted processes once more, in a virtual machine with a kernel that has neither
//! inodes of pidfds nor exit statuses of others' children (Debian 12, Linux 6.1); there also those
//! that set the clock.

use crate::machine::{Kernel, some_tests};

#[test]
fn the_same_holds_with_an_older_kernel() {
    some_tests(
        "the_same_holds_with_an_older_kernel",
        Kernel::Older,
        &["clock::", "ends::", "tasks::"],
    );
}
