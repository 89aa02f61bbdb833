//! Accepts connections and serves HTTP/1.1 on them, with bounded time, size and number.

use crate::{Metrics, TlsConfig};
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

/// Maximum wait for a client to disconnect after a failed handshake.
const LINGER: Duration = Duration::from_secs(2);

/// Wait after the kernel could not accept a connection, such as without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Address of the client, an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of open connections. More wait in the queue of the kernel.
    pub connections: usize,
    /// Maximum number of open connections of one address. More are closed.
    pub connections_per_address: usize,
    /// Maximum time of a TLS handshake, and for the header of a request.
    pub header_time: Duration,
    /// Maximum time of a connection. At its end, the current response is completed if it takes
    /// no longer than `grace`.
    pub connection_time: Duration,
    /// Maximum time for open requests to complete after the stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 512,
            header_time: Duration::from_secs(10),
            connection_time: Duration::from_secs(300),
            grace: Duration::from_secs(30),
        }
    }
}

/// Maximum size of the header of a request in bytes.
const HEADER_MAX: usize = 32 * 1024;

/// Maximum number of header fields.
const HEADERS_MAX: usize = 64;

/// Numbers of open connections by address.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// Place of a connection in the limits and counters, given back on drop.
struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn take(
        addresses: &Arc<Addresses>,
        address: IpAddr,
        max: usize,
        metrics: &Arc<Metrics>,
        permit: OwnedSemaphorePermit,
    ) -> Option<Self> {
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= max {
            metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        metrics.connections_open.fetch_add(1, Ordering::Relaxed);
        Some(Self { addresses: addresses.clone(), address, metrics: metrics.clone(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connections_open.fetch_sub(1, Ordering::Relaxed);
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Serves `router` on `listener` until `stop` completes; then waits at most `limits.grace` for
/// open requests.
///
/// # Errors
/// Those of registering the listener with the runtime.
pub async fn serve(
    listener: std::net::TcpListener,
    tls: Option<TlsConfig>,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (places, addresses) = (Arc::new(Semaphore::new(limits.connections)), Arc::new(Addresses::default()));
    let graceful = GracefulShutdown::new();
    let reload = tls.clone().map(|tls| tokio::spawn(tls.reload(metrics.clone())));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let permit = places.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        let Ok(permit) = permit else { break };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let address = peer.ip().to_canonical();
        let max = limits.connections_per_address;
        let Some(place) = Place::take(&addresses, address, max, &metrics, permit) else { continue };
        let connection = Connection { peer, router: router.clone(), limits, place };
        let (tls, watcher) = (tls.as_ref().map(TlsConfig::acceptor), graceful.watcher());
        tokio::spawn(connection.run(stream, tls, watcher));
    }
    drop(listener);
    if let Some(reload) = reload {
        reload.abort();
    }
    let _ = tokio::time::timeout(limits.grace, graceful.shutdown()).await;
    Ok(())
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    place: Place,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>, watcher: Watcher) {
        // Nagle's algorithm would delay a small body until the header is acknowledged.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = tls else { return self.serve(stream, watcher).await };
        let mut accept = acceptor.accept(stream).into_fallible();
        match tokio::time::timeout(self.limits.header_time, &mut accept).await {
            Ok(Ok(stream)) => self.serve(stream, watcher).await,
            Ok(Err((_, stream))) => {
                self.place.metrics.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                close_after_alert(stream).await;
            }
            Err(_) => drop(self.place.metrics.handshakes_failed.fetch_add(1, Ordering::Relaxed)),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, watcher: Watcher) {
        let Self { peer, router, limits, place: _place } = self;
        let address = ClientAddress(peer.ip().to_canonical());
        let inner = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(address);
            inner.call(request)
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEADER_MAX)
            .max_buf_size(HEADER_MAX.max(64 * 1024));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        // The connection reads and writes as fast as the client: only its end is certain.
        let _ = tokio::time::timeout(limits.connection_time, watcher.watch(connection)).await;
    }
}

/// Closes a connection after a failed handshake so that the client receives the alert.
/// Reads the rest first: closing with unread bytes would reset the connection.
async fn close_after_alert(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut nowhere = tokio::io::sink();
    let rest = tokio::io::copy(&mut stream, &mut nowhere);
    let _ = tokio::time::timeout(LINGER, rest).await;
}
