//! All tests of this binary once more, on another kernel: one of Debian, with cgroup v2 alone.

use crate::machine::{Kernel, all_tests};

#[test]
fn the_same_holds_on_another_kernel() {
    all_tests("the_same_holds_on_another_kernel", Kernel::Recent);
}

#[test]
fn the_same_holds_on_another_kernel_with_an_older_kernel() {
    all_tests("the_same_holds_on_another_kernel_with_an_older_kernel", Kernel::Older);
}
