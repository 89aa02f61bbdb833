//! Listeners and threads of a proxy.

use super::exchange::Connection;
use super::log::FaultLog;
use super::rule::Side;
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

/// Type of a handshake record: the first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

/// Proxy before one server. After a drop it accepts no new connections. Open connections
/// continue until either side closes.
#[derive(Debug)]
pub(crate) struct Proxy {
    log: FaultLog,
    listeners: Vec<(SocketAddr, Option<JoinHandle<()>>)>,
}

impl Proxy {
    /// Accepts connections for `server` on `listener`, and redirected requests on another
    /// port of the same address.
    pub(crate) fn start(side: Side, listener: TcpListener, server: SocketAddr, log: FaultLog) -> io::Result<Self> {
        listener.set_nonblocking(false)?;
        let redirect_port = TcpListener::bind((listener.local_addr()?.ip(), 0))?;
        let other = redirect_port.local_addr()?;
        let mut proxy = Self { log, listeners: Vec::new() };
        for (listener, other) in [(listener, Some(other)), (redirect_port, None)] {
            let (address, log) = (listener.local_addr()?, proxy.log.clone());
            let accepting = move || {
                for client in listener.incoming() {
                    if log.is_stopped() {
                        return;
                    }
                    let (Ok(client), log) = (client, log.clone()) else { continue };
                    let serving = move || serve(&client, (side, server, other), &log);
                    let _ = std::thread::Builder::new().name("fault-proxy".to_owned()).spawn(serving);
                }
            };
            let thread = std::thread::Builder::new().name("fault-listener".to_owned()).spawn(accepting)?;
            proxy.listeners.push((address, Some(thread)));
        }
        Ok(proxy)
    }
}

fn serve(client: &TcpStream, (side, server, redirect_port): (Side, SocketAddr, Option<SocketAddr>), log: &FaultLog) {
    let _ = client.set_nodelay(true);
    let requests = BufReader::with_capacity(64 * 1024, client);
    let mut connection = Connection { log, side, client, requests, server, redirect_port, upstream: None };
    let mut first = [0];
    if matches!(client.peek(&mut first), Ok(1)) && first[0] == TLS_HANDSHAKE {
        let _ = connection.tunnel();
        return;
    }
    while matches!(connection.next(), Ok(true)) {}
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.log.stop();
        for (address, thread) in &mut self.listeners {
            // Wakes the accepting thread.
            let woken = TcpStream::connect(*address).is_ok();
            if let Some(thread) = thread.take().filter(|_| woken) {
                let _ = thread.join();
            }
        }
    }
}
