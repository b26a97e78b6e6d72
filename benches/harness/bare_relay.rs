//! The floor of a relay: one pipe, one target, one loop that blocks.

use super::Outcome;
use super::process::splice;
use super::stream::BLOCK;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// How the bytes are moved.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// Through a buffer of 64 KiB.
    Copy,
    /// Inside the kernel.
    Splice,
    /// Inside the kernel, by way of a second pipe: the writer goes on while a file is written.
    Carry,
}

/// A way to move them.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Way {
    pub(crate) method: Method,
    /// What the pipe of the writer holds.
    pub(crate) pipe: usize,
}

/// As much goes by way of the second pipe at once.
const CARRIED: usize = 256 << 10;

/// Starts a writer on a pipe of this size.
pub(crate) fn start(mut writer: Command, pipe: usize) -> Outcome<(Child, PipeReader)> {
    let (source, end) = std::io::pipe()?;
    fcntl(&source, FcntlArg::F_SETPIPE_SZ(pipe as i32))?;
    // The command, and with it our copy of the writing end, goes at the end of this function.
    let child = writer.stdout(end).spawn()?;
    Ok((child, source))
}

/// Moves everything into a FIFO.
pub(crate) fn to_fifo(mut source: PipeReader, mut target: File, method: Method) -> Outcome<()> {
    let mut buffer = vec![0; BLOCK];
    loop {
        let got = match method {
            Method::Splice => splice(&source, &target, 1 << 20)?,
            Method::Copy | Method::Carry => copy(&mut source, &mut target, &mut buffer)?,
        };
        if got == 0 {
            return Ok(());
        }
    }
}

/// Moves everything into files of at most `max_size` bytes: PATH, PATH.1 the one before.
pub(crate) fn to_files(
    mut source: PipeReader,
    path: &Path,
    max_size: u64,
    method: Method,
) -> Outcome<()> {
    let mut buffer = vec![0; BLOCK];
    let (mut file, mut size) = (File::create(path)?, 0);
    let (outlet, inlet) = std::io::pipe()?;
    fcntl(&inlet, FcntlArg::F_SETPIPE_SZ(CARRIED as i32))?;
    loop {
        if size + CARRIED as u64 > max_size {
            shift(path)?;
            (file, size) = (File::create(path)?, 0);
        }
        let got = match method {
            Method::Copy => copy(&mut source, &mut file, &mut buffer)?,
            Method::Splice => splice(&source, &file, CARRIED)?,
            Method::Carry => {
                let got = splice(&source, &inlet, CARRIED)?;
                let mut left = got;
                while left > 0 {
                    left -= splice(&outlet, &file, left)?;
                }
                got
            }
        };
        match got {
            0 => return Ok(()),
            got => size += got as u64,
        }
    }
}

fn copy(source: &mut PipeReader, target: &mut File, buffer: &mut [u8]) -> Outcome<usize> {
    let got = source.read(buffer)?;
    target.write_all(buffer.get(..got).unwrap_or_default())?;
    Ok(got)
}

fn shift(path: &Path) -> Outcome<()> {
    let last = (1..).take_while(|&number| rotated(path, number).exists()).last().unwrap_or(0);
    for number in (1..=last).rev() {
        std::fs::rename(rotated(path, number), rotated(path, number + 1))?;
    }
    Ok(std::fs::rename(path, rotated(path, 1))?)
}

/// The name of a rotated file; 0 is the current one.
pub(crate) fn rotated(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.to_owned(),
        _ => PathBuf::from(format!("{}.{number}", path.display())),
    }
}
