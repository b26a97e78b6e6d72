//! Clients that were not made for this daemon: python-varlink and the varlink crate.

use super::fixture::{Daemon, has, launch, script, shell};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use varlink::{Connection, MethodCall, OrgVarlinkServiceClient, OrgVarlinkServiceInterface};

#[test]
fn python_varlink_drives_it() {
    if !has("python3", &["-c", "import varlink"], "python-varlink (pip install varlink)") {
        return;
    }
    let daemon = Daemon::start();
    let output = Command::new("python3")
        .arg(script("client.py"))
        .arg(format!("unix:{}", daemon.socket.display()))
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said == "all is well\n", "{said}{complained}");
}

fn call(
    connection: &std::sync::Arc<std::sync::RwLock<Connection>>,
    method: &'static str,
    parameters: Value,
) -> MethodCall<Value, Value, varlink::Error> {
    MethodCall::new(std::sync::Arc::clone(connection), method, parameters)
}

#[test]
fn the_varlink_crate_drives_it() {
    let daemon = Daemon::start();
    let address = format!("unix:{}", daemon.socket.display());
    let connection = Connection::with_address(&address).expect("connected");
    let mut service = OrgVarlinkServiceClient::new(std::sync::Arc::clone(&connection));
    let info = service.get_info().expect("an answer");
    assert_eq!(info.interfaces, ["org.varlink.service", "org.ostler"]);
    let description = service.get_interface_description("org.ostler").expect("an answer");
    assert!(description.description.is_some_and(|text| text.contains("interface org.ostler")));

    let events = Connection::with_address(&address).expect("connected");
    let mut events = call(&events, "org.ostler.Events", json!({}));
    let events = events.more().expect("sent");
    assert_eq!(events.next().expect("a reply").expect("no error")["events"], json!([]));
    let task = json!({"task": shell("a", "exit 4")});
    let launched = call(&connection, "org.ostler.Launch", task).call().expect("an answer");
    assert_eq!(launched["status"]["name"], "a");
    let wait = json!({"name": "a"});
    let ended = call(&connection, "org.ostler.Wait", wait).call().expect("an answer");
    assert_eq!(ended["status"]["exit"]["exit_code"], 4);
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "finished") {
        let reply = events.next().expect("a reply").expect("no error");
        let new = reply["events"].as_array().expect("a list").clone();
        kinds.extend(new.iter().filter_map(|event| event["kind"].as_str().map(str::to_owned)));
    }
    assert_eq!(kinds, ["launched", "started", "exited", "finished"]);
    let failed = call(&connection, "org.ostler.Inspect", json!({"name": "b"})).call();
    let error = format!("{:?}", failed.expect_err("no such task"));
    assert!(error.contains("org.ostler.NoSuchTask"), "{error}");
}

#[test]
fn a_stream_ends_with_its_client() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    // Answered, so that it is counted.
    super::fixture::answer(&mut client, "Version", json!({}));
    let before = descriptors(&daemon);
    for _ in 0..50 {
        let mut watcher = daemon.client();
        let mut stream = watcher.stream("org.ostler.Events", json!({})).expect("sent");
        stream.next().expect("a reply").expect("no error");
    }
    launch(&mut client, shell("a", "true"));
    super::fixture::wait_until("their descriptors are closed", || descriptors(&daemon) <= before);
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count()
}
