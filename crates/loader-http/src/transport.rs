//! Connections that deliver what the server sent before it closed them.
//!
//! A server that refuses a client certificate or a request body sends its reason and
//! closes the connection, often before the client has sent everything. The next write
//! then fails with "broken pipe", while the reason waits in the receive buffer.

use std::io::ErrorKind;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};

/// Returns the connector of the client: TCP, directly or through a proxy, and TLS.
pub(crate) fn connector() -> impl Connector {
    ().chain(ConnectProxyConnector::default())
        .chain(TcpConnector::default())
        .chain(ReadAfterClose)
        .chain(RustlsConnector::default())
}

/// Wraps each connection in a [`ReadAfterCloseTransport`].
#[derive(Debug)]
struct ReadAfterClose;

impl<In: Transport> Connector<In> for ReadAfterClose {
    type Out = ReadAfterCloseTransport<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| ReadAfterCloseTransport { inner, closed: None }))
    }
}

/// Connection that keeps the error of a write to a closed connection until everything
/// that the server sent has been read. Later output is dropped.
#[derive(Debug)]
struct ReadAfterCloseTransport<T> {
    inner: T,
    closed: Option<ErrorKind>,
}

impl<T> ReadAfterCloseTransport<T> {
    /// Returns the error of the write, or `otherwise` if no write has failed.
    fn write_error(&self, otherwise: Result<bool, Error>) -> Result<bool, Error> {
        self.closed.map_or(otherwise, |kind| Err(Error::Io(kind.into())))
    }
}

impl<T: Transport> Transport for ReadAfterCloseTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.closed.is_some() {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.closed = Some(error.kind());
                Ok(())
            }
            result => result,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        match self.inner.await_input(timeout) {
            Ok(true) => Ok(true),
            result => self.write_error(result),
        }
    }

    fn is_open(&mut self) -> bool {
        self.closed.is_none() && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
