//! What cannot be enforced is refused before anything is made, and never dropped.

use crate::fixture::Fixture;
use crate::support::{groups_of, limited, task};
use ostler::{CgroupMode, Options, RequestError, Resources};

fn refusal(fixture: &mut Fixture, resources: Resources) -> (String, String) {
    match fixture.supervisor.launch(task("t", "exec sleep 300", resources)) {
        Err(RequestError::Unsupported { feature, reason }) => (feature, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_supervisor_without_groups_refuses_every_limit() {
    let options = Options { cgroup: CgroupMode::Never, ..Options::default() };
    let mut fixture = Fixture::new(options);
    let limit = Resources { pids_max: Some(Some(5)), ..Resources::default() };
    let (feature, reason) = refusal(&mut fixture, limit);
    assert_eq!((&*feature, reason.contains("switched off")), ("resources", true));
    assert!(!fixture.supervisor.facts().features.iter().any(|f| f.starts_with("cgroup")));
    assert!(fixture.supervisor.find("t").is_none());
}

#[test]
fn cpus_that_are_not_there_are_refused() {
    let Some(mut fixture) = limited("cpus_that_are_not_there_are_refused") else { return };
    let limit = Resources { cpuset: Some("0,4000".into()), ..Resources::default() };
    let (feature, reason) = refusal(&mut fixture, limit);
    assert_eq!(feature, "resources.cpuset");
    assert!(reason.contains("CPU 4000"), "{reason}");
    assert!(groups_of("t.1").is_empty());
}

#[test]
fn memory_high_is_refused_where_v1_has_the_memory() {
    let test = "memory_high_is_refused_where_v1_has_the_memory";
    let Some(mut fixture) = limited(test) else { return };
    let limit = Resources { memory_high: Some(Some(64 << 20)), ..Resources::default() };
    if !std::path::Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
        let launched = fixture.launch(task("t", "exec sleep 300", limit));
        let now = fixture.supervisor.status(launched).unwrap();
        let high = crate::support::setting(&now, &["memory.high"]);
        assert_eq!(high, (64 << 20).to_string());
        fixture.stop("t", std::time::Duration::ZERO);
        return;
    }
    let (feature, reason) = refusal(&mut fixture, limit);
    assert_eq!(feature, "resources.memory_high_bytes");
    assert!(reason.contains("memory controller of cgroup v2"), "{reason}");
    assert!(groups_of("t.1").is_empty());
}
