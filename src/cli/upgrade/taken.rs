//! What a program finds that goes on where another one of the same process stood.

use crate::control::handover::{self, Handed};
use crate::sys::handed_descriptors::HandedDescriptors;
use crate::sys::{faults, own_program};
use crate::vocabulary::cause;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::RawFd;

/// Names the descriptor of the state to the next program.
pub(super) const TAKE_OVER_VARIABLE: &str = "OSTLER_TAKE_OVER";

/// What the program before this one has handed over.
#[derive(Debug)]
pub(crate) struct TakenOver<H> {
    pub(crate) handed: Handed,
    /// What the verb itself had, beside its supervisor and server.
    pub(crate) host: H,
    pub(crate) descriptors: HandedDescriptors,
}

/// What there is to go on with, if anything. Nothing else may have been opened before.
///
/// # Errors
/// It cannot be read, or not all of it is there.
pub(crate) fn taken_over<H: DeserializeOwned>() -> Result<Option<TakenOver<H>>, String> {
    let Some(number) = own_program::value_of(TAKE_OVER_VARIABLE) else { return Ok(None) };
    faults::heed();
    let failed = |why: String| format!("cannot take over: {why}");
    let number: RawFd = number
        .to_str()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| failed(format!("{TAKE_OVER_VARIABLE} is no descriptor: {number:?}")))?;
    let closed = |(number, errno): (RawFd, nix::errno::Errno)| {
        failed(format!("descriptor {number}: {}", errno.desc()))
    };
    let state = HandedDescriptors::of(&[number]).map_err(closed)?.take(number);
    let mut bytes = Vec::new();
    let mut state = File::from(state.ok_or_else(|| failed("the state is gone".to_owned()))?);
    state
        .rewind()
        .and_then(|()| state.read_to_end(&mut bytes))
        .map_err(|error| failed(format!("read the state: {}", cause(&error))))?;
    drop(state);
    let (handed, host) = read(&bytes).map_err(failed)?;
    let descriptors = HandedDescriptors::of(&handed.descriptors).map_err(closed)?;
    Ok(Some(TakenOver { handed, host, descriptors }))
}

/// Reads a state whole, with what a verb of this kind has besides.
///
/// # Errors
/// What of it is not understood.
pub(crate) fn read<H: DeserializeOwned>(bytes: &[u8]) -> Result<(Handed, H), String> {
    let handed = handover::read(bytes)?;
    let host = serde_json::from_value(handed.host.clone());
    let host = host.map_err(|error| format!("what the verb itself says: {error}"))?;
    Ok((handed, host))
}
