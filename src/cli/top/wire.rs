//! What the daemon answers, as far as it is shown. Fields that are not known are passed over.

use crate::cli::failure::Failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// `Status`, with what List and Inspect add to it.
#[derive(Deserialize, Clone, PartialEq, Default, Debug)]
#[serde(default)]
pub(super) struct Status {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) state: String,
    pub(super) command: Option<String>,
    pub(super) pid: Option<i64>,
    pub(super) started_us: Option<u64>,
    pub(super) next_start_us: Option<u64>,
    pub(super) restarts: u64,
    pub(super) exit: Option<Exit>,
    pub(super) error: Option<StartError>,
    pub(super) gave_up: Option<bool>,
    pub(super) containment: Option<String>,
    pub(super) cgroup: Option<String>,
    /// In Inspect alone.
    pub(super) task: Option<Value>,
}

#[derive(Deserialize, Clone, PartialEq, Default, Debug)]
#[serde(default)]
pub(super) struct Exit {
    pub(super) exit_code: i64,
    pub(super) signal: i64,
    pub(super) oom_killed: Option<bool>,
    pub(super) time_us: u64,
}

#[derive(Deserialize, Clone, PartialEq, Default, Debug)]
#[serde(default)]
pub(super) struct StartError {
    pub(super) message: String,
}

#[derive(Deserialize, Clone, PartialEq, Default, Debug)]
#[serde(default)]
pub(super) struct Event {
    pub(super) time_us: u64,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) status: Option<Status>,
    pub(super) detail: Option<String>,
}

/// `Usage`; absent is what was not measured.
#[derive(Deserialize, Copy, Clone, PartialEq, Default, Debug)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) cpu_percent: Option<f64>,
    pub(super) cpu_user_percent: Option<f64>,
    pub(super) cpu_system_percent: Option<f64>,
    pub(super) memory_rss_bytes: Option<u64>,
    pub(super) memory_swap_bytes: Option<u64>,
    pub(super) memory_cache_bytes: Option<u64>,
    pub(super) memory_peak_bytes: Option<u64>,
    pub(super) io_read_bytes: Option<u64>,
    pub(super) io_write_bytes: Option<u64>,
    pub(super) processes: Option<u64>,
    pub(super) threads: Option<u64>,
}

#[derive(Deserialize, Clone, PartialEq, Default, Debug)]
#[serde(default)]
pub(super) struct TaskStats {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) time_us: u64,
    pub(super) total: Usage,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct ListReply {
    pub(super) tasks: Vec<Status>,
    pub(super) sequence: u64,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct EventsReply {
    pub(super) events: Vec<Event>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct StatsReply {
    pub(super) stats: Vec<TaskStats>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct StatusReply {
    pub(super) status: Status,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct LogsReply {
    pub(super) data_base64: String,
}

/// An answer that is no error.
#[derive(Debug)]
pub(super) struct Reply<T> {
    pub(super) parameters: T,
    /// More of them follow.
    pub(super) continues: bool,
}

#[derive(Deserialize)]
struct Envelope<T> {
    error: Option<String>,
    #[serde(default = "Option::default")]
    parameters: Option<T>,
    #[serde(default)]
    continues: bool,
}

/// Reads a message without its terminator.
pub(super) fn read<T: DeserializeOwned + Default>(message: &[u8]) -> Result<Reply<T>, Failure> {
    match serde_json::from_slice::<Envelope<T>>(message) {
        Ok(Envelope { error: None, parameters, continues }) => {
            Ok(Reply { parameters: parameters.unwrap_or_default(), continues })
        }
        // The parameters of an error have a shape of their own, which may not even fit T.
        other => match (serde_json::from_slice::<Envelope<Value>>(message), other) {
            (Ok(Envelope { error: Some(error), parameters, .. }), _) => {
                Err(Failure::Refused { error, parameters: parameters.unwrap_or_default() })
            }
            (_, Err(why)) => Err(Failure::Other(format!("the daemon's answer: {why}"))),
            (_, Ok(_)) => Err(Failure::Other("the daemon's answer: its error is none".to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_or_not_there_is_no_error() {
        let message = json!({ "parameters": { "tasks": [
            { "name": "web", "state": "running", "pid": null, "later": {} }
        ], "sequence": 7 }, "continues": true });
        let reply: Reply<ListReply> = read(message.to_string().as_bytes()).expect("a reply");
        assert!(reply.continues);
        assert_eq!(
            (reply.parameters.sequence, reply.parameters.tasks[0].name.as_str()),
            (7, "web")
        );
        let empty: Reply<StatsReply> = read(b"{}").expect("a reply");
        assert!(empty.parameters.stats.is_empty() && !empty.continues);
    }

    #[test]
    fn an_error_is_one_whatever_its_parameters_are() {
        for parameters in [json!({}), json!({ "status": 1, "tasks": "x" }), json!(null)] {
            let message = json!({ "error": "org.ostler.X", "parameters": parameters });
            let failure = read::<ListReply>(message.to_string().as_bytes()).expect_err("an error");
            let Failure::Refused { error, .. } = failure else { panic!("{failure:?}") };
            assert_eq!(error, "org.ostler.X");
        }
        for message in ["", "[]", "1", "{\"parameters\":{\"tasks\":1}}", "{\"error\":1}"] {
            let failure = read::<ListReply>(message.as_bytes()).expect_err(message);
            assert!(matches!(failure, Failure::Other(_)), "{failure:?}");
        }
    }
}
