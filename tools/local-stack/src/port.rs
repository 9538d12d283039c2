//! Ports: which are free, and which process has one that is not.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use crate::process;

/// Why a port is not available.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Nothing could be bound at all.
    #[error("there is no free port")]
    None(#[source] io::Error),
    /// This user may not use it, as with those below 1024.
    #[error("port {0} cannot be used; choose another port with --port")]
    Refused(u16, #[source] io::Error),
    #[error("port {port} is taken by {holder}; stop that, or choose another port with --port")]
    Taken {
        port: u16,
        /// The process, as far as it can be seen.
        holder: String,
    },
}

/// A port that was free a moment ago.
///
/// # Errors
/// There is none.
pub fn free() -> Result<u16, PortError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(PortError::None)?;
    Ok(listener.local_addr().map_err(PortError::None)?.port())
}

/// Checks that a port is available.
///
/// # Errors
/// It is taken, and the error names the process; or this user may not use it.
pub fn must_be_free(port: u16) -> Result<(), PortError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = holder(port).map_or_else(|| "another process".to_owned(), process::describe);
            Err(PortError::Taken { port, holder })
        }
        Err(error) => Err(PortError::Refused(port, error)),
    }
}

/// The process that listens on a port. From `/proc` on Linux, otherwise from `lsof`.
fn holder(port: u16) -> Option<u32> {
    holder_in_proc(port).or_else(|| {
        let listening = format!("-iTCP:{port}");
        let output = process::command("lsof").args(["-nP", "-t", "-sTCP:LISTEN", &listening]).output().ok()?;
        String::from_utf8_lossy(&output.stdout).lines().next()?.parse().ok()
    })
}

fn holder_in_proc(port: u16) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port))?;
    let socket = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
        });
        if holds {
            return Some(pid);
        }
    }
    None
}

/// The inode of the socket that listens on `port`, from a table of `/proc/net`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string(table).ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let local_port = fields.get(1)?.rsplit(':').next()?;
        let matches = u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTEN;
        matches.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// Whether something listens on a port of this machine.
#[must_use]
pub fn is_answered(port: u16) -> bool {
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        || std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_free() {
        assert!(must_be_free(free().unwrap()).is_ok());
    }

    #[test]
    fn a_taken_port_names_the_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let message = must_be_free(port).unwrap_err().to_string();
        assert!(message.starts_with(&format!("port {port} is taken by ")), "{message}");
        if cfg!(target_os = "linux") {
            assert!(message.contains(&format!("process {} (", std::process::id())), "{message}");
        }
    }
}
