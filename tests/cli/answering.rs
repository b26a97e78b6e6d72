//! A daemon that answers each call as told, for what a real one can hardly be brought to say.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The daemon; its socket goes with it.
pub(crate) struct Daemon {
    directory: tempfile::TempDir,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Daemon {
    /// Answers each call with the replies that `answer` gives for its method and parameters. A
    /// reply with the field `error` is one. Without a reply the connection is closed.
    pub(crate) fn start(
        answer: impl Fn(&str, &Value) -> Vec<Value> + Send + Sync + 'static,
    ) -> Daemon {
        let directory = tempfile::tempdir().expect("directory");
        let listener = UnixListener::bind(directory.path().join("socket")).expect("socket");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (answer, heard) = (Arc::new(answer), Arc::clone(&calls));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
                std::thread::spawn(move || serve(stream, answer.as_ref(), &heard));
            }
        });
        Daemon { directory, calls }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// The calls so far, by method without the interface.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        self.calls.lock().expect("calls").clone()
    }
}

fn serve(
    stream: UnixStream,
    answer: &(impl Fn(&str, &Value) -> Vec<Value> + ?Sized),
    heard: &Mutex<Vec<(String, Value)>>,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut message = Vec::new();
        if reader.read_until(0, &mut message).unwrap_or(0) == 0 || message.pop() != Some(0) {
            return;
        }
        let call: Value = serde_json::from_slice(&message).expect("JSON");
        let method = call["method"].as_str().expect("method");
        let method = method.strip_prefix("org.ostler.").expect("interface").to_owned();
        heard.lock().expect("calls").push((method.clone(), call["parameters"].clone()));
        let replies = answer(&method, &call["parameters"]);
        if replies.is_empty() {
            return;
        }
        let last = replies.len().saturating_sub(1);
        for (index, mut reply) in replies.into_iter().enumerate() {
            if reply.get("error").is_none() {
                reply = json!({ "parameters": reply });
            }
            if index < last {
                reply["continues"] = true.into();
            }
            let message = [reply.to_string().as_bytes(), b"\0"].concat();
            if reader.get_mut().write_all(&message).is_err() {
                return;
            }
        }
    }
}
