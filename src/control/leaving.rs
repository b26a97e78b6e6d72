//! A client leaves, or a stream to it ends.

use super::calls::{Kind, Stream};
use super::connection::Pending;
use super::server::Server;
use crate::reactor::Supervisor;
use std::os::fd::AsFd;

impl Server {
    /// A stream has ended.
    pub(super) fn stopped_streaming(&mut self, key: usize, stream: Stream) {
        self.event_streams.remove(&key);
        self.followers.remove(&key);
        self.stats_streams.remove(&key);
        if let Stream::Logs(mut log) = stream {
            log.unwatch(self.watching.as_mut(), key);
        }
    }

    /// Lets a client go. What it asked for goes on, but for its waiting and its commands in tasks.
    pub(super) fn remove(&mut self, supervisor: &mut Supervisor, key: usize) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        self.input_ended |= connection.stdio;
        for wire in [Some(connection.reader), connection.writer].into_iter().flatten() {
            if let Some(watch) = wire.watch {
                self.watches.remove(&watch);
                supervisor.unwatch(watch, wire.channel.as_fd());
            }
        }
        match connection.pending {
            Pending::None | Pending::Upgrade => {}
            Pending::Host(ticket) => self.host_calls.forget(ticket),
            Pending::Streams(stream) => self.stopped_streaming(key, stream),
            Pending::Upgraded(upgraded) => self.drop_upgraded(supervisor, *upgraded),
            Pending::Asked(ticket) => {
                let Some(asker) = self.askers.get_mut(&ticket) else { return };
                asker.connection = None;
                if matches!(asker.kind, Kind::Wait | Kind::Exec) {
                    self.askers.remove(&ticket);
                    supervisor.abandon(ticket);
                }
            }
        }
    }
}
