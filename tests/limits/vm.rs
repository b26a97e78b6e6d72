//! All tests of this binary once more, in a virtual machine that has cgroup v2 alone.

use crate::machine::{Kernel, all_tests};

#[test]
fn the_same_holds_with_v2_alone() {
    all_tests("the_same_holds_with_v2_alone", Kernel::Recent);
}

#[test]
fn the_same_holds_with_v2_alone_with_an_older_kernel() {
    all_tests("the_same_holds_with_v2_alone_with_an_older_kernel", Kernel::Older);
}
