//! Calls of several clients, whole and torn, to a server in this process whose supervisor has
//! pretended processes alone: no panic, no answer that nobody asked for, none that is no message,
//! events one after the other; and whatever was asked before, a Shutdown comes to its end.
#![no_main]

mod session_calls;

use libfuzzer_sys::fuzz_target;
use ostler::control::{Finished, Reloaded, Server, ServerOptions};
use ostler::{Event, Options, StateName, Supervisor};
use serde_json::Value;
use session_calls::{Input, any_call};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const CLIENTS_MAX: usize = 4;
const ROUNDS_MAX: usize = 400;

fuzz_target!(init: ostler::fuzzing::ignore_broken_pipes(), |bytes: &[u8]| {
    let mut input = Input(bytes);
    let chances = usize::from(input.byte() % 64);
    let mut scene = Scene::new(input.take(chances));
    while !input.0.is_empty() && scene.server.finished().is_none() {
        scene.act(&mut input);
        scene.turn();
    }
    scene.end();
});

struct Scene {
    supervisor: Supervisor,
    server: Server,
    clients: Vec<Client>,
    events: Vec<Event>,
    sequence: u64,
    /// Somebody has asked for an end that leaves the tasks.
    leaves: bool,
}

struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    /// Calls that may be answered.
    calls: usize,
    answers: usize,
    /// It sends what is no call, or has a command's streams: what it gets is not looked at.
    is_strange: bool,
}

impl Scene {
    fn new(chances: &[u8]) -> Scene {
        let options = Options { cgroup: ostler::CgroupMode::Never, ..Options::default() };
        let mut supervisor = Supervisor::new(options).expect("a supervisor");
        supervisor.pretend(chances);
        let options = ServerOptions { reloads: true, ..ServerOptions::default() };
        let server = Server::new(&supervisor, options);
        let clients = Vec::new();
        Scene { supervisor, server, clients, events: Vec::new(), sequence: 0, leaves: false }
    }

    fn connect(&mut self) -> usize {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        theirs.set_nonblocking(true).expect("a socket");
        let reader = ours.try_clone().expect("a copy");
        self.server
            .attach(&mut self.supervisor, reader.into(), ours.into(), false)
            .expect("it can be watched");
        self.clients.push(Client {
            stream: theirs,
            received: Vec::new(),
            calls: 0,
            answers: 0,
            is_strange: false,
        });
        self.clients.len() - 1
    }

    fn client(&mut self, which: u8) -> usize {
        let which = usize::from(which) % CLIENTS_MAX;
        if which < self.clients.len() { which } else { self.connect() }
    }

    fn act(&mut self, input: &mut Input<'_>) {
        let (what, who) = (input.byte(), input.byte());
        match what % 16 {
            0..8 => {
                let (call, upgrades) = any_call(input);
                let key = self.client(who);
                self.clients[key].is_strange |= upgrades;
                self.leaves |= call.contains(r#""stop_tasks":false"#);
                self.clients[key].call(&call);
            }
            8 => {
                let length = usize::from(input.byte());
                let raw = input.take(length).to_vec();
                let key = self.client(who);
                self.clients[key].is_strange = true;
                self.clients[key].send(&raw);
            }
            9 | 10 => {
                let key = self.client(who);
                self.clients[key].read();
            }
            11 => {
                if !self.clients.is_empty() {
                    self.clients.remove(usize::from(who) % self.clients.len());
                }
            }
            12 | 13 => self.supervisor.pretend_happening(usize::from(who)),
            14 => self.supervisor.pretend_time(Duration::from_millis(u64::from(who) * 300)),
            _ => {
                while let Some(call) = self.server.next_reload() {
                    self.server.answer_reload(call.ticket, Ok(&Reloaded::default()));
                }
            }
        }
    }

    fn turn(&mut self) {
        self.supervisor.turn(Some(Duration::ZERO), &mut self.events).expect("a turn");
        for event in &self.events {
            assert_eq!(event.sequence, self.sequence + 1, "{event:?}");
            self.sequence = event.sequence;
        }
        self.server.dispatch(&mut self.supervisor, &self.events);
        self.events.clear();
        while self.server.next_exec_end().is_some() {}
    }

    /// Everybody but one leaves, who has it all ended.
    fn end(&mut self) {
        for client in &mut self.clients {
            client.read();
        }
        self.clients.clear();
        let key = self.connect();
        let call =
            r#"{"method":"org.ostler.Shutdown","parameters":{"stop_tasks":true,"grace_ms":0}}"#;
        self.clients[key].call(call);
        for round in 0.. {
            self.turn();
            self.clients[key].read();
            if self.server.finished() == Some(Finished::Shutdown) {
                break;
            }
            assert!(round < ROUNDS_MAX, "it does not end");
            self.supervisor.pretend_happening(round);
            self.supervisor.pretend_time(Duration::from_secs(1));
        }
        for task in self.supervisor.tasks().filter(|_| !self.leaves) {
            let status = self.supervisor.status(task).expect("it is listed");
            assert_eq!(status.state, StateName::Exited, "{status:?}");
        }
    }
}

impl Client {
    fn call(&mut self, call: &str) {
        self.calls += 1;
        self.send(call.as_bytes());
        self.send(b"\0");
    }

    /// What the server does not take now is lost, as when a client dies.
    fn send(&mut self, bytes: &[u8]) {
        match self.stream.write(bytes) {
            Ok(sent) if sent == bytes.len() => {}
            _ => self.is_strange = true,
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        while let Some(end) = self.received.iter().position(|&byte| byte == 0) {
            let message: Vec<u8> = self.received.drain(..=end).collect();
            if !self.is_strange {
                self.check(&message[..end]);
            }
        }
    }

    fn check(&mut self, message: &[u8]) {
        let message: Value = serde_json::from_slice(message).expect("an answer is JSON");
        let error = message.get("error").and_then(Value::as_str);
        assert!(message.get("parameters").is_some_and(Value::is_object), "{message}");
        assert!(error.is_none_or(|error| error.contains('.')), "{message}");
        let continues = message.get("continues") == Some(&Value::Bool(true));
        assert!(!continues || error.is_none(), "{message}");
        self.answers += usize::from(!continues);
        assert!(self.answers <= self.calls, "{message} answers nothing");
    }
}
