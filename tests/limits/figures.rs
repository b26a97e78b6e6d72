//! What the groups that hold limits have counted, as figures of the task.

use crate::support::{limited, setting, status, task};
use ostler::{Resources, Usage};

const MIB: u64 = 1 << 20;

#[test]
fn what_groups_count_is_told() {
    let Some(mut fixture) = limited("what_groups_count_is_told") else { return };
    let limit = Resources {
        memory_max: Some(Some(100 * MIB)),
        pids_max: Some(Some(20)),
        cpu_max: Some(Some(0.2)),
        ..Resources::default()
    };
    // A buffer of 20 MiB that is filled again and again, beside a shell that waits.
    let script = "dd if=/dev/zero of=/dev/null bs=20971520 & wait";
    let id = fixture.launch(task("a", script, limit));
    let total: Usage = fixture.until(|fixture| {
        let total = fixture.supervisor.stats(id, false).unwrap().total;
        let filled = total.memory_rss_bytes >= Some(20 * MIB);
        // The kernel counts the period as it begins to throttle, and the time when that ends.
        (filled && total.throttled_us > Some(0)).then_some(total)
    });
    assert!(total.throttled_periods > Some(0), "{total:?}");
    assert_eq!((total.processes, total.threads), (Some(2), Some(2)), "{total:?}");
    assert!(total.memory_cache_bytes.is_some() && total.memory_kernel_bytes.is_some());
    assert!(total.memory_rss_bytes <= total.memory_usage_bytes, "{total:?}");
    assert!(total.memory_peak_bytes >= total.memory_usage_bytes, "{total:?}");
    assert!(total.memory_peak_bytes <= Some(100 * MIB), "{total:?}");
    assert!(total.cpu_user_us.is_some() && total.io_read_bytes.is_some(), "{total:?}");
    let files = ["memory.current", "memory.usage_in_bytes"];
    let now: u64 = setting(&status(&fixture, id), &files).parse().unwrap();
    let told = total.memory_usage_bytes.unwrap();
    assert!(told.abs_diff(now) <= now / 20 + 2 * MIB, "{told}, not {now}");
}
