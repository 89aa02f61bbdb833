//! TLS for the servers on loopback: a test certificate authority and a TLS listener for
//! axum.

use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Maximum wait for a client to disconnect after a failed handshake.
const LINGER: Duration = Duration::from_secs(2);

/// Reason why a certificate cannot be created or used.
#[derive(Debug, thiserror::Error)]
#[error("tls: {0}")]
pub struct TlsError(String);

impl TlsError {
    fn from(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A certificate and its private key as PEM.
#[derive(Clone, Debug)]
pub struct CertifiedKey {
    /// Certificate.
    pub cert: String,
    /// Private key, PKCS #8.
    pub key: String,
}

/// Certificate authority for tests. Its key exists only in memory.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    /// Creates an authority with a new key.
    ///
    /// # Errors
    /// [`TlsError`] if the kernel returns no random bytes.
    pub fn new() -> Result<Self, TlsError> {
        let mut params = params(&[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(TlsError::from)?;
        // Clients distinguish authorities by name, so each needs its own name.
        let name: String = key.public_key_raw().iter().rev().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("az-devserver test authority {name}"));
        CertifiedIssuer::self_signed(params, key).map(|issuer| Self { issuer }).map_err(TlsError::from)
    }

    /// Returns the certificate of the authority as PEM, for `--ca-file`.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a server certificate for `names` (host names or addresses), valid until the
    /// end of the year `until`.
    ///
    /// # Errors
    /// [`TlsError`] if a name is invalid.
    pub fn server(&self, names: &[&str], until: i32) -> Result<CertifiedKey, TlsError> {
        let mut params = params(names)?;
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// Issues a server certificate for `names`, valid during the year `from`.
    ///
    /// # Errors
    /// Those of [`TestCa::server`].
    pub fn server_from(&self, names: &[&str], from: i32) -> Result<CertifiedKey, TlsError> {
        let mut params = params(names)?;
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(from + 1, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// Issues a certificate for the client `name`.
    ///
    /// # Errors
    /// Those of [`TestCa::server`].
    pub fn client(&self, name: &str) -> Result<CertifiedKey, TlsError> {
        let mut params = params(&[])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Result<CertifiedKey, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::from)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(TlsError::from)?;
        Ok(CertifiedKey { cert: cert.pem(), key: key.serialize_pem() })
    }
}

fn params(names: &[&str]) -> Result<CertificateParams, TlsError> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).map_err(TlsError::from)
}

/// TLS settings of the listeners.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Server certificate.
    pub server: CertifiedKey,
    /// CA certificate as PEM that client certificates are verified with. `None` requests
    /// no client certificate.
    pub client_ca: Option<String>,
}

impl Tls {
    /// Returns the acceptor for these settings.
    ///
    /// # Errors
    /// [`TlsError`] if a certificate or key is unusable.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::from)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(pem)?).map_err(TlsError::from)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(TlsError::from)?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).map_err(TlsError::from)?;
        let config = builder.with_single_cert(vec![certificate(&self.server.cert)?], key).map_err(TlsError::from)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(TlsError::from)
}

/// Listener that returns connections after their handshake. Handshakes run concurrently,
/// so that a silent client does not block others.
pub(crate) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Accepts connections on `listener` until the value is dropped.
    ///
    /// # Errors
    /// Those of reading the address of `listener`.
    pub(crate) fn new(listener: TcpListener, acceptor: TlsAcceptor) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(64);
        tokio::spawn(async move {
            while !sender.is_closed() {
                let Ok((stream, peer)) = listener.accept().await else { continue };
                // Nagle's algorithm would delay a small body until the header is acknowledged.
                let _ = stream.set_nodelay(true);
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => drop(sender.send((stream, peer)).await),
                        Err((_, stream)) => close_after_alert(stream).await,
                    }
                });
            }
        });
        Ok(Self { address, ready })
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

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task has ended: the server is stopping.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
