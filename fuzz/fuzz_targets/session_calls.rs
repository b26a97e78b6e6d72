//! Calls of clients: methods, names and values that mean something, put together as the bytes of
//! the fuzzer say.

/// The bytes that are left. Behind the end all are zero.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    pub(crate) fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[usize::from(self.byte()) % of.len()]
    }
}

const NAMES: [&str; 6] = [r#""a""#, r#""b""#, r#""c""#, r#""x-0""#, "7", r#""\u0000""#];
const NUMBERS: [&str; 8] = ["0", "1", "100", "5000", "-1", "9007199254740991", "null", "\"1\""];
const SIGNALS: [&str; 6] = ["\"TERM\"", "\"KILL\"", "\"0\"", "\"RTMIN+3\"", "\"no\"", "null"];
const FLAGS: [&str; 3] = ["true", "false", "null"];

/// The methods that take a task, more often than the others.
const METHODS: [&str; 24] = [
    "Launch",
    "Launch",
    "Launch",
    "Launch",
    "Wait",
    "Stop",
    "Restart",
    "Signal",
    "Remove",
    "Exec",
    "ExecStream",
    "Events",
    "List",
    "Inspect",
    "Stats",
    "Logs",
    "UpdateResources",
    "Reload",
    "Upgrade",
    "Version",
    "DaemonStats",
    "Nothing",
    "Shutdown",
    "GetInfo",
];

/// A call, and whether its connection becomes something else.
pub(crate) fn any_call(input: &mut Input<'_>) -> (String, bool) {
    let method = input.pick(&METHODS);
    let parameters = parameters(method, input);
    let flags = input.byte();
    let streams = method == "ExecStream";
    // Mostly as it is meant to be called.
    let upgrade = if streams { flags % 8 != 7 } else { flags % 32 == 31 };
    let more = match method {
        "Events" | "Logs" => flags % 4 != 3,
        _ => flags % 8 == 1,
    };
    let oneway = flags % 8 == 6;
    let interface = if method == "GetInfo" { "org.varlink.service" } else { "org.ostler" };
    let mut call = format!(r#"{{"method":"{interface}.{method}","parameters":{{{parameters}}}"#);
    for (name, set) in [("more", more), ("oneway", oneway), ("upgrade", upgrade)] {
        if set {
            call.push_str(&format!(r#","{name}":true"#));
        }
    }
    call.push('}');
    (call, streams && upgrade)
}

struct Fields {
    /// A bit for each field that need not be there.
    with: u8,
    fields: Vec<String>,
}

impl Fields {
    fn set(&mut self, key: &str, value: &str) {
        self.fields.push(format!(r#""{key}":{value}"#));
    }

    fn maybe(&mut self, bit: u8, key: &str, values: &[&'static str], input: &mut Input<'_>) {
        if self.with & 1 << bit != 0 {
            self.set(key, input.pick(values));
        }
    }
}

fn parameters(method: &str, input: &mut Input<'_>) -> String {
    let name = format!(r#""name":{}"#, input.pick(&NAMES));
    let mut fields = Fields { with: input.byte(), fields: Vec::new() };
    match method {
        "Launch" => {
            fields.maybe(0, "if_exists", &["\"same\"", "\"replace\"", "\"fail\"", "\"no\""], input);
            fields.maybe(1, "timeout_ms", &NUMBERS, input);
            fields.set("task", &task(&name, input));
        }
        "Wait" => fields.maybe(0, "timeout_ms", &NUMBERS, input),
        "Stop" | "Restart" => {
            fields.maybe(0, "signal", &SIGNALS, input);
            fields.maybe(1, "grace_ms", &NUMBERS, input);
        }
        "Signal" => {
            fields.set("signal", input.pick(&SIGNALS));
            fields.maybe(0, "all", &FLAGS, input);
        }
        "Remove" => fields.maybe(0, "force", &FLAGS, input),
        "Exec" | "ExecStream" => {
            fields.set("command", "\"ls\"");
            fields.maybe(
                0,
                "timeout_ms",
                if method == "Exec" { &NUMBERS } else { &["null"] },
                input,
            );
            fields.maybe(1, "tty", if method == "Exec" { &["null"] } else { &FLAGS }, input);
        }
        "Events" => fields.maybe(0, "after", &NUMBERS, input),
        "Stats" => {
            fields.maybe(0, "names", &[r#"["a"]"#, r#"["a","b"]"#, "[]", "[1]"], input);
            fields.maybe(1, "interval_ms", &NUMBERS, input);
            fields.maybe(2, "by_pid", &FLAGS, input);
        }
        "List" => {
            fields.maybe(
                0,
                "states",
                &[r#"["running"]"#, r#"["exited","pending"]"#, r#"["no"]"#],
                input,
            );
            fields.maybe(1, "labels", &["{}", r#"{"k":"v"}"#, r#"{"k":1}"#], input);
        }
        "Logs" => {
            fields.set("stream", input.pick(&["\"stdout\"", "\"stderr\"", "\"no\""]));
            fields.maybe(0, "lines", &NUMBERS, input);
        }
        "UpdateResources" => {
            let resources = [r#"{"pids_max":5}"#, r#"{"cpuset":""}"#, r#"{"cpu_max":-1}"#, "{}"];
            fields.set("resources", input.pick(&resources));
        }
        "Reload" => fields.maybe(0, "dry_run", &FLAGS, input),
        "Shutdown" => {
            fields.set("stop_tasks", input.pick(&FLAGS));
            fields.maybe(0, "grace_ms", &NUMBERS, input);
        }
        _ => {}
    }
    let names_task = ["Wait", "Stop", "Restart", "Signal", "Remove", "Exec", "ExecStream"];
    if names_task.contains(&method) || ["Inspect", "Logs", "UpdateResources"].contains(&method) {
        fields.fields.push(name);
    }
    fields.fields.join(",")
}

fn task(name: &str, input: &mut Input<'_>) -> String {
    let with = input.byte();
    let mut task = format!(r#"{{"command":"/bin/x","#);
    let modes = ["on_failure", "always", "never"];
    let parts = [
        format!(
            r#""restart":{{"mode":"{}","delay_ms":{},"attempts":{}}},"#,
            input.pick(&modes),
            input.pick(&["0", "10", "100000"]),
            input.pick(&["0", "1", "-1", "null"]),
        ),
        format!(r#""leftover":"{}","#, input.pick(&["kill", "wait", "leave"])),
        r#""auto_remove":true,"#.to_owned(),
        r#""labels":{"k":"v"},"#.to_owned(),
        r#""stdout":{"kind":"file","path":"/nonexistent/log","max_size_bytes":9},"#.to_owned(),
        r#""stderr":{"kind":"fifo","path":"/nonexistent/fifo"},"#.to_owned(),
        r#""kill_timeout_ms":0,"stop_all":true,"#.to_owned(),
    ];
    for (bit, part) in parts.iter().enumerate() {
        if with & 1 << bit != 0 {
            task.push_str(part);
        }
    }
    if with & 1 << 7 == 0 {
        task.push_str(name);
    } else {
        task.push_str(r#""umask":"022""#);
    }
    task.push('}');
    task
}
