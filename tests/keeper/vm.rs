//! The tests with the real daemon once more, in a virtual machine whose kernel has neither inodes
//! of pidfds nor exit statuses of others' children (Debian 12, Linux 6.1): there the keeper alone
//! can tell.

use crate::machine::{Kernel, some_tests};

#[test]
fn statuses_are_known_with_an_older_kernel() {
    some_tests("statuses_are_known_with_an_older_kernel", Kernel::Older, &["tasks::"]);
}
