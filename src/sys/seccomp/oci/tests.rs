//! Profiles, good and bad.

use super::*;
use crate::sys::seccomp::compile::compile;
use serde_json::json;

const SYS_ADMIN: u8 = 21;

fn none() -> CapabilitySet {
    CapabilitySet::default()
}

fn read(value: &Value, kept: CapabilitySet) -> Profile {
    parse(value.to_string().as_bytes(), kept).unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn call(name: &str) -> i64 {
    syscalls::number(name).unwrap()
}

#[test]
fn a_profile_as_engines_ship_it() {
    let value = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "defaultErrno": "EPERM",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64",
             "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
        "syscalls": [
            {"names": ["read", "write", "not_of_this_processor"], "action": "SCMP_ACT_ALLOW",
             "args": null, "comment": "", "includes": {}, "excludes": {}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
             "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]}},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errno": "ENOSYS",
             "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW",
             "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "includes":
                {"arches": ["amd64", "arm64"]}, "args": [
                {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"},
                {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        ],
    });
    let calls = |kept| -> Vec<i64> {
        read(&value, kept).rules.iter().flat_map(|rule| rule.calls.clone()).collect()
    };
    let common = [call("read"), call("write")];
    let rest = [call("ptrace"), call("personality")];
    let without = [&common[..], &[call("clone"), call("clone3")], &rest].concat();
    assert_eq!(calls(none()), without);
    let with = [&common[..], &[call("mount")], &rest].concat();
    assert_eq!(calls(none().with(SYS_ADMIN)), with);
    let profile = read(&value, none());
    assert_eq!(profile.default, SeccompAction::Errno(1));
    // One of two values of the same argument.
    assert_eq!(profile.rules.last().map(|rule| rule.conditions.len()), Some(2));
    let clone3 = profile.rules.iter().find(|rule| rule.calls == [call("clone3")]).unwrap();
    assert_eq!(clone3.action, SeccompAction::Errno(38));
    // The base, and ENOSYS for clone3.
    assert_eq!(compile(&profile).unwrap().len(), 2);
}

#[test]
fn actions_flags_and_processors() {
    let one = |action: &str| {
        let value = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": [ARCHITECTURE.0, "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
            "syscalls": [{"names": ["getpid"], "action": action, "errnoRet": 7}],
        });
        let profile = read(&value, none());
        assert_eq!(profile.flags, 2);
        profile.rules[0].action.clone()
    };
    assert_eq!(one("SCMP_ACT_KILL"), SeccompAction::KillThread);
    assert_eq!(one("SCMP_ACT_KILL_PROCESS"), SeccompAction::KillProcess);
    assert_eq!(one("SCMP_ACT_TRAP"), SeccompAction::Trap);
    assert_eq!(one("SCMP_ACT_ERRNO"), SeccompAction::Errno(7));
    assert_eq!(one("SCMP_ACT_TRACE"), SeccompAction::Trace(7));
    assert_eq!(one("SCMP_ACT_LOG"), SeccompAction::Log);
}

#[test]
fn what_is_wrong_is_named() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let with_args = |argument: Value| {
        rule(json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [argument]}))
    };
    for (value, begin) in [
        (json!([]), "must be a JSON object"),
        (json!({}), "defaultAction: is missing"),
        (json!({"defaultAction": "ALLOW"}), "defaultAction: there is no action \"ALLOW\""),
        (json!({"defaultAction": 1}), "defaultAction: must be a string"),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "defaultAction: SCMP_ACT_NOTIFY is not"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "x": 1}), "x: is not known here"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}), "listenerPath: is not"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}), "syscalls: must be a list"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_MIPS"]}),
            "architectures: must name SCMP_ARCH_",
        ),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["x"]}), "flags[0]: is not supported"),
        (rule(json!(1)), "syscalls[0]: must be an object"),
        (rule(json!({"action": "SCMP_ACT_LOG"})), "syscalls[0].names: is missing"),
        (rule(json!({"names": ["read", 1]})), "syscalls[0].names[1]: must be a string"),
        (rule(json!({"names": ["read"]})), "syscalls[0].action: is missing"),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096})),
            "syscalls[0].errnoRet: must be a number of 0 to 4095",
        ),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errno": "ENO"})),
            "syscalls[0].errno: there is no error \"ENO\"",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EPERM",
                   "defaultErrnoRet": 2}),
            "defaultErrno: is not the error of defaultErrnoRet",
        ),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_LOG",
                        "includes": {"caps": ["X"]}})),
            "syscalls[0].includes.caps[0]: is no capability",
        ),
        (with_args(json!({"value": 1})), "syscalls[0].args[0].index: is missing"),
        (with_args(json!({"index": 6})), "syscalls[0].args[0].index: must be a number of 0 to 5"),
        (with_args(json!({"index": 0, "op": "=="})), "syscalls[0].args[0].op: there is no"),
        (
            with_args(json!({"index": 0, "op": "SCMP_CMP_EQ", "z": 0})),
            "syscalls[0].args[0].z: is not known here",
        ),
    ] {
        let error = parse(value.to_string().as_bytes(), none()).unwrap_err();
        assert!(error.starts_with(begin), "{value}: {error}");
    }
    assert!(parse(b"{\"defaultAction\": ", none()).unwrap_err().contains("line 1"));
}

#[test]
fn a_profile_that_is_too_long_is_refused() {
    let values: Vec<Value> =
        (0..2000).map(|value| json!({"index": 1, "value": value, "op": "SCMP_CMP_EQ"})).collect();
    let value = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": values}]});
    assert!(compile(&read(&value, none())).is_err());
}
