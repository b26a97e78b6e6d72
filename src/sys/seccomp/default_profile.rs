//! The profile `default`: what programs need, and nothing that reaches for the kernel itself.
//! docs/isolation-privileges.md has a table of what it denies.

use super::compile::{Profile, Rule};
use super::syscalls;
use crate::vocabulary::CapabilitySet;
use nix::libc;
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};

/// Names of system calls with spaces between; those that this processor does not have are nothing.
const ALLOWED: &[&str] = &[
    // Files.
    "access chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat \
     faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl \
     fdatasync fgetxattr file_getattr file_setattr flistxattr flock fremovexattr fsetxattr fstat \
     fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr getxattrat ioctl \
     lchown lgetxattr link linkat listxattr listxattrat llistxattr lremovexattr lseek lsetxattr \
     lstat mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 \
     preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv \
     removexattr removexattrat rename renameat renameat2 rmdir sendfile setxattr setxattrat \
     splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee truncate umask \
     unlink unlinkat utime utimensat utimes vmsplice write writev chdir cachestat listmount \
     statmount",
    // Waiting and telling.
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
     epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 \
     inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit \
     mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink pause pipe pipe2 poll \
     ppoll pselect6 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime",
    // Memory.
    "brk get_mempolicy madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall \
     mmap mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free \
     pkey_mprotect remap_file_pages map_shadow_stack process_mrelease",
    // Processes, threads and signals.
    "arch_prctl execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv \
     futex_wake get_robust_list get_thread_area getpgid getpgrp getpid getppid getpriority \
     getrlimit getrusage getsid gettid ioprio_get ioprio_set kill modify_ldt pidfd_open \
     pidfd_send_signal prctl prlimit64 ptrace process_vm_readv process_vm_writev restart_syscall \
     rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
     rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min \
     sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval \
     sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield \
     set_robust_list set_thread_area set_tid_address setpgid setpriority setrlimit setsid \
     sigaltstack tgkill time times tkill uname uretprobe vfork wait4 waitid getcpu",
    // Who the task is, and what it gives up.
    "capget capset getegid geteuid getgid getgroups getresgid getresuid getuid landlock_add_rule \
     landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules \
     lsm_set_self_attr seccomp setfsgid setfsuid setgid setgroups setregid setresgid setresuid \
     setreuid setuid",
    // Sockets and shared memory.
    "accept accept4 bind connect getpeername getsockname getsockopt listen msgctl msgget msgrcv \
     msgsnd recvfrom recvmmsg recvmsg semctl semget semop semtimedop sendmmsg sendmsg sendto \
     setsockopt shmat shmctl shmdt shmget shutdown socketpair",
    // Time and the rest.
    "adjtimex alarm clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer getrandom \
     gettimeofday nanosleep setitimer sysinfo timer_create timer_delete timer_getoverrun \
     timer_gettime timer_settime",
];

/// By the capability that each needs. The kernel would refuse them without it; the filter keeps
/// their code out of reach altogether.
const WITH_CAPABILITY: &[(u8, &str)] = &[
    (CAP_DAC_READ_SEARCH, "open_by_handle_at"),
    (CAP_SYS_MODULE, "delete_module finit_module init_module"),
    (CAP_SYS_RAWIO, "ioperm iopl"),
    (CAP_SYS_CHROOT, "chroot"),
    (CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise"),
    (CAP_SYS_PACCT, "acct"),
    (
        CAP_SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick mount mount_setattr \
         move_mount open_tree open_tree_attr perf_event_open pivot_root quotactl quotactl_fd \
         setdomainname sethostname setns swapoff swapon syslog umount2 unshare",
    ),
    (CAP_SYS_BOOT, "kexec_file_load kexec_load reboot"),
    (CAP_SYS_NICE, "mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node"),
    (CAP_SYS_TIME, "clock_settime settimeofday"),
    (CAP_SYS_TTY_CONFIG, "vhangup"),
    (CAP_SYSLOG, "syslog"),
    (CAP_PERFMON, "perf_event_open"),
    (CAP_BPF, "bpf"),
];

const CAP_DAC_READ_SEARCH: u8 = 2;
const CAP_SYS_MODULE: u8 = 16;
const CAP_SYS_RAWIO: u8 = 17;
const CAP_SYS_CHROOT: u8 = 18;
const CAP_SYS_PTRACE: u8 = 19;
const CAP_SYS_PACCT: u8 = 20;
const CAP_SYS_ADMIN: u8 = 21;
const CAP_SYS_BOOT: u8 = 22;
const CAP_SYS_NICE: u8 = 23;
const CAP_SYS_TIME: u8 = 25;
const CAP_SYS_TTY_CONFIG: u8 = 26;
const CAP_SYSLOG: u8 = 34;
const CAP_PERFMON: u8 = 38;
const CAP_BPF: u8 = 39;

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. CLONE_NEWTIME is none of
/// clone's flags.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// PER_LINUX, ADDR_NO_RANDOMIZE, UNAME26 and both, PER_LINUX32, and the question.
const PERSONALITIES: [u64; 6] = [0, 0x4_0000, 0x2_0000, 0x6_0000, 0x8, 0xffff_ffff];

/// What is allowed to a task that has these capabilities.
pub(super) fn profile(kept: CapabilitySet) -> Result<Profile, String> {
    let with_capability = WITH_CAPABILITY.iter().filter(|(number, _)| kept.has(*number));
    let names = ALLOWED.iter().chain(with_capability.map(|(_, names)| names));
    let mut rules =
        vec![allow(names.flat_map(|names| names.split_whitespace()).collect(), Vec::new())];
    // The other families are for virtual machines to talk to their host.
    let vsock = condition(SeccompCmpOp::Ne, libc::AF_VSOCK as u64)?;
    rules.push(allow(vec!["socket"], vec![vec![vsock]]));
    let known =
        PERSONALITIES.into_iter().map(|known| Ok(vec![condition(SeccompCmpOp::Eq, known)?]));
    rules.push(allow(vec!["personality"], known.collect::<Result<_, String>>()?));
    if !kept.has(CAP_SYS_ADMIN) {
        let no_namespace = condition(SeccompCmpOp::MaskedEq(NEW_NAMESPACES), 0)?;
        rules.push(allow(vec!["clone"], vec![vec![no_namespace]]));
        // Its flags are in memory, where no filter looks: programs fall back to clone.
        let action = SeccompAction::Errno(libc::ENOSYS as u32);
        rules.push(Rule { action, ..allow(vec!["clone3"], Vec::new()) });
    }
    Ok(Profile { default: SeccompAction::Errno(libc::EPERM as u32), rules, flags: 0 })
}

fn allow(names: Vec<&str>, conditions: Vec<Vec<SeccompCondition>>) -> Rule {
    let calls = names.into_iter().filter_map(syscalls::number).collect();
    Rule { calls, conditions, action: SeccompAction::Allow }
}

/// About the first argument, of which these calls look at 32 bits.
fn condition(operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_somewhere() {
        let groups = WITH_CAPABILITY.iter().map(|(_, names)| names);
        let mut unknown: Vec<&str> = (ALLOWED.iter().chain(groups))
            .flat_map(|names| names.split_whitespace())
            .filter(|name| syscalls::number(name).is_none())
            .collect();
        unknown.sort_unstable();
        #[cfg(target_arch = "x86_64")]
        assert_eq!(unknown, [""; 0]);
        #[cfg(not(target_arch = "x86_64"))]
        assert!(unknown.contains(&"fork") && unknown.len() < 60, "{unknown:?}");
    }
}
