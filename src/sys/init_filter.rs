//! What the init may call where its task has a filter of system calls, so that nobody who takes it
//! over (CAP_SYS_PTRACE) gets around that one.

use super::program::{Filter, Instruction};
use nix::libc;

/// All that it does, its exec and a report of that one's failure included.
const CALLS: [libc::c_long; 10] = [
    libc::SYS_write,
    libc::SYS_execveat,
    libc::SYS_close_range,
    libc::SYS_prctl,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_ppoll,
    libc::SYS_wait4,
    libc::SYS_exit_group,
];

/// `AUDIT_ARCH_*` of linux/audit.h.
const ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };

/// Everything else is EPERM, and the calls of another architecture end the process.
pub(super) fn filter() -> Filter {
    // Offsets in struct seccomp_data.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut instructions = vec![
        load(ARCH),
        skip_if(ARCHITECTURE, 1),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    for call in CALLS {
        instructions.extend([skip_unless(call as u32, 1), answer(libc::SECCOMP_RET_ALLOW)]);
    }
    instructions.push(answer(refuse));
    Filter { instructions: instructions.into(), flags: 0 }
}

fn load(offset: u32) -> Instruction {
    let code = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    Instruction { code, jump_true: 0, jump_false: 0, operand: offset }
}

fn skip_if(value: u32, skipped: u8) -> Instruction {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    Instruction { code, jump_true: skipped, jump_false: 0, operand: value }
}

fn skip_unless(value: u32, skipped: u8) -> Instruction {
    Instruction { jump_true: 0, jump_false: skipped, ..skip_if(value, 0) }
}

fn answer(action: u32) -> Instruction {
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    Instruction { code, jump_true: 0, jump_false: 0, operand: action }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn decide(architecture: u32, number: u32) -> u32 {
        let (program, mut at, mut held) = (filter().instructions, 0, 0);
        loop {
            let Instruction { code, jump_true, jump_false, operand } = program[at];
            at += 1;
            match u32::from(code) & 7 {
                libc::BPF_LD => held = if operand == 0 { number } else { architecture },
                libc::BPF_JMP => {
                    at += usize::from(if held == operand { jump_true } else { jump_false })
                }
                _ => return operand,
            }
        }
    }

    #[test]
    fn it_allows_what_the_init_does_and_nothing_else() {
        for call in CALLS {
            assert_eq!(decide(ARCHITECTURE, call as u32), libc::SECCOMP_RET_ALLOW, "{call}");
            assert_eq!(decide(0x4000_0003, call as u32), libc::SECCOMP_RET_KILL_PROCESS);
        }
        let refuse = libc::SECCOMP_RET_ERRNO | 1;
        for call in [libc::SYS_openat, libc::SYS_mmap, libc::SYS_unshare, libc::SYS_clone] {
            assert_eq!(decide(ARCHITECTURE, call as u32), refuse, "{call}");
        }
        assert_eq!(decide(ARCHITECTURE, libc::SYS_wait4 as u32 | 1 << 30), refuse);
    }
}
