//! From limits as a task asks for them to what is written into the files of its groups. The
//! formulas for v1 controllers are those of docs/isolation.md.

use super::controllers::Controller;
use crate::vocabulary::Resources;

/// One file of a group and what is written into it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Setting {
    pub(crate) controller: Controller,
    /// The path of the limit in the task.
    pub(crate) field: &'static str,
    pub(crate) file: &'static str,
    pub(crate) value: String,
    /// It takes a limit away: a group that was made for this run has none.
    pub(crate) lifts: bool,
}

/// Where a controller is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Version {
    V1,
    V2,
}

/// A limit that the system cannot enforce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    /// Its path in the task: `resources.memory_max_bytes`.
    pub(crate) field: &'static str,
    /// Why, and what would help.
    pub(crate) reason: String,
}

pub(super) const CPU_WEIGHT: &str = "resources.cpu_weight";
pub(super) const CPU_MAX: &str = "resources.cpu_max";
pub(super) const CPUSET: &str = "resources.cpuset";
pub(super) const MEMORY_LOW: &str = "resources.memory_low_bytes";
pub(super) const MEMORY_HIGH: &str = "resources.memory_high_bytes";
pub(super) const MEMORY_MAX: &str = "resources.memory_max_bytes";
pub(super) const MEMORY_SWAP_MAX: &str = "resources.memory_swap_max_bytes";
pub(super) const MEMORY_OOM_GROUP: &str = "resources.memory_oom_group";
pub(super) const PIDS_MAX: &str = "resources.pids_max";
pub(super) const IO_WEIGHT: &str = "resources.io_weight";

/// The file of v1 that limits memory and swap together.
pub(super) const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";

/// The file of v1 that tells of the OOM killer.
pub(super) const OOM_CONTROL: &str = "memory.oom_control";

/// The limits that are named, each with the controller that it needs; true: it only lifts one.
pub(super) fn named(resources: &Resources) -> Vec<(&'static str, Controller, bool)> {
    let of = |limit: Option<Option<u64>>| limit.map(|limit| limit.is_none());
    let all = [
        (CPU_WEIGHT, Controller::Cpu, of(resources.cpu_weight)),
        (CPU_MAX, Controller::Cpu, resources.cpu_max.map(|limit| limit.is_none())),
        (CPUSET, Controller::Cpuset, resources.cpuset.as_ref().map(String::is_empty)),
        (MEMORY_LOW, Controller::Memory, of(resources.memory_low)),
        (MEMORY_HIGH, Controller::Memory, of(resources.memory_high)),
        (MEMORY_MAX, Controller::Memory, of(resources.memory_max)),
        (MEMORY_SWAP_MAX, Controller::Memory, of(resources.memory_swap_max)),
        (MEMORY_OOM_GROUP, Controller::Memory, resources.memory_oom_group.map(|wanted| !wanted)),
        (PIDS_MAX, Controller::Pids, of(resources.pids_max)),
        (IO_WEIGHT, Controller::Io, of(resources.io_weight)),
    ];
    let asked =
        |(field, controller, lifts): (_, _, Option<bool>)| Some((field, controller, lifts?));
    all.into_iter().filter_map(asked).collect()
}

