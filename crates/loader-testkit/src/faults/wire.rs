//! The client's connection, with byte counting and faults.

use super::log::FaultLog;
use super::rule::{FaultKind, Rule, Side};
use rustix::net::sockopt::set_socket_linger;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Number of bytes forwarded at a time.
const PIECE_LEN: usize = 64 * 1024;

/// Number of pieces per second of `trickle`.
const PIECES_PER_SECOND: u64 = 20;

/// Maximum number of checks, a millisecond apart, whether all bytes have arrived.
const POLLS_MAX: u32 = 5000;

/// Returns the error of a connection ended by a fault.
pub(crate) fn ended_by_fault() -> io::Error {
    ErrorKind::ConnectionAborted.into()
}

/// Connection to a client.
pub(crate) struct ClientStream<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) log: &'a FaultLog,
    pub(crate) side: Side,
}

impl Write for ClientStream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(buf)?;
        self.log.add_sent(self.side, written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ClientStream<'_> {
    /// Ends or stalls the connection according to `rule`. Returns `Ok` if the transfer
    /// may continue.
    pub(crate) fn inject(&mut self, rule: &Rule) -> io::Result<()> {
        match rule.kind {
            FaultKind::Reset | FaultKind::ResetUpload => reset(self.stream),
            FaultKind::Short => {
                let _ = self.stream.shutdown(Shutdown::Write);
                // Unread bytes from the client would turn the end into a reset.
                let _ = self.stream.set_read_timeout(Some(Duration::from_secs(1)));
                let _ = io::copy(&mut &*self.stream, &mut io::sink());
                Err(ended_by_fault())
            }
            FaultKind::Stall | FaultKind::StallUpload => {
                let resumed = self.log.stall(|| is_closed(self.stream));
                if resumed { Ok(()) } else { Err(ended_by_fault()) }
            }
            _ => Ok(()),
        }
    }

    /// Copies `from` to `to` with the fault of `rule` at its offset.
    pub(crate) fn copy_with_fault(
        &mut self,
        from: &mut impl Read,
        rule: Option<&Rule>,
        mut to: impl FnMut(&mut Self, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let fault = rule.and_then(|rule| Some((rule, rule.at.or((rule.kind == FaultKind::Trickle).then_some(0))?)));
        let mut buffer = vec![0; PIECE_LEN];
        let mut done = 0;
        loop {
            let before_fault = fault.filter(|(_, at)| done <= *at).map(|(rule, at)| (rule, at - done));
            let want = match before_fault {
                Some((rule, 0)) => {
                    // The fault occurs only if the body continues.
                    let read = from.read(&mut buffer[..1])?;
                    if read == 0 {
                        return Ok(());
                    }
                    self.inject(rule)?;
                    to(self, &buffer[..1])?;
                    done += 1;
                    continue;
                }
                Some((_, left)) => left.min(PIECE_LEN as u64) as usize,
                None => PIECE_LEN,
            };
            let slow = fault.filter(|(rule, at)| rule.kind == FaultKind::Trickle && done > *at);
            let want = slow.map_or(want, |(rule, _)| want.min((rule.rate / PIECES_PER_SECOND).max(1) as usize));
            let read = from.read(&mut buffer[..want])?;
            if read == 0 {
                return Ok(());
            }
            to(self, &buffer[..read])?;
            done += read as u64;
            if slow.is_some() {
                std::thread::sleep(Duration::from_millis(1000 / PIECES_PER_SECOND));
            }
        }
    }
}

/// Ends a connection with RST after all sent bytes have arrived. An earlier reset would
/// discard bytes that are already counted.
fn reset(stream: &TcpStream) -> io::Result<()> {
    for _ in 0..POLLS_MAX {
        if has_arrived(stream) || is_closed(stream) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // The RST is sent when the last handle is closed; a shutdown would prevent it.
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
    Err(ended_by_fault())
}

/// Returns true if the client has closed the connection and all its bytes were read.
fn is_closed(stream: &TcpStream) -> bool {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
    let seen = stream.peek(&mut [0]);
    let _ = stream.set_read_timeout(None);
    match seen {
        Ok(bytes) => bytes == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
    }
}

/// Returns true if the peer has acknowledged every byte, according to /proc/net/tcp
/// (columns `local remote state tx_queue:rx_queue`).
fn has_arrived(stream: &TcpStream) -> bool {
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return true };
    let table = if local.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let table = std::fs::read_to_string(table).unwrap_or_default();
    let ports = [local, remote].map(|address| format!(":{:04X}", address.port()));
    let own = |line: &&str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        ports.iter().all(|port| words.next().is_some_and(|word| word.ends_with(port)))
    };
    let line = table.lines().find(own).unwrap_or_default();
    line.split_ascii_whitespace().nth(4).is_none_or(|queues| queues.starts_with("00000000:"))
}
