//! The client's end of a connection: counted, cut, stalled, slowed.

use super::log::FaultLog;
use super::rule::{Kind, Rule, Side};
use rustix::net::sockopt::set_socket_linger;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Bytes passed on at a time.
const PIECE_LEN: usize = 64 * 1024;

/// Pieces of a trickle in a second.
const PIECES_A_SECOND: u64 = 20;

/// Times that a thread looks, a millisecond apart, whether all has arrived.
const LOOKS_MAX: u32 = 5000;

/// A connection that was ended on purpose.
pub(crate) fn ended() -> io::Error {
    ErrorKind::ConnectionAborted.into()
}

/// The way to a client.
pub(crate) struct Wire<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) log: &'a FaultLog,
    pub(crate) side: Side,
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(buf)?;
        self.log.add_sent(self.side, written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire<'_> {
    /// Ends the connection, or halts it, as `rule` says; `Ok` where what follows
    /// may pass.
    pub(crate) fn hit(&mut self, rule: &Rule) -> io::Result<()> {
        match rule.kind {
            Kind::Reset | Kind::ResetUpload => reset(self.stream),
            Kind::Short => {
                let _ = self.stream.shutdown(Shutdown::Write);
                // What the client still sends must not turn the end into a reset.
                let _ = self.stream.set_read_timeout(Some(Duration::from_secs(1)));
                let _ = io::copy(&mut &*self.stream, &mut io::sink());
                Err(ended())
            }
            Kind::Stall | Kind::StallUpload => {
                let going_on = self.log.stall(|| is_gone(self.stream));
                if going_on { Ok(()) } else { Err(ended()) }
            }
            _ => Ok(()),
        }
    }

    /// Passes `from` on to `to`, which ends at this client, with the fault of
    /// `rule` behind its first bytes.
    pub(crate) fn pass(
        &mut self,
        from: &mut impl Read,
        rule: Option<&Rule>,
        mut to: impl FnMut(&mut Self, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let place = rule.and_then(|rule| Some((rule, rule.at.or((rule.kind == Kind::Trickle).then_some(0))?)));
        let mut buffer = vec![0; PIECE_LEN];
        let mut done = 0;
        loop {
            let to_place = place.filter(|(_, at)| done <= *at).map(|(rule, at)| (rule, at - done));
            let want = match to_place {
                Some((rule, 0)) => {
                    // Only a body that goes on is cut.
                    let read = from.read(&mut buffer[..1])?;
                    if read == 0 {
                        return Ok(());
                    }
                    self.hit(rule)?;
                    to(self, &buffer[..1])?;
                    done += 1;
                    continue;
                }
                Some((_, left)) => left.min(PIECE_LEN as u64) as usize,
                None => PIECE_LEN,
            };
            let slow = place.filter(|(rule, at)| rule.kind == Kind::Trickle && done > *at);
            let want = slow.map_or(want, |(rule, _)| want.min((rule.rate / PIECES_A_SECOND).max(1) as usize));
            let read = from.read(&mut buffer[..want])?;
            if read == 0 {
                return Ok(());
            }
            to(self, &buffer[..read])?;
            done += read as u64;
            if slow.is_some() {
                std::thread::sleep(Duration::from_millis(1000 / PIECES_A_SECOND));
            }
        }
    }
}

/// Ends a connection with RST, once what was sent has arrived: what a reset throws
/// away was counted, and never on the wire.
fn reset(stream: &TcpStream) -> io::Result<()> {
    for _ in 0..LOOKS_MAX {
        if has_arrived(stream) || is_gone(stream) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // Sent when the last handle is closed, which shutdown would forestall.
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
    Err(ended())
}

/// True where the client has closed its end, and nothing it sent is left to read.
fn is_gone(stream: &TcpStream) -> bool {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
    let seen = stream.peek(&mut [0]);
    let _ = stream.set_read_timeout(None);
    match seen {
        Ok(bytes) => bytes == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
    }
}

/// True where the other end has acknowledged every byte, as the system's table of
/// connections says (proc_net_tcp: `local remote state tx_queue:rx_queue`).
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
