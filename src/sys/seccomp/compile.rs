//! From a profile to what the kernel executes.
//!
//! seccompiler makes a filter with two actions, of which one is for what no rule matches. A profile
//! may have more, so it becomes several filters, of whose answers the kernel takes the most
//! restrictive one:
//! - the base: what no rule matches gets the default action, all else is allowed;
//! - one for each other action of a rule: what it matches gets that action, all else is allowed.

use super::syscalls;
use crate::sys::program::{Filter, Instruction};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

/// Numbers from here on are those of another calling convention (x32): no rule names them.
const FOREIGN: u32 = 0x4000_0000;

/// BPF_MAXINSNS.
const INSTRUCTIONS_MAX: usize = 4096;

/// Which system calls may be made.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) default: SeccompAction,
    pub(super) rules: Vec<Rule>,
    /// SECCOMP_FILTER_FLAG_*.
    pub(super) flags: u32,
}

/// What becomes of some calls.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) calls: Vec<i64>,
    /// All of one list have to hold; any list is enough; no list: always.
    pub(super) conditions: Vec<Vec<SeccompCondition>>,
    pub(super) action: SeccompAction,
}

/// Calls, each with the rules of which one has to match; none: always.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters of a profile, in the order in which they have to be loaded.
pub(super) fn compile(profile: &Profile) -> Result<Vec<Filter>, String> {
    let mut matched = Calls::new();
    let mut groups: Vec<(&SeccompAction, Calls)> = Vec::new();
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default) {
        add(&mut matched, rule)?;
        if rule.action == SeccompAction::Allow {
            continue;
        }
        match groups.iter_mut().find(|(action, _)| **action == rule.action) {
            Some((_, calls)) => add(calls, rule)?,
            None => {
                let mut calls = Calls::new();
                add(&mut calls, rule)?;
                groups.push((&rule.action, calls));
            }
        }
    }
    let allows_loading = matched.get(&libc::SYS_seccomp).is_some_and(Vec::is_empty);
    let base = match &profile.default {
        SeccompAction::Allow => guarded(FOREIGN - 1, allow_all()),
        default => {
            let program = assemble(matched, default.clone(), SeccompAction::Allow)?;
            guarded(syscalls::NEWEST, program)
        }
    };
    let base_is_last = profile.default != SeccompAction::Allow && !allows_loading;
    let mut filters = vec![(base_is_last, base)];
    for (action, calls) in groups {
        let forbids_loading = calls.contains_key(&libc::SYS_seccomp);
        let program = assemble(calls, SeccompAction::Allow, action.clone())?;
        filters.push((forbids_loading, instructions(program)));
    }
    if filters.iter().any(|(_, instructions)| instructions.len() > INSTRUCTIONS_MAX) {
        return Err(format!("it makes a filter of more than {INSTRUCTIONS_MAX} instructions"));
    }
    // After one that forbids it, no other could be loaded.
    filters.sort_by_key(|(forbids_loading, _)| *forbids_loading);
    let filter = |instructions: Vec<Instruction>| Filter {
        instructions: instructions.into_boxed_slice(),
        flags: profile.flags,
    };
    Ok(filters.into_iter().map(|(_, instructions)| filter(instructions)).collect())
}

fn add(calls: &mut Calls, rule: &Rule) -> Result<(), String> {
    for call in &rule.calls {
        let always_before = calls.get(call).is_some_and(Vec::is_empty);
        let rules = calls.entry(*call).or_default();
        if rule.conditions.is_empty() {
            rules.clear();
        } else if !always_before {
            for conditions in &rule.conditions {
                let conditions = conditions.clone();
                rules.push(SeccompRule::new(conditions).map_err(|error| error.to_string())?);
            }
        }
    }
    Ok(())
}

fn assemble(
    calls: Calls,
    mismatch: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    SeccompFilter::new(calls, mismatch, matched, ARCHITECTURE)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

fn instructions(program: BpfProgram) -> Vec<Instruction> {
    let one = |from: seccompiler::sock_filter| Instruction {
        code: from.code,
        jump_true: from.jt,
        jump_false: from.jf,
        operand: from.k,
    };
    program.into_iter().map(one).collect()
}

const fn statement(code: u32, operand: u32) -> seccompiler::sock_filter {
    seccompiler::sock_filter { code: code as u16, jt: 0, jf: 0, k: operand }
}

fn allow_all() -> BpfProgram {
    vec![statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW)]
}

/// Calls above `newest` do not exist, as far as the task can see: ENOSYS has programs fall back to
/// older ones, where EPERM would have them give up.
fn guarded(newest: u32, program: BpfProgram) -> Vec<Instruction> {
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let above = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let mut guarded = vec![
        // The number of the call is the first word of struct seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        seccompiler::sock_filter { jf: 1, ..statement(above, newest) },
        statement(libc::BPF_RET | libc::BPF_K, missing),
    ];
    guarded.extend(program);
    instructions(guarded)
}
