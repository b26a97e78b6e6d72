//! Streams of figures: each is served when it is due, and when what it wants was measured.

use super::calls::{StatsStream, Stream};
use super::connection::Pending;
use super::server::Server;
use crate::reactor::Supervisor;
use std::time::Instant;

impl Server {
    fn stats_of(&self, key: usize) -> Option<&StatsStream> {
        match &self.connections.get(key)?.pending {
            Pending::Streams(Stream::Stats(stream)) => Some(stream),
            _ => None,
        }
    }

    /// When the next stream of figures has something to do.
    pub(super) fn stats_due(&self) -> Option<Instant> {
        self.stats_streams.iter().filter_map(|key| self.stats_of(*key)?.due()).min()
    }

    /// Has those served that wait for figures which are due or there.
    pub(super) fn wake_stats(&mut self, supervisor: &Supervisor) {
        if self.stats_streams.is_empty() {
            return;
        }
        let now = Instant::now();
        for key in self.stats_streams.clone() {
            if self.stats_of(key).is_some_and(|stream| stream.is_ready(supervisor, now)) {
                self.wake(key);
            }
        }
    }
}
