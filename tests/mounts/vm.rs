//! All tests of this binary once more, in a virtual machine that has cgroup v2 alone, and whose
//! root cannot be exchanged (pivot_root(2)).

use crate::machine::{Kernel, all_tests};

#[test]
fn the_same_holds_from_an_initramfs() {
    all_tests("the_same_holds_from_an_initramfs", Kernel::Recent);
}

#[test]
fn the_same_holds_from_an_initramfs_with_an_older_kernel() {
    all_tests("the_same_holds_from_an_initramfs_with_an_older_kernel", Kernel::Older);
}
