//! Opening a file that a task may have made.

use super::sink::{Place, SinkError};
use nix::errno::Errno;
use std::fs::File;
use std::io;

/// Opens a regular file for reading, as sinks are opened: whatever else stands there, or is on the
/// way, neither blocks us nor leads us away. `None` where there is none.
pub(crate) fn open(path: &str, task_dir: Option<&str>) -> io::Result<Option<File>> {
    let opened = Place::find(path, task_dir).and_then(|place| place.open_to_read(place.name));
    match opened {
        Ok(file) => Ok(file.map(File::from)),
        Err(error) if error.errno == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(told(&error)),
    }
}

/// Every N of which there is a `PATH.N`, in no order.
pub(crate) fn numbers(path: &str, task_dir: Option<&str>) -> io::Result<Vec<u64>> {
    let place = Place::find(path, task_dir).map_err(|error| told(&error))?;
    place.numbers().map_err(|error| told(&error))
}

fn told(error: &SinkError) -> io::Error {
    let kind = error.errno.map_or(io::ErrorKind::InvalidInput, |e| io::Error::from(e).kind());
    io::Error::new(kind, error.to_string())
}