/// What one limit writes. `has` tells which files groups have there; `all_cpus` is what a group
/// without a limit of its own may use.
pub(super) fn of_field(
    (field, controller, lifts): (&'static str, Controller, bool),
    version: Version,
    resources: &Resources,
    has: impl Fn(&str) -> bool,
    all_cpus: &str,
) -> Result<Vec<Setting>, Refused> {
    let files = match version {
        Version::V2 => v2(field, resources, &has),
        Version::V1 => v1(field, resources, &has, all_cpus),
    };
    let files = files.map_err(|reason| Refused { field, reason })?;
    if let Some((file, _)) = files.iter().find(|(file, _)| !has(file)) {
        if lifts {
            return Ok(Vec::new());
        }
        return Err(Refused { field, reason: format!("the running kernel has no {file}") });
    }
    let setting = |(file, value)| Setting { controller, field, file, value, lifts };
    Ok(files.into_iter().map(setting).collect())
}

type Files = Result<Vec<(&'static str, String)>, String>;

fn v2(field: &str, resources: &Resources, has: &impl Fn(&str) -> bool) -> Files {
    let or_max = |limit: Option<Option<u64>>| match limit.flatten() {
        Some(limit) => limit.to_string(),
        None => "max".to_owned(),
    };
    Ok(vec![match field {
        CPU_WEIGHT => ("cpu.weight", resources.cpu_weight.flatten().unwrap_or(100).to_string()),
        CPU_MAX => match resources.cpu_max.flatten().map(quota_and_period) {
            Some((quota, period)) => ("cpu.max", format!("{quota} {period}")),
            None => ("cpu.max", format!("max {PERIOD_US}")),
        },
        CPUSET => ("cpuset.cpus", resources.cpuset.clone().unwrap_or_default()),
        MEMORY_LOW => ("memory.low", resources.memory_low.flatten().unwrap_or(0).to_string()),
        MEMORY_HIGH => ("memory.high", or_max(resources.memory_high)),
        MEMORY_MAX => ("memory.max", or_max(resources.memory_max)),
        MEMORY_SWAP_MAX => ("memory.swap.max", or_max(resources.memory_swap_max)),
        MEMORY_OOM_GROUP => {
            let wanted = resources.memory_oom_group == Some(true);
            ("memory.oom.group", u8::from(wanted).to_string())
        }
        PIDS_MAX => ("pids.max", or_max(resources.pids_max)),
        _ => {
            let weight = resources.io_weight.flatten().unwrap_or(100);
            match has("io.weight") {
                true => ("io.weight", weight.to_string()),
                false => ("io.bfq.weight", bfq_weight(weight).to_string()),
            }
        }
    }])
}

fn v1(field: &str, resources: &Resources, has: &impl Fn(&str) -> bool, all_cpus: &str) -> Files {
    let or_none = |limit: Option<Option<u64>>| match limit.flatten() {
        Some(limit) => limit.to_string(),
        None => "-1".to_owned(),
    };
    Ok(vec![match field {
        CPU_WEIGHT => {
            ("cpu.shares", resources.cpu_weight.flatten().map_or(1024, shares).to_string())
        }
        CPU_MAX => {
            let (quota, period) = match resources.cpu_max.flatten().map(quota_and_period) {
                Some((quota, period)) => (quota.to_string(), period),
                None => ("-1".to_owned(), PERIOD_US),
            };
            return Ok(vec![
                ("cpu.cfs_period_us", period.to_string()),
                ("cpu.cfs_quota_us", quota),
            ]);
        }
        CPUSET => match resources.cpuset.as_deref() {
            None | Some("") => ("cpuset.cpus", all_cpus.to_owned()),
            Some(list) => ("cpuset.cpus", list.to_owned()),
        },
        MEMORY_LOW => ("memory.soft_limit_in_bytes", or_none(resources.memory_low)),
        MEMORY_HIGH if resources.memory_high.flatten().is_none() => return Ok(Vec::new()),
        MEMORY_HIGH => {
            return Err("needs the memory controller of cgroup v2: v1 has nothing like it".into());
        }
        MEMORY_MAX => ("memory.limit_in_bytes", or_none(resources.memory_max)),
        MEMORY_SWAP_MAX => {
            match (resources.memory_max.flatten(), resources.memory_swap_max.flatten()) {
                (_, None) if !has(MEMORY_AND_SWAP) => return Ok(Vec::new()),
                (_, None) => (MEMORY_AND_SWAP, "-1".to_owned()),
                (Some(memory), Some(swap)) => {
                    (MEMORY_AND_SWAP, memory.saturating_add(swap).to_string())
                }
                (None, Some(_)) => {
                    let reason = "cgroup v1 limits memory and swap together: set memory_max too";
                    return Err(reason.into());
                }
            }
        }
        // The default, so that there is a group to watch: see `oom_events`.
        MEMORY_OOM_GROUP => (OOM_CONTROL, "0".to_owned()),
        PIDS_MAX => match resources.pids_max.flatten() {
            Some(limit) => ("pids.max", limit.to_string()),
            None => ("pids.max", "max".to_owned()),
        },
        _ => {
            let weight = resources.io_weight.flatten().unwrap_or(100);
            match has("blkio.weight") {
                true => ("blkio.weight", blkio_weight(weight).to_string()),
                false => ("blkio.bfq.weight", bfq_weight(weight).to_string()),
            }
        }
    }])
}

/// The period over which the kernel counts, in microseconds.
const PERIOD_US: u64 = 100_000;
/// The longest that it takes: for less than 0.01 cores, since a quota is at least 1 ms.
const PERIOD_US_MAX: u64 = 1_000_000;

fn quota_and_period(cores: f64) -> (u64, u64) {
    let period = if cores < 0.01 { PERIOD_US_MAX } else { PERIOD_US };
    // At most a million cores: far from any end of the type.
    ((cores * period as f64).round().max(1000.0) as u64, period)
}

/// 1 to 10000 become 2 to 262144.
fn shares(weight: u64) -> u64 {
    2 + weight.saturating_sub(1).saturating_mul(262_142) / 9999
}

/// 1 to 10000 become 1 to 1000, the default 100 stays.
fn bfq_weight(weight: u64) -> u64 {
    if weight <= 100 { weight.max(1) } else { 100 + (weight.min(10_000) - 100) * 900 / 9900 }
}

/// 1 to 10000 become 10 to 1000, the default 100 becomes the default 500.
fn blkio_weight(weight: u64) -> u64 {
    weight.saturating_mul(5).clamp(10, 1000)
}

/// The numbers of a list such as `0-3,8`.
pub(super) fn cpus(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.trim().parse().ok()?;
        let last: u32 = last.trim().parse().ok()?;
        // Far more than any machine has.
        Some(first..=last.min(99_999))
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, resources: &Resources) -> Vec<(&'static str, String)> {
        named(resources)
            .into_iter()
            .flat_map(|one| of_field(one, version, resources, |_| true, "0-1").unwrap())
            .map(|setting| (setting.file, setting.value))
            .collect()
    }

    fn all() -> Resources {
        Resources {
            cpu_weight: Some(Some(100)),
            cpu_max: Some(Some(0.5)),
            cpuset: Some("0-1".into()),
            memory_low: Some(Some(1)),
            memory_high: None,
            memory_max: Some(Some(1 << 20)),
            memory_swap_max: Some(Some(1 << 10)),
            memory_oom_group: Some(true),
            pids_max: Some(Some(7)),
            io_weight: Some(Some(10_000)),
        }
    }

    #[test]
    fn v2_takes_limits_as_they_are() {
        let resources = Resources { memory_high: Some(Some(5)), ..all() };
        let expected = [
            ("cpu.weight", "100"),
            ("cpu.max", "50000 100000"),
            ("cpuset.cpus", "0-1"),
            ("memory.low", "1"),
            ("memory.high", "5"),
            ("memory.max", "1048576"),
            ("memory.swap.max", "1024"),
            ("memory.oom.group", "1"),
            ("pids.max", "7"),
            ("io.weight", "10000"),
        ];
        assert_eq!(written(Version::V2, &resources), expected.map(|(f, v)| (f, v.to_owned())));
    }

    #[test]
    fn v1_gets_what_means_the_same() {
        let expected = [
            ("cpu.shares", "2597"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "50000"),
            ("cpuset.cpus", "0-1"),
            ("memory.soft_limit_in_bytes", "1"),
            ("memory.limit_in_bytes", "1048576"),
            (MEMORY_AND_SWAP, "1049600"),
            (OOM_CONTROL, "0"),
            ("pids.max", "7"),
            ("blkio.weight", "1000"),
        ];
        assert_eq!(written(Version::V1, &all()), expected.map(|(f, v)| (f, v.to_owned())));
        assert_eq!([shares(1), shares(10_000)], [2, 262_144]);
        assert_eq!([bfq_weight(1), bfq_weight(100), bfq_weight(10_000)], [1, 100, 1000]);
        assert_eq!([blkio_weight(1), blkio_weight(100), blkio_weight(10_000)], [10, 500, 1000]);
        assert_eq!(quota_and_period(0.001), (1000, PERIOD_US_MAX));
        assert_eq!(quota_and_period(2.0), (200_000, PERIOD_US));
    }

    #[test]
    fn what_is_lifted_goes_back_to_what_a_new_group_has() {
        let none = Resources {
            cpu_weight: Some(None),
            cpu_max: Some(None),
            cpuset: Some(String::new()),
            memory_low: Some(None),
            memory_high: Some(None),
            memory_max: Some(None),
            memory_swap_max: Some(None),
            memory_oom_group: Some(false),
            pids_max: Some(None),
            io_weight: Some(None),
        };
        assert!(named(&none).iter().all(|(_, _, lifts)| *lifts));
        let values = |version| written(version, &none).into_iter().map(|(_, value)| value);
        let v2 = ["100", "max 100000", "", "0", "max", "max", "max", "0", "max", "100"];
        assert!(values(Version::V2).eq(v2));
        let v1 = ["1024", "100000", "-1", "0-1", "-1", "-1", "-1", "0", "max", "500"];
        assert!(values(Version::V1).eq(v1));
    }

    #[test]
    fn what_v1_lacks_is_refused() {
        let refused = |resources: Resources, missing: &str| {
            let one = named(&resources).pop().unwrap();
            of_field(one, Version::V1, &resources, |file| file != missing, "0").unwrap_err().field
        };
        let high = Resources { memory_high: Some(Some(1)), ..Resources::default() };
        assert_eq!(refused(high, ""), MEMORY_HIGH);
        let alone = Resources { memory_swap_max: Some(Some(1)), ..Resources::default() };
        assert_eq!(refused(alone, ""), MEMORY_SWAP_MAX);
        let both = Resources { memory_max: Some(Some(1)), ..all() };
        let both = Resources { memory_oom_group: None, pids_max: None, io_weight: None, ..both };
        assert_eq!(refused(both, MEMORY_AND_SWAP), MEMORY_SWAP_MAX);
        let io = Resources { io_weight: Some(Some(1)), ..Resources::default() };
        let one = (IO_WEIGHT, Controller::Io, false);
        let none = of_field(one, Version::V1, &io, |_| false, "0").unwrap_err();
        assert_eq!((none.field, none.reason.contains("blkio")), (IO_WEIGHT, true));
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpus("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cpus(""), Vec::<u32>::new());
    }
}
